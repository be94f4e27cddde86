/** Look-ups that a DNS does not answer: the resolver is scripted, and so is the clock. */
import type { LookupAddress } from 'node:dns'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Names } from '../../src/delivery/names.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const at = (address: string): LookupAddress[] => [{ address, family: 4 }]
const failure = (code: string) => Object.assign(new Error(code), { code })

/** Every look-up waits until the test answers it. */
function scripted(threads: number) {
  const asked: string[] = []
  const pending = new Map<string, { done: (a: LookupAddress[]) => void; failed: (e: Error) => void }>()
  const names = new Names((host) => {
    asked.push(host)
    return new Promise((done, failed) => pending.set(host, { done, failed }))
  }, threads)
  return {
    names,
    asked,
    answer: (host: string, address: string) => pending.get(host)!.done(at(address)),
    fail: (host: string, code: string) => pending.get(host)!.failed(failure(code)),
    running: () => asked.length,
  }
}

test('one look-up a name at a time, kept for ten seconds; an address is its own', async () => {
  const { names, asked, answer } = scripted(16)
  const both = [names.resolve('a'), names.resolve('a')]
  answer('a', '10.0.0.1')
  expect(await Promise.all(both)).toEqual([at('10.0.0.1'), at('10.0.0.1')])
  await vi.advanceTimersByTimeAsync(9000)
  expect(await names.resolve('a')).toEqual(at('10.0.0.1'))
  expect(await names.resolve('::1')).toEqual([{ address: '::1', family: 6 }])
  expect(asked).toEqual(['a'])
})

test('names without an answer never take every thread, and afterwards share few', async () => {
  const { names, asked, answer, fail } = scripted(8)
  const dead = ['m1', 'm2', 'm3', 'm4', 'm5', 'm6', 'm7', 'm8']
  const ask = () => Promise.allSettled(dead.map((name) => names.resolve(name)))
  const first = ask()
  expect(asked).toEqual(dead.slice(0, 6))
  for (const name of dead) {
    fail(name, 'EAI_AGAIN')
    await vi.advanceTimersByTimeAsync(0)
  }
  expect((await first).map(({ status }) => status)).toEqual(dead.map(() => 'rejected'))

  // The second time one thread is theirs, and a healthy name that was never asked for goes ahead.
  asked.length = 0
  void ask()
  expect(asked).toEqual(['m1'])
  const healthy = names.resolve('sano')
  expect(asked).toEqual(['m1', 'sano'])
  answer('sano', '10.0.0.2')
  expect(await healthy).toEqual(at('10.0.0.2'))
  expect(asked).toEqual(['m1', 'sano'])
})

test('where the DNS is silent, or says that it cannot, the last good addresses serve for an hour', async () => {
  const { names, asked, answer, fail } = scripted(4)
  const first = names.resolve('a')
  answer('a', '10.0.0.1')
  await first
  await vi.advanceTimersByTimeAsync(11_000)

  const hung = names.resolve('a')
  await vi.advanceTimersByTimeAsync(500)
  expect(await hung).toEqual(at('10.0.0.1'))
  // The next ones do not even wait.
  expect(await names.resolve('a')).toEqual(at('10.0.0.1'))
  expect(asked).toEqual(['a', 'a'])

  fail('a', 'EAI_AGAIN')
  await vi.advanceTimersByTimeAsync(11_000)
  const refused = names.resolve('a')
  fail('a', 'EAI_AGAIN')
  expect(await refused).toEqual(at('10.0.0.1'))

  await vi.advanceTimersByTimeAsync(3_600_000)
  const tooOld = names.resolve('a')
  fail('a', 'EAI_AGAIN')
  await expect(tooOld).rejects.toThrow('EAI_AGAIN')
})

test('a name that does not exist any more is an error at once; one that moved is found after a failed connection', async () => {
  const { names, answer, fail } = scripted(4)
  const first = names.resolve('a')
  answer('a', '10.0.0.1')
  await first
  names.forget('a')
  const moved = names.resolve('a')
  answer('a', '10.0.0.9')
  expect(await moved).toEqual(at('10.0.0.9'))
  names.forget('a')
  const gone = names.resolve('a')
  fail('a', 'ENOTFOUND')
  await expect(gone).rejects.toThrow('ENOTFOUND')
  const still = names.resolve('a')
  fail('a', 'EAI_AGAIN')
  await expect(still).rejects.toThrow('EAI_AGAIN')
})
