/**
 * Since when Redis holds all that it should. A worker makes the mark with its first heartbeat, and again when it is gone while
 * it lives: then Redis has lost its data (FLUSHALL, a restart without a file), and whatever the audit has of the time before
 * that is unfinished is missing. `recuperar` puts it back, and the mark says so.
 */
import type { Queue } from './queue.ts'

/** `lost`: nothing of what was there before `since` (ms since epoch) is there any more. */
export type Continuity = { readonly kind: 'whole' } | { readonly kind: 'lost'; readonly since: number | null }

/**
 * @param mark   as it is in Redis
 * @param worked something was ever delivered with this Redis
 */
export function parseContinuity(mark: string | null, worked: boolean): Continuity {
  // Workers of the version before make none; and a Redis that was never worked with has lost all or had nothing.
  if (mark === null) return worked ? { kind: 'whole' } : { kind: 'lost', since: null }
  try {
    const { desde } = JSON.parse(mark) as { desde?: unknown }
    return typeof desde === 'number' && desde > 0 ? { kind: 'lost', since: desde } : { kind: 'whole' }
  } catch {
    return { kind: 'whole' }
  }
}

/** @param before as of the look before, null: this is the first one */
export function isNewLoss(before: Continuity | null, now: Continuity): boolean {
  if (before === null || now.kind === 'whole') return false
  return before.kind === 'whole' || before.since !== now.since
}

/** What had been lost is back. */
export async function markWhole({ redis, keys }: Queue): Promise<void> {
  await redis.set(keys.continuity, JSON.stringify({ v: 1, desde: 0 }))
}
