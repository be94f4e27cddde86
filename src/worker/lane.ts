/**
 * One listener's slots in one worker: what it may start, what runs, and what becomes of it. A lane never waits for another.
 */
import type { Claimed, LaneSpec, Settlement } from '../queue/queue.ts'

/** Does the work of one claimed delivery; never rejects. */
export interface Executor {
  execute(claimed: Claimed, signal: AbortSignal): Promise<Settlement>
  close(): Promise<void>
}

export class Lane {
  spec: LaneSpec
  executor: Executor
  running = 0
  /** There may be something to claim right now. */
  hinted = true
  /** Redis time from which there may be something again; null: only a hint or the poll will tell. */
  nextAt: number | null = null
  /** Entries that stayed in the queue after the last claim. */
  left = 0
  /** Goes up by one for each claim, so that the lanes take turns. */
  servedAt = 0

  constructor(spec: LaneSpec, executor: Executor) {
    this.spec = spec
    this.executor = executor
  }

  get free(): number {
    return Math.max(0, this.spec.concurrency - this.running)
  }
}

/**
 * How many each lane may claim so that all of them together start at most `slots`: everyone an equal share first, what
 * is left to those who want more, the longest unserved first.
 */
export function shareSlots(lanes: readonly Lane[], slots: number): { lane: Lane; n: number }[] {
  const wanting = lanes.filter((lane) => lane.free > 0).sort((a, b) => a.servedAt - b.servedAt)
  const shares = wanting.map((lane) => ({ lane, n: 0 }))
  let left = slots
  while (left > 0) {
    const open = shares.filter(({ lane, n }) => n < lane.free)
    if (open.length === 0) break
    const each = Number.isFinite(left) ? Math.max(1, Math.floor(left / open.length)) : left
    for (const share of open) {
      const more = Math.min(each, share.lane.free - share.n, left)
      share.n += more
      left -= more
    }
  }
  return shares.filter(({ n }) => n > 0)
}
