/**
 * How an audit event is written in the stream, by this program and by its scripts, and read back (`audit-stream.ts` reads the stream).
 *
 * An entry's one field is named by its type (m, a, s, c, o) and holds `at json`, a line feed, `decided`: Redis time in ms, what
 * the writer knows as JSON, and what the script decided about the delivery (a, s): `state|version|attempts|next|reason`, or
 * `-id`: nothing, the lease was lost, and this attempt's own row replaces the one with that id. A message (m) has a second
 * field, `e`: its envelope. An attempt (a) is an array with the number of its format in front, 3: names would be a third of it. The
 * rest, and an attempt that a script tells, are objects, whose `v` is 2. A number rises when those who read the one before would
 * not understand an entry.
 *
 * What 0.1.0 writes is still read: objects without their number, attempts too. Whatever else there is, is not understood, and nobody
 * throws it away.
 */
import { isUtf8 } from 'node:buffer'
import {
  type ActionRecord,
  type AttemptEvent,
  type AttemptRecord,
  type AuditEvent,
  type CallbackRecord,
  type DeliveryState,
  type DeliveryStateName,
  type JsonText,
  type ToldAttempt,
  toldAttempt,
} from '../audit/event.ts'
import type { Millis } from '../model/message.ts'
import { decodeEnvelope } from './envelope.ts'

/** What `dispatch` writes about a message besides its envelope. */
interface DispatchedHeader {
  readonly id: string
  readonly listeners: readonly string[] | null
  readonly keepBody: boolean
  readonly receivedAt: number
}

export function writeDispatched({ id, listeners, keepBody, receivedAt }: DispatchedHeader): string {
  return JSON.stringify({ i: id, l: listeners, k: keepBody ? 1 : 0, r: receivedAt })
}

/** What only the worker knows of a request. */
interface AttemptContext
  extends Pick<AttemptRecord, 'messageId' | 'event' | 'listener' | 'number' | 'result' | 'worker'> {
  /** Of the last request of an attempt, how long all of them took. */
  readonly attemptMs: Millis | null
  /** False: the answer's body is not kept (`auditar_respuesta = 0`). */
  readonly keepResponse: boolean
  /** From the clock of this machine to Redis's, whose times all of the audit has. */
  readonly toRedisTime: Millis
}

/** As `attemptOf` reads it. */
export function writeAttempt(
  request: Omit<AttemptRecord, Exclude<keyof AttemptContext, 'keepResponse' | 'toRedisTime'> | 'nextAttemptAt'>,
  { messageId, event, listener, number, result, worker, attemptMs, keepResponse, toRedisTime }: AttemptContext,
): string {
  const body = keepResponse ? request.responseBody : null
  const told = JSON.stringify([
    ATTEMPT_FORMAT,
    request.id,
    messageId,
    event,
    listener,
    number,
    request.request,
    request.startedAt + toRedisTime,
    Math.round(request.durationMs),
    request.method,
    request.url,
    request.ip,
    request.status,
    // Bytes that are no text in an array of their own.
    body && (isUtf8(body) ? body.toString('utf8') : [body.toString('base64')]),
    request.responseTruncated ? 1 : 0,
    request.error,
    request.errorDetail,
    result,
    worker,
    attemptMs === null ? null : Math.round(attemptMs),
  ])
  const phases = JSON.stringify(request.phases && wholePhases(request.phases))
  const answered = JSON.stringify(request.responseHeaders && endToEnd(request.responseHeaders))
  return `${told}\n${phases}\n${JSON.stringify(request.requestHeaders)}\n${answered}`
}

/** To the millisecond, and without the total, which the attempt has: a third of what they took. */
function wholePhases(phases: NonNullable<AttemptRecord['phases']>): Record<string, number> {
  const whole: Record<string, number> = {}
  for (const name in phases) if (name !== 'total') whole[name] = Math.round(phases[name]!)
  return whole
}

/** Of a connection that is kept, as nearly all are, what only concerns the connection. */
const OF_A_CONNECTION: Readonly<Record<string, RegExp>> = { connection: /^keep-alive$/i, 'keep-alive': /^/ }

function endToEnd(headers: NonNullable<AttemptRecord['responseHeaders']>): Record<string, string | readonly string[]> {
  const kept: Record<string, string | readonly string[]> = {}
  for (const name in headers) {
    const value = headers[name]!
    if (typeof value !== 'string' || !OF_A_CONNECTION[name.toLowerCase()]?.test(value)) kept[name] = value
  }
  return kept
}

/** What is told of a delivery whose state changed without a request. @param action of the person who changed it */
export function writeState(messageId: string, listener: string, action: string | null): string {
  return JSON.stringify({ m: messageId, l: listener, o: action ?? undefined })
}

/** As it is. */
export function writeRecord(record: ActionRecord | CallbackRecord): string {
  return JSON.stringify(record)
}

/** Of the objects that `tell` (lua/common.lua) writes. */
const FORMAT = 2
/** Of the arrays. */
const ATTEMPT_FORMAT = 3

/**
 * Built with as few objects and copies as it takes: at thousands of events a second, collecting what a more obvious
 * reading left behind took longer than the reading.
 * @param fields names and values in turn
 * @throws when this version does not understand the entry; the caller keeps it whole
 */
export function readEvent(fields: readonly Buffer[]): AuditEvent {
  const [name, value, , envelope] = fields
  const kind = name?.toString('latin1') ?? ''
  const text = value?.toString('utf8') ?? ''
  const blank = text.indexOf(' ')
  const end = text.indexOf('\n', blank)
  const at = Number(text.slice(0, blank))
  if (blank < 1 || end < 0) throw new Error('no tiene la forma de una entrada de auditoría')
  const json = JSON.parse(text.slice(blank + 1, end))
  return Array.isArray(json)
    ? attemptOf(kind, at, json, text, end + 1)
    : eventOf(kind, at, json, text.slice(end + 1), envelope)
}

/** @param json an object, one hopes */
function eventOf(
  kind: string,
  at: number,
  // biome-ignore lint/suspicious/noExplicitAny: it is looked at member by member
  json: any,
  decided: string,
  envelope?: Buffer,
): AuditEvent {
  if (typeof json !== 'object' || json === null) throw new Error('no es un objeto')
  const format = json.v ?? FORMAT
  if (format !== FORMAT)
    throw new Error(`formato ${JSON.stringify(format)}: esta versión entiende hasta el ${ATTEMPT_FORMAT}`)
  const shape = SHAPES[kind]
  if (!shape || !Number.isFinite(at) || !fits(json, shape))
    throw new Error(`no es una entrada «${kind}» de este formato`)
  switch (kind) {
    case 'm': {
      const { message } = decodeEnvelope(envelope ?? Buffer.alloc(0), () => json.i, new Date(at))
      const listeners = json.l ?? null
      if (listeners !== null && !Array.isArray(listeners)) throw new Error('la lista de listeners no es una lista')
      return { type: 'message', at, receivedAt: json.r, message, listeners, keepBody: json.k === 1 }
    }
    case 'a': {
      const state = stateOf(decided, json.messageId, json.listener, null)
      const { body, body64 } = json
      // The parsed object itself becomes the record; what was only its spelling leaves no trace.
      json.body = undefined
      json.body64 = undefined
      json.responseBody =
        body !== undefined ? Buffer.from(body, 'utf8') : body64 !== undefined ? Buffer.from(body64, 'base64') : null
      json.nextAttemptAt = state?.nextAttemptAt ?? null
      json.event ??= null
      return { type: 'attempt', at, attempt: toldAttempt(json), attemptMs: null, state, replaces: replacedBy(decided) }
    }
    case 's': {
      const state = stateOf(decided, json.m, json.l, json.o)
      if (!state) throw new Error('un cambio de estado sin el estado')
      return { type: 'state', at, state }
    }
    case 'o':
      return { type: 'action', at, action: json }
    default:
      return { type: 'callback', at, callback: json }
  }
}

function replacedBy(decided: string): string | null {
  return decided[0] === '-' ? decided.slice(1) : null
}

/** Places in the array, by what must stand there. */
const TEXTS = [1, 2, 4, 9, 10, 17, 18]
const NUMBERS = [5, 6, 7, 8]
const MAYBE_TEXTS = [3, 11, 15, 16]
const MAYBE_NUMBERS = [12, 19]

/**
 * What `writeAttempt` writes.
 * @param text the whole field
 * @param from where in it the lines after the array begin
 */
function attemptOf(kind: string, at: number, told: readonly unknown[], text: string, from: number): AttemptEvent {
  if (told[0] !== ATTEMPT_FORMAT) {
    throw new Error(`formato ${JSON.stringify(told[0])}: esta versión entiende hasta el ${ATTEMPT_FORMAT}`)
  }
  const sent = text.indexOf('\n', from) + 1
  const answered = text.indexOf('\n', sent) + 1
  const end = text.indexOf('\n', answered)
  const isWhole =
    stand(told, TEXTS, 'string') &&
    stand(told, NUMBERS, 'number') &&
    stand(told, MAYBE_TEXTS, 'string', true) &&
    stand(told, MAYBE_NUMBERS, 'number', true)
  if (kind !== 'a' || !Number.isFinite(at) || !isWhole || sent === 0 || answered === 0 || end < 0)
    throw new Error(`no es una entrada «${kind}» de este formato`)
  const decided = text.slice(end + 1)
  const state = stateOf(decided, told[2] as string, told[4] as string, null)
  // One literal with every member: put together from three parts it took 16 µs more an attempt.
  const attempt = {
    id: told[1],
    messageId: told[2],
    event: told[3],
    listener: told[4],
    number: told[5],
    request: told[6],
    startedAt: told[7],
    durationMs: told[8],
    phases: jsonOrNull(text.slice(from, sent - 1)),
    method: told[9],
    url: told[10],
    ip: told[11],
    requestHeaders: text.slice(sent, answered - 1),
    status: told[12],
    responseHeaders: jsonOrNull(text.slice(answered, end)),
    responseBody: bodyOf(told[13]),
    responseTruncated: told[14] === 1,
    error: told[15],
    errorDetail: told[16],
    result: told[17],
    worker: told[18],
    nextAttemptAt: state === null ? null : state.nextAttemptAt,
  }
  return {
    type: 'attempt',
    at,
    attempt: attempt as unknown as ToldAttempt,
    attemptMs: told[19] as number | null,
    state,
    replaces: replacedBy(decided),
  }
}

function jsonOrNull(text: JsonText): JsonText | null {
  return text === 'null' ? null : text
}

function stand(told: readonly unknown[], places: readonly number[], kind: string, nullable = false): boolean {
  for (const place of places) {
    const value = told[place]
    if (typeof value !== kind && !(nullable && value === null)) return false
  }
  return true
}

function bodyOf(told: unknown): Buffer | null {
  if (typeof told === 'string') return Buffer.from(told, 'utf8')
  return Array.isArray(told) ? Buffer.from(String(told[0]), 'base64') : null
}

interface Shape {
  readonly texts: readonly string[]
  readonly numbers?: readonly string[]
  /** Null where they are missing. */
  readonly maybeTexts?: readonly string[]
  readonly maybeNumbers?: readonly string[]
}

/** What the members must be for a row to be made of them: one event that is none would hold up all those behind it. */
const SHAPES: Readonly<Record<string, Shape>> = {
  m: { texts: ['i'], numbers: ['r'] },
  a: {
    texts: ['id', 'messageId', 'listener', 'method', 'url', 'result', 'worker'],
    numbers: ['number', 'request', 'startedAt', 'durationMs'],
    maybeTexts: ['event', 'ip', 'error', 'errorDetail'],
    maybeNumbers: ['status'],
  },
  s: { texts: ['m', 'l'], maybeTexts: ['o'] },
  o: { texts: ['id', 'who', 'host', 'order'], maybeTexts: ['filter'], numbers: ['count'] },
  c: {
    texts: ['id', 'messageId', 'listener', 'type', 'target', 'result'],
    numbers: ['attempt'],
    maybeTexts: ['detail'],
  },
}

function fits(json: Record<string, unknown>, { texts, numbers, maybeTexts, maybeNumbers }: Shape): boolean {
  return (
    are(json, texts, 'string', false) &&
    are(json, numbers, 'number', false) &&
    are(json, maybeTexts, 'string', true) &&
    are(json, maybeNumbers, 'number', true)
  )
}

function are(json: Record<string, unknown>, names: readonly string[] = [], kind: string, nullable: boolean): boolean {
  for (const name of names) {
    if (nullable) json[name] ??= null
    if (typeof json[name] !== kind && !(nullable && json[name] === null)) return false
  }
  return true
}

function stateOf(text: string, messageId: string, listener: string, action: string | null): DeliveryState | null {
  if (text === '' || text[0] === '-') return null
  const [state, version, attempts, next, ...reason] = text.split('|')
  if (!(Number.parseInt(version!, 10) >= 0 && Number.parseInt(attempts!, 10) >= 0))
    throw new Error('un estado sin versión o sin intentos')
  return {
    messageId,
    listener,
    state: state as DeliveryStateName,
    version: Number(version),
    attempts: Number(attempts),
    nextAttemptAt: next ? Number(next) : null,
    reason: reason.join('|') || null,
    action,
  }
}
