/** What a sleeping worker sees: everything that its loops could do something about, and nothing else. */
import { expect } from 'vitest'
import { take } from '../../src/queue/inbox.ts'
import { CALLBACK_LANE } from '../../src/queue/keys.ts'
import { settle } from '../../src/queue/settle.ts'
import { dispatched, envelopeOf, expireLeases, laneOf, settlementOf, test } from './scene.ts'

const LANES = ['a', 'b', CALLBACK_LANE]
const lane = laneOf('a')

test('nothing, where nothing waits', async ({ queue }) => {
  const before = await queue.now()
  const seen = await queue.look(LANES)
  expect(seen).toMatchObject({ inbox: false, lanes: [], audit: 0 })
  expect(seen.now).toBeGreaterThanOrEqual(before)
})

test('a foreign LPUSH, a batch whose dispatcher died, and a message whose demora is over', async ({ queue }) => {
  await queue.redis.lpush(queue.keys.inbox, envelopeOf('m'))
  expect(await queue.look(LANES)).toMatchObject({ inbox: true, lanes: [] })
  await take(queue)
  expect(await queue.look(LANES)).toMatchObject({ inbox: true, lanes: [] })
  await queue.redis.del(queue.keys.inbox)
  const now = await queue.now()
  await queue.redis.zadd(queue.keys.delayed, now + 60_000, 'd')
  expect(await queue.look(LANES)).toMatchObject({ inbox: false })
  await queue.redis.zadd(queue.keys.delayed, now - 1, 'd')
  expect(await queue.look(LANES)).toMatchObject({ inbox: true })
})

test('what waits, what is due and what a dead worker held, of each lane by itself', async ({ queue }) => {
  await dispatched(queue, ['m'], ['a'])
  expect(await queue.look(LANES)).toMatchObject({ inbox: false, lanes: ['a'], audit: 1 })
  const { lanes } = await queue.claim([{ lane, n: 1 }], 60_000, 1e9)
  expect(await queue.look(LANES)).toMatchObject({ lanes: [] })
  await expireLeases(queue, 'a')
  expect(await queue.look(LANES)).toMatchObject({ lanes: ['a'] })
  await settle(queue, [settlementOf(lane, lanes[0]!.items[0]!, 'retry', { delay: 60_000 })])
  expect(await queue.look(LANES)).toMatchObject({ lanes: [] })
  await queue.redis.zadd(queue.lane('a').retries, 1, 'm')
  await queue.redis.rpush(queue.lane(CALLBACK_LANE).queue, 'c')
  expect(await queue.look(LANES)).toMatchObject({ lanes: ['a', CALLBACK_LANE] })
  expect(await queue.look(['b'])).toMatchObject({ lanes: [] })
})

test('three thousand lanes are looked at, in steps that a script may unpack', async ({ queue }) => {
  const names = Array.from({ length: 3_000 }, (_, n) => `l${n}`)
  await dispatched(queue, ['m'], ['l0', 'l2999'])
  expect(await queue.look(names)).toMatchObject({ lanes: ['l0', 'l2999'], audit: 1 })
})
