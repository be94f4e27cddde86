/** Outcomes that Redis does not take: which are lost, and which only have to wait. */
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { Queue } from '../../src/queue/queue.ts'
import type { WorkerContext } from '../../src/worker/context.ts'
import { Leases } from '../../src/worker/leases.ts'
import type { Logger } from '../../src/worker/log.ts'
import { Outage } from '../../src/worker/outage.ts'
import { Settler } from '../../src/worker/settler.ts'
import { claimed, dispatched, LEASE, laneOf, settlementOf } from '../queue/scene.ts'
import { startRedis } from '../support/redis-server.ts'
import { until } from '../support/until.ts'

test('what a node of a cluster refuses, since it has not the slot any more, is told when it has it again', async () => {
  const [here, there] = await Promise.all([0, 1].map(() => startRedis(['--cluster-enabled', 'yes'])))
  const [redis, other] = [here!, there!].map(({ host, port }) => new Redis({ host, port }))
  onTestFinished(async () => {
    redis!.disconnect()
    other!.disconnect()
    await Promise.all([here!.stop(), there!.stop()])
  })
  const cluster = (...args: string[]) => redis!.call('CLUSTER', ...args) as Promise<string>
  await cluster('ADDSLOTSRANGE', '0', '16383')
  await cluster('MEET', there!.host, String(there!.port))
  const me = await cluster('MYID')
  await until(async () => String(await other!.call('CLUSTER', 'NODES')).includes(me))
  await other!.call('CLUSTER', 'REPLICATE', me)
  await until(async () => (await other!.info('replication')).includes('master_link_status:up'))
  await until(async () => (await cluster('INFO')).includes('cluster_state:ok'))

  const queue = new Queue(redis!, 'a', 'b')
  const lane = laneOf('a')
  await dispatched(queue, ['m1', 'm2'], ['a'])
  const claims = await claimed(queue, lane, 2)

  const told: string[] = []
  const log = {
    info: () => {},
    warn: () => {},
    error: (_: object, text: string) => told.push(text),
  } as unknown as Logger
  const context = {
    log,
    redisOutage: new Outage(log, 'Redis'),
    inFlight: () => 0,
    config: () => ({ redis: { host: here!.host, port: here!.port, sentinels: [] }, workers: { lease: LEASE } }),
  } as unknown as WorkerContext
  const settled: [string, boolean][] = []
  const settler = new Settler(queue, context, ({ id }, applied) => settled.push([id, applied]))
  const leases = new Leases(queue, context)
  await until(async () => (await redis!.call('WAIT', '1', '100')) === 1)
  await other!.call('CLUSTER', 'FAILOVER', 'TAKEOVER')
  await until(() =>
    redis!.set('{a:b}', 'x').then(
      () => false,
      ({ message }) => /^MOVED/.test(message),
    ),
  )
  for (const each of claims) settler.add(settlementOf(lane, each, 'ok'), leases.add(each, performance.now()))
  await until(() => told.length > 0)
  expect(settled).toEqual([])
  await until(async () => (await redis!.info('replication')).includes('master_link_status:up'))
  await cluster('FAILOVER', 'TAKEOVER')
  await settler.drain()
  expect(settled).toEqual([
    ['m1', true],
    ['m2', true],
  ])
  expect(told).toEqual([expect.stringContaining('Redis')])
  expect(await redis!.exists(`${queue.keys.messagePrefix}m1`, queue.lane('a').inFlight)).toBe(0)
})
