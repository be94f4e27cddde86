/** supervisord's patience against the workers' own: whoever is killed in the middle repeats its deliveries. */
import { readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import picomatch from 'picomatch'
import type { Config } from '../config/config.ts'
import { parseIni } from '../config/ini.ts'
import { Problems } from '../config/problems.ts'
import { systemReason } from '../errors.ts'
import type { Millis } from '../model/message.ts'
import { formatDuration } from '../model/quantities.ts'
import { checkUser } from './accounts.ts'
import { aviso, error, type Finding, ok } from './finding.ts'

/** Where Debian, Red Hat and people put it. */
const PLACES = [
  '/etc/supervisor/supervisord.conf',
  '/etc/supervisor/conf.d/*.conf',
  '/etc/supervisord.conf',
  './supervisord.conf',
]

/** A `[program:NAME]` that runs our workers. */
interface Program {
  readonly name: string
  readonly file: string
  readonly settings: ReadonlyMap<string, string>
}

/** After `drenaje`: the last outcomes to Redis, the last audit to Postgres. */
const FINISH: Millis = 8_000
const DEFAULT_STOPWAITSECS = '10'

type Wanted = Pick<Config, 'instancia' | 'proyecto'>

/**
 * Those that start workers of the project.
 * @param named `--supervisord`; else the usual places are looked at
 * @throws what kept the named file from being read
 */
export function programsOf(project: Wanted, named: string | undefined, cwd = process.cwd()): Program[] {
  return findPrograms(named === undefined ? PLACES : [named], cwd, named !== undefined).filter(
    ({ settings }) => !isOfAnother(settings.get('command') ?? '', settings.get('environment') ?? '', project),
  )
}

/**
 * @param config whose workers are meant, and what they must be able to read
 * @param named  `--supervisord`
 */
export function checkSupervisord(
  config: Wanted & Pick<Config, 'workers' | 'files'>,
  named: string | undefined,
): Finding[] {
  const name = 'stopwaitsecs'
  let programs: Program[]
  try {
    programs = programsOf(config, named)
  } catch (cause) {
    return [error(name, `no se pudo leer ${named}: ${systemReason(cause) ?? cause}`, 'revise --supervisord')]
  }
  if (programs.length === 0) {
    const where = named === undefined ? PLACES.join(', ') : named
    const text = `no hay un programa de supervisord con iniciar-workers (${where})`
    if (named === undefined) return [ok(name, `${text}; si lo usa, indíquelo con --supervisord`)]
    return [aviso(name, text, 'revise --supervisord')]
  }
  const { workers, files } = config
  return programs.flatMap((program) => {
    const user = program.settings.get('user')?.trim()
    const keeper = user && { where: `[program:${program.name}] de ${program.file}`, user, setting: 'user=' }
    return [...checkProgram(program, workers), ...(keeper ? checkUser(keeper, files.watched) : [])]
  })
}

/**
 * Whether whoever starts it names another project or instance, whose own `verificar` looks at it: other files, another `drenaje`.
 * @param command     with its options
 * @param environment `NAME=value`, between quotes or not
 */
export function isOfAnother(
  command: string,
  environment: string,
  { instancia, proyecto }: Pick<Config, 'instancia' | 'proyecto'>,
): boolean {
  const said = (option: string, variable: string) =>
    new RegExp(`\\s(?:${option})[\\s=]+["']?([\\w.-]+)`).exec(command)?.[1] ??
    new RegExp(`\\b${variable}\\s*=\\s*["']?([\\w.-]+)`).exec(environment)?.[1]
  return (
    (said('-p|--proyecto', 'TOBA_PROYECTO') ?? proyecto) !== proyecto ||
    (said('-i|--instancia', 'TOBA_INSTANCIA') ?? instancia) !== instancia
  )
}

/** Pure. */
export function checkProgram(
  { name, file, settings }: Program,
  { drain }: Pick<Config['workers'], 'drain'>,
): Finding[] {
  const seconds = Number(settings.get('stopwaitsecs') ?? DEFAULT_STOPWAITSECS)
  const where = `[program:${name}] de ${file}`
  const written = settings.has('stopwaitsecs') ? `${seconds}` : `${seconds} (por omisión)`
  const needed = Math.ceil((drain + FINISH) / 1000)
  const findings: Finding[] = []
  if (!(seconds * 1000 >= drain + FINISH)) {
    findings.push(
      aviso(
        'stopwaitsecs',
        `${where}: es ${written} y drenaje es ${formatDuration(drain)}: supervisord mata al worker antes de que termine, y lo que entregaba se repite`,
        `ponga stopwaitsecs=${needed} o más y ejecute: supervisorctl reread && supervisorctl update`,
      ),
    )
  } else findings.push(ok('stopwaitsecs', `${where}: ${written}; drenaje es ${formatDuration(drain)}`))
  if (/^(true|1|on|yes)$/i.test(settings.get('stopasgroup') ?? '')) {
    findings.push(
      aviso(
        'stopasgroup',
        `${where}: está activado: con procesos > 1 cada worker recibe dos señales, y la segunda corta los pedidos en curso`,
        'ponga stopasgroup=false (y killasgroup=true)',
      ),
    )
  }
  const signal = settings.get('stopsignal') ?? 'TERM'
  if (!/^(SIG)?(TERM|INT)$/i.test(signal)) {
    findings.push(
      aviso('stopsignal', `${where}: es ${signal}, que corta los pedidos en curso`, 'ponga stopsignal=TERM'),
    )
  }
  return findings
}

function findPrograms(patterns: readonly string[], cwd: string, mustExist: boolean): Program[] {
  const files = new Set<string>()
  const programs: Program[] = []
  const read = (file: string, must: boolean) => {
    if (files.has(file)) return
    files.add(file)
    let text: string
    try {
      text = readFileSync(file, 'utf8')
    } catch (cause) {
      if (must) throw cause
      return
    }
    // Its mistakes are supervisord's to report.
    for (const { name, entries } of parseIni(file, text, new Problems(), 'last').sections) {
      const settings = new Map([...entries.values()].map(({ key, values }) => [key, values.at(-1) ?? '']))
      if (name.startsWith('program:') && /iniciar[-_]workers/.test(settings.get('command') ?? '')) {
        programs.push({ name: name.slice('program:'.length), file, settings })
      }
      if (name !== 'include') continue
      for (const pattern of (settings.get('files') ?? '').split(/\s+/).filter(Boolean)) {
        for (const included of filesOf(pattern, dirname(file))) read(included, false)
      }
    }
  }
  for (const pattern of patterns) for (const file of filesOf(pattern, cwd)) read(file, mustExist)
  return programs
}

/** A path, or the files of one folder that match its last part. */
function filesOf(pattern: string, folder: string): string[] {
  const path = resolve(folder, pattern)
  if (!/[*?[]/.test(basename(path))) return [path]
  try {
    const matches = picomatch(basename(path))
    return readdirSync(dirname(path))
      .filter((file) => matches(file))
      .sort()
      .map((file) => join(dirname(path), file))
  } catch {
    return []
  }
}
