/**
 * A message and a listener become one or more HTTP requests and one outcome.
 *
 * The worker sees this file alone: how a request is built, signed, authenticated, sent and judged is told by its
 * neighbours.
 */
import type { AttemptRecord } from '../audit/event.ts'
import type { Message, Millis } from '../model/message.ts'
import type { StopSignal } from './stop-signal.ts'

/** What the attempt means for the delivery; whether a `retry` is still granted is the strategy's (`retry.ts`). */
export type Outcome =
  | { readonly kind: 'success' }
  /** `retryAfter`: the server's own wish, from now. */
  | { readonly kind: 'retry'; readonly reason: string; readonly retryAfter: Millis | null }
  /** `gone`: 410, the listener is to be deactivated until `reanudar`. */
  | { readonly kind: 'failure'; readonly reason: string; readonly gone: boolean }

/** `unable`: this process could not even try (no descriptors left): no attempt of the delivery's, and nothing about the listener. */
export type Judgement = Outcome | { readonly kind: 'unable'; readonly reason: string }

/** One request as it went (or failed to go) on the wire: an `intento` row without what only the worker knows. */
export type RequestRecord = Omit<
  AttemptRecord,
  'messageId' | 'listener' | 'number' | 'result' | 'nextAttemptAt' | 'worker'
>

export interface AttemptResult {
  /** In order, at least one; the last one decided the outcome. */
  readonly requests: readonly RequestRecord[]
  readonly outcome: Judgement
}

/** Delivers to one listener over its own socket pool. Never throws for anything that a message or a listener can cause. */
export interface Deliverer {
  /**
   * @param number the attempt's number, ≥ 1, for `X-Resthooks-Intento`
   * @param signal aborts the request (lease lost, drain over): the result is then a `retry` with error `interrumpido`
   */
  attempt(message: Message, number: number, signal: StopSignal): Promise<AttemptResult>
  /** Closes idle sockets now and the busy ones at their end. */
  close(): Promise<void>
}
