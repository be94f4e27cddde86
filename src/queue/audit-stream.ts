/**
 * How an audit event is written in the stream, by this program and by its scripts, and read back.
 *
 * An entry's fields: `t` type (m, a, s, c), `at` Redis time in ms, `j` what the writer knows as JSON, `e` the envelope
 * (m), `s` what the script decided about the delivery (a, s): `state|version|attempts|next|reason`.
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

export function writeAttempt(attempt: AttemptRecord): string {
  const { responseBody, ...rest } = attempt
  if (!responseBody) return JSON.stringify(rest)
  return JSON.stringify(
    isUtf8(responseBody)
      ? { ...rest, body: responseBody.toString('utf8') }
      : { ...rest, body64: responseBody.toString('base64') },
  )
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
      return {
        type: 'attempt',
        at,
        attempt: { ...rest, responseBody, nextAttemptAt: state?.nextAttemptAt ?? null },
        state,
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
  if (text === '') return null
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
