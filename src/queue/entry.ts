/**
 * The bytes of an entry: its members, and `datos` cut out of the source, never parsed and printed again, so that 20-digit numbers,
 * key order, escapes and duplicate keys survive. Where it is the last member, as this program writes it, only what stands before it
 * is turned into objects: an entry is read three times on its way.
 */
import { isUtf8 } from 'node:buffer'
import { jsonProblem } from '../model/json.ts'
import { DATOS } from './envelope-write.ts'

/** Why an entry cannot be understood, in Spanish. */
export class EnvelopeError extends Error {
  override readonly name = 'EnvelopeError'
}

export interface Entry {
  /** Without the value of `datos`, which may be missing here. */
  readonly members: Readonly<Record<string, unknown>>
  readonly datos: Buffer | null
}

/** @throws EnvelopeError when the bytes are not a JSON object in UTF-8 */
export function readEntry(raw: Buffer): Entry {
  const { members, datosAt } = readHead(raw)
  if (members !== null) {
    const datos = trustedDatos(raw, members, datosAt) ?? lastDatos(raw, datosAt)
    if (datos !== null) return { members, datos }
  }
  return readWhole(raw)
}

/**
 * The entry with members written over those it has. The rest keeps its bytes.
 * @param raw an entry that was understood
 */
export function overwriteMembers(raw: Buffer, members: Readonly<Record<string, unknown>>): Buffer {
  const head = readHead(raw)
  const quick = head.members !== null && trustedDatos(raw, head.members, head.datosAt) !== null
  // Of a repeated key the last one counts; ours stay in front of `datos`, so that it is still the last member.
  const at = quick ? head.datosAt - DATOS.length : raw.lastIndexOf(CLOSE)
  const more = Buffer.from(`,${JSON.stringify(members).slice(1, -1)}`)
  return Buffer.concat([raw.subarray(0, at), more, raw.subarray(at)])
}

const DATOS_BYTES = Buffer.from(DATOS)
const CLOSE = 0x7d
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false })

/**
 * What stands before the first `,"datos":`, as an object of its own. Inside a string its quotes would be escaped, and deeper
 * inside the entry what stands before it is no whole object: where it is one, it is the entry's own member.
 */
function readHead(raw: Buffer): { members: Record<string, unknown> | null; datosAt: number } {
  const at = raw.indexOf(DATOS_BYTES)
  if (at < 0) return { members: null, datosAt: 0 }
  let members: Record<string, unknown> | null = null
  try {
    const source = `${decoder.decode(raw.subarray(0, at))}}`
    members = numbersAsWritten(JSON.parse(source), source)
    if (Object.hasOwn(members, 'datos')) members = null
  } catch {
    // Not the plain form; whether it is an entry at all, reading it whole will tell.
  }
  return { members, datosAt: at + DATOS.length }
}

/** Up to the end, where whoever wrote the entry said that it is so long: it is JSON, and nothing follows it. */
function trustedDatos(raw: Buffer, { largo }: Readonly<Record<string, unknown>>, at: number): Buffer | null {
  const end = raw.length - 1
  return typeof largo === 'number' && at + largo === end && raw[end] === CLOSE ? raw.subarray(at, end) : null
}

/** Up to the end, if that is one JSON value. */
function lastDatos(raw: Buffer, at: number): Buffer | null {
  const end = raw.lastIndexOf(CLOSE)
  const datos = raw.subarray(at, end)
  if (end < raw.length - 1 || !isUtf8(datos)) return null
  const text = datos.toString('utf8')
  try {
    JSON.parse(text)
  } catch {
    return null
  }
  return text.trim().length === text.length ? datos : null
}

function readWhole(raw: Buffer): Entry {
  let source: string
  let value: unknown
  try {
    source = decoder.decode(raw)
    value = JSON.parse(source)
  } catch {
    throw new EnvelopeError(isUtf8(raw) ? `no es JSON: ${jsonProblem(raw)}` : jsonProblem(raw))
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new EnvelopeError('no es un objeto JSON')
  const members = numbersAsWritten(value as Record<string, unknown>, source)
  const datos = Object.hasOwn(members, 'datos') ? Buffer.from(memberText(source, 'datos'), 'utf8') : null
  return { members, datos }
}

/** The numbers that travel as text, with the digits they have: JSON.parse rounds what has more than 15, and two ids meet. */
function numbersAsWritten(members: Record<string, unknown>, source: string): Record<string, unknown> {
  if (typeof members.id === 'number') members.id = memberText(source, 'id')
  const { cabeceras } = members
  if (typeof cabeceras !== 'object' || cabeceras === null || Array.isArray(cabeceras)) return members
  for (const [name, value] of Object.entries(cabeceras)) {
    if (typeof value === 'number')
      Object.defineProperty(cabeceras, name, { value: memberText(memberText(source, 'cabeceras'), name) })
  }
  return members
}

/**
 * The source text of a member of the outermost object; of the last one where the key is repeated, as JSON.parse takes it.
 * @param source what JSON.parse has accepted: only strings and brackets need be told apart
 */
function memberText(source: string, key: string): string {
  let depth = 0
  let name = ''
  let start = -1
  let found = ''
  for (let at = 0; at < source.length; at++) {
    const char = source[at]
    if (char === '"') {
      const end = endOfString(source, at)
      if (depth === 1 && start < 0) name = JSON.parse(source.slice(at, end))
      at = end - 1
    } else if (char === ':' && depth === 1) {
      start = at + 1
    } else if ((char === ',' || char === '}') && depth === 1) {
      if (name === key && start >= 0) found = source.slice(start, at).trim()
      start = -1
    }
    if (char === '{' || char === '[') depth += 1
    else if (char === '}' || char === ']') depth -= 1
  }
  return found
}

/** @returns where the string that opens at `at` is over */
function endOfString(source: string, at: number): number {
  for (let end = at + 1; ; end++) {
    end = source.indexOf('"', end)
    let escapes = 0
    while (source[end - 1 - escapes] === '\\') escapes += 1
    if (escapes % 2 === 0) return end + 1
  }
}
