/** Waiting, on the clock that nobody sets. */
import type { Millis } from '../model/message.ts'

export function pause(ms: Millis): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** Waits while `condition` holds, `ms` at most. */
export async function waitWhile(condition: () => boolean, ms: Millis): Promise<void> {
  const end = performance.now() + ms
  while (condition() && performance.now() < end) await pause(10)
}

/** Waits for `work`, `ms` at most. */
export async function within(ms: Millis, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const patience = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms)
  })
  await Promise.race([work, patience])
  clearTimeout(timer)
}

export function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), Math.max(most, least))
}
