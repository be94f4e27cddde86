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
