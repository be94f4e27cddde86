/**
 * A range of time, read a stretch after another: for questions that no index answers, so that no statement takes long, what was
 * found is there soon, and a person sees how far it is. Apart, as listings, counts and missed messages are read alike.
 */
import type { Millis } from '../model/message.ts'

export interface TimeRange {
  readonly since: Date
  readonly until: Date
}

/** Told how much of a range has been read: `done` of `total`. */
export type OnProgress = (done: number, total: number) => void

interface Stretch extends TimeRange {
  /** Called once its statement has answered: the next stretch is as long as is read in a moment. */
  read(): void
}

/** What a statement is to take. */
const MOMENT: Millis = 250
const FIRST: Millis = 3_600_000
const SHORTEST: Millis = 60_000

/** @param start how long the first stretch is */
export async function* stretches(
  { since, until }: TimeRange,
  way: 'up' | 'down',
  onProgress?: OnProgress,
  start = FIRST,
): AsyncGenerator<Stretch> {
  const [first, total] = [since.getTime(), until.getTime() - since.getTime()]
  let length = start
  for (let done = 0; done < total; ) {
    const next = Math.min(done + length, total)
    const [from, to] = way === 'up' ? [done, next] : [total - next, total - done]
    const started = performance.now()
    let took: Millis = MOMENT
    yield {
      since: new Date(first + from),
      until: new Date(first + to),
      read: () => {
        took = performance.now() - started
      },
    }
    done = next
    if (done < total) onProgress?.(done, total)
    length = Math.max(SHORTEST, Math.round(length * Math.min(4, Math.max(0.25, MOMENT / took))))
  }
}
