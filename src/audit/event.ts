/**
 * What happened, on its way from the queue to Postgres.
 *
 * Written by the queue's scripts into the audit stream in the same step as the change itself, and possibly delivered to
 * the backend more than once and out of order: `id` makes an attempt or a callback idempotent, and `version` (rising
 * with every change of one delivery) lets an older state never overwrite a newer one.
 */
import type { Message } from '../model/message.ts'

export type AuditEvent = MessageEvent | AttemptEvent | StateEvent | CallbackEvent | ActionEvent

/** A message was taken from the queue. `listeners` is null while its `demora` runs, and comes again when that ends. */
export interface MessageEvent {
  readonly type: 'message'
  /** Redis time, ms since epoch. */
  readonly at: number
  /** When the message was first taken from the queue, ms since epoch: the same in both events of a delayed message. */
  readonly receivedAt: number
  readonly message: Message
  /** Each gets an `entrega` in state `pendiente`, version 0. */
  readonly listeners: readonly string[] | null
  /** False when no matching listener wants its body kept (`auditar_cuerpo = 0`). */
  readonly keepBody: boolean
}

/** One HTTP request was made; `state` is null when the lease was lost: the row is kept, the delivery is not touched. */
export interface AttemptEvent {
  readonly type: 'attempt'
  readonly at: number
  readonly attempt: ToldAttempt
  /** Of the last request of an attempt, how long all of them took; null: another one follows, or its writer did not say. */
  readonly attemptMs: number | null
  readonly state: DeliveryState | null
  /** Id of the row that stood for this attempt while its outcome was unknown: it goes. */
  readonly replaces: string | null
}

/** `error` of a row that stands for an outcome that did not come. */
export const WITHOUT_OUTCOME = 'sin_resultado'

/** A delivery changed without a request: lease expired for good, discarded, sent again, its listener removed… */
export interface StateEvent {
  readonly type: 'state'
  readonly at: number
  readonly state: DeliveryState
}

/** A person did something: told when it begins (`count` 0), and again when it has ended. */
export interface ActionEvent {
  readonly type: 'action'
  readonly at: number
  readonly action: ActionRecord
}

/** A callback ran once. */
export interface CallbackEvent {
  readonly type: 'callback'
  readonly at: number
  readonly callback: CallbackRecord
}

export type DeliveryStateName = 'pendiente' | 'reintentando' | 'exitosa' | 'fallida' | 'descartada'

export interface DeliveryState {
  readonly messageId: string
  readonly listener: string
  readonly state: DeliveryStateName
  /** Attempts made so far. */
  readonly attempts: number
  /** ms since epoch. */
  readonly nextAttemptAt: number | null
  readonly reason: string | null
  readonly version: number
  /** Id of the action that changed it; null: no person did. */
  readonly action: string | null
}

/** One row of `intento`. */
export interface AttemptRecord {
  /** ULID made by whoever made the request. */
  readonly id: string
  readonly messageId: string
  /** Of its message; null where its writer did not say. */
  readonly event: string | null
  readonly listener: string
  readonly number: number
  /** 1, 2, … within one attempt: a digest challenge, a redirect and a request repeated on a fresh socket are requests of their own. */
  readonly request: number
  /** ms since epoch. */
  readonly startedAt: number
  readonly durationMs: number
  /** Phases in ms (dns, conexion, tls, primer_byte), where measured. */
  readonly phases: Readonly<Record<string, number>> | null
  readonly method: string
  /** Secrets already replaced. */
  readonly url: string
  readonly ip: string | null
  readonly requestHeaders: Readonly<Record<string, string>>
  readonly status: number | null
  readonly responseHeaders: Readonly<Record<string, string | readonly string[]>> | null
  readonly responseBody: Buffer | null
  readonly responseTruncated: boolean
  /** Short code: `timeout dns conexion tls respuesta …`. */
  readonly error: string | null
  readonly errorDetail: string | null
  readonly result: 'exito' | 'reintento' | 'fallo'
  /** ms since epoch. */
  readonly nextAttemptAt: number | null
  /** host:pid:random of the process that made it. */
  readonly worker: string
}

/** JSON as its text: what is only passed on need not be parsed and written again. */
export type JsonText = string

/** An attempt as it is told and stored. */
export interface ToldAttempt extends Omit<AttemptRecord, 'phases' | 'requestHeaders' | 'responseHeaders'> {
  readonly phases: JsonText | null
  readonly requestHeaders: JsonText
  readonly responseHeaders: JsonText | null
}

export function toldAttempt(attempt: AttemptRecord): ToldAttempt {
  const { phases, requestHeaders, responseHeaders } = attempt
  return {
    ...attempt,
    phases: phases && JSON.stringify(phases),
    requestHeaders: JSON.stringify(requestHeaders),
    responseHeaders: responseHeaders && JSON.stringify(responseHeaders),
  }
}

/** What an event is about: the row's own id, where it has one, its message and its listener. */
export function idsOf(event: AuditEvent): {
  readonly id?: string
  readonly messageId?: string
  readonly listener?: string
} {
  switch (event.type) {
    case 'message':
      return { messageId: event.message.id }
    case 'attempt':
      return { id: event.attempt.id, messageId: event.attempt.messageId, listener: event.attempt.listener }
    case 'state':
      return { messageId: event.state.messageId, listener: event.state.listener }
    case 'action':
      return { id: event.action.id }
    case 'callback':
      return { id: event.callback.id, messageId: event.callback.messageId, listener: event.callback.listener }
  }
}

/** One row of `callback`. */
export interface CallbackRecord {
  /** Deterministic per callback; with `attempt` it makes the row unique. */
  readonly id: string
  readonly messageId: string
  readonly listener: string
  readonly type: 'on_success' | 'on_failure'
  readonly target: string
  readonly attempt: number
  readonly result: 'exito' | 'reintento' | 'fallo'
  readonly detail: string | null
}

/** One row of `accion`. */
export interface ActionRecord {
  /** ULID made by whoever does it. */
  readonly id: string
  /** The user, and the machine. */
  readonly who: string
  readonly host: string
  /** The command line as it was typed, or what the page was asked; without secrets. */
  readonly order: string
  /** What was selected; null where it speaks for itself. */
  readonly filter: string | null
  /** Deliveries that it touched. */
  readonly count: number
}
