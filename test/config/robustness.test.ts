// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${VAR} is the syntax under test
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import {
  AUDIT_KEYS,
  CLIENT_KEYS,
  LISTENER_KEYS,
  OWN_VARIABLES,
  REDIS_KEYS,
  STRATEGY_KEYS,
  WORKERS_KEYS,
} from '../../src/config/settings.ts'
import { ConfigError } from '../../src/errors.ts'
import { folder } from './folder.ts'

const KNOWN: readonly [string, readonly string[]][] = [
  ['redis_config', REDIS_KEYS],
  ['auditoria', AUDIT_KEYS],
  ['workers', WORKERS_KEYS],
  ['reintentos', STRATEGY_KEYS],
  ['reintentos r', STRATEGY_KEYS],
  ['cliente c', CLIENT_KEYS],
  ['listener x', LISTENER_KEYS],
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
