import { expect, test } from 'vitest'
import type { LaneSpec } from '../../src/queue/queue.ts'
import { type Executor, Lane, shareBytes, shareSlots } from '../../src/worker/lane.ts'

function lane(name: string, concurrency: number, running = 0, servedAt = 0): Lane {
  const spec: LaneSpec = { name, concurrency, strict: false, rateLimit: null, breaker: null, failureJob: null }
  const made = new Lane({ spec } as Executor)
  made.running = running
  made.servedAt = servedAt
  return made
}

const shares = (lanes: Lane[], slots: number, all = lanes) =>
  shareSlots(lanes, slots, all).map((share) => [share.lane.spec.name, share.n])

test('all that fit, where there are slots for all', () => {
  expect(shares([lane('a', 10), lane('b', 5, 3)], 100)).toEqual([
    ['a', 10],
    ['b', 2],
  ])
})

test('a scarce slot is shared evenly, and what one does not want goes to the others', () => {
  expect(shares([lane('a', 10), lane('b', 10)], 8)).toEqual([
    ['a', 4],
    ['b', 4],
  ])
  expect(shares([lane('a', 1), lane('b', 10)], 8)).toEqual([
    ['a', 1],
    ['b', 7],
  ])
})

test('who has more than an even share leaves a quarter to those below theirs, as far as they could use it', () => {
  const hungry = lane('a', 50)
  expect(shares([hungry], 8, [hungry, lane('b', 10)])).toEqual([['a', 6]])
  const hanging = lane('a', 50, 6)
  expect(shares([hanging], 2, [hanging, lane('b', 10)])).toEqual([])
  expect(shares([hanging, lane('b', 10)], 2)).toEqual([['b', 2]])
  expect(shares([hanging], 2, [hanging, lane('b', 1)])).toEqual([['a', 1]])
  expect(shares([lane('a', 50)], 8)).toEqual([['a', 8]])
})

test('one slot in all goes to whoever has work', () => {
  const only = lane('a', 10)
  expect(shares([only], 1, [only, lane('b', 10)])).toEqual([['a', 1]])
})

test('with less than a slot for each, the longest unserved come first', () => {
  expect(shares([lane('a', 10, 0, 7), lane('b', 10, 0, 3), lane('c', 10, 0, 5)], 2)).toEqual([
    ['b', 1],
    ['c', 1],
  ])
})

test('no slot, no share; a lane that is full gets none', () => {
  expect(shares([lane('a', 10)], 0)).toEqual([])
  expect(shares([lane('a', 10, 12)], 5)).toEqual([])
})

test('callbacks have no common limit', () => {
  expect(shares([lane('@callbacks', 10, 4)], Number.POSITIVE_INFINITY)).toEqual([['@callbacks', 6]])
})

test('bytes: a lane takes half of what the others leave, and small messages whatever the others hold', () => {
  const MB = 1024 * 1024
  const holding = (bytes: number) => Object.assign(lane('a', 10), { bytes })
  const share = (own: number, held: number, lanes: number) => shareBytes(holding(own), held, lanes)
  expect(share(0, 0, 4)).toEqual({ room: 32 * MB, own: 16 * MB })
  expect(share(32 * MB, 32 * MB, 4)).toEqual({ room: 0, own: 0 })
  expect(share(0, 32 * MB, 4)).toEqual({ room: 16 * MB, own: 16 * MB })
  expect(share(1 * MB, 90 * MB, 4)).toEqual({ room: 0, own: 15 * MB })
  // Whoever is alone has it all.
  expect(share(0, 0, 1)).toEqual({ room: 64 * MB, own: 64 * MB })
  expect(share(40 * MB, 40 * MB, 1)).toMatchObject({ room: 24 * MB })
})

test('more lanes than slots: those without one are asked too, and get what the others leave', () => {
  const lanes = [lane('a', 10, 0, 1), lane('b', 10, 0, 2), lane('c', 10, 0, 3), lane('d', 10, 2, 4)]
  expect(shareSlots(lanes, 2, lanes, 3).map((share) => [share.lane.spec.name, share.n])).toEqual([
    ['a', 1],
    ['b', 1],
    ['c', 1],
  ])
  expect(shareSlots(lanes, 0, lanes, 3)).toEqual([])
})
