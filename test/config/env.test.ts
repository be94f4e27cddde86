import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseEnv } from '../../src/config/env.ts'
import { Problems } from '../../src/config/problems.ts'

function values(text: string): Record<string, string> {
  const { variables } = parseEnv('i.env', text, new Problems())
  return Object.fromEntries([...variables].map(([name, { value }]) => [name, value]))
}

test('the file that the installer of toba writes', () => {
  const text = [
    '##### BASE DE DATOS #####',
    'PROYECTO_DB_HOST ="postgres.example"',
    "export PROYECTO_DB_PASSWORD='pa$$ #1'",
    'PROYECTO_DB_USERNAME=toba # el dueño',
    'A=precio$barato',
    'B="dijo \\"hola\\" por \\$5"',
    '',
    '# C=no',
    'D=',
    'E = con blancos ',
  ].join('\r\n')
  expect(values(text)).toEqual({
    PROYECTO_DB_HOST: 'postgres.example',
    PROYECTO_DB_PASSWORD: 'pa$$ #1',
    PROYECTO_DB_USERNAME: 'toba',
    A: 'precio$barato',
    B: 'dijo "hola" por $5',
    D: '',
    E: 'con blancos',
  })
})

test('each variable knows its line', () => {
  const { variables } = parseEnv('i.env', '# t\n\nA=1\nexport B = 2\n', new Problems())
  expect(variables.get('A')!.line).toBe(3)
  expect(variables.get('B')!.line).toBe(4)
})

test('quotes that do not close are reported with the line', () => {
  const problems = new Problems()
  parseEnv('i.env', 'A=1\nB="abc\nC=2', problems)
  expect(() => problems.throwIfAny()).toThrow(/i\.env:2 B: las comillas " no se cierran/)
})

test.each([
  ['pa\\\\nw0rd', 'pa\\nw0rd'],
  ['pa\\nw0rd', 'pa\nw0rd'],
  ['c:\\\\temp\\\\new', 'c:\\temp\\new'],
  ['\\\\\\n', '\\\n'],
  ['termina en \\\\', 'termina en \\'],
  ['\\"\\$\\t\\r\\f\\v', '"$\t\r\f\v'],
  ['\uE0000\uE000\\\\', '\uE0000\uE000\\'],
])('between double quotes %j is %j: undone once, from left to right', (written, read) => {
  expect(values(`A="${written}" # y\nB='${written}'\nC="otra"`)).toEqual({ A: read, B: written, C: 'otra' })
})

test('whatever PHP would escape between double quotes reads back the same', () => {
  const escaped = (text: string) =>
    text
      .replace(/[\\"$]/g, '\\$&')
      .replaceAll('\n', '\\n')
      .replaceAll('\r', '\\r')
  const piece = fc.oneof(
    fc.constantFrom('\\', '"', '$', 'n', '\n', "'", '#', '\uE000', '0'),
    fc.string({ unit: 'binary' }),
  )
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      const text = pieces.join('')
      expect(values(`A="${escaped(text)}"\nB=2`)).toEqual({ A: text, B: '2' })
    }),
  )
})

test.each([
  ['A="c:\\dir"', /i\.env:1 A: entre comillas dobles, «\\» sólo va antes de/],
  ['B=1\nA="x"y', /i\.env:2 A: hay texto después de las comillas/],
])('%j is reported, without the value', (text, what) => {
  const problems = new Problems()
  expect(parseEnv('i.env', text, problems).variables.has('A')).toBe(false)
  expect(() => problems.throwIfAny()).toThrow(what)
})

test('whatever stands between single quotes reads back the same', () => {
  const oneLine = fc.string({ unit: 'binary' }).filter((text) => !/['\r\n]/.test(text))
  fc.assert(fc.property(oneLine, (text) => void expect(values(`A='${text}'\nB=2`)).toEqual({ A: text, B: '2' })))
})

test('any text is read or reported, never thrown, and pollutes no prototype', () => {
  const piece = fc.oneof(fc.constantFrom('=', '"', "'", '`', '#', '\\', '__proto__', '\n', 'A', 'export '), fc.string())
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      values(pieces.join(''))
      expect(Object.getPrototypeOf({})).toBe(Object.prototype)
    }),
    { numRuns: 500 },
  )
})

test.each([
  ['A=1\nREST_HOOKS_DB_PASSWORD secreta\n', 'i.env:2: la línea no tiene la forma NOMBRE=valor, y se ignora. Si es'],
  ['A B=1', 'i.env:1: la línea'],
  ['export A\nB=1', 'i.env:1: la línea'],
  ['A="x\ny"\nno\n', 'i.env:3: la línea'],
  ['uno\nA=1\ndos', 'i.env:1: la línea no tiene la forma NOMBRE=valor, y se ignora (también la 3).'],
  ['x\n'.repeat(9), '(también las 2, 3, 4, 5 y 4 más)'],
])('a line of %j that is lost is told, without what it holds', (text, told) => {
  const problems = new Problems()
  parseEnv('i.env', text, problems)
  expect(problems.warnings).toEqual([expect.stringContaining(told)])
  expect(problems.warnings[0]).not.toContain('secreta')
  problems.throwIfAny()
})

test.each([
  '##### TITLE #####\n  # nota\n\nA ="x" # y\nexport B=2\n',
  'CLAVE="-----BEGIN-----\nabc\n\ndef \\" no\n-----END-----"\nB=1',
  "CLAVE='uno\ndos' # y\nB=`tres\ncuatro`\nC=\n'cinco\nseis'",
  'A=1\nB=2\nexport A B # para el shell',
  'A: 1',
])('nothing of %j is lost', (text) => {
  const problems = new Problems()
  parseEnv('i.env', text, problems)
  expect(problems.warnings).toEqual([])
})
