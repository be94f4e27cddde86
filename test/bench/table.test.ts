import { expect, test } from 'vitest'
import type { Measured } from './measure.ts'
import { figure, markdownTable, terminalTable, withTable } from './table.ts'

const MEASURED: Measured = {
  row: { name: 'x', title: 'Entregas', lines: [{ key: 'rate', label: 'entregas', unit: 'per second' }] } as never,
  contenders: [
    { who: 'resthooks', role: 'own' },
    { who: 'límite', role: 'limit' },
  ],
  goals: [
    { kind: 'ratio', line: 'rate', who: 'resthooks', to: 'límite', least: 0.6 },
    { kind: 'ratio', line: 'rate', who: 'resthooks', to: 'otro', least: 3 },
  ],
  samples: new Map([
    [
      'rate',
      new Map([
        ['resthooks', [12_000, 9_000, 10_000]],
        ['límite', [20_000]],
      ]),
    ],
  ]),
}

test('the terminal gets aligned columns, the goals beside the figure that they judge', () => {
  const lines = terminalTable(['máquina'], [MEASURED]).replaceAll('\u00a0', ' ').split('\n')
  const own = lines.findIndex((line) => line.includes('resthooks'))
  expect(lines[own]).toMatch(/^ {2}entregas +resthooks +10 000\/s +9 000\/s +12 000\/s +≥ 0,6 × límite +NO \(0,50 ×\)$/)
  expect(lines[own + 1]).toMatch(/^ +≥ 3 × otro +sin medir$/)
  expect(lines[own + 2]!.indexOf('límite')).toBe(lines[own]!.indexOf('resthooks'))
})

test('every row of the Markdown has the columns of its head', () => {
  const rows = markdownTable(['máquina'], [MEASURED])
    .split('\n')
    .filter((line) => line.startsWith('|'))
  expect(rows).toHaveLength(6)
  expect(new Set(rows.map((line) => line.split('|').length))).toEqual(new Set([9]))
})

test.each([
  [1234567, 'per second', '1 234 567/s'],
  [3.456, 'ms', '3,46 ms'],
  [345.6, 'ms', '346 ms'],
  [0.456, 'percent', '0,46 %'],
  [1536, 'bytes', '1 536 B'],
] as const)('%d %s is shown as %s', (value, unit, text) => {
  expect(figure(value, unit).replaceAll('\u00a0', ' ')).toBe(text)
})

test('a table takes the place of the one between the marks, and nothing else of the file', () => {
  const file = 'antes\n<!-- tabla -->\nvieja\n<!-- fin de la tabla -->\ndespués\n'
  expect(withTable(file, 'nueva $1\n')).toBe('antes\n<!-- tabla -->\nnueva $1\n<!-- fin de la tabla -->\ndespués\n')
  expect(withTable('sin marcas', 'nueva\n')).toBe('nueva\n')
})
