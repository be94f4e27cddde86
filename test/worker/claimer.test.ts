/** Many lanes and few slots, on the real scripts. */
import { expect } from 'vitest'
import type { Claimed } from '../../src/queue/queue.ts'
import { Claimer } from '../../src/worker/claimer.ts'
import type { WorkerContext } from '../../src/worker/context.ts'
import { Lane } from '../../src/worker/lane.ts'
import { Leases } from '../../src/worker/leases.ts'
import type { Logger } from '../../src/worker/log.ts'
import { BrokenLanes, Outage } from '../../src/worker/outage.ts'
import type { Settler } from '../../src/worker/settler.ts'
import { dispatched, laneOf, settlementOf, test } from '../queue/scene.ts'
import { until } from '../support/until.ts'

const LANES = 3_000
const SLOTS = 20

test('what waits for a few of three thousand listeners is found without a pause, in claims of a few lanes', async ({
  queue,
}) => {
  const log = { error: () => {}, warn: () => {}, info: () => {} } as unknown as Logger
  const context = {
    log,
    redisOutage: new Outage(log, 'Redis'),
    brokenLanes: new BrokenLanes(log),
    config: () => ({ workers: { concurrency: SLOTS, lease: 60_000 } }),
    now: () => Date.now(),
  } as unknown as WorkerContext
  const leases = new Leases(queue, context)
  const failures: unknown[] = []
  const claimer = new Claimer(queue, context, leases, { add: () => {} } as unknown as Settler, {
    active: () => {},
    freed: () => {},
    failed: (error) => failures.push(error),
  })
  const done: string[] = []
  let most = 0
  for (let n = 0; n < LANES; n++) {
    const lane = laneOf(`l${n}`)
    const execute = async (claimed: Claimed) => {
      most = Math.max(most, claimer.running)
      done.push(claimed.lane)
      return settlementOf(lane, claimed, 'ok')
    }
    claimer.lanes.set(lane.name, new Lane({ spec: lane, execute, close: async () => {} }))
  }
  const chosen = Array.from({ length: 60 }, (_, n) => `l${LANES - 1 - n * 50}`)
  for (const name of chosen) await dispatched(queue, [`m${name}`], [name])
  const asked: number[] = []
  const claim = queue.claim.bind(queue)
  queue.claim = (wants, ...rest) => {
    asked.push(wants.length)
    return claim(wants, ...rest)
  }
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
