/** Figures, goals, and the table that shows them. */
import { describe, expect, test } from 'vitest'
import { type Goal, judge, type Measured, median, percentile, type Samples } from './row.ts'
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

const CONTENDERS = [
  { who: 'nuestro', role: 'own' },
  { who: 'par lento', role: 'peer' },
  { who: 'par rápido', role: 'peer' },
  { who: 'límite', role: 'limit' },
] as const

function samplesOf(line: string, values: Record<string, number[]>): Samples {
  return new Map([[line, new Map(Object.entries(values))]])
}

test.each([
  [[3], 3],
  [[9, 1, 5], 5],
  [[10, 2, 4, 8], 6],
])('the median of %j is %d', (values, expected) => {
  expect(median(values)).toBe(expected)
})

test('a percentile is a value that was measured', () => {
  const hundred = Array.from({ length: 100 }, (_, i) => 100 - i)
  expect([0.5, 0.99, 1].map((share) => percentile(hundred, share))).toEqual([50, 99, 100])
})

describe('a goal', () => {
  const rates = samplesOf('rate', {
    nuestro: [2900, 3000, 9000],
    'par lento': [500, 600, 700],
    'par rápido': [900, 1000, 5000],
    límite: [6000, 6000, 6000],
  })

  test.each<[string, Goal, number | null, boolean | null]>([
    [
      'against the fastest peer',
      { kind: 'ratio', line: 'rate', who: 'nuestro', to: { peers: 'highest' }, least: 3 },
      3,
      true,
    ],
    [
      'against the slowest figure of a peer',
      { kind: 'ratio', line: 'rate', who: 'nuestro', to: { peers: 'lowest' }, most: 3 },
      5,
      false,
    ],
    ['against the limit', { kind: 'ratio', line: 'rate', who: 'nuestro', to: 'límite', least: 0.6 }, 0.5, false],
    ['for the figure itself', { kind: 'at most', line: 'rate', who: 'nuestro', value: 3000 }, 3000, true],
    [
      'against nobody who was measured',
      { kind: 'ratio', line: 'rate', who: 'nuestro', to: 'otro', least: 1 },
      null,
      null,
    ],
    ['of a line that was not measured', { kind: 'at most', line: 'cpu', who: 'nuestro', value: 1 }, null, null],
  ])('%s is judged by medians', (_, goal, value, met) => {
    expect(judge(goal, rates, CONTENDERS)).toMatchObject({ value, met })
  })
})
