/** `--desde` and `--hasta` as people type them. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Edge } from '../../src/model/instant.ts'
import { parseInstant, rangeText } from '../../src/model/instant.ts'

const NOW = new Date('2026-11-24T20:00:00Z')
const at = (text: string, edge: Edge = 'start') => parseInstant(text, '--desde', edge, NOW).toISOString()

beforeEach(() => vi.stubEnv('TZ', 'America/Argentina/Buenos_Aires'))
afterEach(() => vi.unstubAllEnvs())

describe('an instant', () => {
  test.each([
    ['2h', '2026-11-24T18:00:00.000Z'],
    ['7d', '2026-11-17T20:00:00.000Z'],
    ['1h30m', '2026-11-24T18:30:00.000Z'],
    ['500ms', '2026-11-24T19:59:59.500Z'],
    [' 2h ', '2026-11-24T18:00:00.000Z'],
    ['2026-11-24', '2026-11-24T03:00:00.000Z'],
    ['2026-11-24 10:30', '2026-11-24T13:30:00.000Z'],
    ['2026-11-24T10:30', '2026-11-24T13:30:00.000Z'],
    ['2026-11-24T10:30:15', '2026-11-24T13:30:15.000Z'],
    ['2026-11-24T10:30:15.5', '2026-11-24T13:30:15.500Z'],
    ['2026-11-24T10:30:15,123456', '2026-11-24T13:30:15.123Z'],
    ['2026-11-24T10:30Z', '2026-11-24T10:30:00.000Z'],
    ['2026-11-24t10:30z', '2026-11-24T10:30:00.000Z'],
    ['2026-11-24T10:30:00-03:00', '2026-11-24T13:30:00.000Z'],
    ['2026-11-24 10:30:00 -0300', '2026-11-24T13:30:00.000Z'],
    ['2026-11-24T10:30+05:30', '2026-11-24T05:00:00.000Z'],
    ['2026-11-24T10:30+05', '2026-11-24T05:30:00.000Z'],
    ['2024-02-29', '2024-02-29T03:00:00.000Z'],
    ['hoy', '2026-11-24T03:00:00.000Z'],
    ['Ayer', '2026-11-23T03:00:00.000Z'],
    ['ayer 10:30', '2026-11-23T13:30:00.000Z'],
    ['08:30', '2026-11-24T11:30:00.000Z'],
    ['8:30', '2026-11-24T11:30:00.000Z'],
    // Not yet today: the last one.
    ['23:00', '2026-11-24T02:00:00.000Z'],
    ['24/11/2026', '2026-11-24T03:00:00.000Z'],
    ['1/2/2026 10:30', '2026-02-01T13:30:00.000Z'],
    ['24/11/2026 10:30 Z', '2026-11-24T10:30:00.000Z'],
    ['2026-11-24 24:00', '2026-11-25T03:00:00.000Z'],
    ['36500d', '1926-12-19T20:00:00.000Z'],
  ])('%s', (text, expected) => expect(at(text)).toBe(expected))

  test('a day as an end includes the day, also the last of a month; a time as an end is that time', () => {
    expect(at('2026-11-30', 'end')).toBe('2026-12-01T03:00:00.000Z')
    expect(at('2026-11-30 10:00', 'end')).toBe('2026-11-30T13:00:00.000Z')
    expect(at('2h', 'end')).toBe('2026-11-24T18:00:00.000Z')
    expect(at('hoy', 'end')).toBe('2026-11-25T03:00:00.000Z')
    expect(at('ayer', 'end')).toBe('2026-11-24T03:00:00.000Z')
    expect(at('31/12/2026', 'end')).toBe('2027-01-01T03:00:00.000Z')
    expect(at('23:00', 'end')).toBe('2026-11-25T02:00:00.000Z')
  })

  test('a day starts at local midnight when the clocks change too', () => {
    vi.stubEnv('TZ', 'Europe/Madrid')
    expect(at('2026-03-29')).toBe('2026-03-28T23:00:00.000Z')
    expect(at('2026-03-29', 'end')).toBe('2026-03-29T22:00:00.000Z')
  })

  test.each([
    ...[
      '',
      '2026',
      '2099',
      '5',
      '2026-11',
      '24/13/2026',
      '31/02/2026',
      '24/11',
      '24/11/26',
      '8',
      '8:5',
      '25:00',
      '2026-13-01',
      '2026-00-10',
      '2026-02-30',
      '2025-02-29',
    ],
    ...[
      '2026-11-24 25:00',
      '2026-11-24 10:60',
      '2026-11-24 10',
      '24:01',
      'hoy 10:30Z',
      'anteayer',
      '-2h',
      '2 horas',
      '2h ago',
      'null',
    ],
  ])('«%s» is none', (text) => {
    expect(() => at(text)).toThrow(
      expect.objectContaining({ code: 'USO', message: expect.stringMatching(/^--desde: /) }),
    )
  })

  test('of a pause is in the future, and a day as its end is included', () => {
    expect(at('2h', 'future')).toBe('2026-11-24T22:00:00.000Z')
    expect(at('08:30', 'future')).toBe('2026-11-25T11:30:00.000Z')
    expect(at('23:00', 'future')).toBe('2026-11-25T02:00:00.000Z')
    expect(at('hoy', 'future')).toBe('2026-11-25T03:00:00.000Z')
    expect(at('mañana', 'future')).toBe('2026-11-26T03:00:00.000Z')
    expect(at('2099-01-01', 'future')).toBe('2099-01-02T03:00:00.000Z')
    for (const past of ['ayer', '2026-11-23', '24/11/2026 10:00', '2026-11-24T20:00Z', '0s'])
      expect(() => at(past, 'future')).toThrow(/que ya pasó/)
    expect(() => at('2099', 'future')).toThrow(/no es una fecha ni una duración/)
  })

  test.each(['9999999d', '1899-12-31', '0050-01-01', '99999999999d'])('«%s» is too far away', (text) => {
    expect(() => at(text)).toThrow(
      expect.objectContaining({ code: 'USO', message: expect.stringMatching(/fuera de los años|no es una fecha/) }),
    )
  })

  test('is told with its zone', () => {
    expect(rangeText(new Date('2026-11-24T03:00:00Z'), undefined)).toBe('Desde 2026-11-24 00:00:00.000 -03:00')
    expect(rangeText(undefined, new Date('2026-11-24T03:00:00Z'))).toBe('Hasta 2026-11-24 00:00:00.000 -03:00')
    expect(rangeText(new Date(0), new Date(1))).toMatch(/^Desde .*, hasta .*\.001 -03:00$/)
  })
})
