/** Leases: told before the first request, renewed on time. */
import { afterEach, expect, test, vi } from 'vitest'
import type { Held, Queue } from '../../src/queue/queue.ts'
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
    leases.add({ lane: 'a', id: 'm', fence: 1 }, performance.now())
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 3_600_000 })
    await until(() => renewed.length >= 3, { timeout: 3000 })
    expect(renewed.map(({ id }) => id)).toEqual(renewed.map(() => 'm'))
  } finally {
    leases.stop()
  }
})

const context = {
  config: () => ({ workers: { lease: 30_000 } }),
  log: { warn: () => {} },
} as unknown as WorkerContext
const claims = ['sigue', 'perdida'].map((id) => ({ lane: 'a', id, fence: 1 }))

/** What is told of two claims of one fence. @param begin what Redis answers, one call after the other */
async function begun(begin: (boolean | Error)[], askedAt = performance.now()) {
  const answers = [...begin]
  let renewals = 0
  const queue = {
    begin: async () => {
      const answer = answers.shift()
      if (typeof answer === 'boolean') return answer
      throw answer
    },
    renew: async (held: readonly Held[]) => {
      renewals += 1
      return held.filter(({ id }) => id === 'perdida')
    },
  } as unknown as Queue
  const leases = new Leases(queue, context)
  const added = claims.map((claim) => leases.add(claim, askedAt))
  await leases.begin(added)
  const ids = added.filter(({ place }) => place >= 0).map(({ id }) => id)
  return { ids, renewals, held: leases.size, unasked: answers.length }
}

const away = new Error('Redis is away')

test.for([
  ['at once', [true], 0, { ids: ['sigue', 'perdida'], renewals: 0, held: 2 }],
  ['as soon as Redis answers', [away, away, true], 0, { ids: ['sigue', 'perdida'], renewals: 0, held: 2 }],
  ['what is still held, where the answer got lost', [away, false], 0, { ids: ['sigue'], renewals: 1, held: 1 }],
  ['what is still held, where the answer came late', [true], 20_000, { ids: ['sigue'], renewals: 1, held: 1 }],
] as const)('once Redis has heard of the claim, begins: %s', async ([, answers, ago, expected]) => {
  expect(await begun([...answers], performance.now() - ago)).toEqual({ ...expected, unasked: 0 })
})

test('what was not told by the end of the drain never begins', async () => {
  const queue = { begin: () => Promise.reject(away) } as unknown as Queue
  const leases = new Leases(queue, context)
  const lease = leases.add(claims[0]!, performance.now())
  const beginning = leases.begin([lease])
  leases.abortAll()
  await beginning
  expect(lease.place).toBe(-1)
  expect(leases.size).toBe(0)
})

test('what Redis did not hear of is renewed before the next claim, and only that', async () => {
  let isAway = true
  const renewed: string[] = []
  const queue = {
    renew: async (held: readonly Held[]) => {
      if (isAway) throw away
      renewed.push(...held.map(({ id }) => id))
      return held.filter(({ id }) => id === 'perdida')
    },
  } as unknown as Queue
  const leases = new Leases(queue, { ...context, config: () => ({ workers: { lease: 40 } }) } as WorkerContext)
  const [kept, lost] = claims.map((claim) => leases.add(claim, performance.now()))
  await leases.catchUp()
  leases.start()
  try {
    // It is behind as soon as one renewal has failed.
    await until(() =>
      leases.catchUp().then(
        () => false,
        () => true,
      ),
    )
    await expect(leases.catchUp()).rejects.toBe(away)
  } finally {
    leases.stop()
  }
  isAway = false
  expect(renewed).toEqual([])
  await leases.catchUp()
  expect([renewed, kept!.aborted, lost!.aborted]).toEqual([['sigue', 'perdida'], false, true])
  await leases.catchUp()
  expect(renewed).toHaveLength(2)
})

test('a process that had stood still renews what it holds before its next claim', async () => {
  let renewals = 0
  const queue = {
    renew: async () => {
      renewals += 1
      return []
    },
  } as unknown as Queue
  const leases = new Leases(queue, { ...context, config: () => ({ workers: { lease: 400 } }) } as WorkerContext)
  leases.add(claims[0]!, performance.now())
  leases.start()
  try {
    expect(await leases.catchUp()).toBe(false)
    // Nothing of it runs meanwhile, its timer neither.
    for (const end = performance.now() + 300; performance.now() < end; );
    expect([await leases.catchUp(), renewals]).toEqual([true, 1])
    for (const end = performance.now() + 300; performance.now() < end; );
    // Its timer first.
    await until(() => renewals > 1)
    expect(await leases.catchUp()).toBe(true)
  } finally {
    leases.stop()
  }
})

test('a lease is dropped once, whichever stood beside it', () => {
  const leases = new Leases({} as Queue, context)
  const [first, second, third] = ['1', '2', '3'].map((id) => leases.add({ lane: 'a', id, fence: 1 }, 0))
  for (const lease of [first!, first!, third!, third!]) leases.drop(lease)
  expect([leases.size, second!.place]).toEqual([1, 0])
  leases.abortAll()
  expect([first, second, third].map((lease) => lease!.aborted)).toEqual([false, true, false])
})
