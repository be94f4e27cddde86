/** A queue of its own on the run's Redis, for the scripts and their operations. */
import { Redis } from 'ioredis'
import { ulid } from 'ulid'
import { test as base, inject } from 'vitest'
import { writeDispatched } from '../../src/queue/audit-format.ts'
import { dispatch, take } from '../../src/queue/inbox.ts'
import { type Claimed, type LaneSpec, Queue } from '../../src/queue/queue.ts'
import type { Settlement } from '../../src/queue/settle.ts'

export function laneOf(name: string, settings: Partial<LaneSpec> = {}): LaneSpec {
  return { name, concurrency: 10, strict: false, rateLimit: null, breaker: null, failureJob: null, ...settings }
}

export const test = base.extend<{ queue: Queue }>({
  // biome-ignore lint/correctness/noEmptyPattern: Vitest reads the dependencies from the pattern.
  queue: async ({}, use) => {
    const redis = new Redis({ ...inject('redis') })
    const queue = new Queue(redis, `prueba_${ulid().slice(-10).toLowerCase()}`, 'cola')
    try {
      await use(queue)
    } finally {
      const left = await keysLeft(queue)
      if (left.length > 0) await redis.unlink(left)
      redis.disconnect()
    }
  },
})

export function keysLeft(queue: Queue): Promise<string[]> {
  return queue.redis.keys(`${queue.keys.inbox.slice(0, -'entrada'.length)}*`)
}

/** Envelopes into the queues of `listeners`, as a dispatcher does it. */
export async function dispatched(queue: Queue, ids: readonly string[], listeners: readonly string[]): Promise<void> {
  await queue.enqueue(ids.map(envelopeOf))
  const taken = await take(queue)
  const done = await dispatch(
    queue,
    taken,
    ids.map((id) => {
      const event = writeDispatched({ id, listeners, keepBody: true, receivedAt: taken.now })
      return { kind: 'dispatch', id, event, listeners }
    }),
  )
  if (done === null) throw new Error('the dispatch lease was lost')
}

export function envelopeOf(id: string): string {
  return `{"id":"${id}","evento":"e"}`
}

export function settlementOf(
  lane: LaneSpec,
  { id, fence, number }: { id: string; fence: number; number: number },
  verdict: Settlement['verdict'],
  more: Partial<Settlement> = {},
): Settlement {
  return {
    lane,
    id,
    fence,
    verdict,
    number: number + 1,
    delay: 0,
    reason: '',
    health: null,
    callback: null,
    message: null,
    events: [{ type: 'a', json: `{"id":"${id}"}` }],
    ...more,
  }
}

/** Makes the leases of a lane run out. */
export async function expireLeases(queue: Queue, lane: string): Promise<void> {
  const { inFlight } = queue.lane(lane)
  for (const id of await queue.redis.zrange(inFlight, '0', '-1')) await queue.redis.zadd(inFlight, 1, id)
}

/** The audit stream's events, oldest first. */
export async function audited(queue: Queue): Promise<{ type: string; decided: string }[]> {
  const entries = await queue.redis.xrange(queue.keys.audit, '-', '+')
  return entries.map(([, [type, text]]) => ({ type: type!, decided: text!.slice(text!.indexOf('\n') + 1) }))
}

/** Of a delivery, ms: longer than a test lasts. */
export const LEASE = 60_000

export async function claimed(queue: Queue, from: LaneSpec, n: number): Promise<readonly Claimed[]> {
  return (await queue.claim([{ lane: from, n }], LEASE, 1e9)).lanes[0]!.items
}

export const idsOf = (items: readonly { id: string }[]) => items.map(({ id }) => id)

/** Its dispatcher is dead. */
export const noLease = (queue: Queue) => queue.redis.hset(queue.keys.dispatchLease, 'until', 0)
