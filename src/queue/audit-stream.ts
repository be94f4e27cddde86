/**
 * How an audit event is written in the stream, by this program and by its scripts, and read back.
 *
 * An entry's one field is named by its type (m, a, s, c) and holds `at json`, a line feed, `decided`: Redis time in ms, what
 * the writer knows as JSON, and what the script decided about the delivery (a, s): `state|version|attempts|next|reason`, or
 * `-id`: nothing, the lease was lost, and this attempt's own row replaces the one with that id. A message (m) has a second
 * field, `e`: its envelope.
 */
import { isUtf8 } from 'node:buffer'
import type { AttemptRecord, AuditEvent, CallbackRecord, DeliveryState, DeliveryStateName } from '../audit/event.ts'
import { decodeEnvelope } from './envelope.ts'

/** What `dispatch` writes about a message besides its envelope. */
export interface DispatchedHeader {
  readonly id: string
  readonly listeners: readonly string[] | null
  readonly keepBody: boolean
  readonly receivedAt: number
}

export function writeDispatched({ id, listeners, keepBody, receivedAt }: DispatchedHeader): string {
  return JSON.stringify({ i: id, l: listeners, k: keepBody ? 1 : 0, r: receivedAt })
}

/** What only the worker knows of a request. */
export interface AttemptContext extends Pick<AttemptRecord, 'messageId' | 'listener' | 'number' | 'result' | 'worker'> {
  /** False: the answer's body is not kept (`auditar_respuesta = 0`). */
  readonly keepResponse: boolean
}

/** Field by field: a spread of the same objects took as long as the rest of the bookkeeping of a delivery. */
export function writeAttempt(
  request: Omit<AttemptRecord, Exclude<keyof AttemptContext, 'keepResponse'> | 'nextAttemptAt'>,
  { messageId, listener, number, result, worker, keepResponse }: AttemptContext,
): string {
  const body = keepResponse ? request.responseBody : null
  const text = body !== null && isUtf8(body)
  return JSON.stringify({
    id: request.id,
    messageId,
    listener,
    number,
    request: request.request,
    startedAt: request.startedAt,
    durationMs: request.durationMs,
    phases: request.phases,
    method: request.method,
    url: request.url,
    ip: request.ip,
    requestHeaders: request.requestHeaders,
    status: request.status,
    responseHeaders: request.responseHeaders,
    responseTruncated: request.responseTruncated,
    error: request.error,
    errorDetail: request.errorDetail,
    result,
    worker,
    body: text ? body.toString('utf8') : undefined,
    body64: body !== null && !text ? body.toString('base64') : undefined,
  })
}

export function writeCallback(callback: CallbackRecord): string {
  return JSON.stringify(callback)
}

/**
 * Built with as few objects and copies as it takes: at thousands of events a second, collecting what a more obvious
 * reading left behind took longer than the reading.
 * @param fields names and values in turn
 * @throws when the entry is not one of ours; the caller sets it aside
 */
export function readEvent(fields: readonly Buffer[]): AuditEvent {
  const [name, value, , envelope] = fields
  const text = value?.toString('utf8') ?? ''
  const blank = text.indexOf(' ')
  const end = text.indexOf('\n', blank)
  const at = Number(text.slice(0, blank))
  if (blank < 1 || end < 0 || !Number.isFinite(at)) throw new Error(`no event: ${text.slice(0, 100)}`)
  const json = JSON.parse(text.slice(blank + 1, end))
  const decided = text.slice(end + 1)
  switch (name?.toString('latin1')) {
    case 'm': {
      const { message } = decodeEnvelope(envelope ?? Buffer.alloc(0), () => json.i, new Date(at))
      return { type: 'message', at, receivedAt: json.r, message, listeners: json.l, keepBody: json.k === 1 }
    }
    case 'a': {
      const state = stateOf(decided, json.messageId, json.listener)
      const { body, body64 } = json
      // The parsed object itself becomes the record; what was only its spelling leaves no trace.
      json.body = undefined
      json.body64 = undefined
      json.responseBody =
        body !== undefined ? Buffer.from(body, 'utf8') : body64 !== undefined ? Buffer.from(body64, 'base64') : null
      json.nextAttemptAt = state?.nextAttemptAt ?? null
      return { type: 'attempt', at, attempt: json, state, replaces: decided[0] === '-' ? decided.slice(1) : null }
    }
    case 's': {
      const state = stateOf(decided, json.m, json.l)
      if (!state) throw new Error('a change of state without the state')
      return { type: 'state', at, state }
    }
    case 'c':
      return { type: 'callback', at, callback: json }
    default:
      throw new Error(`type ${name}`)
  }
}

function stateOf(text: string, messageId: string, listener: string): DeliveryState | null {
  if (text === '' || text[0] === '-') return null
  const [state, version, attempts, next, ...reason] = text.split('|')
  return {
    messageId,
    listener,
    state: state as DeliveryStateName,
    version: Number(version),
    attempts: Number(attempts),
    nextAttemptAt: next ? Number(next) : null,
    reason: reason.join('|') || null,
  }
}
