/** The inbox's scripts: taking a batch under a lease, and handing it out. */
import { describe, expect } from 'vitest'
import { stampEnvelope } from '../../src/queue/envelope.ts'
import { type DispatchItem, dispatch, stepEnd, take, type Waiting } from '../../src/queue/inbox.ts'
import type { LaneKeys } from '../../src/queue/keys.ts'
import { gatherLiveIds } from '../../src/queue/live-ids.ts'
import { pause } from '../../src/queue/pauses.ts'
import { type Claimed, FIELD_END, type Queue } from '../../src/queue/queue.ts'
import { settle } from '../../src/queue/settle.ts'
import { until } from '../support/until.ts'
import {
  audited,
  claimed,
  dispatched,
  envelopeOf,
  idsOf,
  keysLeft,
  LEASE,
  laneOf,
  noLease,
  settlementOf,
  test,
} from './scene.ts'

const lane = laneOf('a')

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
    const large = 'x'.repeat(300 * 1024)
    await queue.enqueue([large, large, large])
    const { envelopes, left, fence } = await take(queue)
    expect([envelopes.length, left]).toEqual([1, 2])
    await dispatch(queue, { envelopes, fence }, [{ kind: 'invalid' }])
  })

  test('what the bytes leave out stands in its old order, however many were looked at', async ({ queue }) => {
    const sizes = [1, 4, 5, 1, 2, 12, 9, 1]
    const entries = sizes.map((size, i) => `${i}${'x'.repeat(size * 40 * 1024)}`)
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
    expect(seen).toEqual([['0', '1'], ['2', '3', '4'], ['5'], ['6'], ['7']])
  })

  test('what a worker of the version before took, and left behind, has its old place again', async ({ queue }) => {
    const { inbox, dispatching, dispatchLease } = queue.keys
    await queue.enqueue(['tres', 'cuatro'])
    await queue.redis.rpush(dispatching, 'uno', 'dos')
    const lease = { fence: 1, takes: 1, single: 0 }
    await queue.redis.hset(dispatchLease, { ...lease, until: (await queue.now()) + 4_000 })
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

  test('those whose demora is over keep the order in which it ended, however many are taken at once', async ({
    queue,
  }) => {
    const ids = Array.from({ length: 30 }, (_, n) => `m${n}`)
    // Some are so large that a batch has no room for all that may be in it.
    const raws = ids.map((id, n) => `{"id":"${id}","cuerpo":"${'x'.repeat(n % 3 === 0 ? 100_000 : 10)}"}`)
    await queue.redis.mset(Object.fromEntries(ids.map((id, n) => [queue.keys.messagePrefix + id, raws[n]!])))
    await queue.redis.zadd(queue.keys.delayed, ...ids.flatMap((id, n) => [n + 1, id]))
    await queue.enqueue(['detrás'])
    const seen: string[] = []
    for (let most = 1; seen.length < ids.length + 1; most = (most % 9) + 1) {
      const taken = await take(queue, undefined, most)
      seen.push(...taken.envelopes.map(String))
      await dispatch(
        queue,
        taken,
        taken.envelopes.map(() => ({ kind: 'invalid' })),
      )
    }
    expect(seen).toEqual([...raws, 'detrás'])
  })

  test('a message with a demora whose body is no text any more holds nobody up', async ({ queue }) => {
    await queue.redis.zadd(queue.keys.delayed, 1, 'otra cosa')
    await queue.redis.lpush(`${queue.keys.messagePrefix}otra cosa`, 'x')
    await queue.enqueue([envelopeOf('m')])
    expect((await take(queue)).envelopes.map(String)).toEqual([envelopeOf('m')])
    expect(await queue.redis.exists(queue.keys.delayed, `${queue.keys.messagePrefix}otra cosa`)).toBe(0)
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
    ['small messages of one listener go together', 500, bytes(200), to(['a']), [128]],
    ['many deliveries', 500, bytes(200), to(names(200)), [3]],
    ['bytes', 10, bytes(100 * 1024), to(['a']), [3]],
    ['one that is too large for any step', 3, bytes(16 * 1024 * 1024), to(['a']), [1, 2, 3]],
    ['one that is handed out stands alone', 3, bytes(200), to(names(3000)), [1, 2, 3]],
    ['what is not understood', 500, bytes(8 * 1024), { kind: 'invalid' } as const, [37]],
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
      parts: 4,
      duplicates: 0,
      refused: 0,
    })
    const rest = await take(queue)
    expect(rest.envelopes.map(String)).toEqual([envelopeOf('despues')])
    expect(await dispatch(queue, rest, items.slice(2))).toMatchObject({ moved: 1, parts: 0 })
    expect(await queue.redis.lrange(queue.lane('l0').queue, 0, -1)).toEqual(['antes', 'grande', 'despues'])
    expect(await queue.redis.lrange(queue.lane('l700').queue, 0, -1)).toEqual(['grande'])
    expect(await queue.redis.lrange(queue.lane('l1199').queue, 0, -1)).toEqual(['grande', 'despues'])
    expect(await queue.redis.hget(queue.keys.remaining, 'grande')).toBe('1200')
    expect(await queue.redis.scard(queue.keys.listeners)).toBe(1_200)
    expect(await audited(queue)).toHaveLength(3)

    // Of another one, the parts that a dispatcher had not handed out when it died.
    await queue.redis.rpush(queue.keys.fanOut, ['otra', 'l0', 'l5'].join(FIELD_END), ['otra', 'l6'].join(FIELD_END))
    expect(await queue.look(['l0'])).toMatchObject({ inbox: true })
    expect((await gatherLiveIds(queue, [])).hasDelivery('otra', 'l6')).toBe(true)
    const next = await take(queue)
    expect(next.envelopes).toEqual([])
    expect(await dispatch(queue, next, [])).toMatchObject({ moved: 0, parts: 2 })
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
      const waiting: Record<string, Waiting> = {}
      const straight = {
        slots: new Map([['a', { n: 2, hasBreaker }]]),
        lease: LEASE,
        until: Date.now() + LEASE,
        stepped: (claims: readonly Claimed[], left: ReadonlyMap<string, Waiting>) => {
          begun.push(...claims)
          Object.assign(waiting, Object.fromEntries(left))
        },
      }
      const before = await queue.redis.llen(queue.lane('a').queue)
      await dispatch(queue, await take(queue), [to(['a', 'b'], 'm1'), to(['a'], 'm2'), to(['a'], 'm3')], straight)
      expect(begun.map(({ id, raw }) => [id, String(raw)])).toEqual(
        isStraight ? ['m1', 'm2'].map((id) => [id, envelopeOf(id)]) : [],
      )
      expect(waiting).toEqual({
        a: { deliveries: isStraight ? 1 : before + 3, news: before === 0 },
        b: { deliveries: 1, news: true },
      })
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

  test('nothing begins that nobody would hear of: Redis had stood still since it was asked', async ({ queue }) => {
    await queue.enqueue([envelopeOf('m')])
    const taken = await take(queue)
    const begun: Claimed[] = []
    const straight = {
      slots: new Map([['a', { n: 1, hasBreaker: false }]]),
      lease: LEASE,
      until: taken.now - 1,
      stepped: (claims: readonly Claimed[]) => void begun.push(...claims),
    }
    await dispatch(queue, taken, [to(['a'])], straight)
    expect(begun).toEqual([])
    const claim = (until: number) => queue.claim([{ lane, n: 1 }], LEASE, 1e6, undefined, false, until)
    expect((await claim(taken.now - 1)).lanes).toMatchObject([{ items: [], looked: false }])
    expect(idsOf((await claim(taken.now + LEASE)).lanes[0]!.items)).toEqual(['m'])
  })

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

  test('so it is with one that waits for its demora, and with one that has waited', async ({ queue }) => {
    const raws = [
      '{"id":"m","evento":"e","demora":"5s"}',
      '{"demora":"5s","id":"n","evento":"e","largo":7,"datos":{"n":1}}',
    ].map((raw) => Buffer.from(raw))
    const others = ['{"id":"m","evento":"o","demora":"5s"}', '{"demora":"6s","id":"n","evento":"e","datos":{"n":1}}']
    const idOf = (raw: Buffer) => JSON.parse(String(raw)).id as string
    const waiting = (raw: Buffer, at: number) => {
      const envelope = stampEnvelope(raw, idOf(raw), at, new Date(at + 5000))
      return { kind: 'wait', id: idOf(raw), event: '{}', dueAt: at + 5000, envelope } as const
    }
    const send = async (as: (raw: Buffer, at: number) => DispatchItem) => {
      await queue.enqueue([...raws, ...others])
      const taken = await take(queue)
      return dispatch(
        queue,
        taken,
        taken.envelopes.map((raw) => as(raw, taken.now)),
      )
    }
    await queue.enqueue(raws)
    const first = await take(queue)
    await dispatch(
      queue,
      first,
      first.envelopes.map((raw) => waiting(raw, first.now)),
    )
    const refused = { moved: 4, duplicates: 2, refused: 2 }
    expect(await send((raw, at) => waiting(raw, at + 1))).toMatchObject(refused)
    for (const id of ['m', 'n']) await queue.redis.zadd(queue.keys.delayed, 1, id)
    const due = await take(queue)
    expect(due.envelopes.map((raw) => idOf(raw))).toEqual(['m', 'n'])
    await dispatch(queue, due, [to(['a'], 'm'), to(['a'], 'n')])
    expect(await send((raw) => to(['a'], idOf(raw)))).toMatchObject(refused)
    expect(await queue.redis.lrange(queue.keys.inboxInvalid, 0, -1)).toEqual([...others, ...others].toReversed())
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
