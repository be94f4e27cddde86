/**
 * Text that the database can hold.
 *
 * The audit lives in databases of any encoding. What one of them cannot hold is written as `\u{1F600}`, so that no
 * message is ever refused for a letter. NUL fits nowhere in Postgres, and a lone surrogate is no text at all.
 */

import type { JsonText } from './event.ts'

export interface TextRules {
  /** Any text. */
  text(value: string): string
  /** An id or a name that several rows must agree on: always escaped the same way in one database. */
  key(value: string): string
  /** A JSON document for a jsonb column. Never contains a `\u` escape above ASCII, which only UTF8 databases accept. */
  json(value: unknown): JsonText
  /** The same of one that is text already. */
  jsonText(text: JsonText): JsonText
}

const NOT_UNICODE = /[\0\u{D800}-\u{DFFF}]/gu
const NOT_LATIN1 = /[\0]|[^\0-\u{FF}]/gu
/** Beyond printable ASCII: cheaper to look for than what follows. */
const SUSPECT = /[^\t\n\r -~]/
const UNSAFE_JSON = /[^ -~]|\\u/
const NOT_ASCII = /[\0]|[^\0-\u{7F}]/gu

/**
 * The rules of one database.
 * @param serverEncoding as `server_encoding` says it (`UTF8`, `LATIN1`, `SQL_ASCII`, …)
 * @param strict everything but ASCII is escaped: the second try for a row that an encoding not known here refused
 */
export function textRules(serverEncoding: string, strict = false): TextRules {
  const unfit = unfitFor(serverEncoding)
  const text = escaper(strict ? NOT_ASCII : (unfit ?? NOT_UNICODE))
  const key = escaper(unfit ?? NOT_ASCII)
  // Of an escape only `\u` may be one that jsonb refuses, and ASCII fits everywhere.
  const jsonText = (plain: JsonText) =>
    UNSAFE_JSON.test(plain) ? JSON.stringify(mapStrings(JSON.parse(plain), text)) : plain
  return { text, key, json: (value) => jsonText(JSON.stringify(value)), jsonText }
}

/** What `TextRules.key` escaped, for names that may not contain a backslash of their own. */
export function original(key: string): string {
  return key.replace(/\\u\{([0-9A-F]{1,5}|10[0-9A-F]{4})\}/g, (_, code) =>
    String.fromCodePoint(Number.parseInt(code, 16)),
  )
}

/**
 * Of a message's columns, those that under `rules` do not hold exactly what they are given, as JSON; null: all do. For what is
 * sent again: the readable text is for people.
 * @param columns by name; an object is a jsonb column
 */
export function exactValues(columns: Readonly<Record<string, ExactValue>>, rules: TextRules): Buffer | null {
  let differing: Record<string, ExactValue> | null = null
  for (const column in columns) {
    const value = columns[column]!
    if (value === null || isHeld(value, rules)) continue
    differing ??= {}
    differing[column] = value
  }
  return differing && Buffer.from(JSON.stringify(differing))
}

function isHeld(value: NonNullable<ExactValue>, rules: TextRules): boolean {
  if (typeof value === 'string') return rules.text(value) === value
  const names = Object.keys(value)
  if (names.length === 0) return true
  return (
    rules.json(value) === JSON.stringify(value) && names.every((name, i) => i === 0 || inOrder(names[i - 1]!, name))
  )
}

export type ExactValue = string | null | Readonly<Record<string, string>>

/** Whether jsonb, which sorts names by their length in bytes and then by their bytes, keeps these two as they are. */
function inOrder(first: string, second: string): boolean {
  const [a, b] = [Buffer.from(first), Buffer.from(second)]
  return a.length === b.length ? a.compare(b) <= 0 : a.length < b.length
}

/** What the encoding cannot hold; null when this program does not know. SQL_ASCII keeps bytes as they come. */
function unfitFor(serverEncoding: string): RegExp | null {
  switch (serverEncoding) {
    case 'UTF8':
    case 'SQL_ASCII':
      return NOT_UNICODE
    case 'LATIN1':
      return NOT_LATIN1
    default:
      return null
  }
}

function escaper(unfit: RegExp): (value: string) => string {
  return (value) => {
    // Nearly all text fits everywhere, and this is asked of every text of every row.
    if (!SUSPECT.test(value)) return value
    return value.replace(unfit, (letter) => `\\u{${letter.codePointAt(0)?.toString(16).toUpperCase()}}`)
  }
}

/** A copy of a JSON value with every string in it, names included, passed through `change`. */
function mapStrings(value: unknown, change: (text: string) => string): unknown {
  if (typeof value === 'string') return change(value)
  if (Array.isArray(value)) return value.map((item) => mapStrings(item, change))
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [change(name), mapStrings(item, change)]))
  }
  return value
}
