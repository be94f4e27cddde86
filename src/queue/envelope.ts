/**
 * Reading an envelope: a message as it lies in Redis (INTERFACE §4), written by `send` (`envelope-write.ts`) or by any other
 * program.
 *
 * `datos` is cut out of the source and never parsed and printed again: 20-digit numbers, key order, escapes and duplicate
 * keys survive. Where it is the last member, as this program writes it, only what stands before it is turned into objects:
 * an entry is read three times on its way.
 */

import { isUtf8 } from 'node:buffer'
import { type ParseError, parse } from 'jsonc-parser'
import type { Message, Millis } from '../model/message.ts'
import { parseDelay } from '../model/quantities.ts'
import { withTraceMembers } from '../model/trace.ts'
import { DATOS, hasControl } from './envelope-write.ts'

/**
 * The keys of an envelope. `recibido` and `profundidad` are the program's own, as is `largo`, how many bytes `datos` takes:
 * that one means something only where the rest of the entry is as this program writes it.
 */
export const ENVELOPE_KEYS = [
  'v',
  'id',
  'evento',
  'cuerpo',
  'cuerpo_base64',
  'datos',
  'tipo_contenido',
  'metodo',
  'ruta',
  'cabeceras',
  'traceparent',
  'tracestate',
  'creado',
  'clave',
  'demora',
  'no_antes_de',
  'listener',
  'origen',
  'recibido',
  'profundidad',
] as const

interface Envelope {
  readonly message: Message
  /** Relative delay in ms, where `demora` was given instead of `no_antes_de`: it runs from when the entry is taken. */
  readonly delay: number | null
  /** When a delayed message was first taken, ms since epoch. */
  readonly receivedAt: number | null
}

/**
 * Reads an entry of the queue.
 * @param raw    the bytes of the entry
 * @param makeId gives the id of an entry without one
 * @param now    stands in for a missing `creado`
 * @throws EnvelopeError when the entry cannot be understood
 */
export function decodeEnvelope(raw: Buffer, makeId: () => string, now: Date): Envelope {
  return decodeEntry(readEntry(raw), makeId, now)
}

/** The same of an entry whose JSON was read before. */
export function decodeEntry({ members: entry, datos }: Entry, makeId: () => string, now: Date): Envelope {
  const version = entry.v ?? 1
  if (version !== 1) throw new EnvelopeError(`v = ${show(version)}: esta versión del programa entiende v = 1`)

  const id = entry.id === undefined || entry.id === null ? null : idOf(entry.id)
  const event = entry.evento
  if (typeof event !== 'string' || event === '') throw new EnvelopeError('falta "evento" (texto no vacío)')
  requireWellFormed(event, 'evento')
  if (event.length > 255 || hasControl(event))
    throw new EnvelopeError('"evento" tiene más de 255 caracteres o caracteres de control')

  const { body, contentType } = bodyOf(entry, datos)
  const declared = optionalText(entry, 'tipo_contenido')
  return {
    delay: entry.demora === undefined || entry.demora === null ? null : delayOf(entry.demora),
    receivedAt: typeof entry.recibido === 'number' ? entry.recibido : null,
    message: {
      id: id ?? makeId(),
      event,
      body,
      contentType: declared ?? contentType,
      method: methodOf(entry),
      path: optionalText(entry, 'ruta'),
      headers: withTraceMembers(headersOf(entry.cabeceras), entry.traceparent, entry.tracestate),
      createdAt: dateOf(entry, 'creado') ?? now,
      key: optionalText(entry, 'clave'),
      origin: optionalText(entry, 'origen'),
      onlyListener: optionalText(entry, 'listener'),
      notBefore: dateOf(entry, 'no_antes_de'),
      depth: typeof entry.profundidad === 'number' ? entry.profundidad : 0,
    },
  }
}

/**
 * The same entry with its id, its first reception and its absolute due time, over earlier ones. The rest stays as it is: a
 * delayed entry is stored again and must keep its bytes.
 */
export function stampEnvelope(raw: Buffer, id: string, receivedAt: number, notBefore: Date): Buffer {
  return overwriteMembers(raw, { id, demora: null, no_antes_de: notBefore.toISOString(), recibido: receivedAt })
}

type Members = Entry['members']

function bodyOf(entry: Members, datos: Buffer | null): { body: Buffer; contentType: string } {
  const { cuerpo: text = null, cuerpo_base64: base64 = null } = entry
  const present = Number(datos !== null) + Number(text !== null) + Number(base64 !== null)
  if (present > 1) {
    const names = [text !== null && 'cuerpo', base64 !== null && 'cuerpo_base64', datos !== null && 'datos']
    throw new EnvelopeError(`tiene ${names.filter(Boolean).join(' y ')}: sólo puede llevar uno`)
  }
  if (datos !== null) return { body: datos, contentType: 'application/json' }
  if (base64 !== null) return { body: base64Of(base64), contentType: 'application/octet-stream' }
  if (text === null) return { body: Buffer.alloc(0), contentType: '' }
  if (typeof text !== 'string') throw new EnvelopeError('"cuerpo" no es texto; para JSON use "datos"')
  if (!text.isWellFormed())
    throw new EnvelopeError('"cuerpo" tiene un carácter Unicode incompleto; use "cuerpo_base64"')
  return { body: Buffer.from(text, 'utf8'), contentType: 'application/json' }
}

function base64Of(value: unknown): Buffer {
  if (typeof value !== 'string' || !/^[A-Za-z0-9+/_-]*={0,2}$/.test(value.replace(/\s+/g, ''))) {
    throw new EnvelopeError('"cuerpo_base64" no es base64')
  }
  return Buffer.from(value, 'base64')
}

function idOf(id: unknown): string {
  // It travels as the header webhook-id and in key names.
  if (typeof id !== 'string' || !/^[\x21-\x7e]{1,200}$/.test(id)) {
    throw new EnvelopeError('"id" debe tener entre 1 y 200 caracteres ASCII visibles, sin espacios')
  }
  return id
}

function methodOf(entry: Members): string | null {
  const method = optionalText(entry, 'metodo')
  if (method !== null && !/^[A-Za-z]{1,20}$/.test(method))
    throw new EnvelopeError(`"metodo" ${show(method)} no es un método HTTP`)
  return method === null ? null : method.toUpperCase()
}

function headersOf(value: unknown): Record<string, string> {
  if (value === undefined || value === null) return {}
  // PHP writes an empty array for an empty map.
  if (Array.isArray(value) && value.length === 0) return {}
  if (typeof value !== 'object' || Array.isArray(value)) throw new EnvelopeError('"cabeceras" no es un objeto')
  const headers: Record<string, string> = {}
  for (const [name, text] of Object.entries(value)) {
    if (typeof text !== 'string') throw new EnvelopeError(`la cabecera "${name}" no es texto`)
    requireWellFormed(name + text, 'cabeceras')
    Object.defineProperty(headers, name, { value: text, enumerable: true })
  }
  return headers
}

function optionalText(entry: Members, key: string): string | null {
  const value = entry[key]
  if (value === undefined || value === null) return null
  if (typeof value !== 'string') throw new EnvelopeError(`"${key}" no es texto`)
  requireWellFormed(value, key)
  return value
}

/** Half a surrogate pair has no form in UTF-8: it would go out as another text. */
function requireWellFormed(text: string, key: string): void {
  if (!text.isWellFormed())
    throw new EnvelopeError(`"${key}" tiene un carácter Unicode incompleto (medio par sustituto)`)
}

function dateOf(entry: Members, key: string): Date | null {
  const text = optionalText(entry, key)
  if (text === null) return null
  const date = new Date(text)
  if (Number.isNaN(date.getTime())) throw new EnvelopeError(`"${key}" no es una fecha ISO 8601: ${show(text)}`)
  return date
}

function delayOf(value: unknown): Millis {
  const delay = typeof value === 'string' || typeof value === 'number' ? parseDelay(String(value)) : null
  if (delay === null)
    throw new EnvelopeError(`"demora" no es una duración (500ms, 5s, 10m, 2h, hasta 3650d): ${show(value)}`)
  return delay
}

/** What stood there, for the message. Nothing that is shown is an object by right, and a deep one is more than the stack holds. */
function show(value: unknown): string {
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'una lista' : 'un objeto'
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}

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
function overwriteMembers(raw: Buffer, members: Readonly<Record<string, unknown>>): Buffer {
  const head = readHead(raw)
  const quick = head.members !== null && trustedDatos(raw, head.members, head.datosAt) !== null
  // Of a repeated key the last one counts; ours stay in front of `datos`, so that it is still the last member.
  const at = quick ? head.datosAt - DATOS.length : raw.lastIndexOf(CLOSE)
  const more = Buffer.from(`,${JSON.stringify(members).slice(1, -1)}`)
  return Buffer.concat([raw.subarray(0, at), more, raw.subarray(at)])
}

const NOT_UTF8 = 'no es texto UTF-8 (¿ISO-8859-1? conviértalo: iconv -f ISO-8859-1 -t UTF-8)'

/** By `ParseErrorCode` of jsonc-parser, which tells where; what JSON.parse throws is English, and differs between versions of Node. */
const JSON_PROBLEMS: Readonly<Record<number, string>> = {
  1: 'texto que JSON no conoce (¿faltan comillas dobles?)',
  2: 'un número mal escrito',
  3: 'se esperaba el nombre de un miembro, entre comillas dobles',
  4: 'se esperaba un valor',
  5: 'se esperaba «:»',
  6: 'se esperaba «,»',
  7: 'falta «}»',
  8: 'falta «]»',
  9: 'sobra texto después del final',
  10: 'un comentario, que JSON no admite',
  12: 'una cadena sin cerrar',
  14: 'un \\u sin sus cuatro cifras hexadecimales',
  15: 'una barra invertida que no escapa nada conocido',
  16: 'un carácter de control dentro de una cadena',
}

/** Why bytes are not one JSON document in UTF-8, and where, in Spanish. @param raw what JSON.parse refused */
export function jsonProblem(raw: Buffer): string {
  if (!isUtf8(raw)) return NOT_UTF8
  const text = raw.toString('utf8')
  if (text.trim() === '') return 'está vacío'
  if (text.startsWith('\uFEFF')) return 'empieza con una marca de orden de bytes (BOM): guárdelo sin ella'
  const errors: ParseError[] = []
  try {
    parse(text, errors, { disallowComments: true, allowTrailingComma: false })
  } catch (error) {
    // That parser descends by recursion: brackets alone, some thousand of them, are more than the stack holds.
    if (error instanceof RangeError) return 'está anidado a demasiada profundidad, y mal cerrado'
    throw error
  }
  const [first] = errors
  if (first === undefined) return 'no se pudo leer'
  const before = text.slice(0, first.offset).split('\n')
  const place = `${before.length > 1 ? `línea ${before.length}, ` : ''}carácter ${before.at(-1)!.length + 1}`
  const [near] = text.slice(first.offset, first.offset + 20).split('\n')
  return `${JSON_PROBLEMS[first.error] ?? 'no se pudo leer'} (${place}${near === '' ? ', al final' : `: «${near}»`})`
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
  const source = decodeUtf8(raw)
  let value: unknown
  try {
    value = JSON.parse(source)
  } catch {
    throw new EnvelopeError(`no es JSON: ${jsonProblem(raw)}`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new EnvelopeError('no es un objeto JSON')
  const members = numbersAsWritten(value as Record<string, unknown>, source)
  const datos = Object.hasOwn(members, 'datos') ? Buffer.from(memberText(source, 'datos'), 'utf8') : null
  return { members, datos }
}

function decodeUtf8(raw: Buffer): string {
  try {
    return decoder.decode(raw)
  } catch {
    throw new EnvelopeError(NOT_UTF8)
  }
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
