import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { StatusRule } from '../../src/config/config.ts'
import { type Answer, classify, parseRetryAfter } from '../../src/delivery/outcome.ts'
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
