import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { RetryStrategy } from '../../src/config/config.ts'
import type { StatusRule } from '../../src/config/listener-kinds.ts'
import {
  type Answer,
  classify,
  decide,
  inWords,
  nextDelay,
  type Outcome,
  parseRetryAfter,
  schedule,
} from '../../src/delivery/outcome.ts'
import type { TroubleCode } from '../../src/delivery/trouble.ts'

const NOW = Date.UTC(2026, 10, 24, 20, 0, 0)
const NONE = { retryIf: [], noRetryIf: [] }
const answer = (changes: Partial<Answer>): Answer => ({
  status: null,
  error: null,
  detail: null,
  retryAfter: null,
  ...changes,
})
const status = (code: number): StatusRule => ({ kind: 'status', status: code })
const kind = (hundreds: number): StatusRule => ({ kind: 'class', hundreds })
const network: StatusRule = { kind: 'network' }

describe('the default rule', () => {
  test.each([
    ...[200, 201, 202, 204, 299].map((code) => [code, 'success']),
    ...[300, 301, 302, 303, 304, 307, 308].map((code) => [code, 'failure']),
    ...[400, 405, 406, 410, 411, 413, 414, 415, 422].map((code) => [code, 'failure']),
    ...[401, 403, 404, 407, 408, 409, 412, 418, 421, 423, 425, 428, 429, 451].map((code) => [code, 'retry']),
    ...[500, 501, 502, 503, 504, 507, 599].map((code) => [code, 'retry']),
  ] as const)('HTTP %i → %s', (code, expected) => {
    expect(classify(answer({ status: code as number }), NONE, NOW).kind).toBe(expected)
  })

  test.each([
    ['timeout', 'retry'],
    ['dns', 'retry'],
    ['conexion', 'retry'],
    ['tls', 'retry'],
    ['respuesta', 'retry'],
    ['bloqueada', 'retry'],
    ['auth', 'retry'],
    ['interrumpido', 'retry'],
    ['solicitud', 'failure'],
  ] as const)('error %s → %s', (error, expected) => {
    expect(classify(answer({ error, detail: 'x' }), NONE, NOW)).toMatchObject({ kind: expected, reason: `${error}: x` })
  })

  test('410 says that the listener is gone; nothing else does', () => {
    expect(classify(answer({ status: 410 }), NONE, NOW)).toEqual({ kind: 'failure', reason: 'HTTP 410', gone: true })
    expect(classify(answer({ status: 400 }), NONE, NOW)).toMatchObject({ gone: false })
  })

  test('an answer of 200 that broke off is not a success', () => {
    const broken = answer({ status: 200, error: 'respuesta', detail: 'se cortó' })
    expect(classify(broken, NONE, NOW)).toMatchObject({ kind: 'retry', reason: 'respuesta (HTTP 200): se cortó' })
  })

  test('a redirect that may not be followed fails', () => {
    const refused = answer({ status: 302, error: 'redireccion', detail: 'de https a http' })
    expect(classify(refused, NONE, NOW)).toMatchObject({ kind: 'failure', gone: false })
  })
})

describe('reintentar_si and no_reintentar_si', () => {
  test.each([
    ['a listed status is retried', 422, { retryIf: [status(422)], noRetryIf: [] }, 'retry'],
    ['a listed class is retried', 422, { retryIf: [kind(4)], noRetryIf: [] }, 'retry'],
    ['a listed 410 is retried', 410, { retryIf: [status(410)], noRetryIf: [] }, 'retry'],
    ['a listed status is not retried', 503, { retryIf: [], noRetryIf: [status(503)] }, 'failure'],
    ['a status beats its class', 503, { retryIf: [status(503)], noRetryIf: [kind(5)] }, 'retry'],
    ['and the other way round', 503, { retryIf: [kind(5)], noRetryIf: [status(503)] }, 'failure'],
    ['between equals, no wins', 503, { retryIf: [status(503)], noRetryIf: [status(503)] }, 'failure'],
    ['what is not listed keeps the default', 500, { retryIf: [status(422)], noRetryIf: [status(404)] }, 'retry'],
    ['success cannot be turned', 200, { retryIf: [kind(2)], noRetryIf: [kind(2)] }, 'success'],
  ] as const)('%s', (_name, code, rules, expected) => {
    expect(classify(answer({ status: code }), rules, NOW).kind).toBe(expected)
  })

  test('`red` speaks of failures without a status alone, and never of our own interruption', () => {
    const rules = { retryIf: [], noRetryIf: [network] }
    expect(classify(answer({ error: 'dns' }), rules, NOW).kind).toBe('failure')
    expect(classify(answer({ error: 'interrumpido' }), rules, NOW).kind).toBe('retry')
    expect(classify(answer({ status: 500 }), rules, NOW).kind).toBe('retry')
  })

  test('any answer gets an outcome, and only 2xx without error is a success', () => {
    const errors: (TroubleCode | null)[] = [
      null,
      'timeout',
      'dns',
      'conexion',
      'tls',
      'respuesta',
      'bloqueada',
      'auth',
      'solicitud',
      'interrumpido',
    ]
    const rule = fc.oneof(
      fc.integer({ min: 100, max: 599 }).map(status),
      fc.integer({ min: 1, max: 5 }).map(kind),
      fc.constant(network),
    )
    fc.assert(
      fc.property(
        fc.integer({ min: 100, max: 599 }),
        fc.constantFrom(...errors),
        fc.array(rule),
        fc.array(rule),
        (code, error, retryIf, noRetryIf) => {
          const outcome = classify(answer({ status: code, error }), { retryIf, noRetryIf }, NOW)
          expect(outcome.kind === 'success').toBe(error === null && code >= 200 && code < 300)
        },
      ),
    )
  })
})

describe('Retry-After', () => {
  test.each([
    ['120', 120_000],
    ['0', 0],
    [' 5 ', 5000],
    ['Tue, 24 Nov 2026 20:01:00 GMT', 60_000],
    ['Tuesday, 24-Nov-26 20:01:00 GMT', 60_000],
    ['Tue Nov 24 20:01:00 2026', 60_000],
    ['Tue, 24 Nov 2026 19:00:00 GMT', 0],
    ['Sunday, 06-Nov-94 08:49:37 GMT', 0],
    ['-5', null],
    ['1.5', null],
    ['mañana', null],
    ['', null],
    [null, null],
    ['Tue, 24 Foo 2026 20:01:00 GMT', null],
    ['Tue, 24 Nov 2026 25:01:00 GMT', null],
  ] as const)('%s → %s', (value, expected) => {
    expect(parseRetryAfter(value, NOW)).toBe(expected)
  })

  test.each([
    [429, 7000],
    [503, 7000],
    [500, null],
    [404, null],
  ] as const)('with HTTP %i it counts as %s', (code, expected) => {
    expect(classify(answer({ status: code, retryAfter: '7' }), NONE, NOW)).toMatchObject({
      kind: 'retry',
      retryAfter: expected,
    })
  })

  test('any text gives null or a wait that is not negative; any date gives its distance', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const wait = parseRetryAfter(text, NOW)
        expect(wait === null || (Number.isFinite(wait) && wait >= 0)).toBe(true)
      }),
    )
    fc.assert(
      fc.property(fc.date({ min: new Date(NOW), max: new Date('2099-12-31'), noInvalidDate: true }), (date) => {
        const whole = Math.floor(date.getTime() / 1000) * 1000
        expect(parseRetryAfter(new Date(whole).toUTCString(), NOW)).toBe(whole - NOW)
      }),
    )
  })
})

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
    [1600, '1,6s'],
    [5 * S, '5s'],
    [59_960, '1m'],
    [90 * S, '1m 30s'],
    [7 * 24 * H, '7d'],
    [25 * H + 61 * S, '1d 1h 1m 1s'],
  ])('%i ms reads %s', (millis, words) => {
    expect(inWords(millis)).toBe(words)
  })
})
