/**
 * Rows as one array per column, for `unnest`: one statement and one parse for a thousand rows, and as many parameters as
 * columns, however many rows.
 *
 * Array literals are written here (not by the driver, which would ask the server for its array types first).
 */

/** How one column is made of a row. */
export interface Column<Row> {
  readonly name: string
  /** `instant`: milliseconds since epoch, stored as timestamptz; `jsonb`: its text. */
  readonly type: 'text' | 'int2' | 'int4' | 'int8' | 'bool' | 'jsonb' | 'bytea' | 'instant'
  readonly of: (row: Row) => Value
}

export type Value = string | number | boolean | Buffer | null

/** A column that is the same in every row. */
export interface Constant {
  readonly name: string
  readonly value: string
}

/** What is not sent as its own type: the element type of the array, and the SQL that makes the value of the element `$`. */
const SENT_AS: Partial<Record<Column<never>['type'], { readonly type: string; readonly as: string }>> = {
  instant: { type: 'float8', as: 'to_timestamp($ / 1000.0)' },
  // A third shorter than the hexadecimal of bytea's own text form, and nothing in it to escape.
  bytea: { type: 'text', as: `decode($, 'base64')` },
}

/** `INSERT INTO table (…) SELECT … FROM unnest($1::text[], …) AS sent (…)`, to be followed by `ON CONFLICT`. */
export function insertInto<Row>(
  table: string,
  columns: readonly Column<Row>[],
  constants: readonly Constant[] = [],
): string {
  const names = columns.map(({ name }) => name)
  const all = [...names, ...constants.map(({ name }) => name)]
  const values = columns.map(({ name, type }) => (SENT_AS[type]?.as ?? '$').replaceAll('$', `sent.${name}`))
  const same = constants.map((_, index) => `$${columns.length + index + 1}::text`)
  const arrays = columns.map(({ type }, index) => `$${index + 1}::${SENT_AS[type]?.type ?? type}[]`)
  return `INSERT INTO ${table} (${all}) SELECT ${[...values, ...same]} FROM unnest(${arrays}) AS sent (${names})`
}

/** The parameters of `insertInto`: one array literal per column, then the constants. */
export function insertParameters<Row>(
  columns: readonly Column<Row>[],
  constants: readonly Constant[],
  rows: readonly Row[],
): string[] {
  return [...columns.map(({ of }) => arrayLiteral(rows, of)), ...constants.map(({ value }) => value)]
}

/** `{"a","b",NULL}`. */
export function arrayLiteral<Item>(items: readonly Item[], of: (item: Item) => Value = String): string {
  return `{${items.map((item) => element(of(item))).join(',')}}`
}

function element(value: Value): string {
  if (value === null) return 'NULL'
  // In quotes: no bytes at all would be no element, and the base64 of three bytes reads NULL.
  if (Buffer.isBuffer(value)) return `"${value.toString('base64')}"`
  if (typeof value === 'string') return `"${value.replace(/["\\]/g, '\\$&')}"`
  return String(value)
}
