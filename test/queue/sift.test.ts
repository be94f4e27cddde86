/** `descartar` of what waits in a long list: a walk in slices, never a search for each. */
import { expect } from 'vitest'
import { type DiscardedItem, QueueAdmin } from '../../src/queue/maintenance.ts'
import { audited, laneOf, test } from './scene.ts'

const LENGTH = 3_000
const ids = Array.from({ length: LENGTH }, (_, n) => `m${n}`)
const wantedOf = (names: readonly string[]) =>
  new Map(
    names.map((id): [string, DiscardedItem] => [id, { id, listener: 'a', number: 0, version: 0, kind: 'waiting' }]),
  )

test('each slice is walked over once, no further than needed, and the rest stands in its old order', async ({
  queue,
}) => {
  const { queue: list, front } = queue.lane('a')
  await queue.redis.set(queue.keys.maintenance, 'prueba')
  const admin = new QueueAdmin(queue, { value: 'prueba', release: async () => {} })
  const calls: string[] = []
  const monitor = await queue.redis.duplicate().monitor()
  monitor.on('monitor', (_time, args: string[]) => {
    if (args.includes(list)) calls.push(args[0]!.toLowerCase())
  })
  try {
    await queue.redis.rpush(list, ...ids)
    const scattered = ids.filter((_, n) => n % 3 === 0)
    expect(await admin.sift('a', wantedOf(scattered), 'prueba')).toEqual(new Set(scattered))
    const rest = ids.filter((_, n) => n % 3 !== 0)
    expect(await queue.redis.lrange(list, 0, -1)).toEqual(rest)
    expect(await queue.redis.exists(front)).toBe(0)
    expect(await audited(queue)).toHaveLength(scattered.length)
    // What stands first is found in the first slice; what is not there at all costs one walk.
    calls.length = 0
    await admin.sift('a', wantedOf([rest[1]!]), 'prueba')
    await queue.redis.ping()
    expect(calls.filter((name) => name === 'ltrim')).toHaveLength(1)
    await admin.sift('a', wantedOf(['ausente']), 'prueba')
    expect(await queue.redis.lrange(list, 0, -1)).toEqual([rest[0], ...rest.slice(2)])
    // No command looks for one id in a whole list.
    expect(calls.filter((name) => name === 'lrem' || name === 'lpos')).toEqual([])
    // Claims go on meanwhile, in the same order.
    await queue.redis.lmove(list, front, 'LEFT', 'RIGHT')
    for (const id of rest) await queue.redis.set(`${queue.keys.messagePrefix}${id}`, '{}')
    const { lanes } = await queue.claim([{ lane: laneOf('a'), n: 2 }], 60_000, 1e9)
    expect(lanes[0]!.items.map(({ id }) => id)).toEqual([rest[0], rest[2]])
  } finally {
    monitor.disconnect()
  }
})
