/**
 * Rows on their way to Postgres, in two forms.
 *
 * As one array per column, for `unnest`: one statement and one parse for a thousand rows, and as many parameters as columns,
 * however many rows. Array literals are written here (not by the driver, which would ask the server for its array types first).
 *
 * In the binary form of COPY, encoded once on this side and not parsed again by the server: a body travels as it is (in a text form
 * it would be a third or twice as long), and a number or an instant costs no conversion.
 * https://www.postgresql.org/docs/current/sql-copy.html, «Binary Format»: a signature, then of each row the number of its fields
 * and each field's length (-1: NULL) and bytes, all big-endian.
 */

/** How one column is made of a row. */
export interface Column<Row> {
  readonly name: string
  /** `instant`: milliseconds since epoch, stored as timestamptz; `jsonb`: its text; `counts`: an array of int8, as its literal. */
  readonly type: 'text' | 'int2' | 'int4' | 'int8' | 'bool' | 'jsonb' | 'bytea' | 'instant' | 'counts'
  readonly of: (row: Row) => Value
}

type Value = string | number | boolean | Buffer | null

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
  counts: { type: 'text', as: '$::int8[]' },
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

/** A value that its column's binary form cannot hold; the server is the one to say what is wrong with it. */
export class Unencodable extends Error {}

const SIGNATURE = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1')
const END = -1
const NULL = -1
/** Postgres counts microseconds from 2000-01-01. */
const POSTGRES_EPOCH_MS = Date.UTC(2000, 0, 1)
/** Up to here a loop beats the call into native code. */
const SHORT = 24
/** A character is at most three bytes per UTF-16 unit. */
const BYTES_A_UNIT = 3
const JSONB_VERSION = 1
/** One giant body does not stay in memory. */
const LARGEST_KEPT = 16 * 1024 * 1024

/** `COPY table (…) FROM STDIN`, for the columns and constants of `encodeRows`. */
export function copyInto<Row>(table: string, columns: readonly Column<Row>[], constants: readonly Constant[]): string {
  return `COPY ${table} (${[...columns, ...constants].map(({ name }) => name)}) FROM STDIN (FORMAT binary)`
}

/**
 * Appends the whole content of a COPY.
 * @throws Unencodable
 */
export function encodeRows<Row>(
  bytes: GrowingBuffer,
  columns: readonly Column<Row>[],
  constants: readonly Constant[],
  rows: readonly Row[],
) {
  bytes.raw(SIGNATURE)
  const same = new GrowingBuffer()
  for (const { value } of constants) same.text(value)
  // Two arrays of functions rather than objects of many shapes: reading the members of those took as long as writing the values.
  const values = columns.map(({ of }) => of)
  const fields = columns.map(({ type }) => FIELDS[type])
  for (const row of rows) {
    bytes.int16(columns.length + constants.length)
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!(row)
      if (value === null) bytes.int32(NULL)
      else fields[i]!(bytes, value)
    }
    bytes.raw(same.content)
  }
  bytes.int16(END)
}

/** Length and bytes of a value, by the type of its column. */
const FIELDS: Readonly<Record<Column<never>['type'], (bytes: GrowingBuffer, value: NonNullable<Value>) => void>> = {
  text: (bytes, value) => bytes.text(textual(value)),
  jsonb: (bytes, value) => bytes.jsonb(textual(value)),
  counts: () => {
    throw new Unencodable('an array is inserted, not copied')
  },
  bytea: (bytes, value) => bytes.sized(value as Buffer),
  bool: (bytes, value) => {
    bytes.int32(1)
    bytes.int8(value ? 1 : 0)
  },
  int2: (bytes, value) => {
    bytes.int32(2)
    bytes.int16(within(value, 2 ** 15))
  },
  int4: (bytes, value) => {
    bytes.int32(4)
    bytes.int32(within(value, 2 ** 31))
  },
  int8: (bytes, value) => {
    bytes.int32(8)
    bytes.int64(within(value, Number.MAX_SAFE_INTEGER))
  },
  instant: (bytes, value) => {
    bytes.int32(8)
    bytes.int64(within(Math.round(((value as number) - POSTGRES_EPOCH_MS) * 1000), Number.MAX_SAFE_INTEGER))
  },
}

/** An event is read from JSON: that a text is one is not certain. */
function textual(value: unknown): string {
  if (typeof value === 'string') return value
  throw new Unencodable(`no es texto: ${value}`)
}

function within(value: unknown, limit: number): number {
  if (Number.isInteger(value) && (value as number) < limit && (value as number) >= -limit) return value as number
  throw new Unencodable(`fuera de rango: ${value}`)
}

/** Bytes one after the other. Used again and again: fresh memory costs more than what is written into it. */
export class GrowingBuffer {
  #buffer = Buffer.allocUnsafe(256)
  #at = 0

  /** Valid until `clear`. */
  get content(): Buffer {
    return this.#buffer.subarray(0, this.#at)
  }

  clear() {
    this.#at = 0
    if (this.#buffer.length > LARGEST_KEPT) this.#buffer = Buffer.allocUnsafe(256)
  }

  int8(value: number) {
    this.#room(1)
    this.#buffer[this.#at++] = value
  }

  int16(value: number) {
    this.#room(2)
    this.#buffer[this.#at++] = value >> 8
    this.#buffer[this.#at++] = value
  }

  int32(value: number) {
    this.#room(4)
    this.#int32At(this.#at, value)
    this.#at += 4
  }

  /** Of a safe integer. */
  int64(value: number) {
    this.int32(Math.floor(value / 2 ** 32))
    this.int32((value % 2 ** 32) | 0)
  }

  raw(bytes: Uint8Array) {
    this.#room(bytes.length)
    this.#buffer.set(bytes, this.#at)
    this.#at += bytes.length
  }

  sized(bytes: Uint8Array) {
    this.int32(bytes.length)
    this.raw(bytes)
  }

  text(value: string) {
    this.#sizedCharacters(value, null)
  }

  jsonb(value: string) {
    this.#sizedCharacters(value, JSONB_VERSION)
  }

  /** @param first a byte before the text, counted with it */
  #sizedCharacters(value: string, first: number | null) {
    this.#room(5 + value.length * BYTES_A_UNIT)
    const start = this.#at + 4
    this.#at = start
    if (first !== null) this.#buffer[this.#at++] = first
    this.#characters(value)
    this.#int32At(start - 4, this.#at - start)
  }

  /** There is room. */
  #characters(value: string) {
    const buffer = this.#buffer
    const at = this.#at
    // Read once: V8 has a dozen kinds of strings, and asks which it is each time.
    const { length } = value
    let done = 0
    if (length <= SHORT) {
      for (; done < length; done++) {
        const unit = value.charCodeAt(done)
        if (unit > 0x7f) break
        buffer[at + done] = unit
      }
    }
    this.#at += done === length ? done : buffer.write(value, at)
  }

  #int32At(at: number, value: number) {
    const buffer = this.#buffer
    buffer[at] = value >> 24
    buffer[at + 1] = value >> 16
    buffer[at + 2] = value >> 8
    buffer[at + 3] = value
  }

  #room(bytes: number) {
    const needed = this.#at + bytes
    if (needed <= this.#buffer.length) return
    const larger = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2))
    this.#buffer.copy(larger, 0, 0, this.#at)
    this.#buffer = larger
  }
}
