/** Keys that somebody made something else of, at every step of a delivery: nothing is lost, counted or told twice. */
import { describe, expect } from 'vitest'
import { dispatch, take } from '../../src/queue/inbox.ts'
import { CALLBACK_LANE, LANE_KEYS, type LaneKeys, SHARED_KEYS } from '../../src/queue/keys.ts'
import type { Claimed, Queue } from '../../src/queue/queue.ts'
import { mistypedText } from '../../src/queue/redis.ts'
import { settle } from '../../src/queue/settle.ts'
import { envelopeOf, keysLeft, laneOf, settlementOf, test } from './scene.ts'

const [sound, other] = [laneOf('sana'), laneOf('otra')]
const IDS = ['m1', 'm2']

/** One after the other, as a worker does them; each may be repeated. */
class Course {
  readonly #queue: Queue
  claimed: Claimed[] = []

  constructor(queue: Queue) {
    this.#queue = queue
  }

  async dispatch(): Promise<void> {
    await this.#queue.redis.hset(this.#queue.keys.dispatchLease, 'until', 0).catch(() => {})
    const { envelopes, fence } = await take(this.#queue)
    if (fence === 0) return
    const items = envelopes.map((raw) => ({
      kind: 'dispatch' as const,
      id: JSON.parse(String(raw)).id,
      event: '{}',
      listeners: ['sana', 'otra'],
    }))
    await dispatch(this.#queue, { envelopes, fence }, items)
  }

  async claim(): Promise<void> {
    const { lanes } = await this.#queue.claim(
      [sound, other].map((lane) => ({ lane, n: 10 })),
      60_000,
      1e6,
    )
    this.claimed.push(...lanes.flatMap(({ items }) => items))
  }

  /** @returns the deliveries that were settled */
  async settle(): Promise<string[]> {
    for (const fence of new Set(this.claimed.map((each) => each.fence))) await this.#queue.begin(fence).catch(() => {})
    const results = await settle(
      this.#queue,
      this.claimed.map((each) => settlementOf(laneOf(each.lane), each, 'ok', { callback: '{}' })),
    )
    const done = this.claimed.filter((_, i) => results[i] === true)
    this.claimed = this.claimed.filter((_, i) => results[i] !== true)
    return done.map(({ lane, id }) => `${lane} ${id}`)
  }
}

const STEPS = ['dispatch', 'claim', 'settle'] as const

/** Runs all steps twice: with the key wrong from `from` on, and then repaired. @returns what was settled each time */
async function played(queue: Queue, key: string, from: number): Promise<{ broken: string[]; repaired: string[] }> {
  const { redis } = queue
  const left = await keysLeft(queue)
  if (left.length > 0) await redis.unlink(left)
  const course = new Course(queue)
  await queue.enqueue(IDS.map(envelopeOf))
  for (const step of STEPS.slice(0, from)) await course[step]()
  const aside = `${key}_aparte`
  const was = (await redis.exists(key)) === 1
  if (was) await redis.rename(key, aside)
  await (isString(queue, key) ? redis.rpush(key, 'x') : redis.set(key, 'x'))
  const broken: string[] = []
  for (const step of STEPS.slice(from)) {
    try {
      broken.push(...((await course[step]()) ?? []))
    } catch (error) {
      expect((error as Error).message).toMatch(/^WRONGTYPE/)
      expect(mistypedText(error as Error)).toContain(key)
    }
  }
  await redis.del(key)
  if (was) await redis.rename(aside, key)
  const repaired: string[] = []
  for (const step of STEPS) repaired.push(...((await course[step]()) ?? []))
  return { broken, repaired }
}

function isString({ keys }: Queue, key: string): boolean {
  return Object.entries(SHARED_KEYS).some(([name, [, kind]]) => kind === 'string' && keys[name as 'fence'] === key)
}

const ALL = ['otra m1', 'otra m2', 'sana m1', 'sana m2']

/** One message event, and one for each delivery; a callback for each. */
async function expectWhole(queue: Queue): Promise<void> {
  expect(await queue.redis.xlen(queue.keys.audit)).toBe(IDS.length * 3)
  const { queue: callbacks, retries } = queue.lane(CALLBACK_LANE)
  expect((await queue.redis.llen(callbacks)) + (await queue.redis.zcard(retries))).toBe(4)
  const stay =
    /:(listeners|valla|sin_comenzar|despacho_arriendo|eventos|cola:@callbacks|reintentos:@callbacks|mensaje:.*m\d~.*)$/
  expect((await keysLeft(queue)).filter((key) => !stay.test(key))).toEqual([])
}

describe('of everybody', () => {
  test.for(Object.keys(SHARED_KEYS) as (keyof typeof SHARED_KEYS)[])('%s', async (name, { queue }) => {
    for (let from = name === 'inbox' ? 1 : 0; from < STEPS.length; from++) {
      const { broken, repaired } = await played(queue, queue.keys[name], from)
      expect([...broken, ...repaired].toSorted(), `from ${STEPS[from]} on`).toEqual(ALL)
      await expectWhole(queue)
    }
  })
})

describe('however often a batch is tried meanwhile, none of its entries is taken for a deadly one', () => {
  test.for(Object.keys(SHARED_KEYS).filter((name) => name !== 'inbox') as (keyof typeof SHARED_KEYS)[])(
    '%s',
    async (name, { queue }) => {
      const { keys, redis } = queue
      const course = new Course(queue)
      await queue.enqueue(IDS.map(envelopeOf))
      await (isString(queue, keys[name]) ? redis.rpush(keys[name], 'x') : redis.set(keys[name], 'x'))
      for (let tries = 0; tries < 8; tries++) await course.dispatch().catch(() => {})
      await redis.del(keys[name])
      expect(await redis.exists(keys.inboxInvalid)).toBe(0)
      await course.dispatch()
      await course.claim()
      expect(course.claimed.map(({ lane, id }) => `${lane} ${id}`).toSorted()).toEqual(ALL)
    },
  )
})

describe("of one listener: the other one's are delivered meanwhile", () => {
  test.for(Object.keys(LANE_KEYS) as (keyof LaneKeys)[])('%s', async (name, { queue }) => {
    for (const from of STEPS.keys()) {
      const { broken, repaired } = await played(queue, queue.lane('otra')[name], from)
      expect(broken.filter((each) => each.startsWith('sana')).toSorted()).toEqual(['sana m1', 'sana m2'])
      expect([...broken, ...repaired].toSorted(), `from ${STEPS[from]} on`).toEqual(ALL)
      await expectWhole(queue)
    }
  })
})

test("the callbacks' list: they wait among the retries until it is repaired", async ({ queue }) => {
  const { broken } = await played(queue, queue.lane(CALLBACK_LANE).queue, 2)
  expect(broken.toSorted()).toEqual(ALL)
  await expectWhole(queue)
})
