import { describe, expect, test } from 'vitest'
import { type Goal, judge, median, percentile, type Samples } from './row.ts'

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
