/** What the worker's loops have in common: when they sleep, and what they tell the worker. */
import type { Millis } from '../message.ts'

/**
 * The longest a loop sleeps. Then it looks for itself, whatever the bells did not say: shorter than what `/salud` takes for
 * a loop that stands still.
 */
export const LONGEST_SLEEP: Millis = 15_000

export interface LoopEvents {
  /** Something was found. */
  active(): void
  /** Redis is away or refuses. @returns how long to wait */
  failed(error: unknown): Millis
}
