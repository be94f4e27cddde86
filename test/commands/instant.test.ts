/** `--desde` and `--hasta` as people type them. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { parseInstant } from '../../src/commands/instant.ts'

const NOW = new Date('2026-11-24T20:00:00Z')
const at = (text: string, edge: 'start' | 'end' = 'start') => parseInstant(text, '--desde', edge, NOW).toISOString()

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
  ])('%s', (text, expected) => expect(at(text)).toBe(expected))

  test('a day as an end includes the day, also the last of a month; a time as an end is that time', () => {
    expect(at('2026-11-30', 'end')).toBe('2026-12-01T03:00:00.000Z')
    expect(at('2026-11-30 10:00', 'end')).toBe('2026-11-30T13:00:00.000Z')
    expect(at('2h', 'end')).toBe('2026-11-24T18:00:00.000Z')
  })

  test('a day starts at local midnight when the clocks change too', () => {
    vi.stubEnv('TZ', 'Europe/Madrid')
    expect(at('2026-03-29')).toBe('2026-03-28T23:00:00.000Z')
    expect(at('2026-03-29', 'end')).toBe('2026-03-29T22:00:00.000Z')
  })

  test.each([
    ...['', '2026', '5', '2026-11', '24/11/2026', '2026-13-01', '2026-00-10', '2026-02-30', '2025-02-29'],
    ...['2026-11-24 25:00', '2026-11-24 10:60', '2026-11-24 10', 'ayer', '-2h', '2 horas', '2h ago', 'null'],
  ])('«%s» is none', (text) => {
    expect(() => at(text)).toThrow(
      expect.objectContaining({ code: 'USO', message: expect.stringMatching(/^--desde: /) }),
    )
  })
})
