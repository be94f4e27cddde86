/**
 * How an audit event is written in the stream, by this program and by its scripts, and read back.
 *
 * An entry's fields: `t` type (m, a, s, c), `at` Redis time in ms, `j` what the writer knows as JSON, `e` the envelope
 * (m), `s` what the script decided about the delivery (a, s): `state|version|attempts|next|reason`, or `-id`: nothing, the
 * lease was lost, and this attempt's own row replaces the one with that id.
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

/** @throws when the entry is not one of ours; the caller sets it aside */
export function readEvent(fields: ReadonlyMap<string, Buffer>): AuditEvent {
  const type = textOf(fields, 't')
  const at = Number(textOf(fields, 'at'))
  const json = JSON.parse(textOf(fields, 'j'))
  if (!Number.isFinite(at)) throw new Error(`at: ${textOf(fields, 'at')}`)
  switch (type) {
    case 'm': {
      const { message } = decodeEnvelope(fields.get('e') ?? Buffer.alloc(0), () => json.i, new Date(at))
      return { type: 'message', at, receivedAt: json.r, message, listeners: json.l, keepBody: json.k === 1 }
    }
    case 'a': {
      const { body, body64, ...rest } = json
      const responseBody =
        body !== undefined ? Buffer.from(body, 'utf8') : body64 !== undefined ? Buffer.from(body64, 'base64') : null
      const state = stateOf(fields, rest.messageId, rest.listener)
      const replaced = textOf(fields, 's')
      return {
        type: 'attempt',
        at,
        attempt: { ...rest, responseBody, nextAttemptAt: state?.nextAttemptAt ?? null },
        state,
        replaces: replaced.startsWith('-') ? replaced.slice(1) : null,
      }
    }
    case 's': {
      const state = stateOf(fields, json.m, json.l)
      if (!state) throw new Error('s: ""')
      return { type: 'state', at, state }
    }
    case 'c':
      return { type: 'callback', at, callback: json }
    default:
      throw new Error(`t: ${type}`)
  }
}

function stateOf(fields: ReadonlyMap<string, Buffer>, messageId: string, listener: string): DeliveryState | null {
  const text = textOf(fields, 's')
  if (text === '' || text.startsWith('-')) return null
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

function textOf(fields: ReadonlyMap<string, Buffer>, name: string): string {
  return fields.get(name)?.toString('utf8') ?? ''
}
