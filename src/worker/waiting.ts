/** Waiting: for a time, for a condition, for a signal. On the monotonic clock: that of the machine may be set. */
import type { Millis } from '../model/message.ts'

export function sleep(ms: Millis): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** Waits while `condition` holds, `ms` at most. */
export async function waitWhile(condition: () => boolean, ms: Millis): Promise<void> {
  const end = performance.now() + ms
  while (condition() && performance.now() < end) await sleep(10)
}

/** What `work` comes to; where that takes longer than `ms`, what `late` gives or throws. */
export async function atMost<T, L = undefined>(
  ms: Millis,
  work: Promise<T>,
  late: () => L = () => undefined as L,
): Promise<T | L> {
  let timer: NodeJS.Timeout | undefined
  const end = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms)
  }).then(late)
  try {
    return await Promise.race([work, end])
  } finally {
    clearTimeout(timer)
  }
}

export function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), Math.max(most, least))
}

/** What one loop waits for and anybody notifies. What comes while nobody waits is kept for the next wait. */
export class Signal {
  #notified = false
  #wake: (() => void) | undefined

  notify(): void {
    this.#notified = true
    this.#wake?.()
  }

  /** Resolves when it is notified, after `ms` at the latest. */
  async wait(ms: Millis): Promise<void> {
    if (!this.#notified) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#wake = undefined
    }
    this.#notified = false
  }
}
