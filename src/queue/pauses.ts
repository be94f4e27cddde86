/** Listeners on hold: by a person, or by a 410 (Gone). Kept in Redis, so that every worker obeys at once. */
import type { Queue } from './queue.ts'

export interface Pause {
  /** Null: until somebody resumes it. */
  readonly until: Date | null
  /** `410` when the listener itself said that it is gone, else `manual`. */
  readonly reason: string
}

export async function pause(queue: Queue, listeners: readonly string[], until: Date | null): Promise<void> {
  const fields = listeners.flatMap((name) => [name, `${until?.getTime() ?? 0} manual`])
  if (fields.length > 0) await queue.redis.hset(queue.keys.paused, ...fields)
}

/** @returns those that were on hold */
export async function resume(queue: Queue, listeners: readonly string[]): Promise<Set<string>> {
  const held = await pauses(queue)
  if (listeners.length > 0) await queue.redis.hdel(queue.keys.paused, ...listeners)
  await queue.redis.publish(queue.keys.wake, 'c').catch(() => 0)
  return new Set(listeners.filter((name) => held.has(name)))
}

export async function pauses(queue: Queue): Promise<Map<string, Pause>> {
  const all = await queue.redis.hgetall(queue.keys.paused)
  return new Map(
    Object.entries(all).map(([name, text]) => {
      const [until = '', reason = 'manual'] = text.split(' ')
      // What this version does not understand is a pause all the same, as the scripts take it.
      if (!/^\d+$/.test(until)) return [name, { until: null, reason: text }]
      return [name, { until: Number(until) === 0 ? null : new Date(Number(until)), reason }]
    }),
  )
}
