import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { AuditReader } from '../../src/queue/audit-reader.ts'
import { Queue } from '../../src/queue/queue.ts'
import { beat } from '../../src/worker/heartbeat.ts'
import type { WorkerScene } from '../../src/worker/scene.ts'
import { type RedisServer, startRedis } from '../support/redis-server.ts'
import { dispatched, envelopeOf, expireLeases, laneOf, settlementOf } from './scene.ts'

let server: RedisServer
let redis: Redis
const lane = laneOf('a')

beforeAll(async () => {
  server = await startRedis()
  redis = new Redis({ host: server.host, port: server.port })
})
afterAll(async () => {
  redis.disconnect()
  await server.stop()
})

/** Less than what the server needs for itself. */
const fill = () => redis.config('SET', 'maxmemory', '1')
const empty = () => redis.config('SET', 'maxmemory', '0')

async function full<T>(work: () => Promise<T>): Promise<T> {
  await fill()
  try {
    return await work()
  } finally {
    await empty()
  }
}

test('sending is refused, and what is there already drains', async () => {
  const queue = new Queue(redis, 'llena', 'uno')
  await dispatched(queue, ['m1', 'm2', 'm3', 'm4'], ['a', 'b'])
  await queue.enqueue([envelopeOf('m5')])
  await full(async () => {
    await expect(queue.enqueue([envelopeOf('m6')])).rejects.toThrow(/OOM/)
    await expect(queue.enqueueOnce('clave', 'm6', envelopeOf('m6'))).rejects.toThrow(/OOM/)
    const { fence, envelopes } = await queue.take()
    expect(envelopes.map(String)).toEqual([envelopeOf('m5')])
    const item = { kind: 'dispatch', id: 'm5', event: '{}', listeners: ['a'] } as const
    expect(await queue.dispatch(fence, [item])).toMatchObject({ duplicates: 0 })
    const { lanes } = await queue.claim([{ lane, n: 3 }], 30_000, 1e6)
    const [one, two, three] = lanes[0]!.items
    expect(await queue.renew(lanes[0]!.items, 30_000)).toEqual([])
    await queue.release([three!])
    expect(
      await queue.settle([settlementOf(lane, one!, 'ok'), settlementOf(lane, two!, 'retry', { delay: 1000 })]),
    ).toEqual([true, true])
    expect(await redis.xlen(queue.keys.audit)).toBe(7)
    const reader = new AuditReader(queue, 'w')
    // The group itself is one of the things that need memory.
    await empty()
    await reader.fresh(1)
    await fill()
    const entries = await reader.fresh(100)
    await reader.acknowledge(entries)
    expect(await redis.xlen(queue.keys.audit)).toBe(0)
    await expireLeases(queue, 'a')
    const again = await queue.claim([{ lane, n: 10 }], 30_000, 1e6)
    expect(again.lanes[0]!.items.map(({ id }) => id)).toEqual(['m3', 'm4', 'm5'])
  })
})

test('workers are alive, and take over the audit of the dead, so that it can be freed', async () => {
  const queue = new Queue(redis, 'llena', 'dos')
  await dispatched(queue, ['m1'], ['a'])
  await new AuditReader(queue, 'muerto').fresh(10)
  await new AuditReader(queue, 'muerto').fresh(10)
  const scene = { worker: 'vivo', version: '1', inFlight: () => 0, loaded: () => ({}) } as unknown as WorkerScene
  await full(async () => {
    const { alive } = await beat(queue, scene, Date.now())
    expect([...alive]).toEqual(['vivo'])
    const reader = new AuditReader(queue, 'vivo')
    expect(await reader.inherit(alive)).toBe(1)
    await reader.acknowledge(await reader.pending(10))
    expect(await redis.xlen(queue.keys.audit)).toBe(0)
  })
})

test('a reader that holds entries is not forgotten, whoever takes it for dead', async () => {
  const queue = new Queue(redis, 'llena', 'tres')
  await dispatched(queue, ['m1'], ['a'])
  const reader = new AuditReader(queue, 'lento')
  await reader.fresh(10)
  await reader.fresh(10)
  expect(await queue.forgetConsumer('postgres', 'lento')).toBe(false)
  expect(await reader.pending(10)).toHaveLength(1)
  await reader.acknowledge(await reader.pending(10))
  expect(await queue.forgetConsumer('postgres', 'lento')).toBe(true)
})
