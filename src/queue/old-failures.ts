/** The failed deliveries that Redis remembers: their ids alone, for `estado`; they go with the audit's own rows. */
import { CALLBACK_LANE } from './keys.ts'
import type { Queue } from './queue.ts'

const CHUNK = 1_000

/**
 * Forgets those that failed before `before`.
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
      const ids = await redis.zrangebyscore(failed, '-inf', bound, 'LIMIT', 0, CHUNK)
      if (ids.length === 0) break
      total += await redis.zrem(failed, ...ids)
    }
  }
  return total
}
