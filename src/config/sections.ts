/**
 * The sections of resthooks.ini: which there are, which are mistakes, which nobody uses, and what each becomes.
 */
import * as v from 'valibot'
import { suggestion } from '../model/nearest.ts'
import { readPem } from './certificates.ts'
import { basicByDefault, serviceLayers } from './client.ts'
import {
  type AuditConfig,
  type Config,
  type ListenerConfig,
  LOG_LEVELS,
  type RedisConfig,
  type RetryStrategy,
  type WorkersConfig,
} from './config.ts'
import type { Locations } from './files.ts'
import type { IniFile, IniSection } from './ini.ts'
import * as kinds from './kinds.ts'
import {
  boolean,
  decimal,
  duration,
  durationSchema,
  type HostPort,
  hostOrSocket,
  hostPortSchema,
  integer,
  kind,
  list,
  orEmpty,
  percent,
  port,
  secret,
  size,
  text,
  word,
} from './kinds.ts'
import {
  type Context,
  find,
  type Layer,
  NOTHING,
  type Reader,
  reportUnknownKeys,
  sectionLayer,
  setting,
  variablesLayer,
} from './layers.ts'
import { listenerConfig, type Surroundings, type Target } from './listener.ts'
import { AUDIT_VARIABLES, NAMED_SECTIONS, REDIS_VARIABLES, ROOT_KEYS, SINGLE_SECTIONS } from './settings.ts'

type Sections = Pick<Config, 'redis' | 'audit' | 'workers' | 'defaultStrategy' | 'listeners'>

const LISTENER_NAME = /^[\p{L}\p{N}_.-]{1,64}$/u

export function sectionsConfig(context: Context, where: Locations, ini: IniFile | null): Sections {
  const found = sortSections(context, ini)
  const layer = (section: IniSection | undefined) => (section && ini ? sectionLayer(context, ini, section) : NOTHING)
  const reader = (section: IniSection | undefined, name: string): Reader => ({
    context,
    section: name,
    layers: [layer(section)],
  })

  const strategies = new Map<string, RetryStrategy>()
  for (const [name, section] of found.named.reintentos)
    strategies.set(name, strategy(reader(section, section.name), name))
  const defaultStrategy = strategy(reader(found.single.get('reintentos'), 'reintentos'), DEFAULT_STRATEGY_NAME)
  const clients = new Map([...found.named.cliente].map(([name, section]) => [name, layer(section)]))
  const used = { clients: new Set<string>(), strategies: new Set<string>() }

  const around: Surroundings = {
    defaultStrategy,
    strategies,
    client: (target) => clientLayers(context, where, ini, clients, target),
  }
  const listeners = new Map<string, ListenerConfig>()
  for (const [name, section] of found.named.listener) {
    const place = { file: ini!.path, line: section.line, section: section.name }
    const own = reader(section, section.name)
    // Its client's file and its certificates too.
    const listener = context.problems.within(section.name, () => listenerConfig(own, name, place, around))
    listeners.set(name, listener)
    used.strategies.add(listener.strategy.name)
    used.clients.add(section.entries.get('cliente')?.values[0]?.trim() ?? '')
  }

  warnAboutUnused(context, ini, found, used)
  return {
    redis: redisConfig(context, layer(found.single.get('redis_config'))),
    audit: context.problems.within('auditoria', () => auditConfig(context, layer(found.single.get('auditoria')))),
    workers: workersConfig(reader(found.single.get('workers'), 'workers')),
    defaultStrategy,
    listeners,
  }
}

interface Found {
  readonly single: ReadonlyMap<string, IniSection>
  readonly named: Readonly<Record<'reintentos' | 'cliente' | 'listener', ReadonlyMap<string, IniSection>>>
}

/** Each section to its kind; repeated, misspelt and nameless ones are reported. */
function sortSections(context: Context, ini: IniFile | null): Found {
  const single = new Map<string, IniSection>()
  const named = { reintentos: new Map(), cliente: new Map(), listener: new Map() } as Record<
    keyof Found['named'],
    Map<string, IniSection>
  >
  for (const section of ini?.sections ?? []) {
    const place = { file: ini!.path, line: section.line, section: section.name }
    if (section.name === '') {
      // A stray `[]` gets the same answer as any other section that means nothing.
      if (section === ini!.sections[0]) reportUnknownKeys(context, ini!, section, ROOT_KEYS)
      else context.problems.add(place, 'la sección no tiene nombre.')
      continue
    }
    const blank = section.name.indexOf(' ')
    const [type, name] =
      blank === -1 ? [section.name, null] : [section.name.slice(0, blank), section.name.slice(blank + 1)]
    const keys = name === null ? own(SINGLE_SECTIONS, type) : own(NAMED_SECTIONS, type)
    if (keys === null) {
      context.problems.add(place, unknownSection(section.name, type, name))
      continue
    }
    if (type === 'listener' && name !== null && !LISTENER_NAME.test(name)) {
      context.problems.add(
        place,
        'el nombre de un listener lleva letras, números, «_», «.» y «-», sin blancos, hasta 64.',
      )
      continue
    }
    const known = name === null ? single : named[type as keyof Found['named']]
    const earlier = known.get(name ?? type)
    if (earlier) {
      context.problems.add(
        place,
        `la sección está repetida: ya está en la línea ${earlier.line}. Reúna las dos en una.`,
      )
      continue
    }
    reportUnknownKeys(context, ini!, section, keys)
    known.set(name ?? type, section)
  }
  return { single, named }
}

function own(table: Readonly<Record<string, readonly string[]>>, key: string): readonly string[] | null {
  return Object.hasOwn(table, key) ? table[key]! : null
}

function unknownSection(full: string, type: string, name: string | null): string {
  if (name === null && Object.hasOwn(NAMED_SECTIONS, type)) return `a la sección le falta el nombre: [${type} NOMBRE].`
  if (name !== null && Object.hasOwn(SINGLE_SECTIONS, type)) return `la sección se llama [${type}], sin nada más.`
  const [, before, after] = /^(\p{L}+)\s*[.:_/-]\s*(.+)$/u.exec(full) ?? []
  if (before && after && Object.hasOwn(NAMED_SECTIONS, before)) {
    return `sección desconocida. ¿Quiso decir «[${before} ${after}]»?`
  }
  const known = [...Object.keys(SINGLE_SECTIONS), ...Object.keys(NAMED_SECTIONS)]
  const accepted =
    '[redis_config] [auditoria] [workers] [reintentos] [reintentos NOMBRE] [cliente NOMBRE] [listener NOMBRE]'
  return `sección desconocida.${suggestion(type, known)} Se aceptan: ${accepted}.`
}

function clientLayers(
  context: Context,
  where: Locations,
  ini: IniFile | null,
  clients: ReadonlyMap<string, Layer>,
  target: Target,
): readonly Layer[] {
  if (target.kind === 'url') return []
  if (target.kind === 'servicio') {
    const layers = serviceLayers(context, where, ini?.path ?? null, target.name, target.place)
    return layers.length === 0 ? [] : [...layers, basicByDefault(layers)]
  }
  const found = clients.get(target.name)
  if (found) return [found]
  const known = [...clients.keys()]
  const defined = known.length === 0 ? 'no hay ninguno definido' : `se aceptan: ${known.join(' ')}`
  context.problems.add(
    target.place,
    `no existe la sección [cliente ${target.name}]; ${defined}.${suggestion(target.name, known)}`,
  )
  return []
}

function warnAboutUnused(
  context: Context,
  ini: IniFile | null,
  { named }: Found,
  used: { readonly clients: ReadonlySet<string>; readonly strategies: ReadonlySet<string> },
): void {
  for (const [sections, names] of [
    [named.cliente, used.clients],
    [named.reintentos, used.strategies],
  ] as const) {
    for (const [name, section] of sections) {
      if (names.has(name)) continue
      context.problems.warn({ file: ini!.path, line: section.line, section: section.name }, 'ningún listener la usa.')
    }
  }
}

function workersConfig(reader: Reader): WorkersConfig {
  return {
    concurrency: setting(reader, 'concurrencia', integer(1, 10_000), 100),
    processes: setting(reader, 'procesos', integer(1, 256), 1),
    drain: setting(reader, 'drenaje', duration(0, 86_400 * SECOND), 30 * SECOND),
    poll: setting(reader, 'sondeo', duration(10, 60 * SECOND), SECOND),
    lease: setting(reader, 'arriendo', duration(SECOND, 3600 * SECOND), 30 * SECOND),
    metrics: setting(reader, 'metricas', METRICS, null),
    level: setting(reader, 'nivel', word(LOG_LEVELS), 'info'),
    maxMessage: setting(reader, 'max_mensaje', size(64 * 1024, 256 * 1024 ** 2), 16 * 1024 ** 2),
  }
}

/** A bare port listens on this machine alone. */
const METRICS = kind<HostPort>(
  'servidor:puerto (127.0.0.1:9464), o nada para no publicarlas',
  v.pipe(
    v.string(),
    v.trim(),
    v.transform((text) => (/^\d{1,5}$/.test(text) ? `127.0.0.1:${text}` : text)),
    hostPortSchema,
  ),
)

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
    host: setting(reader, 'host', kinds.host, '127.0.0.1'),
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

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const LONGEST = 365 * DAY

export const DEFAULT_STRATEGY_NAME = 'predeterminada'

const DEFAULT_DELAYS: readonly number[] = [
  5 * SECOND,
  5 * MINUTE,
  30 * MINUTE,
  2 * HOUR,
  5 * HOUR,
  10 * HOUR,
  14 * HOUR,
  20 * HOUR,
  24 * HOUR,
]

const DELAYS = orEmpty(
  list('una lista de 1 a 1000 duraciones separadas por comas (5s, 5m, 2h)', durationSchema(1, LONGEST), {
    least: 1,
    most: 1000,
  }),
)

/** Keys that only some kinds obey. */
const OBEYED = {
  lista: ['esperas'],
  exponencial: ['espera_inicial', 'factor', 'espera_maxima', 'intentos'],
  lineal: ['espera_inicial', 'espera_maxima', 'intentos'],
  fija: ['espera_inicial', 'intentos'],
} as const

type StrategyKind = keyof typeof OBEYED

export function strategy(reader: Reader, name: string): RetryStrategy {
  const kind = setting(reader, 'estrategia', word(['lista', 'exponencial', 'lineal', 'fija']), 'lista')
  const common = {
    name,
    jitter: setting(reader, 'jitter', percent, 20) / 100,
    expiry: setting(reader, 'vencimiento', duration(0, LONGEST), 7 * DAY),
  }
  warnAboutIdleKeys(reader, kind)
  if (kind === 'lista') return { ...common, kind, delays: setting(reader, 'esperas', DELAYS, DEFAULT_DELAYS) }

  const first = setting(reader, 'espera_inicial', duration(1, LONGEST), kind === 'exponencial' ? 5 * SECOND : MINUTE)
  const attempts = setting(reader, 'intentos', integer(1, 10_000), 10)
  if (kind === 'fija') return { ...common, kind, first, attempts }

  const max = setting(reader, 'espera_maxima', duration(1, LONGEST), Math.max(first, DAY))
  const written = find(reader.layers, 'espera_maxima')
  if (written && max < first) {
    reader.context.problems.add(written.place, 'es menor que espera_inicial: ninguna espera cumpliría las dos.')
  }
  if (kind === 'lineal') return { ...common, kind, first, max, attempts }
  return { ...common, kind, first, max, attempts, factor: setting(reader, 'factor', decimal(1, 1000), 2) }
}

function warnAboutIdleKeys(reader: Reader, kind: StrategyKind): void {
  const obeyed: readonly string[] = OBEYED[kind]
  for (const key of new Set(Object.values(OBEYED).flat())) {
    const written = obeyed.includes(key) ? null : find(reader.layers, key)
    if (written) reader.context.problems.warn(written.place, `no tiene efecto con estrategia = ${kind}.`)
  }
}
