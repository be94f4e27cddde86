/** The scripts by themselves: what `claim` and the smaller ones answer and leave behind. */
import fc from 'fast-check'
import { describe, expect } from 'vitest'
import { CALLBACK_LANE } from '../../src/queue/keys.ts'
import { QueueAdmin } from '../../src/queue/maintenance.ts'
import { FIELD_END, type LaneSpec } from '../../src/queue/queue.ts'
import { settle } from '../../src/queue/settle.ts'
import { until } from '../support/until.ts'
import {
  audited,
  claimed,
  dispatched,
  envelopeOf,
  expireLeases,
  idsOf,
  LEASE,
  laneOf,
  settlementOf,
  test,
} from './scene.ts'

const lane = laneOf('a')

describe('claim', () => {
  test('retries and new ones share the slots half and half', async ({ queue }) => {
    await dispatched(queue, ['r1', 'r2', 'r3', 'r4', 'n1', 'n2', 'n3', 'n4'], ['a'])
    const first = await claimed(queue, lane, 4)
    await settle(
      queue,
      first.map((item) => settlementOf(lane, item, 'retry')),
    )
    expect(idsOf(await claimed(queue, lane, 4))).toEqual(['r1', 'r2', 'n1', 'n2'])
    expect(idsOf(await claimed(queue, lane, 10))).toEqual(['r3', 'r4', 'n3', 'n4'])
  })

  test('in strict order one at a time, and a retry holds back those behind it', async ({ queue }) => {
    const strict = laneOf('e', { strict: true })
    await dispatched(queue, ['m1', 'm2', 'm3'], ['e'])
    const [one] = await claimed(queue, strict, 10)
    expect(await claimed(queue, strict, 10)).toEqual([])
    await settle(queue, [settlementOf(strict, one!, 'retry', { delay: 300 })])
    expect(await claimed(queue, strict, 10)).toEqual([])
    const again = await until(async () => (await claimed(queue, strict, 10))[0])
    expect(again.id).toBe('m1')
    // Its worker dies: it comes first again, not last.
    await queue.begin(again.fence)
    await expireLeases(queue, 'e')
    const third = (await claimed(queue, strict, 10))[0]!
    expect([third.id, third.number]).toEqual(['m1', 2])
    await settle(queue, [settlementOf(strict, third, 'ok')])
    expect(idsOf(await claimed(queue, strict, 10))).toEqual(['m2'])
  })

  test('a lease lost three times is the end: failed, audited, told to on_failure, and its body goes', async ({
    queue,
  }) => {
    const told = laneOf('a', { failureJob: '{"mensaje":"{id}"}' })
    await dispatched(queue, ['veneno', 'bueno'], ['a'])
    for (let time = 1; time <= 3; time++) {
      const items = await claimed(queue, told, 10)
      expect(idsOf(items)).toContain('veneno')
      await queue.begin(items[0]!.fence)
      await queue.redis.zadd(queue.lane('a').inFlight, 1, 'veneno')
    }
    const { lanes } = await queue.claim([{ lane: told, n: 10 }], LEASE, 1e9)
    expect(lanes[0]).toMatchObject({ failed: 1, items: [] })
    expect(await queue.redis.zrange(queue.lane('a').failed, '0', '-1')).toEqual(['veneno'])
    const states = (await audited(queue)).filter(({ decided }) => decided.startsWith('fallida'))
    expect(states).toHaveLength(1)
    expect(states[0]!.decided).toMatch(/^fallida\|\d{13}\|3\|\|.*venció 3 veces/)
    const [callback] = (await queue.claim([{ lane: laneOf(CALLBACK_LANE), n: 1 }], LEASE, 1e9)).lanes[0]!.items
    expect(String(callback!.raw)).toBe('{"mensaje":"veneno"}')
    expect(await queue.redis.exists(`${queue.keys.messagePrefix}veneno`)).toBe(0)
  })

  test('a claim that never arrived counts for nothing, however often, and has no row', async ({ queue }) => {
    await dispatched(queue, ['m1', 'm2'], ['a'])
    const before = await queue.redis.xlen(queue.keys.audit)
    for (let time = 1; time <= 5; time++) {
      const items = await claimed(queue, lane, 10)
      expect(items.map(({ id, made, number, version }) => [id, made, number, version])).toEqual([
        ['m1', 0, 0, 0],
        ['m2', 0, 0, 0],
      ])
      await expireLeases(queue, 'a')
    }
    expect(await queue.redis.xlen(queue.keys.audit)).toBe(before)
    // One that arrived counts once; one that did not, in between, does not make it start anew.
    const [arrived] = await claimed(queue, lane, 10)
    expect(await queue.begin(arrived!.fence)).toBe(true)
    expect(await queue.begin(arrived!.fence)).toBe(false)
    await expireLeases(queue, 'a')
    await claimed(queue, lane, 10)
    await expireLeases(queue, 'a')
    expect((await claimed(queue, lane, 10)).map(({ number }) => number)).toEqual([1, 1])
    expect((await audited(queue)).filter(({ decided }) => /^pendiente\|\d{13}\|1/.test(decided))).toHaveLength(2)
  })

  test('a delivery whose body is gone is failed at once, and those beside it are not', async ({ queue }) => {
    await dispatched(queue, ['perdido', 'entero'], ['a'])
    await queue.redis.del(`${queue.keys.messagePrefix}perdido`)
    const { lanes } = await queue.claim([{ lane, n: 10 }], LEASE, 1e9)
    expect(lanes[0]).toMatchObject({ failed: 1 })
    expect(idsOf(lanes[0]!.items)).toEqual(['entero'])
  })

  test('bytes are bounded over all lanes, and what did not fit keeps its place', async ({ queue }) => {
    await dispatched(queue, ['m1', 'm2', 'm3'], ['a', 'b'])
    const size = envelopeOf('m1').length
    const wants = [lane, laneOf('b')].map((each) => ({ lane: each, n: 10 }))
    const { lanes } = await queue.claim(wants, LEASE, size * 2)
    expect(lanes.map(({ items }) => idsOf(items))).toEqual([['m1', 'm2'], []])
    expect(await queue.redis.lrange(queue.lane('a').queue, 0, -1)).toEqual(['m3'])
    expect(await queue.redis.lrange(queue.lane('b').queue, 0, -1)).toEqual(['m1', 'm2', 'm3'])
    expect((await claimed(queue, laneOf('b'), 1))[0]!.id).toBe('m1')
  })

  test('a lane for which a call had no time left is due at once, and loses nothing', async ({ queue }) => {
    // Of so many and of this size the last one begins just before a call has taken long enough.
    const lanes = Array.from({ length: 26 }, (_, n) => laneOf(`l${n}`))
    const names = lanes.map(({ name }) => name)
    await dispatched(queue, ['m'.repeat(400)], names)
    const wants = lanes.map((each) => ({ lane: each, n: 10 }))
    const first = await queue.claim(wants, LEASE, 1e9)
    const without = first.lanes.flatMap(({ items, left, nextAt }, i) =>
      items.length === 0 ? [{ i, left, nextAt }] : [],
    )
    expect(without).toEqual([{ i: 25, left: 1, nextAt: expect.any(Number) }])
    expect(without[0]!.nextAt).toBeLessThanOrEqual(first.now)
    const second = await queue.claim(wants, LEASE, 1e9)
    expect(second.lanes.map(({ items }) => items.length)).toEqual([...Array(25).fill(0), 1])
    expect(second.lanes.every(({ nextAt, left }) => nextAt === null && left === 0)).toBe(true)
  })

  test('of its own bytes a lane gets what fits, when all that were free are taken', async ({ queue }) => {
    await dispatched(queue, ['m1', 'm2', 'm3'], ['a'])
    const size = envelopeOf('m1').length
    const claim = (room: number, own: number) => queue.claim([{ lane, n: 10, room, own }], LEASE, 0)
    expect(idsOf((await claim(9, size - 1)).lanes[0]!.items)).toEqual([])
    expect(idsOf((await claim(9, size)).lanes[0]!.items)).toEqual(['m1'])
    expect(idsOf((await claim(9, size * 2)).lanes[0]!.items)).toEqual(['m2', 'm3'])
  })

  test('callbacks: a listener takes half of the slots that the others leave, and none of theirs is held up', async ({
    queue,
  }) => {
    const callbacks = laneOf(CALLBACK_LANE)
    const put = async (listener: string, count: number) => {
      const ids = Array.from({ length: count }, (_, i) => `m${i}~${listener}~1`)
      await queue.redis.mset(Object.fromEntries(ids.map((id) => [queue.keys.messagePrefix + id, '{}'])))
      await queue.redis.rpush(queue.lane(CALLBACK_LANE).queue, ...ids)
    }
    /** How many of each listener. */
    const take = async (n: number) => {
      const { lanes } = await queue.claim([{ lane: callbacks, n }], LEASE, 1e6)
      const counts: Record<string, number> = {}
      for (const { id } of lanes[0]!.items) counts[id.split('~')[1]!] = (counts[id.split('~')[1]!] ?? 0) + 1
      return [counts, lanes[0]!.left]
    }
    await put('colgado', 700)
    await put('año', 3)
    await put('b', 30)
    // Not all of them are looked through in one go.
    expect(await take(20)).toEqual([{ colgado: 10 }, 723])
    expect(await take(10)).toEqual([{}, 723])
    expect(await until(async () => [await take(10)].find(([, left]) => left !== 723))).toEqual([{ año: 3, b: 4 }, 716])
    // Each has what it may have; another worker brings slots for all of them.
    expect(await take(3)).toEqual([{}, 716])
    expect((await take(20))[0]).toEqual({ colgado: expect.any(Number), b: expect.any(Number) })
    // Nothing was lost on the way.
    const [waiting, aside, running] = await Promise.all([
      queue.redis.llen(queue.lane(CALLBACK_LANE).queue),
      queue.redis.zcard(queue.keys.callbacksAside),
      queue.redis.zcard(queue.lane(CALLBACK_LANE).inFlight),
    ])
    expect(waiting + aside + running).toBe(733)
    await expireLeases(queue, CALLBACK_LANE)
    const again = await until(async () => {
      const { lanes } = await queue.claim([{ lane: callbacks, n: 40 }], LEASE, 1e6)
      return lanes[0]!.items.find(({ id }) => id.includes('año'))
    })
    expect(await settle(queue, [settlementOf(callbacks, again, 'ok')])).toEqual([true])
  })

  test('limite: no period has more starts than it says, whatever the limit, and they are spread over it', async ({
    queue,
  }) => {
    const limits = fc.sample(
      fc.record({ count: fc.integer({ min: 1, max: 80 }), per: fc.integer({ min: 100, max: 900 }) }),
      60,
    )
    limits.push({ count: 600, per: 60_000 }, { count: 3600, per: 3_600_000 }, { count: 100, per: 1000 })
    const lanes = limits.map((rateLimit, i) => laneOf(`l${i}`, { rateLimit }))
    const ids = Array.from({ length: 400 }, (_, i) => `m${i}`)
    for (const { name } of lanes) await queue.redis.rpush(queue.lane(name).queue, ...ids)
    await queue.redis.mset(Object.fromEntries(ids.map((id) => [queue.keys.messagePrefix + id, envelopeOf(id)])))
    const starts: number[][] = lanes.map(() => [])
    const looks: number[] = []
    const end = performance.now() + 2000
    while (performance.now() < end) {
      const n = 1 + Math.floor(Math.random() * 40)
      // One by one, as the lanes of one claim may have been looked at a moment before it ends.
      const claims = await Promise.all(lanes.map((each) => queue.claim([{ lane: each, n }], LEASE, 1e9)))
      looks.push(claims.at(-1)!.now)
      claims.forEach(({ now, lanes: [claim] }, i) => {
        const { items } = claim!
        starts[i]!.push(...items.map(() => now))
        // Some come back at once: a retry counts like any other.
        for (const { id } of items.slice(0, 2)) void queue.redis.zadd(queue.lane(lanes[i]!.name).retries, 1, id)
      })
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 8))
    }
    limits.forEach(({ count, per }, i) => {
      const times = starts[i]!
      const most = Math.max(...times.map((from) => times.filter((at) => at >= from && at < from + per).length))
      expect(most, `${count} in ${per} ms`).toBeLessThanOrEqual(count)
      const together = Math.max(...times.map((from) => times.filter((at) => at === from).length))
      expect(together, `${count} in ${per} ms, at once`).toBeLessThanOrEqual(Math.max(1, count / 10))
    })
    // And not so few that the limit is of no use: at least two thirds of what those that look so often may have, who save up 50 ms' worth.
    const sinceLast = looks.slice(1).map((at, i) => at - looks[i]!)
    const possible = sinceLast.reduce((sum, passed) => sum + Math.min(50, passed) * (100 / 1000), 5)
    expect(starts.at(-1)!.length).toBeGreaterThan((possible * 2) / 3)
  })
})

describe('renew and release', () => {
  test('a lost lease is told, and what was given back stands in its old order with nothing counted', async ({
    queue,
  }) => {
    await dispatched(queue, ['m1', 'm2', 'm3'], ['a'])
    const [one, two, three] = await claimed(queue, lane, 3)
    await queue.redis.zadd(queue.lane('a').inFlight, 1, 'm2')
    await claimed(queue, lane, 1)
    expect(await queue.renew([one!, two!, three!], LEASE)).toEqual([two])
    await queue.release([one!, two!, three!])
    expect(await queue.redis.lrange(queue.lane('a').queue, 0, -1)).toEqual(['m1', 'm3'])
    const again = await claimed(queue, lane, 2)
    expect(again.map(({ id, number, version }) => [id, number, version])).toEqual([
      ['m1', 0, 0],
      ['m3', 0, 0],
    ])
  })
})

test('restore: what is sent again is counted beside the deliveries that Redis holds, whatever the audit knows of those', async ({
  queue,
}) => {
  const [a, b, c] = ['a', 'b', 'c'].map((name) => laneOf(name))
  await queue.redis.set(queue.keys.maintenance, 'prueba')
  const admin = new QueueAdmin(queue, { value: 'prueba', release: async () => {} })
  const settled = async (of: LaneSpec, verdict: 'ok' | 'failed') => {
    const [each] = await claimed(queue, of, 1)
    return settle(queue, [settlementOf(of, each!, verdict)])
  }
  const again = (listener: string, others: number) => {
    const item = { kind: 'again', listener, made: 0, number: 1, version: 1, reason: '' } as const
    return admin.restore([{ id: 'm', envelope: Buffer.from(envelopeOf('m')), others, items: [item] }])
  }
  await dispatched(queue, ['m'], ['a', 'b', 'c'])
  await settled(a!, 'failed')
  await settled(b!, 'failed')
  // The audit knows of more than there is: one has just ended. And then of less: one was just sent again.
  expect(await again('a', 2)).toEqual([['done']])
  expect(await again('b', 1)).toEqual([['done']])
  for (const each of [a!, b!]) expect(await settled(each, 'ok')).toEqual([true])
  expect(await queue.redis.get(`${queue.keys.messagePrefix}m`)).toBe(envelopeOf('m'))
  expect(await settled(c!, 'failed')).toEqual([true])
  expect(await queue.redis.exists(queue.keys.remaining, `${queue.keys.messagePrefix}m`)).toBe(0)
  // Of one that had ended as a whole.
  expect(await again('c', 1)).toEqual([['done']])
  expect(await settled(c!, 'ok')).toEqual([true])
  expect(await queue.redis.exists(queue.keys.remaining, `${queue.keys.messagePrefix}m`)).toBe(0)
})

test('discard: what a dead dispatcher has still to hand out is not given up as lost', async ({ queue }) => {
  const { keys, redis } = queue
  await redis.set(keys.maintenance, 'prueba')
  const admin = new QueueAdmin(queue, { value: 'prueba', release: async () => {} })
  await redis.set(`${keys.messagePrefix}m`, envelopeOf('m'))
  await redis.rpush(keys.fanOut, ['otro', 'a'].join(FIELD_END), ['m', 'b', 'a'].join(FIELD_END))
  const ended = { id: 'm', listener: 'a', number: 0, version: 0, kind: 'ended' } as const
  expect(await admin.discard([ended], '')).toEqual(['other'])
  await redis.ltrim(keys.fanOut, 0, 0)
  expect(await admin.discard([ended], '')).toEqual(['done'])
})

test('enqueue_once: the same key is enqueued once, and each sender gets the first id', async ({ queue }) => {
  const ids = await Promise.all(['a', 'b', 'c'].map((id) => queue.enqueueOnce('k', id, envelopeOf(id))))
  expect(new Set(ids).size).toBe(1)
  expect(await queue.redis.llen(queue.keys.inbox)).toBe(1)
  expect(await queue.redis.ttl(`${queue.keys.dedupePrefix}k`)).toBeGreaterThan(86_000)
})

test('scripts come back by themselves after SCRIPT FLUSH', async ({ queue }) => {
  await dispatched(queue, ['m1', 'm2'], ['a'])
  await queue.redis.script('FLUSH')
  const items = await claimed(queue, lane, 2)
  await queue.redis.script('FLUSH')
  const applied = await Promise.all(items.map((item) => settle(queue, [settlementOf(lane, item, 'ok')])))
  expect(applied).toEqual([[true], [true]])
})
