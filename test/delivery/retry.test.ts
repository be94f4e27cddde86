import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { RetryStrategy } from '../../src/config/config.ts'
import type { Outcome } from '../../src/delivery/delivery.ts'
import { decide, inWords, nextDelay, schedule } from '../../src/delivery/retry.ts'

const S = 1000
const M = 60 * S
const H = 60 * M
const common = { name: '', jitter: 0, expiry: 0 }
const list: RetryStrategy = { ...common, kind: 'lista', delays: [5 * S, 5 * M, 30 * M] }
const half = () => 0.5
const failing: Outcome = { kind: 'retry', reason: 'HTTP 503', retryAfter: null }

describe('the wait before the next attempt', () => {
  test.each<[string, RetryStrategy, (number | null)[]]>([
    ['lista', list, [5 * S, 5 * M, 30 * M, null, null]],
    ['lista of none', { ...common, kind: 'lista', delays: [] }, [null]],
    [
      'exponencial',
      { ...common, kind: 'exponencial', first: 1 * S, factor: 2, max: 5 * S, attempts: 5 },
      [1 * S, 2 * S, 4 * S, 5 * S, null],
    ],
    [
      'lineal',
      { ...common, kind: 'lineal', first: 2 * S, max: 5 * S, attempts: 5 },
      [2 * S, 4 * S, 5 * S, 5 * S, null],
    ],
    ['fija', { ...common, kind: 'fija', first: 3 * S, attempts: 3 }, [3 * S, 3 * S, null]],
    ['a single attempt', { ...common, kind: 'fija', first: 3 * S, attempts: 1 }, [null]],
  ])('%s', (_name, strategy, expected) => {
    expect(expected.map((_, index) => nextDelay(strategy, index + 1, half))).toEqual(expected)
  })

  test('jitter spreads it evenly around the middle', () => {
    const strategy = { ...list, jitter: 0.2 }
    expect(nextDelay(strategy, 1, () => 0)).toBe(4 * S)
    expect(nextDelay(strategy, 1, half)).toBe(5 * S)
    expect(nextDelay(strategy, 1, () => 0.999_999)).toBe(6 * S)
  })

  test('it is finite, not negative and within the jitter, however large the numbers', () => {
    const strategies = fc.record({
      name: fc.constant(''),
      kind: fc.constant('exponencial' as const),
      first: fc.integer({ min: 1, max: H }),
      factor: fc.double({ min: 1, max: 1000, noNaN: true }),
      max: fc.integer({ min: 1, max: 24 * H }),
      attempts: fc.constant(1e9),
      jitter: fc.double({ min: 0, max: 1, noNaN: true }),
      expiry: fc.constant(0),
    })
    const dice = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
    fc.assert(
      fc.property(strategies, fc.integer({ min: 1, max: 1e6 }), dice, (strategy, made, random) => {
        const delay = nextDelay(strategy, made, () => random)!
        expect(delay).toBeGreaterThanOrEqual(0)
        expect(delay).toBeLessThanOrEqual(Math.ceil(strategy.max * (1 + strategy.jitter)))
      }),
    )
  })
})

describe('what becomes of a delivery', () => {
  test('success is done, failure is failed with its own reason', () => {
    expect(decide({ kind: 'success' }, 1, list, 0, 0, half)).toEqual({ kind: 'done' })
    const failure: Outcome = { kind: 'failure', reason: 'HTTP 422', gone: false }
    expect(decide(failure, 1, list, 0, 0, half)).toEqual({ kind: 'failed', reason: 'HTTP 422' })
  })

  test('the last attempt says how many there were', () => {
    expect(decide(failing, 4, list, 0, 0, half)).toEqual({
      kind: 'failed',
      reason: 'sin más reintentos tras 4 intentos: HTTP 503',
    })
    expect(decide(failing, 4, list, 0, 0, half, 8)).toMatchObject({
      reason: expect.stringContaining('sin más reintentos tras 4 intentos desde que se reenvió (8 en total): '),
    })
    expect(decide(failing, 1, { ...list, delays: [] }, 0, 0, half)).toMatchObject({
      reason: 'sin más reintentos tras 1 intento: HTTP 503',
    })
  })

  test.each([
    ['shorter than the schedule: ignored', 1 * S, 5 * S],
    ['longer: obeyed', 60 * S, 60 * S],
    ['absurd: a day', 400 * 24 * H, 24 * H],
  ])("the server's wish, %s", (_name, retryAfter, delay) => {
    expect(decide({ ...failing, retryAfter } as Outcome, 1, list, 0, 0, half)).toEqual({ kind: 'retry', delay })
  })

  test('no retry starts after the expiry', () => {
    const strategy = { ...list, expiry: 1 * H }
    expect(decide(failing, 3, strategy, 0, 30 * M, half)).toEqual({ kind: 'retry', delay: 30 * M })
    expect(decide(failing, 3, strategy, 0, 30 * M + 1, half)).toEqual({
      kind: 'failed',
      reason: 'vencida: el próximo intento sería después del vencimiento (1h): HTTP 503',
    })
    // A Retry-After can push it over the edge too.
    expect(decide({ ...failing, retryAfter: 2 * H } as Outcome, 1, strategy, 0, 0, half).kind).toBe('failed')
    expect(decide(failing, 3, { ...list, expiry: 0 }, 0, 9e12, half).kind).toBe('retry')
  })
})

describe('the schedule', () => {
  test('lists every attempt with its range and the time that passed', () => {
    const { attempts, end } = schedule({ ...list, jitter: 0.2 })
    expect(end).toBe('exhausted')
    expect(attempts).toEqual([
      { attempt: 1, delay: 0, shortest: 0, longest: 0, elapsed: 0 },
      { attempt: 2, delay: 5 * S, shortest: 4 * S, longest: 6 * S, elapsed: 5 * S },
      { attempt: 3, delay: 5 * M, shortest: 4 * M, longest: 6 * M, elapsed: 5 * M + 5 * S },
      { attempt: 4, delay: 30 * M, shortest: 24 * M, longest: 36 * M, elapsed: 35 * M + 5 * S },
    ])
  })

  test('ends at the expiry, and at the limit when there is no other end', () => {
    expect(schedule({ ...list, expiry: 10 * M })).toMatchObject({ end: 'expired', attempts: { length: 3 } })
    const endless: RetryStrategy = { ...common, kind: 'fija', first: S, attempts: 1e9 }
    expect(schedule(endless, 50)).toMatchObject({ end: 'cut', attempts: { length: 50 } })
  })

  test.each([
    [0, '0ms'],
    [250, '250ms'],
    [5 * S, '5s'],
    [90 * S, '1m 30s'],
    [7 * 24 * H, '7d'],
    [25 * H + 61 * S, '1d 1h 1m 1s'],
  ])('%i ms reads %s', (millis, words) => {
    expect(inWords(millis)).toBe(words)
  })
})
