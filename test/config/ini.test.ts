import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type IniFile, parseIni, readValue } from '../../src/config/ini.ts'
import { Problems } from '../../src/config/problems.ts'

function parse(text: string, repeated?: 'error' | 'last'): { ini: IniFile; problems: Problems } {
  const problems = new Problems()
  return { ini: parseIni('r.ini', text, problems, repeated), problems }
}

function value(line: string): string {
  return parse(`k = ${line}`).ini.sections[0]!.entries.get('k')!.values[0]!
}

function complaint(problems: Problems): string {
  try {
    problems.throwIfAny()
    return ''
  } catch (error) {
    return (error as Error).message
  }
}

describe('a value is what PHP would read', () => {
  test.each([
    ['abc', 'abc'],
    ['  abc  ', 'abc'],
    ['abc ; comentario', 'abc'],
    ['"abc" ; comentario', 'abc'],
    ["'abc'; comentario", 'abc'],
    ['"a;b"', 'a;b'],
    ["'a\"b'", 'a"b'],
    ['"a\\"b"', 'a"b'],
    ['"C:\\new\\tmp"', 'C:\\new\\tmp'],
    ['"C:\\\\dir\\\\"', 'C:\\dir\\'],
    ['"  a  "', '  a  '],
    ['""', ''],
    ['', ''],
    ['; nada', ''],
    ['https://x/#ancla', 'https://x/#ancla'],
    ['clave=con=iguales', 'clave=con=iguales'],
    ['a$b', 'a$b'],
    ['exec:/bin/sh -c "a; b" ; fin', 'exec:/bin/sh -c "a; b"'],
    ["O'Higgins ; it's", "O'Higgins"],
    ['true', 'true'],
    ['null', 'null'],
    ['José Ñandú', 'José Ñandú'],
    ['a\u2028b', 'a\u2028b'],
  ])('%s → %s', (written, read) => {
    expect(value(written)).toBe(read)
  })
})

test('whatever is quoted reads back the same', () => {
  const oneLine = fc.string({ unit: 'binary' }).filter((text) => !/[\r\n]/.test(text))
  fc.assert(
    fc.property(oneLine, (text) => {
      expect(value(`"${text.replace(/[\\"]/g, '\\$&')}" ; fin`)).toBe(text)
    }),
  )
  fc.assert(
    fc.property(
      oneLine.filter((text) => !text.includes("'")),
      (text) => {
        expect(value(`'${text}'`)).toBe(text)
      },
    ),
  )
})

test('any text is read or reported, never thrown, and pollutes no prototype', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      '[',
      ']',
      '=',
      '"',
      "'",
      ';',
      '#',
      '\\',
      '__proto__',
      'constructor',
      '[]',
      '\n',
      '\r',
      '$',
      '{',
      ' ',
    ),
    fc.string(),
  )
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      const { ini } = parse(pieces.join(''))
      expect(ini.sections[0]!.name).toBe('')
      expect(Object.getPrototypeOf({})).toBe(Object.prototype)
      expect(({} as Record<string, unknown>).polluted).toBeUndefined()
    }),
    { numRuns: 500 },
  )
})

test('__proto__ is a section and a key like any other', () => {
  const { ini } = parse('[__proto__]\npolluted = 1\n[workers]\n__proto__ = 1\n__proto__[] = 2')
  expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  expect(ini.sections.map(({ name }) => name)).toEqual(['', '__proto__', 'workers'])
  expect(ini.sections[2]!.entries.has('__proto__')).toBe(true)
})

test('sections keep dots and blanks, and repeat instead of merging', () => {
  const { ini, problems } = parse('a = 0\n[listener a.b]\nx = 1\n[ listener   c ] ; fin\n[listener a.b]\nx = 2')
  expect(ini.sections.map(({ name, line }) => [name, line])).toEqual([
    ['', 1],
    ['listener a.b', 2],
    ['listener c', 4],
    ['listener a.b', 5],
  ])
  expect(ini.sections[1]!.entries.get('x')!.values).toEqual(['1'])
  expect(problems.count).toBe(0)
})

test('keys keep their dots, and lists their lines', () => {
  const { ini } = parse('[s]\nx.y = 1\ncabeceras[] = A: 1\r\n\r\ncabeceras[] = "B: 2"')
  const { entries } = ini.sections[1]!
  expect(entries.get('x.y')!.values).toEqual(['1'])
  expect(entries.get('cabeceras')).toEqual({ key: 'cabeceras', list: true, values: ['A: 1', 'B: 2'], lines: [3, 5] })
})

test.each([
  ['sin igual', 'r.ini:1', 'clave = valor'],
  ['[s]\n = 1', 'r.ini:2', 'clave = valor'],
  ['[s]\n[] = 1', 'r.ini:2', 'no se cierra'],
  ['[s]\nk = "abc', 'r.ini:2 [s] k', 'no se cierran'],
  ["[s]\nk = 'abc", 'r.ini:2 [s] k', 'no se cierran'],
  ['[s]\nk = "a" b', 'r.ini:2 [s] k', 'después de las comillas'],
  ['\n[s', 'r.ini:2', 'no se cierra'],
  ['[s]\nk = 1\nk = 2', 'r.ini:3 [s] k', 'ya está en la línea 2'],
  ['[s]\nk[] = 1\nk = 2', 'r.ini:3 [s] k', 'ya está en la línea 2'],
])('%j is reported at %s', (text, where, what) => {
  const message = complaint(parse(text).problems)
  expect(message).toContain(where)
  expect(message).toContain(what)
})

test('toba files may repeat a key: the last one wins, as in PHP', () => {
  const { ini, problems } = parse('[conexion]\nto = a\nto = b', 'last')
  expect(ini.sections[1]!.entries.get('to')).toMatchObject({ values: ['b'], lines: [3] })
  expect(problems.count).toBe(0)
})

test('a value that loses something says so', () => {
  expect(readValue('ab;cd')).toMatchObject({ text: 'ab', warning: expect.stringContaining('comillas') })
  expect(readValue('ab # nota')).toMatchObject({ text: 'ab # nota', warning: expect.stringContaining('#') })
  expect(readValue('ab ; nota')).toEqual({ text: 'ab' })
})
