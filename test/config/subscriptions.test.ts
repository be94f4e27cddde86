import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ListenerConfig } from '../../src/config/config.ts'
import { eventMatcher, Subscriptions } from '../../src/config/subscriptions.ts'

describe('event patterns', () => {
  test.each([
    ['*', 'proveedor.alta', true],
    ['*', '', true],
    ['proveedor.*', 'proveedor.alta', true],
    ['proveedor.*', 'proveedor.', true],
    ['proveedor.*', 'proveedor', false],
    ['proveedor.*', 'proveedores.alta', false],
    ['*.alta', 'compra.orden.alta', true],
    ['compra.*.alta', 'compra.orden.alta', true],
    ['compra.*.alta', 'compra..alta', true],
    ['compra.*.alta', 'compra.alta', false],
    ['proveedor.alta', 'proveedorXalta', false],
    ['a+b', 'a+b', true],
    ['a+b', 'aab', false],
    ['(x)[y]{z}?^$|\\/', '(x)[y]{z}?^$|\\/', true],
    ['ñandú.*', 'ñandú.alta', true],
    ['a*', 'a\nb', true],
  ])('%s and %s: %s', (pattern, event, matches) => {
    expect(eventMatcher([pattern])(event)).toBe(matches)
  })

  test('one of several patterns is enough', () => {
    const matches = eventMatcher(['proveedor.*', 'compra.alta'])
    expect([matches('compra.alta'), matches('compra.baja')]).toEqual([true, false])
  })

  test('a pattern without a star matches itself alone, whatever its characters', () => {
    fc.assert(
      fc.property(
        fc.string().filter((text) => !text.includes('*')),
        fc.string(),
        (pattern, event) => {
          expect(eventMatcher([pattern])(event)).toBe(event === pattern)
        },
      ),
    )
  })

  test('whatever stands for the stars', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.string().filter((text) => !text.includes('*')),
          { minLength: 2 },
        ),
        fc.string(),
        (parts, run) => {
          expect(eventMatcher([parts.join('*')])(parts.join(run))).toBe(true)
        },
      ),
    )
  })

  test('as a regular expression would say it', () => {
    const text = (letters: string, max: number) =>
      fc.array(fc.constantFrom(...letters), { maxLength: max }).map((all) => all.join(''))
    fc.assert(
      fc.property(text('ab.*', 7), text('ab.', 9), (pattern, event) => {
        const expression = pattern.replaceAll('.', '\\.').replaceAll('*', '.*')
        expect(eventMatcher([pattern])(event)).toBe(new RegExp(`^${expression}$`).test(event))
      }),
      { numRuns: 2000 },
    )
  })

  test('a pattern of many stars and an event made against it take no time', () => {
    const started = performance.now()
    for (const run of ['.'.repeat(255), '.'.repeat(100_000)]) {
      expect(eventMatcher(['*.*.*.*.*.fin'])(run)).toBe(false)
      expect(eventMatcher([`${'*.'.repeat(99)}fin`])(`${run}fin`)).toBe(true)
    }
    expect(performance.now() - started).toBeLessThan(2000)
  })
})

describe('subscriptions', () => {
  const listener = (name: string, events: string[], active = true) =>
    ({ name, events, active }) as unknown as ListenerConfig
  const subscriptions = new Subscriptions([
    listener('todo', ['*']),
    listener('compras', ['compra.*']),
    listener('apagado', ['*'], false),
  ])
  const names = (event: string, only: string | null) => subscriptions.of(event, only).map(({ name }) => name)

  test('every active listener whose pattern matches', () => {
    expect(names('compra.alta', null)).toEqual(['todo', 'compras'])
    expect(names('proveedor.alta', null)).toEqual(['todo'])
  })

  test('the sender may choose one, whatever its patterns, but not an inactive one', () => {
    expect(names('proveedor.alta', 'compras')).toEqual(['compras'])
    expect(names('proveedor.alta', 'apagado')).toEqual([])
    expect(names('proveedor.alta', 'otro')).toEqual([])
  })
})
