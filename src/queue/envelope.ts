/**
 * Reading an envelope: a message as it lies in Redis (INTERFACE §4), written by `send` (`envelope-write.ts`) or by any other
 * program. `entry.ts` reads its bytes; here is what they mean.
 */

import type { Message, Millis } from '../model/message.ts'
import { parseDelay } from '../model/quantities.ts'
import { withTraceMembers } from '../model/trace.ts'
import { type Entry, EnvelopeError, overwriteMembers, readEntry } from './entry.ts'
import { hasControl } from './envelope-write.ts'

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

export interface Envelope {
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

/** For whoever only looks; null: it cannot be understood, and is nobody's delivery. An id that it lacks is '', its `creado` no date. */
export function understood(raw: Buffer): Envelope | null {
  try {
    return decodeEnvelope(raw, () => '', new Date(Number.NaN))
  } catch {
    return null
  }
}

/** Like `decodeEnvelope`, of an entry whose JSON was read before. */
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
