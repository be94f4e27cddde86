/**
 * Where Redis and Postgres are (INTERFACE §2): the environment, then instalador.env, then resthooks.ini.
 */
import * as v from 'valibot'
import { readPem } from './certificates.ts'
import type { AuditConfig, RedisConfig } from './config.ts'
import {
  boolean,
  duration,
  host,
  hostOrSocket,
  hostPortSchema,
  integer,
  kind,
  list,
  port,
  secret,
  size,
  text,
  word,
} from './kinds.ts'
import { type Context, find, type Layer, type Reader, setting, variablesLayer } from './settings.ts'
import { AUDIT_VARIABLES, REDIS_VARIABLES } from './vocabulary.ts'

const DAY = 86_400_000

/** `ini` is [redis_config]. */
export function redisConfig(context: Context, ini: Layer): RedisConfig {
  const variables = Object.fromEntries(Object.entries(REDIS_VARIABLES).map(([key, name]) => [key, [name]]))
  const reader: Reader = { context, section: 'redis_config', layers: [variablesLayer(context, variables), ini] }
  const sentinels = setting(
    reader,
    'sentinelas',
    list('servidor:puerto, separados por comas', hostPortSchema, { least: 1, most: 64 }),
    [],
  )
  const sentinelMaster = setting(reader, 'sentinela_maestro', text, null)
  const tls = setting(reader, 'tls', boolean, false)
  checkSentinels(reader, sentinels.length > 0, sentinelMaster !== null)
  const ca = readPem(reader, 'ca')
  const written = find(reader.layers, 'ca')
  if (written && !tls) context.problems.warn(written.place, 'no tiene efecto: tls no está activado.')
  return {
    host: setting(reader, 'host', host, '127.0.0.1'),
    port: setting(reader, 'port', port, 6379),
    username: setting(reader, 'usuario', text, null),
    password: setting(reader, 'password', secret(text), null),
    db: setting(reader, 'base', integer(0, 1_000_000), 0),
    tls,
    ca,
    sentinels,
    sentinelMaster,
  }
}

function checkSentinels(reader: Reader, sentinels: boolean, master: boolean): void {
  const { problems } = reader.context
  const written = find(reader.layers, sentinels ? 'sentinelas' : 'sentinela_maestro')
  if (sentinels && !master) {
    problems.add(
      written!.place,
      'hay sentinelas, pero falta sentinela_maestro: el nombre que el maestro tiene en ellas.',
    )
  }
  if (master && !sentinels && find(reader.layers, 'sentinelas') === null) {
    problems.warn(written!.place, 'no tiene efecto: no hay sentinelas.')
  }
}

/** `ini` is [auditoria]. */
export function auditConfig(context: Context, ini: Layer): AuditConfig {
  const entries = Object.entries(AUDIT_VARIABLES)
  const own = Object.fromEntries(entries.map(([key, names]) => [key, [names.own]]))
  const others = Object.fromEntries(entries.map(([key, names]) => [key, names.others]))
  const reader: Reader = {
    context,
    section: 'auditoria',
    layers: [variablesLayer(context, own), ini, variablesLayer(context, others)],
  }
  return {
    host: setting(reader, 'host', hostOrSocket, '127.0.0.1'),
    port: setting(reader, 'puerto', port, 5432),
    database: setting(reader, 'base', text, 'resthooks'),
    username: setting(reader, 'usuario', text, 'postgres'),
    password: setting(reader, 'clave', secret(text), null),
    sslmode: setting(
      reader,
      'sslmode',
      word(['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full']),
      'prefer',
    ),
    schema: setting(reader, 'schema', SCHEMA, 'resthooks'),
    maxPending: setting(reader, 'max_pendientes', integer(0, 1_000_000_000), 1_000_000),
    maxPendingBytes: setting(reader, 'max_pendientes_bytes', size(0, 1024 ** 4), 0),
    retention: setting(reader, 'retencion', duration(0, 36_500 * DAY), 365 * DAY),
  }
}

/** Postgres folds unquoted names and keeps 63 bytes; `pg_` is its own. */
const SCHEMA = kind(
  'el nombre de un esquema: letras minúsculas sin acento, números y «_», hasta 63, sin empezar con número ni con pg_',
  v.pipe(v.string(), v.trim(), v.regex(/^(?!pg_)[a-z_][a-z0-9_]{0,62}$/)),
)
