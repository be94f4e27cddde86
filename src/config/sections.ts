/**
 * The sections of resthooks.ini: which there are, which are mistakes, which nobody uses, and what each becomes.
 */
import { suggestion } from '../model/nearest.ts'
import { readPem } from './certificates.ts'
import { basicByDefault, serviceLayers } from './client.ts'
import {
  AUDIT_PART,
  type AuditConfig,
  type Config,
  type ListenerConfig,
  REDIS_PART,
  type RedisConfig,
  type RetryStrategy,
} from './config.ts'
import type { Locations } from './files.ts'
import type { IniFile, IniSection } from './ini.ts'
import {
  type Context,
  find,
  type Layer,
  type Lookup,
  NOTHING,
  reportUnknownKeys,
  sectionLayer,
  setting,
  values,
  warnAboutIdle,
  withVariables,
} from './layers.ts'
import { listenerConfig, type Surroundings, type Target } from './listener.ts'
import {
  AUDIT,
  NAMED_SECTIONS,
  PANEL,
  REDIS,
  ROOT,
  type Section,
  type Setting,
  SINGLE_SECTIONS,
  STRATEGY,
  USER,
  WORKERS,
} from './settings.ts'

type Sections = Pick<Config, 'redis' | 'audit' | 'workers' | 'defaultStrategy' | 'listeners' | 'panel' | 'users'>

/** Of a listener, and of a user of the panel. First without the letters of all languages: V8 is slow to compile those. */
function isName(text: string): boolean {
  return /^[\w.-]{1,64}$/.test(text) || /^[\p{L}\p{N}_.-]{1,64}$/u.test(text)
}

export function sectionsConfig(context: Context, where: Locations, ini: IniFile | null): Sections {
  const found = sortSections(context, ini)
  const layer = (section: IniSection | undefined) => (section && ini ? sectionLayer(context, ini, section) : NOTHING)
  const lookup = (section: IniSection | undefined, name: string): Lookup => ({
    context,
    section: name,
    layers: [layer(section)],
  })

  const strategies = new Map<string, RetryStrategy>()
  for (const [name, section] of found.named.reintentos)
    strategies.set(name, strategy(lookup(section, section.name), name))
  const defaultStrategy = strategy(lookup(found.single.get('reintentos'), 'reintentos'), DEFAULT_STRATEGY_NAME)
  const clients = new Map([...found.named.cliente].map(([name, section]) => [name, layer(section)]))
  const used = { clients: new Set<string>(), strategies: new Set<string>() }

  const around: Surroundings = {
    defaultStrategy,
    strategies,
    client: (target) => clientLayers(context, where, ini, clients, target),
  }
  const listeners = new Map<string, ListenerConfig>()
  for (const [name, section] of found.named.listener) {
    const position = { file: ini!.path, line: section.line, section: section.name }
    const own = lookup(section, section.name)
    // Its client's file and its certificates too.
    const listener = context.problems.about(section.name, () => listenerConfig(own, name, position, around))
    listeners.set(name, listener)
    used.strategies.add(listener.strategy.name)
    used.clients.add(section.entries.get('cliente')?.values[0]?.trim() ?? '')
  }

  warnAboutUnused(context, ini, found, used)
  return {
    redis: context.problems.about(REDIS_PART, () => redisConfig(context, layer(found.single.get('redis_config')))),
    audit: auditConfig(context, layer(found.single.get('auditoria'))),
    workers: values(lookup(found.single.get('workers'), 'workers'), WORKERS),
    defaultStrategy,
    listeners,
    // Of nobody's concern but the page's: `send` and the workers go on with what is wrong here.
    panel: context.problems.about('panel', () => values(lookup(found.single.get('panel'), 'panel'), PANEL)),
    users: new Map(
      [...found.named.usuario].map(([name, section]) => [
        name,
        context.problems.about('panel', () => values(lookup(section, section.name), USER)),
      ]),
    ),
  }
}

interface Found {
  readonly single: ReadonlyMap<string, IniSection>
  readonly named: Readonly<Record<'reintentos' | 'cliente' | 'listener' | 'usuario', ReadonlyMap<string, IniSection>>>
}

/** Each section to its kind; repeated, misspelt and nameless ones are reported. */
function sortSections(context: Context, ini: IniFile | null): Found {
  const single = new Map<string, IniSection>()
  const named: Record<keyof Found['named'], Map<string, IniSection>> = {
    reintentos: new Map(),
    cliente: new Map(),
    listener: new Map(),
    usuario: new Map(),
  }
  for (const section of ini?.sections ?? []) {
    const position = { file: ini!.path, line: section.line, section: section.name }
    if (section.name === '') {
      // A stray `[]` gets the same answer as any other section that means nothing.
      if (section === ini!.sections[0]) reportUnknownKeys(context, ini!, section, ROOT, homeOf)
      else context.problems.add(position, 'la sección no tiene nombre.')
      continue
    }
    const blank = section.name.indexOf(' ')
    const [type, name] =
      blank === -1 ? [section.name, null] : [section.name.slice(0, blank), section.name.slice(blank + 1)]
    const rows = name === null ? own(SINGLE_SECTIONS, type) : own(NAMED_SECTIONS, type)
    if (rows === null) {
      context.problems.add(position, unknownSection(section.name, type, name))
      continue
    }
    if ((type === 'listener' || type === 'usuario') && name !== null && !isName(name)) {
      context.problems.add(
        position,
        `el nombre de un ${type} lleva letras, números, «_», «.» y «-», sin blancos, hasta 64.`,
      )
      continue
    }
    const known = name === null ? single : named[type as keyof Found['named']]
    const earlier = known.get(name ?? type)
    if (earlier) {
      context.problems.add(
        position,
        `la sección está repetida: ya está en la línea ${earlier.line}. Reúna las dos en una.`,
      )
      continue
    }
    reportUnknownKeys(context, ini!, section, rows, homeOf)
    known.set(name ?? type, section)
  }
  return { single, named }
}

/** The section where a key means something that was written in another: `[workers]`. */
function homeOf(key: string): string | null {
  if (Object.hasOwn(ROOT, key)) return 'antes de la primera sección'
  const single = Object.keys(SINGLE_SECTIONS).find((name) => Object.hasOwn(SINGLE_SECTIONS[name]!, key))
  if (single !== undefined) return `[${single}]`
  const named = Object.keys(NAMED_SECTIONS).find((name) => Object.hasOwn(NAMED_SECTIONS[name]!, key))
  return named === undefined ? null : `[${named} NOMBRE]`
}

function own(table: Readonly<Record<string, Section>>, key: string): Section | null {
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
    '[redis_config] [auditoria] [workers] [panel] [reintentos] [reintentos NOMBRE] [cliente NOMBRE] [listener NOMBRE] [usuario NOMBRE]'
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
    const layers = serviceLayers(context, where, ini?.path ?? null, target.name, target.position)
    return layers.length === 0 ? [] : [...layers, basicByDefault(layers)]
  }
  const found = clients.get(target.name)
  if (found) return [found]
  const known = [...clients.keys()]
  const defined = known.length === 0 ? 'no hay ninguno definido' : `se aceptan: ${known.join(' ')}`
  context.problems.add(
    target.position,
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

/** `ini` is [redis_config]. */
function redisConfig(context: Context, ini: Layer): RedisConfig {
  const lookup: Lookup = { context, section: 'redis_config', layers: withVariables(context, REDIS, ini) }
  checkSentinels(
    lookup,
    setting(lookup, REDIS, 'sentinelas').length > 0,
    setting(lookup, REDIS, 'sentinela_maestro') !== null,
  )
  const tls = setting(lookup, REDIS, 'tls')
  const ca = readPem(lookup, REDIS, 'ca')
  const written = find(lookup.layers, 'ca')
  if (written && !tls) context.problems.warn(written.position, 'no tiene efecto: tls no está activado.')
  return { ...values(lookup, REDIS), ca }
}

function checkSentinels(lookup: Lookup, sentinels: boolean, master: boolean): void {
  const { problems } = lookup.context
  const written = find(lookup.layers, sentinels ? 'sentinelas' : 'sentinela_maestro')
  if (sentinels && !master) {
    problems.add(
      written!.position,
      'hay sentinelas, pero falta sentinela_maestro: el nombre que el maestro tiene en ellas.',
    )
  }
  if (master && !sentinels && find(lookup.layers, 'sentinelas') === null) {
    problems.warn(written!.position, 'no tiene efecto: no hay sentinelas.')
  }
}

/** `ini` is [auditoria]. Whoever only asks Postgres needs to know where it is, and not how much may wait for it. */
function auditConfig(context: Context, ini: Layer): AuditConfig {
  const lookup = { context, section: 'auditoria', layers: withVariables(context, AUDIT, ini) }
  const rows = (reaching: boolean): Section =>
    Object.fromEntries(
      Object.entries<Setting>(AUDIT).filter(([, { variable }]) => (variable !== undefined) === reaching),
    )
  return {
    ...context.problems.about(AUDIT_PART, () => values(lookup, rows(true))),
    ...context.problems.about('auditoria, límites', () => values(lookup, rows(false))),
  } as AuditConfig
}

const DEFAULT_STRATEGY_NAME = 'predeterminada'
const MINUTE = 60_000

/**
 * `[reintentos]` or a `[reintentos NOMBRE]`. Each named strategy stands alone: what it does not say is the program's default,
 * not the unnamed section's.
 */
function strategy(lookup: Lookup, name: string): RetryStrategy {
  const kind = setting(lookup, STRATEGY, 'estrategia')
  const common = {
    name,
    jitter: setting(lookup, STRATEGY, 'jitter') / 100,
    expiry: setting(lookup, STRATEGY, 'vencimiento'),
  }
  warnAboutIdle(lookup, STRATEGY, kind, 'estrategia')
  if (kind === 'lista') return { ...common, kind, delays: setting(lookup, STRATEGY, 'esperas') }

  const first =
    kind === 'exponencial'
      ? setting(lookup, STRATEGY, 'espera_inicial')
      : setting(lookup, STRATEGY, 'espera_inicial', MINUTE)
  const attempts = setting(lookup, STRATEGY, 'intentos')
  if (kind === 'fija') return { ...common, kind, first, attempts }

  const max = setting(lookup, STRATEGY, 'espera_maxima', Math.max(first, STRATEGY.espera_maxima.default))
  const written = find(lookup.layers, 'espera_maxima')
  if (written && max < first) {
    lookup.context.problems.add(written.position, 'es menor que espera_inicial: ninguna espera cumpliría las dos.')
  }
  if (kind === 'lineal') return { ...common, kind, first, max, attempts }
  return { ...common, kind, first, max, attempts, factor: setting(lookup, STRATEGY, 'factor') }
}
