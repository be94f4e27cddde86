/** What the purge is to the queue: who does it, when one ended well, and the failures that Redis keeps as long as the audit's rows. */
import { CALLBACK_LANE } from './keys.ts'
import type { Queue } from './queue.ts'

const FORGOTTEN_AT_ONCE = 1_000

/** @returns whether this worker does the purge: for `seconds` nobody else will */
export async function takePurge({ redis, keys }: Queue, worker: string, seconds: number): Promise<boolean> {
  return (await redis.set(keys.purge, worker, 'EX', seconds, 'NX')) === 'OK'
}

/** A purge has ended well: for whoever watches that there is one. */
export async function notePurge(queue: Queue): Promise<void> {
  await queue.redis.set(queue.keys.purged, await queue.now())
}

/**
 * Forgets the failed deliveries, which Redis keeps for `estado` alone, of before `before`: they go with the audit's own rows.
 * @param simulate count only
 * @returns how many
 */
export async function forgetOldFailures(
  queue: Queue,
  listeners: Iterable<string>,
  before: Date,
  simulate: boolean,
): Promise<number> {
  const { redis, keys } = queue
  const names = new Set([...listeners, ...(await redis.smembers(keys.listeners)), CALLBACK_LANE])
  const bound = `(${before.getTime()}`
  let total = 0
  for (const name of names) {
    const { failed } = queue.lane(name)
    if (simulate) {
      total += await redis.zcount(failed, '-inf', bound)
      continue
    }
    for (;;) {
      const ids = await redis.zrangebyscore(failed, '-inf', bound, 'LIMIT', 0, FORGOTTEN_AT_ONCE)
      if (ids.length === 0) break
      total += await redis.zrem(failed, ...ids)
    }
  }
  return total
}
