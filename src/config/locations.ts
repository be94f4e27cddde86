/**
 * Where the files may be (INTERFACE §1): pure, but for one question to the disk (is there an `./instalacion`?).
 */
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { nearest } from '../model/nearest.ts'
import { type Problems, quoted } from './problems.ts'

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
  /** @param ini path of the resthooks.ini that was chosen, or null */
  env(ini: string | null): Wanted
  /** Places of the cliente.ini of a `servicio` ('' = the project's only one). */
  client(service: string, ini: string | null): readonly string[]
}

const NAME = /^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$/

export function locations(options: LoadOptions, problems: Problems): Locations {
  const cwd = resolve(options.cwd ?? '.')
  const environment = options.environment ?? process.env
  const instancia = name('instancia', options.instancia, 'TOBA_INSTANCIA', 'produccion', environment, problems)
  const proyecto = name('proyecto', options.proyecto, 'TOBA_PROYECTO', 'resthooks', environment, problems)
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
export function projectsWithIni(installation: string): { instancia: string; proyecto: string }[] {
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

/** Becomes part of paths, of Redis keys and of rows: letters, digits and `_ . -` only. */
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
  const from = option ? `--${what}` : `$${variable}`
  problems.add(
    { file: null, line: null, key: from },
    `se encontró ${quoted(value)}; se aceptan letras, números, «_», «.» y «-» (hasta 64, sin empezar con punto).`,
  )
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
