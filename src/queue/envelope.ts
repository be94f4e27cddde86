/**
 * Reading an envelope: a message as it lies in Redis (INTERFACE §4), written by `send` (`envelope-write.ts`) or by any other
 * program.
 *
 * Decoding keeps the body byte for byte, so `datos` is cut out of the source text and never parsed and printed again:
 * 20-digit numbers, key order, escapes and duplicate keys survive.
 */
import { visit } from 'jsonc-parser'
import { parseDelay } from '../config/quantities.ts'
import type { Message, Millis } from '../message.ts'
import { hasControl } from './envelope-write.ts'

/** Why an entry cannot be understood, in Spanish. */
export class EnvelopeError extends Error {
  override readonly name = 'EnvelopeError'
}

/** The keys of an envelope. `recibido` and `profundidad` are the program's own. */
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
  'creado',
  'clave',
  'demora',
  'no_antes_de',
  'listener',
  'origen',
  'recibido',
  'profundidad',
] as const

export interface Envelope {
  readonly message: Message
  /** True when the entry carried its id. */
  readonly hasId: boolean
  /** Relative delay in ms, where `demora` was given instead of `no_antes_de`: it runs from when the entry is taken. */
  readonly delay: number | null
  /** When a delayed message was first taken, ms since epoch. */
  readonly receivedAt: number | null
}

const MAX_DEPTH = 1000

/**
 * Reads an entry of the queue.
 * @param raw    the bytes of the entry
 * @param makeId gives the id of an entry without one
 * @param now    stands in for a missing `creado`
 * @throws EnvelopeError when the entry cannot be understood
 */
export function decodeEnvelope(raw: Buffer, makeId: () => string, now: Date): Envelope {
  const source = decodeUtf8(raw)
  const entry = parseObject(source)
  const version = entry.v ?? 1
  if (version !== 1) throw new EnvelopeError(`v = ${show(version)}: esta versión del programa entiende v = 1`)

  const id = entry.id === undefined || entry.id === null ? null : idOf(entry.id)
  const event = entry.evento
  if (typeof event !== 'string' || event === '') throw new EnvelopeError('falta "evento" (texto no vacío)')
  if (event.length > 255 || hasControl(event))
    throw new EnvelopeError('"evento" tiene más de 255 caracteres o caracteres de control')

  const { body, contentType } = bodyOf(entry, source)
  const declared = optionalText(entry, 'tipo_contenido')
  return {
    hasId: id !== null,
    delay: entry.demora === undefined || entry.demora === null ? null : delayOf(entry.demora),
    receivedAt: typeof entry.recibido === 'number' ? entry.recibido : null,
    message: {
      id: id ?? makeId(),
      event,
      body,
      contentType: declared ?? contentType,
      method: methodOf(entry),
      path: optionalText(entry, 'ruta'),
      headers: headersOf(entry.cabeceras),
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
 * The same entry with its id, its first reception and its absolute due time written at the end, where they win over
 * earlier ones. The rest stays as it is: a delayed entry is stored again and must keep its bytes.
 */
export function stampEnvelope(raw: Buffer, id: string, receivedAt: number, notBefore: Date): Buffer {
  const end = raw.lastIndexOf('}')
  const stamp = JSON.stringify({ id, demora: null, no_antes_de: notBefore.toISOString(), recibido: receivedAt })
  return Buffer.concat([raw.subarray(0, end), Buffer.from(`,${stamp.slice(1)}`)])
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false })

function decodeUtf8(raw: Buffer): string {
  try {
    return decoder.decode(raw)
  } catch {
    throw new EnvelopeError('no es texto UTF-8')
  }
}

function parseObject(source: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(source)
  } catch (error) {
    throw new EnvelopeError(`no es JSON: ${(error as Error).message}`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new EnvelopeError('no es un objeto JSON')
  return value as Record<string, unknown>
}

function bodyOf(entry: Record<string, unknown>, source: string): { body: Buffer; contentType: string } {
  const present = ['cuerpo', 'cuerpo_base64', 'datos'].filter(
    (key) => Object.hasOwn(entry, key) && (key === 'datos' || entry[key] !== null),
  )
  if (present.length > 1) throw new EnvelopeError(`tiene ${present.join(' y ')}: sólo puede llevar uno`)
  switch (present[0]) {
    case 'cuerpo':
      if (typeof entry.cuerpo !== 'string') throw new EnvelopeError('"cuerpo" no es texto; para JSON use "datos"')
      if (!entry.cuerpo.isWellFormed())
        throw new EnvelopeError('"cuerpo" tiene un carácter Unicode incompleto; use "cuerpo_base64"')
      return { body: Buffer.from(entry.cuerpo, 'utf8'), contentType: 'application/json' }
    case 'cuerpo_base64':
      return { body: base64Of(entry.cuerpo_base64), contentType: 'application/octet-stream' }
    case 'datos':
      return { body: Buffer.from(memberText(source, 'datos'), 'utf8'), contentType: 'application/json' }
    default:
      return { body: Buffer.alloc(0), contentType: '' }
  }
}

function base64Of(value: unknown): Buffer {
  if (typeof value !== 'string' || !/^[A-Za-z0-9+/_-]*={0,2}$/.test(value.replace(/\s+/g, ''))) {
    throw new EnvelopeError('"cuerpo_base64" no es base64')
  }
  return Buffer.from(value, 'base64')
}

/** The source text of a member of the outermost object; of the last one where the key is repeated, as JSON.parse takes it. */
function memberText(source: string, key: string): string {
  let depth = 0
  let wanted = false
  let start = 0
  let found = ''
  const begin = (offset: number) => {
    if (depth === 1 && wanted) start = offset
    depth += 1
    if (depth > MAX_DEPTH) throw new EnvelopeError(`"${key}" anida más de ${MAX_DEPTH} niveles`)
  }
  const end = (offset: number, length: number) => {
    depth -= 1
    if (depth === 1 && wanted) found = source.slice(start, offset + length)
  }
  visit(source, {
    onObjectBegin: begin,
    onArrayBegin: begin,
    onObjectEnd: end,
    onArrayEnd: end,
    onObjectProperty: (name) => {
      if (depth === 1) wanted = name === key
    },
    onLiteralValue: (_, offset, length) => {
      if (depth === 1 && wanted) found = source.slice(offset, offset + length)
    },
  })
  return found
}

function idOf(value: unknown): string {
  const id = typeof value === 'number' ? String(value) : value
  // It travels as the header webhook-id and in key names.
  if (typeof id !== 'string' || !/^[\x21-\x7e]{1,200}$/.test(id)) {
    throw new EnvelopeError('"id" debe tener entre 1 y 200 caracteres ASCII visibles, sin espacios')
  }
  return id
}

function methodOf(entry: Record<string, unknown>): string | null {
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
    if (typeof text !== 'string' && typeof text !== 'number')
      throw new EnvelopeError(`la cabecera "${name}" no es texto`)
    Object.defineProperty(headers, name, { value: String(text), enumerable: true })
  }
  return headers
}

function optionalText(entry: Record<string, unknown>, key: string): string | null {
  const value = entry[key]
  if (value === undefined || value === null) return null
  if (typeof value !== 'string') throw new EnvelopeError(`"${key}" no es texto`)
  return value
}

function dateOf(entry: Record<string, unknown>, key: string): Date | null {
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

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}
