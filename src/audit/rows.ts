/**
 * A batch of events as the rows they leave behind.
 *
 * Pure. Events may come twice and in any order, so a batch is first brought to what it finally says: the message that
 * knows its listeners, and of each delivery the state with the highest version. Rows are sorted by their key: two writers
 * with the same rows then wait for each other instead of dead-locking.
 */
import type { Message } from '../message.ts'
import type { TextRules } from './encoding.ts'
import type {
  AttemptRecord,
  AuditEvent,
  CallbackRecord,
  DeliveryState,
  DeliveryStateName,
  MessageEvent,
} from './event.ts'

/** A row of `mensaje`. */
export interface MessageRow {
  readonly key: string
  readonly message: Message
  /** ms since epoch. */
  readonly receivedAt: number
  readonly listeners: number | null
  readonly body: Buffer | null
}

/** A row of `entrega`. */
export interface DeliveryRow {
  readonly key: string
  readonly messageId: string
  readonly listener: string
  readonly state: DeliveryStateName
  readonly attempts: number
  readonly nextAttemptAt: number | null
  readonly reason: string | null
  /** ms since epoch of the earliest event, and of the one with the highest version. */
  readonly createdAt: number
  readonly updatedAt: number
  readonly version: number
}

/** A row of `intento`. */
export interface AttemptRow extends AttemptRecord {
  readonly key: string
}

/** A row of `callback`. */
export interface CallbackRow extends CallbackRecord {
  readonly key: string
  /** ms since epoch. */
  readonly at: number
}

export interface Rows {
  readonly messages: readonly MessageRow[]
  readonly deliveries: readonly DeliveryRow[]
  readonly attempts: readonly AttemptRow[]
  readonly callbacks: readonly CallbackRow[]
}

export function rowsOf(events: readonly AuditEvent[], rules: TextRules): Rows {
  const messages = new Map<string, MessageRow>()
  const deliveries = new Map<string, DeliveryRow>()
  const attempts = new Map<string, AttemptRow>()
  const callbacks = new Map<string, CallbackRow>()
  const keyOf = (...parts: (string | number)[]) =>
    parts.map((part) => (typeof part === 'string' ? rules.key(part) : part)).join('\0')

  const addState = (state: DeliveryState, at: number) => {
    const key = keyOf(state.messageId, state.listener)
    const row = { ...state, key, createdAt: at, updatedAt: at }
    const known = deliveries.get(key)
    deliveries.set(key, known ? merged(known, row) : row)
  }

  for (const event of events) {
    switch (event.type) {
      case 'message': {
        const row = messageRow(event, keyOf(event.message.id, event.receivedAt))
        const known = messages.get(row.key)
        if (!known || (known.listeners === null && row.listeners !== null)) messages.set(row.key, row)
        for (const listener of event.listeners ?? []) addState(firstState(event.message.id, listener), event.at)
        break
      }
      case 'attempt': {
        const { attempt, state } = event
        const key = keyOf(attempt.messageId, attempt.id, attempt.request, attempt.startedAt)
        if (!attempts.has(key)) attempts.set(key, { ...attempt, key })
        if (state) addState(state, event.at)
        break
      }
      case 'state':
        addState(event.state, event.at)
        break
      case 'callback': {
        const { callback } = event
        const key = keyOf(callback.messageId, callback.id, callback.attempt)
        if (!callbacks.has(key)) callbacks.set(key, { ...callback, key, at: event.at })
        break
      }
    }
  }
  return {
    messages: sorted(messages),
    deliveries: sorted(deliveries),
    attempts: sorted(attempts),
    callbacks: sorted(callbacks),
  }
}

function messageRow({ message, receivedAt, listeners, keepBody }: MessageEvent, key: string): MessageRow {
  return { key, message, receivedAt, listeners: listeners?.length ?? null, body: keepBody ? message.body : null }
}

function firstState(messageId: string, listener: string): DeliveryState {
  return { messageId, listener, state: 'pendiente', attempts: 0, nextAttemptAt: null, reason: null, version: 0 }
}

/** The newer state, created at the earlier time. The upsert of `postgres.ts` says the same in SQL. */
function merged(a: DeliveryRow, b: DeliveryRow): DeliveryRow {
  const newer = a.version !== b.version ? a.version < b.version : a.updatedAt < b.updatedAt
  return { ...(newer ? b : a), createdAt: Math.min(a.createdAt, b.createdAt) }
}

function sorted<Row extends { readonly key: string }>(rows: ReadonlyMap<string, Row>): Row[] {
  return [...rows.values()].sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
}
