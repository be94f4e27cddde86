/**
 * A batch of events as the rows they leave behind.
 *
 * Pure. Events may come twice and in any order, so a batch is first brought to what it finally says: the message that
 * knows its listeners, and of each delivery the state with the highest version. Rows are sorted by their key: two writers
 * with the same rows then wait for each other instead of dead-locking.
 */
import type { Message, Millis } from '../model/message.ts'
import { exactValues, type TextRules } from './encoding.ts'
import type {
  ActionRecord,
  AttemptEvent,
  AuditEvent,
  CallbackRecord,
  DeliveryState,
  DeliveryStateName,
  MessageEvent,
  ToldAttempt,
} from './event.ts'
import { WITHOUT_OUTCOME } from './event.ts'

/** A row of `mensaje`. */
export interface MessageRow {
  readonly key: string
  readonly message: Message
  /** ms since epoch. */
  readonly receivedAt: number
  readonly listeners: number | null
  readonly body: Buffer | null
  /** What its columns do not hold as it was sent, see `exactValues`. */
  readonly exact: Buffer | null
  /** Nothing of it was written before, unless this is a repetition: not so of a delayed message, which comes twice. */
  readonly isNew: boolean
}

/** A row of `entrega`. */
export interface DeliveryRow {
  readonly key: string
  readonly messageId: string
  readonly listener: string
  /** Its message's; null where only a state came: what is there stays then. */
  readonly event: string | null
  readonly state: DeliveryStateName
  readonly attempts: number
  readonly nextAttemptAt: number | null
  readonly reason: string | null
  /** Id of the last action that touched it. */
  readonly action: string | null
  /** ms since epoch of the earliest event, and of the one with the highest version. */
  readonly createdAt: number
  readonly updatedAt: number
  readonly version: number
  /** Its beginning is in this batch: nothing of it was written before, unless this is a repetition. */
  readonly isNew: boolean
}

/** A row of `intento`. */
export interface AttemptRow {
  readonly key: string
  readonly attempt: ToldAttempt
  /** Its message's; null: neither the attempt nor this batch says. */
  readonly event: string | null
  /** No other request of its attempt follows. */
  readonly isLast: boolean
  /** Then: how long all of them took; null: there were several, and its writer (0.1.0) does not say. */
  readonly attemptMs: Millis | null
}

/** A row of `accion`. */
export interface ActionRow {
  readonly key: string
  readonly action: ActionRecord
  /** ms since epoch of when it began. */
  readonly at: number
}

/** A row of `callback`. */
export interface CallbackRow {
  readonly key: string
  readonly callback: CallbackRecord
  /** ms since epoch. */
  readonly at: number
}

export interface Rows {
  readonly messages: readonly MessageRow[]
  readonly deliveries: readonly DeliveryRow[]
  readonly attempts: readonly AttemptRow[]
  readonly callbacks: readonly CallbackRow[]
  readonly actions: readonly ActionRow[]
}

export function rowsOf(batch: readonly AuditEvent[], rules: TextRules): Rows {
  const messages = new Map<string, MessageRow>()
  const deliveries = new Map<string, DeliveryRow>()
  const attempts = new Map<string, AttemptRow>()
  const callbacks = new Map<string, CallbackRow>()
  const actions = new Map<string, ActionRow>()
  const events = new Map<string, string>()
  const addState = (state: DeliveryState, at: number, event: string | null = null) => {
    const key = `${rules.key(state.messageId)}\0${rules.key(state.listener)}`
    const known = deliveries.get(key)
    const row = deliveryRow(key, state, at, event)
    deliveries.set(key, known ? merged(known, row) : row)
  }

  for (const event of batch) {
    switch (event.type) {
      case 'message': {
        const row = messageRow(event, `${rules.key(event.message.id)}\0${event.receivedAt}`, rules)
        const known = messages.get(row.key)
        if (!known || (known.listeners === null && row.listeners !== null)) messages.set(row.key, row)
        const { id, event: name } = event.message
        events.set(id, name)
        for (const listener of event.listeners ?? []) addState(firstState(id, listener), event.at, name)
        break
      }
      case 'attempt': {
        const { attempt, state } = event
        const key = `${rules.key(attempt.messageId)}\0${rules.key(attempt.id)}\0${attempt.request}\0${attempt.startedAt}`
        if (!attempts.has(key)) {
          const name = attempt.event ?? events.get(attempt.messageId) ?? null
          const attemptMs = event.attemptMs ?? (attempt.request === 1 ? attempt.durationMs : null)
          attempts.set(key, { key, attempt, event: name, isLast: isLastRequest(event), attemptMs })
        }
        if (state) addState(state, event.at)
        break
      }
      case 'state':
        addState(event.state, event.at)
        break
      case 'callback': {
        const { callback } = event
        const key = `${rules.key(callback.messageId)}\0${rules.key(callback.id)}\0${callback.attempt}`
        if (!callbacks.has(key)) callbacks.set(key, { key, callback, at: event.at })
        break
      }
      case 'action': {
        const { action, at } = event
        const known = actions.get(action.id)
        const row = { key: rules.key(action.id), action, at }
        actions.set(action.id, known ? mergedAction(known, row) : row)
        break
      }
    }
  }
  return {
    messages: sorted(messages),
    deliveries: sorted(deliveries),
    attempts: sorted(attempts),
    callbacks: sorted(callbacks),
    actions: sorted(actions),
  }
}

/** The script says with it what became of the delivery, or that it changed nothing; of the requests before it says nothing. */
function isLastRequest({ state, replaces, attempt, attemptMs }: AttemptEvent): boolean {
  return attemptMs !== null || state !== null || replaces !== null || attempt.error === WITHOUT_OUTCOME
}

/** What is told at the end counts, and when it began. */
function mergedAction(known: ActionRow, more: ActionRow): ActionRow {
  const { action } = known.action.count > more.action.count ? known : more
  return { ...known, action, at: Math.min(known.at, more.at) }
}

function messageRow(
  { message, receivedAt, listeners, keepBody }: MessageEvent,
  key: string,
  rules: TextRules,
): MessageRow {
  return {
    key,
    message,
    receivedAt,
    listeners: listeners?.length ?? null,
    body: keepBody ? message.body : null,
    exact: exactValues(sentColumns(message), rules),
    isNew: message.notBefore === null,
  }
}

/** What of a message is sent, or decides who gets it, by column. */
function sentColumns({ id, event, method, path, headers, contentType, key, origin, onlyListener }: Message) {
  return {
    id,
    evento: event,
    metodo: method,
    ruta: path,
    cabeceras: headers,
    tipo_contenido: contentType,
    clave: key,
    origen: origin,
    solo_listener: onlyListener,
  }
}

function firstState(messageId: string, listener: string): DeliveryState {
  const nothingYet = { attempts: 0, nextAttemptAt: null, reason: null, version: 0, action: null }
  return { messageId, listener, state: 'pendiente', ...nothingYet }
}

function deliveryRow(
  key: string,
  { messageId, listener, state, attempts, nextAttemptAt, reason, version, action }: DeliveryState,
  at: number,
  event: string | null,
): DeliveryRow {
  return {
    key,
    messageId,
    listener,
    event,
    state,
    attempts,
    nextAttemptAt,
    reason,
    action,
    createdAt: at,
    updatedAt: at,
    version,
    isNew: event !== null,
  }
}

/**
 * The newer state, created at the earlier time. The upsert of `tables.ts` says the same in SQL.
 *
 * A beginning has version 0: whatever happens to the delivery is newer. Where there are two of them the same id was sent again,
 * and the later one begins another round of the delivery: its version is its own time, after all of the round before.
 */
function merged(known: DeliveryRow, more: DeliveryRow): DeliveryRow {
  const before = known.version === 0 && more.createdAt < known.createdAt ? known.createdAt : known.version
  const isRound = more.version === 0 && more.createdAt > Math.max(known.createdAt, known.updatedAt)
  const after = isRound ? more.createdAt : more.version
  const isNewer = before !== after ? before < after : known.updatedAt < more.updatedAt
  const [newer, older] = isNewer ? [more, known] : [known, more]
  return {
    ...newer,
    event: newer.event ?? older.event,
    // Ids of actions are in the order of time.
    action: (newer.action ?? '') > (older.action ?? '') ? newer.action : older.action,
    version: isNewer ? after : before,
    createdAt: Math.min(known.createdAt, more.createdAt),
    isNew: known.isNew || more.isNew,
  }
}

function sorted<Row extends { readonly key: string }>(rows: ReadonlyMap<string, Row>): Row[] {
  return [...rows.values()].sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
}
