/** Kinds of value with a grammar of their own: durations, sizes, the words of `exec:`. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { splitArguments } from '../../src/config/listener-kinds.ts'
import { formatDuration, formatSize, parseDuration, parseSize } from '../../src/model/quantities.ts'

test.each([
  ['500ms', 500],
  ['5s', 5000],
  ['10m', 600_000],
  ['2h', 7_200_000],
  ['7d', 604_800_000],
  ['365d', 31_536_000_000],
  ['30', 30_000],
  ['0', 0],
  ['0s', 0],
  ['1.5s', 1500],
  ['1h30m', 5_400_000],
  [' 5 s ', 5000],
  ['5S', 5000],
])('duration %j is %d ms', (text, millis) => {
  expect(parseDuration(text)).toBe(millis)
})

test.each(['', 's', '-5s', '5x', '5 manzanas', '5,5s', '1h30', '1e3', '5s!', 'NaN', '9'.repeat(15)])(
  'duration %j is none',
  (text) => {
    expect(parseDuration(text)).toBeNull()
  },
)

test.each([
  ['0', 0],
  ['512', 512],
  ['64k', 65_536],
  ['1M', 1_048_576],
  ['1.5k', 1536],
  ['2G', 2_147_483_648],
  ['64 KiB', 65_536],
  ['1MB', 1_048_576],
])('size %j is %d bytes', (text, bytes) => {
  expect(parseSize(text)).toBe(bytes)
})

test.each(['', 'k', '-1', '1T', '1,5k', '9'.repeat(15).concat('G')])('size %j is none', (text) => {
  expect(parseSize(text)).toBeNull()
})

test('what is formatted parses back', () => {
  fc.assert(fc.property(fc.nat(), (n) => parseDuration(formatDuration(n)) === (n === 0 ? 0 : n)))
  fc.assert(fc.property(fc.nat(), (n) => parseSize(formatSize(n)) === n))
})

test.each([
  ['/opt/x --ok', ['/opt/x', '--ok']],
  ['  a   b  ', ['a', 'b']],
  ['a "b c" \'d e\'', ['a', 'b c', 'd e']],
  ['a"b c"d', ['ab cd']],
  ['a "" \'\'', ['a', '', '']],
  ['a\\ b', ['a b']],
  ['"a\\"b\\\\c\\n"', ['a"b\\c\\n']],
  ["'a\\b'", ['a\\b']],
  ['$HOME `x` ; | > *', ['$HOME', '`x`', ';', '|', '>', '*']],
  ['', []],
  ['a "b', null],
  ["a 'b", null],
])('%j → %j', (text, argv) => {
  expect(splitArguments(text)).toEqual(argv)
})

test('quoted arguments come out as they went in', () => {
  fc.assert(
    fc.property(fc.array(fc.string()), (argv) => {
      const written = argv.map((word) => `"${word.replace(/["\\]/g, '\\$&')}"`).join(' ')
      expect(splitArguments(written)).toEqual(argv)
    }),
  )
})
