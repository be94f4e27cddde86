/** `settle`: what an outcome leaves behind, and what the breaker learns of it. */
import { describe, expect } from 'vitest'
import { CALLBACK_LANE } from '../../src/queue/keys.ts'
import type { Queue } from '../../src/queue/queue.ts'
import { settle } from '../../src/queue/settle.ts'
import { until } from '../support/until.ts'
import { claimed, dispatched, envelopeOf, expireLeases, LEASE, laneOf, settlementOf, test } from './scene.ts'

const lane = laneOf('a')

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
