/** The search box: one line becomes the filters of `auditoria`, and chips. */
import { expect, test } from 'vitest'
import { UsageError } from '../../src/errors.ts'
import { readSearch, searchSentence } from '../../src/panel/search.ts'

const NOW = new Date(2026, 10, 26, 12, 0, 0)
const LISTENERS = ['diaguita', 'compras', 'mesa-de-entradas']
const at = (day: number, hour = 0) => new Date(2026, 10, day, hour)
const ID = '01M8BSYY317RCX9E4FH99V2VBT'

const CASES: readonly (readonly [string, Record<string, unknown>])[] = [
  ['', { since: at(25, 12) }],
  ['proveedor 7', { search: ['proveedor', '7'], since: at(25, 12) }],
  [
    'listener:diaguita estado:fallida ayer',
    { listener: 'diaguita', states: ['fallida'], since: at(25), until: at(26) },
  ],
  [
    'proveedor 7 diaguita fallidas',
    { search: ['proveedor', '7'], listener: 'diaguita', states: ['fallida'], since: at(25, 12) },
  ],
  ['"diaguita" "fallida"', { search: ['diaguita', 'fallida'], since: at(25, 12) }],
  ['estado:pendiente,reintentando hoy', { states: ['pendiente', 'reintentando'], since: at(26) }],
  ['desde:24/11/2026 hasta:25/11/2026', { since: at(24), until: at(26) }],
  ['24/11/2026', { since: at(24), until: at(25) }],
  ['2h', { since: at(26, 10) }],
  [ID.toLowerCase(), { messageId: ID }],
  ['proveedor.alta', { event: 'proveedor.alta', since: at(25, 12) }],
  ['proveedor.*', { event: 'proveedor.*', since: at(25, 12) }],
  ['evento:alta', { event: 'alta', since: at(25, 12) }],
  ['EXP-2026/4417 1.0', { search: ['EXP-2026/4417', '1.0'], since: at(25, 12) }],
  ['buscar:"Núñez, María" sin:listener', { search: ['Núñez, María'], since: at(25, 12) }],
  ['https://x.edu.ar/a?b=c', { search: ['https://x.edu.ar/a?b=c'], since: at(25, 12) }],
]

test.each(CASES)('%s', (text, expected) => {
  const { filters } = readSearch(text, LISTENERS, NOW)
  expect(Object.fromEntries(Object.entries(filters).filter(([, value]) => value !== undefined))).toEqual(expected)
})

test('what cannot be meant is told, with what is accepted', () => {
  const why = (text: string) => {
    try {
      readSearch(text, LISTENERS, NOW)
      return ''
    } catch (error) {
      expect(error).toBeInstanceOf(UsageError)
      return (error as Error).message
    }
  }
  expect(why('listener:diaguit')).toContain('¿Quiso decir «diaguita»?')
  expect(why('estado:falida')).toContain('¿Quiso decir «fallida»?')
  expect(why('desde:nunca')).toContain('no es una fecha')
  expect(why('desde:hoy hasta:24/11/2026')).toContain('no es anterior')
  expect(why('ayer hoy')).toContain('dos veces')
  expect(why('sin:nada')).toContain('sin:listener')
  expect(why('x'.repeat(501))).toContain('500')
})

test('chips say what was understood, and what of the line each is', () => {
  const { chips } = readSearch('proveedor 7 diaguita desde:ayer', LISTENERS, NOW)
  expect(chips.map(({ nombre, palabra }) => [nombre, palabra])).toEqual([
    ['listener', 'diaguita'],
    ['desde', 'desde:ayer'],
    ['texto', ''],
  ])
  expect(chips[1]!.valor).toMatch(/^ayer \(25\/11 00:00:00 [+-]\d\d:\d\d\)$/)
  expect(searchSentence(readSearch('fallidas diaguita 7', LISTENERS, NOW), NOW)).toBe(
    'entregas fallidas de diaguita que dicen «7», en las últimas 24 horas',
  )
})
