/** Results as a person sees them. */
import CliTable from 'cli-table3'
import { afterEach, describe, expect, test } from 'vitest'
import { tableText, wrap } from '../../src/commands/print.ts'

const terminal = process.stdout.isTTY
afterEach(() => {
  process.stdout.isTTY = terminal
})

describe('a table of more rows than one drawing', () => {
  const rows = Array.from({ length: 250 }, (_, i) => ({
    evento: i === 170 ? 'ñandú 漢字 '.repeat(3) : `proveedor.${i}`,
    motivo: i % 3 === 0 ? null : 'x'.repeat(i % 40),
  }))

  test.each([
    ['for a person', true],
    ['for a program', false],
  ])('is the same as drawn at once, %s', async (_, isTTY) => {
    process.stdout.isTTY = isTTY
    const plain = Object.fromEntries(
      'top top-mid top-left top-right bottom bottom-mid bottom-left bottom-right left left-mid mid mid-mid right right-mid'
        .split(' ')
        .map((name) => [name, '']),
    )
    const whole = new CliTable({
      head: ['evento', 'motivo'],
      style: { head: isTTY ? ['bold'] : [], border: [], compact: true },
      chars: isTTY ? {} : { ...plain, middle: ' ' },
    })
    whole.push(...rows.map(({ evento, motivo }) => [evento, motivo ?? '']))
    const expected = whole
      .toString()
      .split('\n')
      .map((line) => line.trimEnd())
      .join('\n')
    expect(await tableText(rows, ['evento', 'motivo'], isTTY)).toBe(expected)
  })
})

test.each([
  ['', 5, ['']],
  ['uno dos tres', 7, ['uno dos', 'tres']],
  ['uno dos tres', 12, ['uno dos tres']],
  ['abcdefghij k', 4, ['abcd', 'efgh', 'ij k']],
  ['uno abcdefgh', 4, ['uno', 'abcd', 'efgh']],
])('«%s» in lines of %i', (text, most, lines) => {
  expect(wrap(text, most)).toEqual(lines)
})
