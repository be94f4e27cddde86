/** Results as a person sees them. */
import CliTable from 'cli-table3'
import { afterEach, describe, expect, test } from 'vitest'
import { commandLine, csvRow } from '../../src/commands/formats.ts'
import { tableText, wrap } from '../../src/commands/print.ts'

const terminal = process.stdout.isTTY
afterEach(() => {
  process.stdout.isTTY = terminal
})

describe('a table', () => {
  const rows = Array.from({ length: 250 }, (_, i) => ({
    evento: i === 170 ? 'ñandú 漢字 '.repeat(3) : `proveedor.${i}`,
    motivo: i % 3 === 0 ? null : 'x'.repeat(i % 40),
  }))

  test('of more rows than one drawing is the same as drawn at once', async () => {
    const plain = Object.fromEntries(
      'top top-mid top-left top-right bottom bottom-mid bottom-left bottom-right left left-mid mid mid-mid right right-mid'
        .split(' ')
        .map((name) => [name, '']),
    )
    const whole = new CliTable({
      head: ['evento', 'motivo'],
      style: { head: ['bold'], border: [], compact: true },
      chars: { ...plain, middle: ' ' },
    })
    whole.push(...rows.map(({ evento, motivo }) => [evento, motivo ?? '']))
    const expected = whole
      .toString()
      .split('\n')
      .map((line) => line.trimEnd())
      .join('\n')
    expect(await tableText(rows, ['evento', 'motivo'], { painted: true })).toBe(expected)
  })

  test.each([200, 100, 60, 40])('fits %i columns: some are left out, others cut, an id never', async (most) => {
    const id = '01M8BSRGF9JQ00000000000000'
    const wide = rows.map((row, i) => ({
      ...row,
      creado: new Date(Date.UTC(2026, 1, 1, 12, i)),
      listener: 'guarani',
      id,
    }))
    const fit = { less: ['motivo', 'creado', 'evento'], whole: ['id'] }
    const lines = (await tableText(wide, ['creado', 'evento', 'listener', 'motivo', 'id'], { fit, most })).split('\n')
    expect(lines).toHaveLength(251)
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(most)
    expect(lines[1]).toContain(id)
    expect([lines[0]!.includes('motivo'), lines[0]!.includes('creado')]).toEqual(
      { 200: [true, true], 100: [true, true], 60: [false, false], 40: [false, false] }[most],
    )
    // Where there is room nothing is changed.
    expect(lines.some((line) => line.includes('…'))).toBe(most === 100 || most === 60)
  })
})

describe('a CSV', () => {
  test.each([
    [['a', 1, null], 'a;1;\r\n'],
    [['uno;dos', 'di "que" no', 'dos\nlíneas'], '"uno;dos";"di ""que"" no";dos\\nlíneas\r\n'],
    [['=1+1', '@SUM(A1)', '+1', '-1', '\tx'], "'=1+1;'@SUM(A1);'+1;'-1;\\tx\r\n"],
    [[-5], '-5\r\n'],
  ])('of %j', (values, expected) => {
    expect(csvRow(values)).toBe(expected)
  })

  test('has times that a Spanish spreadsheet reads', () => {
    expect(csvRow([new Date(2026, 10, 24, 17, 0, 0, 123)])).toBe('2026-11-24 17:00:00,123\r\n')
  })
})

test('the command of the next page is this one, quoted for a shell, with another cursor', () => {
  const words = ['auditoria', '--evento', '*.alta', '--despues-de', 'viejo', '--buscar', "d'Or", '--despues-de=otro']
  expect(commandLine(words, '--despues-de', ['--despues-de', 'nuevo'])).toBe(
    `resthooks auditoria --evento '*.alta' --buscar 'd'\\''Or' --despues-de nuevo`,
  )
})

test.each([
  ['', 5, ['']],
  ['uno dos tres', 7, ['uno dos', 'tres']],
  ['uno dos tres', 12, ['uno dos tres']],
  ['abcdefghij k', 4, ['abcd', 'efgh', 'ij k']],
  ['uno abcdefgh', 4, ['uno', 'abcd', 'efgh']],
  ['ab', 0, ['a', 'b']],
  ['ab', -7, ['a', 'b']],
])('«%s» in lines of %i', (text, most, lines) => {
  expect(wrap(text, most)).toEqual(lines)
})
