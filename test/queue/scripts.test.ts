/** Each script by itself: what it answers and what it leaves behind. */
import fc from 'fast-check'
import { describe, expect } from 'vitest'
import { AuditReader } from '../../src/queue/audit-stream.ts'
import { dispatch, stepEnd, take } from '../../src/queue/inbox.ts'
import { CALLBACK_LANE, type LaneKeys } from '../../src/queue/keys.ts'
import { gatherLiveIds } from '../../src/queue/live-ids.ts'
import { pause } from '../../src/queue/pauses.ts'
import { type Claimed, FIELD_END, type LaneSpec, type Queue } from '../../src/queue/queue.ts'
import { settle } from '../../src/queue/settle.ts'
import { until } from '../support/until.ts'
import { audited, dispatched, envelopeOf, expireLeases, keysLeft, laneOf, settlementOf, test } from './scene.ts'

const LEASE = 60_000
const lane = laneOf('a')

async function claimed(queue: Queue, from: LaneSpec, n: number): Promise<readonly Claimed[]> {
  return (await queue.claim([{ lane: from, n }], LEASE, 1e9)).lanes[0]!.items
}

const idsOf = (items: readonly { id: string }[]) => items.map(({ id }) => id)
const noLease = (queue: Queue) => queue.redis.hset(queue.keys.dispatchLease, 'until', 0)

describe('take', () => {
  test('one dispatcher at a time; when it is dead another one takes the same batch, and the dead one is refused', async ({
    queue,
  }) => {
    await queue.enqueue(['uno', 'dos'])
    const first = await take(queue)
    expect(first.envelopes.map(String)).toEqual(['uno', 'dos'])
    await queue.enqueue(['tres'])
    const busy = await take(queue)
    expect(busy).toMatchObject({ fence: 0, envelopes: [], left: 3 })
    expect(busy.nextAt! - busy.now).toBeGreaterThan(1000)
    await noLease(queue)
    const second = await take(queue)
    expect(second.envelopes.map(String)).toEqual(['uno', 'dos'])
    expect(second.fence).toBeGreaterThan(first.fence)
    const items = [{ kind: 'invalid' } as const, { kind: 'invalid' } as const]
    expect(await dispatch(queue, first, items)).toBeNull()
    expect(await dispatch(queue, second, items)).toMatchObject({ refused: 2 })
    expect((await take(queue)).envelopes.map(String)).toEqual(['tres'])
  })

  test('what kills its dispatcher is found by working one at a time, set aside, and the rest goes on', async ({
    queue,
  }) => {
    await queue.enqueue(['veneno', 'bueno'])
    const sizes: number[] = []
    let aside = 0
    for (let deaths = 0; aside === 0; deaths++) {
      expect(deaths).toBeLessThan(10)
      const taken = await take(queue)
      aside += taken.setAside
      sizes.push(taken.envelopes.length)
      await noLease(queue)
    }
    expect(sizes).toEqual([2, 2, 1, 1, 1])
    expect(await queue.redis.lrange(queue.keys.inboxInvalid, 0, -1)).toEqual(['veneno'])
    const { envelopes, fence } = await take(queue)
    expect(envelopes.map(String)).toEqual(['bueno'])
    await dispatch(queue, { envelopes, fence }, [{ kind: 'dispatch', id: 'b', event: '{}', listeners: ['a'] }])
    expect(idsOf(await claimed(queue, lane, 10))).toEqual(['b'])
  })

  test('a batch is bounded by bytes as well as by number, and always has one', async ({ queue }) => {
    const large = 'x'.repeat(640 * 1024)
    await queue.enqueue([large, large, large])
    const { envelopes, left, fence } = await take(queue)
    expect([envelopes.length, left]).toEqual([2, 1])
    await dispatch(queue, { envelopes, fence }, [{ kind: 'invalid' }, { kind: 'invalid' }])
  })

  test('what the bytes leave out stands in its old order, however many were looked at', async ({ queue }) => {
    const sizes = [1, 4, 5, 1, 2, 1, 1, 1]
    const entries = sizes.map((size, i) => `${i}${'x'.repeat(size * 128 * 1024)}`)
    await queue.enqueue(entries)
    const seen: string[][] = []
    for (let count = 0; count < entries.length; count = seen.flat().length) {
      const { envelopes, fence } = await take(queue)
      seen.push(envelopes.map((raw) => raw.toString('latin1', 0, 1)))
      await dispatch(
        queue,
        { envelopes, fence },
        envelopes.map(() => ({ kind: 'invalid' })),
      )
    }
    expect(seen).toEqual([
      ['0', '1', '2'],
      ['3', '4', '5', '6', '7'],
    ])
  })

  test('what a worker of the version before took, and left behind, has its old place again', async ({ queue }) => {
    const { inbox, dispatching, dispatchLease } = queue.keys
    await queue.enqueue(['tres', 'cuatro'])
    await queue.redis.rpush(dispatching, 'uno', 'dos')
    const lease = { fence: 1, takes: 1, single: 0 }
    await queue.redis.hset(dispatchLease, { ...lease, until: (await queue.now()) + 60_000 })
    expect(await take(queue)).toMatchObject({ fence: 0 })
    await noLease(queue)
    expect((await take(queue)).envelopes.map(String)).toEqual(['uno', 'dos'])
    expect(await queue.redis.exists(dispatching)).toBe(0)
    expect(await queue.redis.lrange(inbox, 0, -1)).toEqual(['cuatro', 'tres', 'dos', 'uno'])
  })

  test('what was leased and is not there any more changes nothing', async ({ queue }) => {
    await queue.enqueue(['uno', 'dos', 'tres'])
    const taken = await take(queue)
    await queue.redis.rpop(queue.keys.inbox)
    const item = { kind: 'dispatch', id: 'x', event: '{}', listeners: ['a'] } as const
    expect(await dispatch(queue, taken, [item, item, item])).toBeNull()
    expect((await keysLeft(queue)).filter((key) => !/:(entrada|valla|despacho_arriendo)$/.test(key))).toEqual([])
    expect(await queue.redis.llen(queue.keys.inbox)).toBe(2)
  })

  test('entries that are too large are set aside where they come first, and end a batch where they do not', async ({
    queue,
  }) => {
    const large = 'x'.repeat(20_000)
    await queue.enqueue([large, 'uno', 'dos', large, large, 'tres'])
    const taken: [string[], number][] = []
    for (let n = 0; n < 3; n++) {
      const { envelopes, tooLarge, fence } = await take(queue, 10_000)
      taken.push([envelopes.map(String), tooLarge])
      if (fence > 0)
        await dispatch(
          queue,
          { envelopes, fence },
          envelopes.map(() => ({ kind: 'invalid' })),
        )
    }
    expect(taken).toEqual([
      [['uno', 'dos'], 1],
      [['tres'], 2],
      [[], 0],
    ])
  })

  test('a message with a demora waits, keeps its body, and comes back once', async ({ queue }) => {
    await queue.enqueue(['m'])
    const { envelopes, fence, now } = await take(queue)
    const item = { kind: 'wait', id: 'm', event: '{}', dueAt: now + 300, envelope: Buffer.from('sellado') } as const
    await dispatch(queue, { envelopes, fence }, [item])
    const early = await take(queue)
    expect(early.fence).toBe(0)
    expect(early.nextAt).toBe(now + 300)
    const due = await until(async () => {
      const taken = await take(queue)
      return taken.fence > 0 ? taken : null
    })
    expect(due.envelopes.map(String)).toEqual(['sellado'])
    await dispatch(queue, due, [{ kind: 'dispatch', id: 'm', event: '{}', listeners: [] }])
    expect((await keysLeft(queue)).filter((key) => /mensaje:|demoradas/.test(key))).toEqual([])
  })
})

describe('dispatch', () => {
  const to = (listeners: readonly string[], id = 'm') => ({ kind: 'dispatch', id, event: '{}', listeners }) as const
  const names = (count: number) => Array.from({ length: count }, (_, n) => `l${n}`)
  const bytes = (length: number) => ({ length })

  test.for([
    ['small messages of one listener go together', 500, bytes(200), to(['a']), [330]],
    ['many deliveries', 500, bytes(200), to(names(200)), [6]],
    ['bytes', 10, bytes(100 * 1024), to(['a']), [3]],
    ['one that is too large for any step', 3, bytes(16 * 1024 * 1024), to(['a']), [1, 2, 3]],
    ['one that is handed out stands alone', 3, bytes(200), to(names(3000)), [1, 2, 3]],
    ['what is not understood', 500, bytes(8 * 1024), { kind: 'invalid' } as const, [42]],
  ] as const)('a step is bounded: %s', ([, count, envelope, item, expected]) => {
    const items = Array(count).fill(item)
    const ends: number[] = []
    for (let at = 0; ends.length < expected.length; ends.push(at)) at = stepEnd(items, Array(count).fill(envelope), at)
    expect(ends).toEqual(expected)
  })

  test('one message for thousands of listeners is handed out in steps, in its turn; a dead dispatcher leaves the rest to the next', async ({
    queue,
  }) => {
    const all = names(1_200)
    await queue.enqueue(['antes', 'grande', 'despues'].map(envelopeOf))
    const taken = await take(queue)
    const items = [to(['l0'], 'antes'), to(all, 'grande'), to(['l0', 'l1199'], 'despues')]
    expect(await dispatch(queue, taken, items)).toMatchObject({
      moved: 2,
      steps: 1 + (1 + 3),
      duplicates: 0,
      refused: 0,
    })
    const rest = await take(queue)
    expect(rest.envelopes.map(String)).toEqual([envelopeOf('despues')])
    expect(await dispatch(queue, rest, items.slice(2))).toMatchObject({ moved: 1, steps: 1 })
    expect(await queue.redis.lrange(queue.lane('l0').queue, 0, -1)).toEqual(['antes', 'grande', 'despues'])
    expect(await queue.redis.lrange(queue.lane('l700').queue, 0, -1)).toEqual(['grande'])
    expect(await queue.redis.lrange(queue.lane('l1199').queue, 0, -1)).toEqual(['grande', 'despues'])
    expect(await queue.redis.hget(queue.keys.remaining, 'grande')).toBe('1200')
    expect(await queue.redis.scard(queue.keys.listeners)).toBe(1_200)
    expect(await audited(queue)).toHaveLength(3)

    // Of another one, the parts that a dispatcher had not handed out when it died.
    await queue.redis.rpush(queue.keys.fanOut, ['otra', 'l0', 'l5'].join(FIELD_END), ['otra', 'l6'].join(FIELD_END))
    expect(await queue.look([])).toMatchObject({ inbox: true })
    expect((await gatherLiveIds(queue, [])).hasDelivery('otra', 'l6')).toBe(true)
    const next = await take(queue)
    expect(next.envelopes).toEqual([])
    expect(await dispatch(queue, next, [])).toMatchObject({ steps: 2 })
    expect(await queue.redis.lrange(queue.lane('l5').queue, 0, -1)).toEqual(['grande', 'otra'])
    expect(await take(queue)).toMatchObject({ fence: 0 })
    expect(await queue.redis.exists(queue.keys.fanOut, queue.keys.dispatchLease)).toBe(0)
  })

  test.for([
    ['nothing waits before it', async () => {}, true],
    ['something waits in the queue', ({ redis }: Queue, { queue: key }: LaneKeys) => redis.rpush(key, 'otro'), false],
    [
      'a walk through the queue was cut short',
      ({ redis }: Queue, { front }: LaneKeys) => redis.rpush(front, 'otro'),
      false,
    ],
    ['a retry is due', ({ redis }: Queue, { retries }: LaneKeys) => redis.zadd(retries, 1, 'otro'), false],
    ['a retry waits', ({ redis }: Queue, { retries }: LaneKeys) => redis.zadd(retries, 9e12, 'otro'), true],
    ['it is paused', (queue: Queue) => pause(queue, ['a'], null), false],
    ['its breaker counts', ({ redis }: Queue, { breaker }: LaneKeys) => redis.hset(breaker, 'ok', 1), true],
    ['its breaker is open', ({ redis }: Queue, { breaker }: LaneKeys) => redis.hset(breaker, 'state', 'open'), false],
    [
      'its breaker is half open',
      ({ redis }: Queue, { breaker }: LaneKeys) => redis.hset(breaker, 'state', 'half'),
      false,
    ],
    [
      'it has no breaker, and a 410 was released',
      ({ redis }: Queue, { breaker }: LaneKeys) => redis.hset(breaker, 'state', 'half'),
      false,
      false,
    ],
    [
      'it has no breaker, and had one that was open',
      ({ redis }: Queue, { breaker }: LaneKeys) => redis.hset(breaker, 'state', 'open'),
      true,
      false,
    ],
    ['a key of it is of another type', ({ redis }: Queue, { inFlight }: LaneKeys) => redis.set(inFlight, 'x'), false],
  ] as const)(
    'goes straight to work while there is a slot: %s',
    async ([, prepare, isStraight, hasBreaker = true], { queue }) => {
      await prepare(queue, queue.lane('a'))
      await queue.enqueue(['m1', 'm2', 'm3'].map(envelopeOf))
      const begun: Claimed[] = []
      const waiting: Record<string, number> = {}
      const straight = {
        slots: new Map([['a', { n: 2, hasBreaker }]]),
        lease: LEASE,
        stepped: (claims: readonly Claimed[], left: ReadonlyMap<string, number>) => {
          begun.push(...claims)
          Object.assign(waiting, Object.fromEntries(left))
        },
      }
      const before = await queue.redis.llen(queue.lane('a').queue)
      await dispatch(queue, await take(queue), [to(['a', 'b'], 'm1'), to(['a'], 'm2'), to(['a'], 'm3')], straight)
      expect(begun.map(({ id, raw }) => [id, String(raw)])).toEqual(
        isStraight ? ['m1', 'm2'].map((id) => [id, envelopeOf(id)]) : [],
      )
      expect(waiting).toEqual({ a: isStraight ? 1 : before + 3, b: 1 })
      if (!isStraight) return
      expect(await queue.redis.zcard(queue.lane('a').inFlight)).toBe(2)
      expect(
        await settle(
          queue,
          begun.map((each) => settlementOf(lane, each, 'ok')),
        ),
      ).toEqual([true, true])
      expect(await queue.redis.get(`${queue.keys.messagePrefix}m1`)).toBe(envelopeOf('m1'))
      expect(await queue.redis.exists(`${queue.keys.messagePrefix}m2`)).toBe(0)
    },
  )

  test('the same message again while it is being delivered is dropped; another one with its id is set aside', async ({
    queue,
  }) => {
    await dispatched(queue, ['m'], ['a'])
    await queue.enqueue([envelopeOf('m'), '{"id":"m","evento":"otro"}'])
    const { envelopes, fence } = await take(queue)
    const item = { kind: 'dispatch', id: 'm', event: '{}', listeners: ['a'] } as const
    expect(await dispatch(queue, { envelopes, fence }, [item, item])).toMatchObject({ duplicates: 1, refused: 1 })
    expect(await queue.redis.lrange(queue.keys.inboxInvalid, 0, -1)).toEqual(['{"id":"m","evento":"otro"}'])
    expect(idsOf(await claimed(queue, lane, 10))).toEqual(['m'])
  })

  test('one body for all, gone with the last delivery', async ({ queue }) => {
    await dispatched(queue, ['m'], ['a', 'b'])
    const body = `${queue.keys.messagePrefix}m`
    const b = laneOf('b')
    await settle(queue, [settlementOf(lane, (await claimed(queue, lane, 1))[0]!, 'ok')])
    expect(await queue.redis.exists(body)).toBe(1)
    await settle(queue, [settlementOf(b, (await claimed(queue, b, 1))[0]!, 'failed')])
    expect(await queue.redis.exists(body)).toBe(0)
    expect((await keysLeft(queue)).filter((key) => /}:(restan|entregas|en_curso|cola)/.test(key))).toEqual([])
  })
})

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
    // The first 500 are looked through in one go, then the rest.
    expect(await take(20)).toEqual([{ colgado: 10 }, 723])
    expect(await take(10)).toEqual([{ año: 3, b: 4 }, 716])
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
    const [again] = (await queue.claim([{ lane: callbacks, n: 40 }], LEASE, 1e6)).lanes[0]!.items.filter(({ id }) =>
      id.includes('año'),
    )
    expect(await settle(queue, [settlementOf(callbacks, again!, 'ok')])).toEqual([true])
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
      const claim = await queue.claim(
        lanes.map((each) => ({ lane: each, n })),
        LEASE,
        1e9,
      )
      looks.push(claim.now)
      claim.lanes.forEach(({ items }, i) => {
        starts[i]!.push(...items.map(() => claim.now))
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

describe('acknowledge', () => {
  const ids = async (queue: Queue) =>
    (await queue.redis.xrange(queue.keys.audit, '-', '+')).map(([, fields]) => fields[1])
  const written = async (queue: Queue, names: string) => {
    for (const name of names) await queue.redis.xadd(queue.keys.audit, '*', 'n', name)
  }

  test('goes with what is older, unless another worker or nobody has it yet', async ({ queue }) => {
    const [one, other] = [new AuditReader(queue, 'uno'), new AuditReader(queue, 'otro')]
    await one.fresh(1) // makes the group
    await written(queue, 'abcdefg')
    const first = await one.fresh(2)
    const second = await other.fresh(2)
    const third = await one.fresh(2)
    await one.acknowledge(third)
    expect(await ids(queue)).toEqual(['a', 'b', 'c', 'd', 'g'])
    await one.acknowledge(first)
    expect(await ids(queue)).toEqual(['c', 'd', 'g'])
    await other.acknowledge(second)
    expect(await ids(queue)).toEqual(['g'])
    await one.acknowledge(await one.fresh(10))
    expect(await ids(queue)).toEqual([])
  })

  test('in a group that was destroyed meanwhile removes its own entries and no others', async ({ queue }) => {
    const [one, other] = [new AuditReader(queue, 'uno'), new AuditReader(queue, 'otro')]
    await one.fresh(1)
    await written(queue, 'abcd')
    await other.fresh(2)
    const mine = await one.fresh(1)
    await queue.redis.xgroup('DESTROY', queue.keys.audit, 'postgres')
    await one.acknowledge(mine)
    expect(await ids(queue)).toEqual(['a', 'b', 'd'])
    await one.fresh(1) // makes it anew
    await one.acknowledge(mine)
    expect(await ids(queue)).toEqual(['a', 'b', 'd'])
  })
})

describe('the reader of the audit', () => {
  test('reads no more large entries at once than a few megabytes of them', async ({ queue }) => {
    const sizes = [...Array(8).fill(1), ...Array(20).fill(1024 * 1024), ...Array(60).fill(1)]
    for (const size of sizes) await queue.redis.xadd(queue.keys.audit, '*', 's', 'x'.repeat(size))
    const reader = new AuditReader(queue, 'w')
    const batches: number[] = []
    for (let from = '-'; ; ) {
      const entries = await reader.range(from, '+')
      if (entries.length === 0) break
      batches.push(entries.length)
      from = `(${entries.at(-1)!.streamId}`
    }
    expect(batches.reduce((sum, count) => sum + count)).toBe(sizes.length)
    // What comes after small ones may be large: at most twice as many, and some. From then on their size is known.
    expect(batches.slice(0, 2)).toEqual([8, 32])
    expect(batches[2]).toBeLessThan(20)
  })

  test('takes over what a dead worker had read, and forgets what was deleted meanwhile', async ({ queue }) => {
    const [dead, heir] = [new AuditReader(queue, 'muerto'), new AuditReader(queue, 'vivo')]
    await dead.fresh()
    for (const id of ['a', 'b', 'c']) await queue.redis.xadd(queue.keys.audit, '*', 's', id)
    const [, second] = await dead.fresh()
    await queue.redis.xdel(queue.keys.audit, second!.streamId)
    expect(await heir.inherit(new Set(['vivo']))).toBe(3)
    await heir.acknowledge(await heir.pending())
    expect(await heir.pending()).toEqual([])
    expect(await heir.depth()).toBe(0)
    expect(await heir.inherit(new Set(['vivo']))).toBe(0)
  })
})

describe('settle', () => {
  test('a stale worker changes nothing, and its request is audited all the same', async ({ queue }) => {
    await dispatched(queue, ['m'], ['a'])
    const [stale] = await claimed(queue, lane, 1)
    await expireLeases(queue, 'a')
    const [current] = await claimed(queue, lane, 1)
    const before = await queue.redis.xlen(queue.keys.audit)
    expect(await settle(queue, [settlementOf(lane, stale!, 'ok', { callback: '{}' })])).toEqual([false])
    expect(await queue.redis.xlen(queue.keys.audit)).toBe(before + 1)
    expect(await queue.redis.llen(queue.lane(CALLBACK_LANE).queue)).toBe(0)
    expect(await queue.renew([current!], LEASE)).toEqual([])
    // Sent twice, because the first answer was lost: the second time it is stale.
    expect(await settle(queue, [settlementOf(lane, current!, 'ok')])).toEqual([true])
    expect(await settle(queue, [settlementOf(lane, current!, 'ok')])).toEqual([false])
  })

  test('a callback is queued once, whatever happens', async ({ queue }) => {
    await dispatched(queue, ['m1'], ['a'])
    const [item] = await claimed(queue, lane, 1)
    const ended = settlementOf(lane, item!, 'failed', { callback: '{}' })
    await settle(queue, [ended, ended])
    await settle(queue, [ended])
    expect(await queue.redis.lrange(queue.lane(CALLBACK_LANE).queue, 0, -1)).toEqual([
      expect.stringMatching(/^callback m1~a~\d{13}$/),
    ])
  })

  test('no message can stand in the place of a callback, and one that the version before queued is worked on', async ({
    queue,
  }) => {
    // The version of the change could be told beforehand, as here it can.
    const version = 9_000_000_000_000
    const impostor = `m1~a~${version + 1}`
    await dispatched(queue, ['m1', impostor], ['a'])
    const [item] = await claimed(queue, lane, 1)
    await queue.redis.hset(queue.lane('a').deliveries, 'm1', `0:0:0:${version}:${item!.fence}`)
    await queue.redis.set(`${queue.keys.messagePrefix}m0~a~1`, '{"de":"antes"}')
    await queue.redis.rpush(queue.lane(CALLBACK_LANE).queue, 'm0~a~1')
    expect(await settle(queue, [settlementOf(lane, item!, 'failed', { callback: '{"de":"ahora"}' })])).toEqual([true])
    const items = await claimed(queue, laneOf(CALLBACK_LANE), 10)
    expect(items.map(({ id, raw }) => [id, String(raw)])).toEqual([
      ['m0~a~1', '{"de":"antes"}'],
      [`callback ${impostor}`, '{"de":"ahora"}'],
    ])
    expect(await queue.redis.exists(queue.keys.messagePrefix + impostor)).toBe(1)
  })

  test('the message of an outcome reaches the inbox once, and only from the worker that holds the lease', async ({
    queue,
  }) => {
    await dispatched(queue, ['m'], ['a'])
    const [stale] = await claimed(queue, lane, 1)
    await expireLeases(queue, 'a')
    const [current] = await claimed(queue, lane, 1)
    const message = envelopeOf('aviso')
    await settle(queue, [settlementOf(lane, stale!, 'ok', { message })])
    expect(await queue.redis.llen(queue.keys.inbox)).toBe(0)
    await settle(queue, [settlementOf(lane, current!, 'ok', { message })])
    // Told again, because the first answer was lost.
    await settle(queue, [settlementOf(lane, current!, 'ok', { message })])
    expect(await queue.redis.lrange(queue.keys.inbox, 0, -1)).toEqual([message])
  })

  test('410 holds the listener until somebody resumes it', async ({ queue }) => {
    await dispatched(queue, ['m1', 'm2'], ['a'])
    const [one] = await claimed(queue, lane, 1)
    await settle(queue, [settlementOf(lane, one!, 'gone')])
    expect(await claimed(queue, lane, 1)).toEqual([])
    expect(await queue.redis.hgetall(queue.keys.paused)).toEqual({ a: '0 410' })
  })
})

describe('the breaker', () => {
  const pause = 400
  const breaking = laneOf('a', { concurrency: 4, breaker: { threshold: 50, minimum: 4, window: 60_000, pause } })
  const state = (queue: Queue) => queue.redis.hgetall(queue.lane('a').breaker)

  async function outcomes(queue: Queue, health: readonly ('ok' | 'ko')[]): Promise<void> {
    for (const each of health) {
      const [item] = await claimed(queue, breaking, 1)
      if (!item) throw new Error('nothing may be claimed')
      await settle(queue, [settlementOf(breaking, item, each === 'ok' ? 'ok' : 'retry', { health: each, delay: 1e6 })])
    }
  }

  test('opens at its share of failures but not before its minimum, tries one, opens again, recovers in steps', async ({
    queue,
  }) => {
    await dispatched(
      queue,
      Array.from({ length: 40 }, (_, i) => `m${i}`),
      ['a'],
    )
    await outcomes(queue, ['ko', 'ko', 'ko'])
    expect(await state(queue)).not.toHaveProperty('state')
    await outcomes(queue, ['ko'])
    expect(await state(queue)).toMatchObject({ state: 'open' })

    const { lanes, now } = await queue.claim([{ lane: breaking, n: 4 }], LEASE, 1e9)
    expect(lanes[0]!.items).toEqual([])
    expect(lanes[0]!.nextAt! - now).toBeGreaterThan(0)
    const probe = async () => {
      const items = await until(async () => {
        const found = await claimed(queue, breaking, 4)
        return found.length > 0 ? found : null
      })
      // Half open: one alone.
      expect(items).toHaveLength(1)
      expect(await claimed(queue, breaking, 4)).toEqual([])
      return items[0]!
    }
    await settle(queue, [settlementOf(breaking, await probe(), 'retry', { health: 'ko', delay: 1e6 })])
    expect(await state(queue)).toMatchObject({ state: 'open' })

    await settle(queue, [settlementOf(breaking, await probe(), 'ok', { health: 'ok' })])
    const two = await claimed(queue, breaking, 4)
    expect(two).toHaveLength(2)
    await settle(
      queue,
      two.map((item) => settlementOf(breaking, item, 'ok', { health: 'ok' })),
    )
    await until(async () => Object.keys(await state(queue)).length === 0)
    expect(await claimed(queue, breaking, 4)).toHaveLength(4)
  })

  test('a listener without one is tried by one delivery after a released 410, and then has all its slots', async ({
    queue,
  }) => {
    await dispatched(queue, ['m1', 'm2', 'm3', 'm4', 'm5', 'm6'], ['a'])
    await queue.redis.hset(queue.lane('a').breaker, 'state', 'half', 'ramp', 1)
    const plain = laneOf('a', { concurrency: 3 })
    for (const n of [1, 2]) {
      const items = await claimed(queue, plain, 3)
      expect(items).toHaveLength(n)
      await settle(
        queue,
        items.map((item) => settlementOf(plain, item, 'ok', { health: 'ok' })),
      )
    }
    expect(await state(queue)).toEqual({})
    expect(await claimed(queue, plain, 3)).toHaveLength(3)
  })

  test('stays closed below its share', async ({ queue }) => {
    await dispatched(
      queue,
      Array.from({ length: 40 }, (_, i) => `m${i}`),
      ['a'],
    )
    await outcomes(queue, ['ok', 'ko', 'ok', 'ok', 'ko', 'ok', 'ok', 'ko', 'ok', 'ok'])
    expect(await state(queue)).not.toHaveProperty('state')
  })
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
