/** The example files are read as they are, name every setting, and tell the truth about the defaults. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { isSecret } from '../../src/config/secret-values.ts'
import { NAMED_SECTIONS, OWN_VARIABLES, ROOT, type Section, SINGLE_SECTIONS } from '../../src/config/settings.ts'
import { folder, load } from './folder.ts'

const read = (name: string) => readFileSync(fileURLToPath(new URL(`../../${name}`, import.meta.url)), 'utf8')
const ini = read('resthooks.ini.example')
const env = read('instalador.env.example')

test('both load as they are, together and the ini alone', () => {
  const config = folder({ 'resthooks.ini': ini, 'instalador.env': env }).load()
  expect([...config.listeners.keys()]).toEqual(['proveedores'])
  expect(config.listeners.get('proveedores')!.auth).toEqual({
    kind: 'digest',
    username: 'pilaga',
    password: 'la-clave-de-diaguita',
  })
  expect(config.warnings).toEqual([])
  expect(folder({ 'resthooks.ini': ini }).load().warnings).toEqual([])
})

const SECTIONS: readonly (readonly [string, Section])[] = [
  ['', ROOT],
  ...Object.entries(SINGLE_SECTIONS),
  ...Object.entries(NAMED_SECTIONS),
]

test('every key and every variable is in them', () => {
  // Of two targets the example writes one, and tells of the others beside it.
  for (const key of SECTIONS.flatMap(([, rows]) => Object.keys(rows)))
    expect(ini, key).toMatch(new RegExp(`(^|[\\s;,])${key}(\\[\\])?( =|[,\\s])`, 'm'))
  for (const variable of OWN_VARIABLES.filter((name) => name.startsWith('REST_HOOKS_'))) {
    expect(env).toContain(`\n#${variable}=`)
  }
})

test('what is said of a setting beside it is what the table says of it', () => {
  let section = ''
  let told = 0
  for (const line of ini.split('\n')) {
    section = /^\[(\w+)/.exec(line)?.[1] ?? section
    const [, key, says] = /^;?([a-z_]+)(?:\[\])? =[^;]*; (.*)$/.exec(line) ?? []
    if (key === undefined) continue
    const rows = SECTIONS.filter(([name, rows]) => name === section && Object.hasOwn(rows, key))
    expect(
      rows.map(([, rows]) => rows[key]!.says),
      `${section} ${key}`,
    ).toContain(says)
    told++
  }
  expect(told).toBeGreaterThan(30)
})

test('a default is a value that its setting accepts, shown as it would be written', () => {
  for (const [key, { kind, default: value }] of SECTIONS.flatMap(([, rows]) => Object.entries(rows))) {
    const shown = value === null ? '' : kind.show(value)
    if (shown !== '') expect(kind.read([shown]), key).toEqual({ ok: true, value })
  }
})

test('a setting that is a secret has a name by which it is hidden', () => {
  for (const [key, { kind }] of SECTIONS.flatMap(([, rows]) => Object.entries(rows)))
    if (kind.emptyMeans === 'mistake') expect(isSecret(key), key).toBe(true)
})

test('the values behind «;» are the defaults', () => {
  // Those that are examples of a value, not the default.
  const examples =
    /^;(?:(?:password|ca|sentinelas|sentinela_maestro|version|cert_file|key_file|cert_pwd|ca_cert|secreto|cabeceras\[\]) =|clave = scrypt)/
  const uncommented = ini
    .split('\n')
    .map((line) => (/^;[a-z_[\]]+ =/.test(line) && !examples.test(line) ? line.slice(1) : line))
    .join('\n')
  expect(uncommented.length).toBeLessThan(ini.length - 40)
  const { origins: _, files: __, ...written } = load(uncommented)
  const { origins: ___, files: ____, ...plain } = load(ini)
  expect(written).toEqual(plain)
})

test('the variables behind «#» are the defaults', () => {
  const uncommented = env.replace(/^#(REST_HOOKS_\w+=)/gm, '$1')
  const { origins: _, files: __, ...written } = folder({ 'resthooks.ini': ini, 'instalador.env': uncommented }).load()
  const { origins: ___, files: ____, ...plain } = load(ini)
  expect(written).toEqual(plain)
})
