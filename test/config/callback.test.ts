import fc from 'fast-check'
import { expect, test } from 'vitest'
import { splitArguments } from '../../src/config/listener-kinds.ts'

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
