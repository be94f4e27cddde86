/**
 * Where the files of a project may be (INTERFACE §1), and reading them: the first of several places, or one that was named
 * explicitly.
 *
 * cosmiconfig searches and reads. Its public entry is avoided on purpose: before anything else it looks in the working
 * directory for its own settings and runs `.config/config.js` from there, with the rights of whoever typed `resthooks`
 * (and it loads the YAML and JSON parsers for that, 10 ms of each `send`). `ExplorerSync` is the searcher alone.
 */

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, resolve, sep } from 'node:path'
import { ExplorerSync } from 'cosmiconfig/dist/ExplorerSync.js'
import { systemReason, UsageError } from '../errors.ts'
import { nearest } from '../model/nearest.ts'
import type { Project } from '../model/project.ts'
import { DEFAULT_INSTANCE, DEFAULT_PROJECT } from '../model/typed.ts'
import { type Problems, quoted } from './problems.ts'

export interface TextFile {
  /** Absolute. */
  readonly path: string
  readonly text: string
}

/** Loaders return an object, never the text itself: cosmiconfig would look for `$import` in it. */
const read = (path: string, text: string): { readonly text: string } => ({ text: decode(path, text) })

function explorer(places: readonly string[]): ExplorerSync<{ readonly text: string }> {
  return new ExplorerSync({
    moduleName: 'resthooks',
    searchPlaces: places,
    loaders: { '.ini': read, '.env': read, noExt: read, default: read },
    transform: (found) => found,
    ignoreEmptySearchPlaces: false,
    cache: false,
    searchStrategy: 'none',
    metaConfigFilePath: null,
    mergeImportArrays: true,
    mergeSearchPlaces: false,
  })
}

/** cosmiconfig has read the bytes as UTF-8; toba ships Latin-1 files too, where that leaves replacement characters. */
function decode(path: string, text: string): string {
  const decoded = text.includes('\uFFFD') ? decodeBytes(readFileSync(path)) : text
  return decoded.startsWith('\uFEFF') ? decoded.slice(1) : decoded
}

function decodeBytes(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return bytes.toString('latin1')
  }
}

/**
 * The first of `places` (absolute) that exists, or null. One that exists and cannot be read is a problem: going on to the
 * next place would quietly run with another configuration. The same holds within the folder `named`, if we are not let in.
 */
export function findFile(
  places: readonly string[],
  what: string,
  problems: Problems,
  named: string | null = null,
): TextFile | null {
  let found: ReturnType<ReturnType<typeof explorer>['search']>
  try {
    found = explorer(places).search('/')
  } catch (error) {
    // A disk error, a loop of links: whatever cosmiconfig does not take for "not here".
    problems.add({ file: (error as NodeJS.ErrnoException).path ?? places[0]!, line: null }, reason(error))
    return null
  }
  const passed = found ? places.slice(0, places.indexOf(found.filepath)) : places
  for (const place of passed) {
    const at = { file: place, line: null }
    const kind = kindOf(place)
    if (kind === 'file') problems.add(at, `el ${what} existe, pero no se puede leer: ${UNREADABLE}`)
    if (kind === 'folder') problems.add(at, `el ${what} ${reason({ code: 'EISDIR' })}`)
    if (kind !== 'hidden') continue
    const message = `${UNSEEN} ${what}: ${UNREADABLE}`
    if (named !== null && place.startsWith(`${named}${sep}`)) problems.add(at, message)
    else problems.warn(at, message)
  }
  return found && { path: found.filepath, text: found.config?.text ?? '' }
}

/** A file that was named explicitly (`named` tells how): missing or unreadable is a problem. */
export function readFile(path: string, named: string, problems: Pick<Problems, 'add'>): TextFile | null {
  try {
    const { filepath, config } = explorer([]).load(path)
    return { path: filepath, text: config?.text ?? '' }
  } catch (error) {
    problems.add({ file: path, line: null }, `${named}, pero ${reason(error)}`)
    return null
  }
}

/** What is said of a place in a folder that we may not enter. */
export const UNSEEN = 'no se puede ver si aquí hay un'

const UNREADABLE = 'déle permiso de lectura al usuario que ejecuta resthooks.'

/** Why a file could not be read, in words, and what to do about it. */
export function reason(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'el archivo no existe.'
  if (code === 'EACCES' || code === 'EPERM') return `no se puede leer: ${UNREADABLE}`
  if (code === 'EISDIR') return 'es una carpeta, no un archivo.'
  return `no se puede leer: ${systemReason(error) ?? String(error)}.`
}

function kindOf(path: string): 'file' | 'folder' | 'hidden' | 'none' {
  try {
    const stat = statSync(path, { throwIfNoEntry: false })
    return stat?.isFile() ? 'file' : stat?.isDirectory() ? 'folder' : 'none'
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES' ? 'hidden' : 'none'
  }
}

/** Whether every user of the machine may read it. Windows has no such bits and says no. */
export function isReadableByOthers(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat !== undefined && process.platform !== 'win32' && (stat.mode & 0o004) !== 0
}

/** The global options of the command line; what is left out is taken from the environment. */
export interface LoadOptions {
  readonly instancia?: string | undefined
  readonly proyecto?: string | undefined
  /** `--config F` */
  readonly config?: string | undefined
  /** `--env F` */
  readonly env?: string | undefined
  /** `--instalacion DIR` */
  readonly instalacion?: string | undefined
  readonly cwd?: string | undefined
  readonly environment?: NodeJS.ProcessEnv | undefined
}

/** A file to be looked for: named by a person (then it must be there), or one of several places. */
export type Wanted =
  | { readonly kind: 'explicit'; readonly path: string; readonly named: string }
  | {
      readonly kind: 'search'
      readonly places: readonly string[]
      /** A folder that a person named: not to be let into it is an error. */
      readonly named: string | null
    }

export interface Locations {
  readonly instancia: string
  readonly proyecto: string
  readonly cwd: string
  /** `$I` */
  readonly installation: string
  readonly ini: Wanted
  /** Path of a resthooks.ini of this project alone. */
  readonly ownIni: string
  /** @param ini path of the resthooks.ini that was chosen, or null */
  env(ini: string | null): Wanted
  /** Places of the cliente.ini of a `servicio` ('' = the project's only one). */
  client(service: string, ini: string | null): readonly string[]
}

const NAME = /^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$/

export function locations(options: LoadOptions, problems: Problems): Locations {
  const cwd = resolve(options.cwd ?? '.')
  const environment = options.environment ?? process.env
  const instancia = name('instancia', options.instancia, 'TOBA_INSTANCIA', DEFAULT_INSTANCE, environment, problems)
  const proyecto = name('proyecto', options.proyecto, 'TOBA_PROYECTO', DEFAULT_PROJECT, environment, problems)
  const namedInstallation = installationNamed(options.instalacion, environment)
  const installation = resolve(cwd, namedInstallation ?? (existsSync(join(cwd, 'instalacion')) ? 'instalacion' : '.'))
  if (options.instalacion && !existsSync(installation)) {
    problems.add({ file: installation, line: null }, 'se indicó con --instalacion, pero la carpeta no existe.')
  }
  const project = join(installation, `i__${instancia}`, `p__${proyecto}`)

  const wanted = (flag: string, option: string | undefined, variable: string, places: readonly string[]): Wanted => {
    const path = option || environment[variable]
    if (!path) return { kind: 'search', places: [...new Set(places)], named: namedInstallation && installation }
    return { kind: 'explicit', path: resolve(cwd, path), named: `se indicó con ${option ? flag : `$${variable}`}` }
  }

  return {
    instancia,
    proyecto,
    cwd,
    installation,
    ownIni: join(project, 'resthooks.ini'),
    ini: wanted('--config', options.config, 'RESTHOOKS_INI', [
      join(project, 'resthooks.ini'),
      join(installation, 'resthooks.ini'),
      join(cwd, 'resthooks.ini'),
      '/etc/resthooks/resthooks.ini',
    ]),
    env: (ini) =>
      wanted('--env', options.env, 'RESTHOOKS_ENV', [
        ...(ini === null ? [] : [join(dirname(ini), 'instalador.env')]),
        join(installation, 'instalador.env'),
        join(dirname(installation), 'instalador.env'),
        join(cwd, 'instalador.env'),
      ]),
    client: (service, ini) => [
      join(project, 'rest', service, 'cliente.ini'),
      join(project, 'api_cliente', service, 'cliente.ini'),
      ...(ini === null ? [] : [join(dirname(ini), 'rest', service, 'cliente.ini')]),
    ],
  }
}

function installationNamed(option: string | undefined, environment: NodeJS.ProcessEnv): string | null {
  if (option) return option
  if (environment.TOBA_INSTALACION_DIR) return environment.TOBA_INSTALACION_DIR
  return environment.TOBA_DIR ? join(environment.TOBA_DIR, 'instalacion') : null
}

/** The projects of an installation that have a resthooks.ini of their own. */
export function projectsWithIni(installation: string): Project[] {
  const inside = (folder: string, prefix: string) => {
    try {
      return readdirSync(folder).flatMap((name) => (name.startsWith(prefix) ? [name.slice(prefix.length)] : []))
    } catch {
      // Not there, or not for us to see: no project that could be named.
      return []
    }
  }
  return inside(installation, 'i__').flatMap((instancia) => {
    const folder = join(installation, `i__${instancia}`)
    return inside(folder, 'p__')
      .filter((proyecto) => existsSync(join(folder, `p__${proyecto}`, 'resthooks.ini')))
      .map((proyecto) => ({ instancia, proyecto }))
  })
}

/**
 * Becomes part of paths, of Redis keys and of rows: letters, digits and `_ . -` only.
 * @throws UsageError where the option is something else: the command line is wrong, and nothing that is configured
 */
function name(
  what: 'instancia' | 'proyecto',
  option: string | undefined,
  variable: string,
  fallback: string,
  environment: NodeJS.ProcessEnv,
  problems: Problems,
): string {
  const value = option || environment[variable] || fallback
  if (NAME.test(value)) return value
  const why = `se encontró ${quoted(value)}; se aceptan letras (sin acentos ni ñ), números, «_», «.» y «-» (hasta 64, sin empezar con punto).`
  if (option) throw new UsageError(`--${what}: ${why}`)
  problems.add({ file: null, line: null, key: `$${variable}` }, why)
  return fallback
}

/**
 * Names of variables that look like ours but are not: `REST_HOOKS_REDIS_HOTS`. Those that a callback program gets
 * (`RESTHOOKS_EVENTO`…) are none of them: it may well call `resthooks send`.
 */
export function misspelt(variables: Iterable<string>, known: readonly string[]): [string, string | null][] {
  const unknown: [string, string | null][] = []
  for (const variable of variables) {
    if (/^REST_HOOKS_/.test(variable) && !known.includes(variable)) unknown.push([variable, nearest(variable, known)])
  }
  return unknown
}
