/** Many lanes and few slots, on the real scripts. */
import { expect } from 'vitest'
import type { Subscriptions } from '../../src/config/subscriptions.ts'
import type { Claimed, LaneSpec, Queue } from '../../src/queue/queue.ts'
import { Claimer } from '../../src/worker/claimer.ts'
import type { WorkerContext } from '../../src/worker/context.ts'
import { Dispatcher } from '../../src/worker/dispatcher.ts'
import { Lane } from '../../src/worker/lane.ts'
import { Leases } from '../../src/worker/leases.ts'
import type { Logger } from '../../src/worker/log.ts'
import { BrokenLanes, Outage } from '../../src/worker/outage.ts'
import type { Settler } from '../../src/worker/settler.ts'
import { dispatched, envelopeOf, laneOf, settlementOf, test } from '../queue/scene.ts'
import { until } from '../support/until.ts'

const LANES = 3_000
const SLOTS = 20

/** A claimer of the given lanes that notes how many lanes each claim asked for. */
function claimerOf(queue: Queue, lanes: readonly LaneSpec[], execute: (claimed: Claimed, lane: LaneSpec) => void) {
  let offset = 0
  const log = { error: () => {}, warn: () => {}, info: () => {} } as unknown as Logger
  const context = {
    log,
    redisOutage: new Outage(log, 'Redis'),
    brokenLanes: new BrokenLanes(log),
    config: () => ({ workers: { concurrency: SLOTS, lease: 60_000, maxMessage: 100_000 } }),
    metrics: () => undefined,
    now: () => Date.now() + offset,
  } as unknown as WorkerContext
  const failures: unknown[] = []
  const events = {
    active: () => {},
    freed: () => {},
    failed: (error: unknown) => failures.push(error),
    clock: (now: number) => {
      offset = now - Date.now()
    },
  }
  const claimer = new Claimer(
    queue,
    context,
    new Leases(queue, context),
    { add: () => {} } as unknown as Settler,
    events,
  )
  for (const lane of lanes) {
    const executor = {
      spec: lane,
      execute: async (claimed: Claimed) => {
        execute(claimed, lane)
        return settlementOf(lane, claimed, 'ok')
      },
      close: async () => {},
    }
    claimer.lanes.set(lane.name, new Lane(executor))
  }
  const asked: number[] = []
  const claim = queue.claim.bind(queue)
  queue.claim = (wants, ...rest) => {
    asked.push(wants.length)
    return claim(wants, ...rest)
  }
  return { claimer, context, events, failures, asked }
}

test('what waits for a few of three thousand listeners is found without a pause, in claims of a few lanes', async ({
  queue,
}) => {
  const done: string[] = []
  let most = 0
  const lanes = Array.from({ length: LANES }, (_, n) => laneOf(`l${n}`))
  const { claimer, failures, asked } = claimerOf(queue, lanes, (claimed) => {
    most = Math.max(most, claimer.running)
    done.push(claimed.lane)
  })
  const chosen = Array.from({ length: 60 }, (_, n) => `l${LANES - 1 - n * 50}`)
  for (const name of chosen) await dispatched(queue, [`m${name}`], [name])
  const running = claimer.run()
  try {
    // A sleep would be one of 15 s: nobody hints here.
    await until(() => done.length === chosen.length, { timeout: 10_000 })
    expect(done.toSorted()).toEqual(chosen.toSorted())
    expect(failures).toEqual([])
    expect(most).toBeLessThanOrEqual(SLOTS)
    expect(Math.max(...asked)).toBeLessThanOrEqual(64)
    // Each lane once, and those that had something once more; with a slot for each claim it would be thousands.
    expect(asked.length).toBeLessThan(150)
  } finally {
    claimer.stop()
    await running
  }
})

test('behind what a breaker holds back nobody asks, however much is dispatched; and it all goes out in the end', async ({
  queue,
}) => {
  const lane = laneOf('caido', { breaker: { threshold: 50, minimum: 1, window: 60_000, pause: 60_000 } })
  const done: string[] = []
  const { claimer, context, events, failures, asked } = claimerOf(queue, [lane], ({ id }) => done.push(id))
  const subscriptions = { of: () => [{ name: lane.name, auditBody: true }] } as unknown as Subscriptions
  const dispatcher = new Dispatcher(queue, context, subscriptions, claimer, { ...events, passed: () => {} })
  const { breaker } = queue.lane(lane.name)
  await queue.redis.hset(breaker, 'state', 'open', 'until', Date.now() + 60_000)
  const ids = Array.from({ length: 30 }, (_, n) => `m${n}`)
  const running = claimer.run()
  try {
    await until(() => asked.length > 0)
    let news = 0
    for (const id of ids) {
      await queue.enqueue([envelopeOf(id)])
      const { moved, queued } = await dispatcher.pass(claimer.demand())
      expect(moved).toBe(1)
      news += queued ? 1 : 0
      // A claim that was asked for by now is answered before this.
      await queue.now()
    }
    // At the start, and when the first one came to lie there, which other workers are told too.
    expect(asked.length).toBeLessThanOrEqual(3)
    expect(news).toBe(1)
    await queue.redis.del(breaker)
    claimer.hint()
    await until(() => done.length === ids.length)
    expect(done).toEqual(ids)
    expect(failures).toEqual([])
  } finally {
    claimer.stop()
    await running
  }
})

test('behind deliveries whose bodies are gone the next ones are found without a pause', async ({ queue }) => {
  const lane = laneOf('perdidos')
  const done: string[] = []
  const { claimer, failures } = claimerOf(queue, [lane], ({ id }) => done.push(id))
  const lost = Array.from({ length: 50 }, (_, n) => `perdido${n}`)
  await dispatched(queue, [...lost, 'entero'], [lane.name])
  await queue.redis.del(lost.map((id) => queue.keys.messagePrefix + id))
  const running = claimer.run()
  try {
    // A sleep would be one of 15 s: nobody hints here.
    await until(() => done.length > 0, { timeout: 5_000 })
    expect(done).toEqual(['entero'])
    expect(await queue.redis.zcard(queue.lane(lane.name).failed)).toBe(lost.length)
    expect(failures).toEqual([])
  } finally {
    claimer.stop()
    await running
  }
})

test('what is hinted while a dispatcher holds the slots of a lane is claimed when it gives them back', async ({
  queue,
}) => {
  const lane = laneOf('a', { concurrency: 1 })
  const done: string[] = []
  const { claimer } = claimerOf(queue, [lane], ({ id }) => done.push(id))
  const running = claimer.run()
  try {
    await until(() => claimer.emptyPasses === 1)
    const reserved = claimer.reserve(new Map([[lane.name, 1]]))
    expect(reserved.get(lane.name)?.n).toBe(1)
    await dispatched(queue, ['m1'], [lane.name])
    claimer.hint([lane.name])
    await until(() => claimer.emptyPasses === 2)
    claimer.giveBack(reserved)
    await until(() => done.length > 0, { timeout: 5_000 })
  } finally {
    claimer.stop()
    await running
  }
})

test('Redis whose clock was put forward is asked again by its own, and that it gave nothing is no empty pass', async ({
  queue,
}) => {
  const lane = laneOf('a')
  const done: string[] = []
  const { claimer, events, failures } = claimerOf(queue, [lane], ({ id }) => done.push(id))
  await dispatched(queue, ['m1'], [lane.name])
  events.clock(Date.now() - 3_600_000)
  const running = claimer.run()
  try {
    await until(() => done.length > 0)
    expect(failures).toEqual([])
    expect(await claimer.pass()).toEqual({ claimed: 0, more: false })
  } finally {
    claimer.stop()
    await running
  }
})

test('of a message with very many listeners others are told too, though many were dispatched before it', async ({
  queue,
}) => {
  const { claimer, context, events } = claimerOf(queue, [], () => {})
  const names = Array.from({ length: 301 }, (_, n) => `l${n}`)
  const to = (some: readonly string[]) => some.map((name) => ({ name, auditBody: true }))
  const subscriptions = { of: (event: string) => to(event === 'grande' ? names : ['l0']) } as unknown as Subscriptions
  const dispatcher = new Dispatcher(queue, context, subscriptions, claimer, { ...events, passed: () => {} })
  // These come to lie behind something, which is no news.
  await dispatched(queue, ['antes'], ['l0'])
  const before = Array.from({ length: 10 }, (_, n) => envelopeOf(`m${n}`))
  await queue.enqueue([...before, '{"id":"g","evento":"grande"}'])
  expect(await dispatcher.pass()).toMatchObject({ moved: 11, queued: true })
})
