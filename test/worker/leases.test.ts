/** Leases: told before the first request, renewed on time. */
import { afterEach, expect, test, vi } from 'vitest'
import type { Claimed, Held, Queue } from '../../src/queue/queue.ts'
import type { WorkerContext } from '../../src/worker/context.ts'
import { Leases } from '../../src/worker/leases.ts'
import { until } from '../support/until.ts'

afterEach(() => void vi.useRealTimers())

test('leases are renewed on time when the clock of the machine is put back an hour', async () => {
  const renewed: Held[] = []
  const queue = {
    renew: async (held: readonly Held[]) => {
      renewed.push(...held)
      return []
    },
  } as unknown as Queue
  const context = { config: () => ({ workers: { lease: 400 } }) } as unknown as WorkerContext
  const leases = new Leases(queue, context)
  leases.start()
  try {
    leases.add({ lane: 'a', id: 'm', fence: 1 } as Claimed)
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 3_600_000 })
    await until(() => renewed.length >= 3, { timeout: 3000 })
    expect(renewed.map(({ id }) => id)).toEqual(renewed.map(() => 'm'))
  } finally {
    leases.stop()
  }
})

test('nothing begins before Redis has answered that the claim arrived, however often that is asked', async () => {
  const answers: { resolve(lost: readonly Held[]): void; reject(error: Error): void }[] = []
  const queue = {
    renew: () => new Promise((resolve, reject) => answers.push({ resolve, reject })),
  } as unknown as Queue
  const context = {
    config: () => ({ workers: { lease: 30_000 } }),
    log: { warn: () => {} },
  } as unknown as WorkerContext
  const leases = new Leases(queue, context)
  const claims = ['sigue', 'perdida'].map((id) => ({ lane: 'a', id, fence: 1 }) as Claimed)
  for (const claim of claims) leases.add(claim)
  let begun: ReadonlySet<Claimed> | undefined
  void leases.begin(claims).then((all) => {
    begun = all
  })
  answers[0]!.reject(new Error('Redis is away'))
  await until(() => answers.length === 2)
  expect(begun).toBeUndefined()
  answers[1]!.resolve([claims[1]!])
  await until(() => begun !== undefined)
  expect([...begun!]).toEqual([claims[0]])
  expect(leases.size).toBe(1)
})

test('what was not told by the end of the drain never begins', async () => {
  const queue = { renew: () => Promise.reject(new Error('Redis is away')) } as unknown as Queue
  const context = { config: () => ({ workers: { lease: 30_000 } }) } as unknown as WorkerContext
  const leases = new Leases(queue, context)
  const claim = { lane: 'a', id: 'm', fence: 1 } as Claimed
  leases.add(claim)
  const beginning = leases.begin([claim])
  leases.abortAll()
  expect((await beginning).size).toBe(0)
  expect(leases.size).toBe(0)
})
