/**
 * Rows as one array per column, for `unnest`: one statement and one parse for a thousand rows, and as many parameters as
 * columns, however many rows.
 *
 * Array literals are written here (not by the driver, which would ask the server for its array types first).
 */

/** How one column is made of a row. */
export interface Column<Row> {
  readonly name: string
  /** The element type that the array is sent as. */
  readonly type: 'text' | 'int4' | 'int8' | 'int2' | 'float8' | 'bool' | 'jsonb'
  /** The SQL that makes the column's value of the element `$`; `$` itself when absent. */
  readonly as?: string
  readonly of: (row: Row) => string | number | boolean | null
}

/** A column that is the same in every row. */
export interface Constant {
  readonly name: string
  readonly value: string
}

/** Milliseconds since epoch, sent as a number, stored as timestamptz. */
export function instant<Row>(name: string, of: (row: Row) => number | null): Column<Row> {
  return { name, type: 'float8', as: 'to_timestamp($ / 1000.0)', of }
}

/** Bytes, sent in base64: a third shorter than the hexadecimal of bytea's own text form, and nothing in it to escape. */
export function bytes<Row>(name: string, of: (row: Row) => Buffer | null): Column<Row> {
  return { name, type: 'text', as: `decode($, 'base64')`, of: (row) => of(row)?.toString('base64') ?? null }
}

/** `INSERT INTO table (…) SELECT … FROM unnest($1::text[], …) AS sent (…)`, to be followed by `ON CONFLICT`. */
export function insertInto<Row>(
  table: string,
  columns: readonly Column<Row>[],
  constants: readonly Constant[] = [],
): string {
  const names = columns.map(({ name }) => name)
  const all = [...names, ...constants.map(({ name }) => name)]
  const values = columns.map(({ name, as }) => (as ?? '$').replaceAll('$', `sent.${name}`))
  const same = constants.map((_, index) => `$${columns.length + index + 1}::text`)
  const arrays = columns.map(({ type }, index) => `$${index + 1}::${type}[]`)
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
export function arrayLiteral<Item>(
  items: readonly Item[],
  of: (item: Item) => string | number | boolean | null = String,
): string {
  return `{${items.map((item) => element(of(item))).join(',')}}`
}

function element(value: string | number | boolean | null): string {
  if (value === null) return 'NULL'
  if (typeof value === 'string') return `"${value.replace(/["\\]/g, '\\$&')}"`
  return String(value)
}

/**
 * Parts of at most `count` rows and about `bytes` bytes each: a batch of large bodies is not one giant statement.
 * @param size bytes of a row, roughly
 */
export function* parts<Row>(rows: readonly Row[], count: number, bytes: number, size: (row: Row) => number) {
  let part: Row[] = []
  let total = 0
  for (const row of rows) {
    const more = size(row)
    if (part.length > 0 && (part.length >= count || total + more > bytes)) {
      yield part
      part = []
      total = 0
    }
    part.push(row)
    total += more
  }
  if (part.length > 0) yield part
}
