/**
 * Redis's clock is put back, or another server takes over whose clock is behind: nothing waits until it is that time again. Here
 * what is written in Redis is from an hour later.
 */
import { expect } from 'vitest'
import { AuditReader } from '../../src/queue/audit-stream.ts'
import { take } from '../../src/queue/inbox.ts'
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

const HOUR = 3_600_000

test('the inbox is free, whoever had leased it', async ({ queue }) => {
  await queue.enqueue([envelopeOf('m')])
  await take(queue)
  expect((await take(queue)).fence).toBe(0)
  await queue.redis.hincrby(queue.keys.dispatchLease, 'until', HOUR)
  expect((await take(queue)).envelopes.map(String)).toEqual([envelopeOf('m')])
})

test("a dead reader's stretch of the audit is another's", async ({ queue }) => {
  const { redis, keys } = queue
  await redis.xadd(keys.audit, '*', 'n', 'x')
  const [dead, alive] = ['muerto', 'vivo'].map((name) => new AuditReader(queue, name))
  const { last } = (await dead!.take())!
  expect(await alive!.take()).toBeNull()
  const [after, till, who] = (await redis.hget(keys.auditStretches, last))!.split('|')
  await redis.hset(keys.auditStretches, last, [after, Number(till) + HOUR, who].join('|'))
  expect(await alive!.take()).toMatchObject({ last, inherited: true })
})

test('limite: starts come in from now on', async ({ queue }) => {
  const lane = laneOf('a', { rateLimit: { count: 6000, per: 60_000 } })
  const ids = Array.from({ length: 100 }, (_, n) => `m${n}`)
  await dispatched(queue, ids, ['a'])
  // All that may start at once.
  expect((await claimed(queue, lane, 100)).length).toBeLessThan(100)
  await queue.redis.hset(queue.lane('a').rate, 'tokens', 0, 'at', (await queue.now()) + HOUR)
  expect(await claimed(queue, lane, 1)).toEqual([])
  await until(async () => (await claimed(queue, lane, 1)).length === 1, { timeout: 2000 })
})

test('corte: the trial comes when its pause is over', async ({ queue }) => {
  const lane = laneOf('a', { breaker: { threshold: 50, minimum: 1, window: 60_000, pause: 100 } })
  await dispatched(queue, ['m1', 'm2'], ['a'])
  const [first] = await claimed(queue, lane, 1)
  await settle(queue, [settlementOf(lane, first!, 'failed', { health: 'ko' })])
  await queue.redis.hincrby(queue.lane('a').breaker, 'until', HOUR)
  const { now, lanes } = await queue.claim([{ lane, n: 1 }], LEASE, 1e9)
  expect(lanes[0]).toMatchObject({ items: [], nextAt: now + 100 })
  await until(async () => idsOf(await claimed(queue, lane, 1))[0] === 'm2', { timeout: 2000 })
})

test('corte: what failed before weighs no more than it did', async ({ queue }) => {
  const lane = laneOf('a', { breaker: { threshold: 50, minimum: 1, window: 60_000, pause: 100 } })
  await dispatched(queue, ['m1'], ['a'])
  const [first] = await claimed(queue, lane, 1)
  const { breaker } = queue.lane('a')
  await queue.redis.hset(breaker, { ok: 2, ko: 0, old_ok: 0, old_ko: 1, since: (await queue.now()) + HOUR })
  await settle(queue, [settlementOf(lane, first!, 'ok', { health: 'ok' })])
  await dispatched(queue, ['m2'], ['a'])
  const [second] = await claimed(queue, lane, 1)
  // Two of five; the one before would weigh as much as a hundred.
  await settle(queue, [settlementOf(lane, second!, 'failed', { health: 'ko' })])
  expect(await queue.redis.hget(breaker, 'state')).toBeNull()
})

test('what happened since is newer to the audit than the beginning', async ({ queue }) => {
  const later = (await queue.now()) + HOUR
  // As the fences of a dispatch an hour later.
  await queue.redis.set(queue.keys.fence, later * 1000)
  const lane = laneOf('a')
  await dispatched(queue, ['m1', 'm2', 'm3'], ['a'])
  const [first, second] = await claimed(queue, lane, 2)
  await queue.begin(first!.fence)
  await settle(queue, [settlementOf(lane, first!, 'ok'), settlementOf(lane, second!, 'retry', { delay: HOUR })])
  const [third] = await claimed(queue, lane, 1)
  await queue.begin(third!.fence)
  await expireLeases(queue, 'a')
  await claimed(queue, lane, 1)
  const told = (await audited(queue)).filter(({ type }) => type === 'a').map(({ decided }) => decided.split('|'))
  expect(told.map(([state]) => state)).toEqual(['exitosa', 'reintentando', 'pendiente'])
  for (const [, version] of told) expect(Number(version)).toBeGreaterThan(later)
})
