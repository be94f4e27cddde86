/**
 * A message as every part of the program knows it: what `send` or a foreign `LPUSH` put into the queue, decoded.
 *
 * How it is written in Redis is `queue/envelope.ts`'s business; which columns hold it is `audit/postgres.ts`'s.
 */
import { newId } from '../id.ts'

export interface Message {
  /** ULID when made here, anything when a foreign program chose it. */
  readonly id: string
  readonly event: string
  /** The bytes a listener gets, the same in every attempt. */
  readonly body: Buffer
  readonly contentType: string
  /** Overrides the listener's `metodo`; null: the listener decides. */
  readonly method: string | null
  /** Overrides the listener's `ruta`; null: the listener decides. */
  readonly path: string | null
  /** Extra request headers, as given; validated by `delivery/request.ts` against those that may not be overridden. */
  readonly headers: Readonly<Record<string, string>>
  readonly createdAt: Date
  /** `send --clave`, for the audit. */
  readonly key: string | null
  /** Host and program that sent it. */
  readonly origin: string | null
  /** `send --listener`: only this one gets it. */
  readonly onlyListener: string | null
  /** `send --demora`: not dispatched before this instant. */
  readonly notBefore: Date | null
  /** How many `evento:` callbacks lie between the first message and this one; bounds loops. */
  readonly depth: number
}

/** What a trial is called where nobody says otherwise. */
export const TRIAL_EVENT = 'resthooks.prueba'

/** A message of its own for one trial, with what is said of it. */
export function trialMessage(said: Partial<Message> = {}): Message {
  return {
    id: newId(),
    event: TRIAL_EVENT,
    body: Buffer.from('{}'),
    contentType: 'application/json',
    method: null,
    path: null,
    headers: {},
    createdAt: new Date(),
    key: null,
    origin: null,
    onlyListener: null,
    notBefore: null,
    depth: 0,
    ...said,
  }
}

/** Milliseconds. */
export type Millis = number
/** Bytes. */
export type Bytes = number
