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
  readonly type: 'text' | 'int4' | 'int8' | 'int2' | 'float8' | 'bool' | 'jsonb' | 'bytea'
  /** The SQL that makes the column's value of the element `$`; `$` itself when absent. */
  readonly as?: string
  readonly of: (row: Row) => string | number | boolean | Buffer | null
}

/** Milliseconds since epoch, sent as a number, stored as timestamptz. */
export function instant<Row>(name: string, of: (row: Row) => number | null): Column<Row> {
  return { name, type: 'float8', as: 'to_timestamp($ / 1000.0)', of }
}

/** `INSERT INTO table (…) SELECT … FROM unnest($1::text[], …) AS sent (…)`, to be followed by `ON CONFLICT`. */
export function insertInto<Row>(table: string, columns: readonly Column<Row>[]): string {
  const names = columns.map(({ name }) => name)
  const values = columns.map(({ name, as }) => (as ?? '$').replaceAll('$', `sent.${name}`))
  const arrays = columns.map(({ type }, index) => `$${index + 1}::${type}[]`)
  return `INSERT INTO ${table} (${names}) SELECT ${values} FROM unnest(${arrays}) AS sent (${names})`
}

/** The parameters of `insertInto`, one array literal per column. */
export function columnArrays<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string[] {
  return columns.map(({ of }) => arrayLiteral(rows, of))
}

/** `{"a","b",NULL}`. */
export function arrayLiteral<Item>(
  items: readonly Item[],
  of: (item: Item) => string | number | boolean | Buffer | null = String,
): string {
  return `{${items.map((item) => element(of(item))).join(',')}}`
}

function element(value: string | number | boolean | Buffer | null): string {
  if (value === null) return 'NULL'
  if (typeof value === 'string') return `"${value.replace(/["\\]/g, '\\$&')}"`
  if (Buffer.isBuffer(value)) return `"\\\\x${value.toString('hex')}"`
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
