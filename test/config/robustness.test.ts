// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${VAR} is the syntax under test
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { NAMED_SECTIONS, OWN_VARIABLES, SINGLE_SECTIONS } from '../../src/config/settings.ts'
import { ConfigError } from '../../src/errors.ts'
import { folder } from './folder.ts'

const NAMES: Readonly<Record<string, string>> = { reintentos: 'r', cliente: 'c', listener: 'x' }
const KNOWN = [
  ...Object.entries(SINGLE_SECTIONS).map(([name, rows]) => [name, Object.keys(rows)] as const),
  ...Object.entries(NAMED_SECTIONS).map(([type, rows]) => [`${type} ${NAMES[type]}`, Object.keys(rows)] as const),
]

const value = fc.oneof(
  fc.constantFrom(
    '1',
    '0',
    'c',
    'r',
    '5s',
    '20%',
    '[',
    '{',
    '[[',
    '[["a","b"]]',
    'https://[',
    'https://h:99999',
    '.',
    '/',
  ),
  fc.constantFrom(
    'https://h',
    'exec:a',
    'exponencial',
    'basic',
    'oauth2',
    'ssl',
    '${X}',
    '${',
    '$env(X)$',
    '127.0.0.1',
    '::1',
  ),
  fc.string({ unit: 'binary', maxLength: 30 }),
)
const section = fc
  .constantFrom(...KNOWN)
  .chain(([name, keys]) =>
    fc
      .array(fc.tuple(fc.constantFrom(...keys), fc.constantFrom('', '[]'), value), { maxLength: 12 })
      .map((entries) => [`[${name}]`, ...entries.map(([key, list, text]) => `${key}${list} = ${text}`)].join('\n')),
  )
const environment = fc.dictionary(
  fc.constantFrom(...OWN_VARIABLES.filter((name) => name.startsWith('REST_')), 'X', 'CREDENCIALES_API_BASIC_C'),
  value,
)

test('whatever the files and the environment say, loading gives a configuration or a ConfigError', () => {
  const { path, write } = folder()
  const outcomes = { loaded: 0, refused: 0 }
  fc.assert(
    fc.property(fc.array(section, { maxLength: 6 }), environment, (sections, variables) => {
      write('resthooks.ini', sections.join('\n'))
      try {
        loadConfig({ cwd: path, environment: variables })
        outcomes.loaded++
      } catch (error) {
        expect(error).toBeInstanceOf(ConfigError)
        outcomes.refused++
      }
    }),
    { numRuns: 400 },
  )
  expect(outcomes.loaded).toBeGreaterThan(0)
  expect(outcomes.refused).toBeGreaterThan(0)
})

test('any bytes at all are a configuration or a ConfigError', () => {
  const { path, write } = folder()
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 300 }), (ini, env) => {
      write('resthooks.ini', Buffer.from(ini))
      write('instalador.env', Buffer.from(env))
      try {
        loadConfig({ cwd: path, environment: {} })
      } catch (error) {
        expect(error).toBeInstanceOf(ConfigError)
      }
    }),
    { numRuns: 200 },
  )
})
