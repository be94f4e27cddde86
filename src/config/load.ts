/**
 * The configuration from its files: found, read, merged, checked, and given out as one immutable Config, or as one error
 * that lists everything wrong with it.
 *
 * Synchronous on purpose: `send` does this on every call, and a handful of small files is read fastest that way.
 */

import { nearest } from '../model/nearest.ts'
import { likelyProject, projectNames } from '../model/project.ts'
import type { Secrets } from '../model/secrets.ts'
import { COMMON, type Config, REDIS_PART, SEND_PART, type Source } from './config.ts'
import { interpolate, parseEnv, Variables } from './env.ts'
import {
  findFile,
  isReadableByOthers,
  type LoadOptions,
  type Locations,
  locations,
  misspelt,
  projectsWithIni,
  readFile,
  type TextFile,
  UNSEEN,
  type Wanted,
} from './files.ts'
import { type IniFile, parseIni } from './ini.ts'
import { type Context, NOTHING, sectionLayer, values, withVariables } from './layers.ts'
import { Problems } from './problems.ts'
import { isSecret, SecretValues } from './secret-values.ts'
import { sectionsConfig } from './sections.ts'
import { NAMED_SECTIONS, OWN_VARIABLES, ROOT, SINGLE_SECTIONS } from './settings.ts'

/** Where a load looks: for `verificar`, and for a watcher that waits for a file to appear. */
interface Search {
  readonly instancia: string
  readonly proyecto: string
  /** `$I`, absolute. */
  readonly installation: string
  /** In the order of preference; only one when it was named explicitly. */
  readonly ini: readonly string[]
  readonly env: readonly string[]
}

/**
 * @returns the whole configuration; without any file, the defaults (and a warning that says where it looked)
 * @throws ConfigError that lists every error of every file; also where none was found and one may lie where we are not let in: with
 *   the defaults, what waits in a Redis would be shown as nobody's
 */
export function loadConfig(options: LoadOptions = {}): Config {
  const { config, require } = loadLenientConfig(options)
  require()
  return config
}

const NOTHING_FOUND = 'no hay resthooks.ini ni instalador.env'

/** Places that could not be looked into, each with what to do; '' where there is none. */
function unseenBy({ warnings }: Problems): string {
  return warnings.flatMap((warning) => (warning.includes(UNSEEN) ? ` ${warning}` : [])).join('')
}

/** No file, nor a variable that says where Redis is. */
function isUntold({ files, origins }: Config): boolean {
  const told = ['host', 'sentinelas'].some((key) => origins.get(`redis_config.${key}`)?.kind === 'environment')
  return files.ini === null && files.env === null && !told
}

/** Node's own switch: with 0 nobody's certificate is looked at, neither a listener's nor Redis's. */
export const UNVERIFIED = 'NODE_TLS_REJECT_UNAUTHORIZED'
export const UNVERIFIED_MEANS =
  'es 0: no se comprobaría el certificado de nadie, y cualquiera en el camino leería mensajes y claves. Quítela del ' +
  'entorno de los workers; si un servidor tiene una autoridad propia, indíquela en su ca_cert.'

/**
 * For a worker: a configuration without a listener would take messages and end them undelivered.
 * @param before what is in force: what it was read from must still be there
 * @throws ConfigError as `loadConfig` does
 */
export function loadWorkerConfig(options: LoadOptions = {}, before: Config | null = null): Config {
  const { config, problems, where } = readAll(options)
  const { ini, env } = config.files
  const places = placesOf(where.ini)
  if ((options.environment ?? process.env)[UNVERIFIED] === '0')
    problems.add({ file: null, line: null, key: UNVERIFIED }, UNVERIFIED_MEANS)
  const nothing = 'sin listeners, los mensajes se tomarían y terminarían sin entregarse.'
  if (ini === null && problems.count === 0) {
    const searched = `Se buscó en: ${places.join(', ')}.${unseenBy(problems)}`
    const stray = strayProject(where)
    const hint = stray === null ? '' : ` ${stray[0]!.toUpperCase()}${stray.slice(1)}`
    problems.add({ file: places[0]!, line: null }, `no hay resthooks.ini, y ${nothing} ${searched}${hint}`)
  }
  if (ini !== null && config.listeners.size === 0 && problems.count === 0) {
    problems.add({ file: ini, line: null }, `no define ningún [listener NOMBRE]: ${nothing}`)
  }
  const gone = 'estaba en uso y ya no está; si el cambio es a propósito, reinicie los workers.'
  // One that appeared in a better place was put there on purpose.
  const isGone = (was: string | null, is: string | null, among: readonly string[]) =>
    was !== null && was !== is && (is === null || among.indexOf(is) > among.indexOf(was))
  // A file that is there and cannot be read, or of which nothing is left, was told.
  if (ini === null) problems.throwIfAny()
  if (before && isGone(before.files.ini, ini, places)) problems.add({ file: before.files.ini, line: null }, gone)
  else if (before && isGone(before.files.env, env, placesOf(where.env(ini)))) {
    problems.add({ file: before.files.env, line: null }, gone)
  } else if (before && before.files.variables > 0 && config.files.variables === 0 && env === before.files.env) {
    problems.add(
      { file: env, line: null },
      'quedó sin ninguna variable; si el cambio es a propósito, reinicie los workers.',
    )
  }
  problems.throwIfAny()
  return config
}

/** A configuration of which only some has to be well. */
export interface LenientConfig {
  readonly config: Config
  /** All that is wrong; '' where nothing is. */
  readonly text: string
  /** @throws ConfigError, that lists all, where one of these parts is wrong; without any, where something is */
  require(parts?: readonly string[]): void
  isWell(part: string): boolean
}

/**
 * For what only looks, or goes on with parts: a wrong listener, say, has its defaults for what could not be read.
 * @throws ConfigError where the project's name or a file cannot be used at all
 */
export function loadLenientConfig(options: LoadOptions): LenientConfig {
  const { config, problems } = readAll(options)
  const unseen = unseenBy(problems)
  if (unseen !== '' && isUntold(config)) problems.add({ file: null, line: null }, `${NOTHING_FOUND}.${unseen}`)
  problems.throwIfAny([COMMON])
  return lenient(config, problems)
}

function lenient(config: Config, problems: Problems): LenientConfig {
  return {
    config,
    text: problems.text,
    require: (parts) => problems.throwIfAny(parts),
    isWell: (part) => problems.isWell(part),
  }
}

/**
 * For `send`: only the files themselves, Redis, `resthooks_activo`, `max_mensaje` and what its options name must be well.
 * @param parts what they name: `listener X`, `auditoria`
 * @throws ConfigError where they are not, or where this project has no configuration (a mistyped `-p`)
 */
export function loadSendConfig(options: LoadOptions, parts: readonly string[]): LenientConfig {
  const { config, problems, where } = readAll(options)
  const missing = config.files.ini === null && where.ini.kind === 'search' ? whyMissing(config, where, problems) : null
  if (missing !== null) problems.add({ file: null, line: null }, missing)
  problems.throwIfAny([COMMON, REDIS_PART, SEND_PART, ...parts])
  return lenient(config, problems)
}

/** A machine that only sends may have instalador.env alone, or be told by its environment where Redis is. */
function whyMissing(config: Config, where: Locations, problems: Problems): string | null {
  const places = [...placesOf(where.ini), ...placesOf(where.env(null))]
  const searched = `Se buscó en: ${places.join(', ')}.${unseenBy(problems)}`
  const others = projectsWithIni(where.installation)
  // There, but not for this user to read: that was told.
  if (others.some(({ instancia, proyecto }) => instancia === where.instancia && proyecto === where.proyecto))
    return null
  if (others.length > 0) return `${strayProject(where)} ${searched}`
  return isUntold(config) ? `${NOTHING_FOUND}. ${searched}` : null
}

/** Which projects have a resthooks.ini where this one has none, with the nearest name; null where no other has one either. */
export function strayProject({ instancia, proyecto, installation }: Omit<Search, 'ini' | 'env'>): string | null {
  const others = projectsWithIni(installation)
  if (others.length === 0) return null
  const likely = likelyProject({ instancia, proyecto }, others)
  const hint = likely === null ? '' : ` ¿Quiso decir «${likely}»?`
  return `el proyecto «${proyecto}» de la instancia «${instancia}» no tiene resthooks.ini; lo tienen: ${projectNames(others)}.${hint}`
}

/**
 * Every path on which the outcome of a load depends, there or not: for a watcher, also after a load that failed (because of
 * a certificate, say, that is copied a moment after the line that names it).
 */
export function configPaths(options: LoadOptions = {}): ReadonlySet<string> {
  const { ini, env } = searchPlaces(options)
  const { config, tried } = readAll(options)
  return new Set([...ini, ...env, ...config.files.watched, ...tried])
}

interface Reading {
  readonly config: Config
  readonly problems: Problems
  readonly tried: ReadonlySet<string>
  readonly where: Locations
}

function readAll(options: LoadOptions): Reading {
  const problems = new Problems()
  const where = locations(options, problems)

  const iniText = open(where.ini, 'resthooks.ini', problems)
  // The path, not the file: a --config that cannot be read still has an instalador.env beside it.
  const iniPath = iniText?.path ?? (where.ini.kind === 'explicit' ? where.ini.path : null)
  const before = problems.count
  const envText = open(where.env(iniPath), 'instalador.env', problems)
  const unreadable = problems.count > before
  const env = envText && parseEnv(envText.path, envText.text, problems)
  const ini = iniText && parseIni(iniText.path, iniText.text, problems)

  const context: Context = {
    problems,
    variables: new Variables(options.environment ?? process.env, env, unreadable, problems),
    origins: new Map<string, Source>(),
    secrets: new SecretValues(),
    watched: new Set<string>([iniText, envText].filter((file) => file !== null).map(({ path }) => path)),
    tried: new Set<string>(),
    cwd: where.cwd,
  }
  const root = ini ? sectionLayer(context, ini, ini.sections[0]!) : NOTHING
  const { active } = problems.about(SEND_PART, () =>
    values({ context, section: '', layers: withVariables(context, ROOT, root) }, ROOT),
  )
  const sections = sectionsConfig(context, where, ini)
  warnAboutFiles(context, where, ini)
  if (ini && problems.count > 0) collectSecrets(context, ini)

  const secrets = context.secrets.secrets()
  warnAboutCommonWords(
    context,
    [where.instancia, where.proyecto, sections.audit.username, sections.audit.database],
    secrets,
  )
  problems.conceal(secrets)
  const config = {
    instancia: where.instancia,
    proyecto: where.proyecto,
    active,
    ...sections,
    files: {
      ini: iniText?.path ?? null,
      own: iniText?.path === where.ownIni,
      installation: where.installation,
      env: envText?.path ?? null,
      variables: env?.variables.size ?? 0,
      watched: [...context.watched],
    },
    origins: context.origins,
    secrets,
    warnings: problems.warnings,
  }
  return { config, problems, tried: context.tried, where }
}

const KEYS = new Set(
  [...Object.values(SINGLE_SECTIONS), ...Object.values(NAMED_SECTIONS)].flatMap((rows) => Object.keys(rows)),
)
const SECRET_KEYS = [...KEYS].filter(isSecret)

/** Also what nobody reads, in a key that is misspelt or a section that is there twice: whoever goes on must not show it. */
function collectSecrets({ secrets, variables }: Context, ini: IniFile): void {
  for (const { key, values } of ini.sections.flatMap(({ entries }) => [...entries.values()])) {
    const meant = isSecret(key) || KEYS.has(key) ? key : (nearest(key, SECRET_KEYS) ?? key)
    if (!isSecret(meant)) continue
    const read = values.map((value) => interpolate(value, variables)).filter((each) => each.kind === 'text')
    secrets.collect(
      meant,
      read.map(({ text }) => text),
      read.map(({ ranges }) => ranges),
    )
  }
}

/** Where `loadConfig` with the same options looks, whatever is there. */
export function searchPlaces(options: LoadOptions = {}): Search {
  const quiet = new Problems()
  const where = locations(options, quiet)
  const ini =
    where.ini.kind === 'explicit' ? where.ini.path : (findFile(where.ini.places, 'resthooks.ini', quiet)?.path ?? null)
  const { instancia, proyecto, installation } = where
  return { instancia, proyecto, installation, ini: placesOf(where.ini), env: placesOf(where.env(ini)) }
}

function placesOf(wanted: Wanted): readonly string[] {
  return wanted.kind === 'explicit' ? [wanted.path] : wanted.places
}

function open(wanted: Wanted, what: string, problems: Problems): TextFile | null {
  if (wanted.kind === 'explicit') return readFile(wanted.path, wanted.named, problems)
  return findFile(wanted.places, what, problems, wanted.named)
}

function warnAboutFiles(context: Context, where: Locations, ini: IniFile | null): void {
  const { problems, variables } = context
  if (ini === null && where.ini.kind === 'search') {
    const places = where.ini.places.join(', ')
    problems.warn(
      { file: where.ini.places[0]!, line: null },
      `no hay resthooks.ini; rigen los valores por omisión. Se buscó en: ${places}.`,
    )
  }
  const names = variables.names()
  const known = OWN_VARIABLES.filter((name) => !variables.asked.has(name)).concat([...variables.asked])
  for (const [file, list] of [
    [variables.file, names.file],
    [null, names.environment],
  ] as const) {
    for (const [name, near] of misspelt(list, known)) {
      const position = { file: file?.path ?? null, line: file?.variables.get(name)?.line ?? null, key: name }
      problems.warn(position, `nadie lee esta variable.${near === null ? '' : ` ¿Quiso decir «${near}»?`}`)
    }
  }

  const env = variables.file
  const secretInEnv = env && [...env.variables].some(([name, { value }]) => value !== '' && isSecret(name))
  if (env && secretInEnv) warnAboutMode(problems, env.path)
  const secretInIni = ini?.sections.some(({ entries }) =>
    [...entries.values()].some(({ key, values }) => key !== 'cabeceras' && isSecret(key) && values.some(isLiteral)),
  )
  if (ini && secretInIni) warnAboutMode(problems, ini.path)
}

/** A password that is part of a word that is said all the time: that is masked too, wherever it stands. */
function warnAboutCommonWords({ problems }: Context, names: readonly string[], secrets: Secrets): void {
  const words = ['resthooks', ...names]
  if (!secrets.values().some((value) => words.some((word) => word.includes(value)))) return
  problems.warn(
    { file: null, line: null },
    'una clave es también el nombre del programa, de la instancia, del proyecto, de la base o de su usuario (o parte de él): ' +
      'se ve como *** en todas partes, hasta en los mensajes y la auditoría. Elija otra clave.',
  )
}

function isLiteral(value: string): boolean {
  return value !== '' && !/^(?:\$\{[^}]*\}|\$env\([^)]*\)\$)$/.test(value)
}

function warnAboutMode(problems: Problems, path: string): void {
  if (!isReadableByOthers(path)) return
  problems.warn({ file: path, line: null }, `tiene una clave y cualquier usuario puede leerlo: chmod o-r ${path}`)
}
