/** `descartar` of what waits in a long list: a walk in slices, never a search for each. */
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { type DiscardedItem, QueueAdmin } from '../../src/queue/maintenance.ts'
import { Queue } from '../../src/queue/queue.ts'
import { startRedis } from '../support/redis-server.ts'
import { audited, laneOf } from './scene.ts'

const LENGTH = 3_000
const ids = Array.from({ length: LENGTH }, (_, n) => `m${n}`)
const wantedOf = (names: readonly string[]) =>
  new Map(
    names.map((id): [string, DiscardedItem] => [id, { id, listener: 'a', number: 0, version: 0, kind: 'waiting' }]),
  )

test('each slice is walked over once, no further than needed, and the rest stands in its old order', async () => {
  // Of its own: the server counts the commands of everybody, those of scripts as well.
  const server = await startRedis()
  onTestFinished(() => server.stop())
  const redis = new Redis({ host: server.host, port: server.port })
  onTestFinished(() => redis.disconnect())
  const queue = new Queue(redis, 'prueba', 'cola')
  const callsOf = async (command: string) => {
    const stats = await redis.info('commandstats')
    return Number(new RegExp(`^cmdstat_${command}:calls=(\\d+)`, 'm').exec(stats)?.[1] ?? 0)
  }
  const { queue: list, front } = queue.lane('a')
  await redis.set(queue.keys.maintenance, 'prueba')
  const admin = new QueueAdmin(queue, { value: 'prueba', release: async () => {} })

  await redis.rpush(list, ...ids)
  const scattered = ids.filter((_, n) => n % 3 === 0)
  expect(await admin.sift('a', wantedOf(scattered), 'prueba')).toEqual(new Set(scattered))
  const rest = ids.filter((_, n) => n % 3 !== 0)
  expect(await redis.lrange(list, 0, -1)).toEqual(rest)
  expect(await redis.exists(front)).toBe(0)
  expect(await audited(queue)).toHaveLength(scattered.length)
  // What stands first is found in the first slice; what is not there at all costs one walk.
  await redis.config('RESETSTAT')
  await admin.sift('a', wantedOf([rest[1]!]), 'prueba')
  expect(await callsOf('ltrim')).toBe(1)
  await admin.sift('a', wantedOf(['ausente']), 'prueba')
  expect(await redis.lrange(list, 0, -1)).toEqual([rest[0], ...rest.slice(2)])
  // No command looks for one id in a whole list.
  expect([await callsOf('lrem'), await callsOf('lpos')]).toEqual([0, 0])
  // Claims go on meanwhile, in the same order.
  await redis.lmove(list, front, 'LEFT', 'RIGHT')
  for (const id of rest) await redis.set(`${queue.keys.messagePrefix}${id}`, '{}')
  const { lanes } = await queue.claim([{ lane: laneOf('a'), n: 2 }], 60_000, 1e9)
  expect(lanes[0]!.items.map(({ id }) => id)).toEqual([rest[0], rest[2]])
})
