/** supervisord's patience against the workers' own: whoever is killed in the middle repeats its deliveries. */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, type Stats, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import picomatch from 'picomatch'
import type { Config } from '../config/config.ts'
import { parseIni } from '../config/ini.ts'
import { Problems } from '../config/problems.ts'
import { systemReason } from '../errors.ts'
import type { Millis } from '../model/message.ts'
import { formatDuration } from '../model/quantities.ts'
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

/**
 * @param config whose workers are meant, and what they must be able to read
 * @param named  `--supervisord`; else the usual places are looked at
 */
export function checkSupervisord(
  config: Pick<Config, 'instancia' | 'proyecto' | 'workers' | 'files'>,
  named: string | undefined,
  cwd = process.cwd(),
): Finding[] {
  const name = 'stopwaitsecs'
  let programs: Program[]
  try {
    const found = findPrograms(named === undefined ? PLACES : [named], cwd, named !== undefined)
    programs = found.filter((program) => !isOfAnother(program, config))
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
  return programs.flatMap((program) => [...checkProgram(program, workers), ...checkUser(program, files.watched)])
}

/** It names another project or instance, whose own `verificar` looks at it: other files, another `drenaje`. */
function isOfAnother({ settings }: Program, { instancia, proyecto }: Pick<Config, 'instancia' | 'proyecto'>): boolean {
  const said = (option: string, variable: string) =>
    new RegExp(`\\s(?:${option})[\\s=]+["']?([\\w.-]+)`).exec(settings.get('command') ?? '')?.[1] ??
    new RegExp(`\\b${variable}\\s*=\\s*["']?([\\w.-]+)`).exec(settings.get('environment') ?? '')?.[1]
  return (
    (said('-p|--proyecto', 'TOBA_PROYECTO') ?? proyecto) !== proyecto ||
    (said('-i|--instancia', 'TOBA_INSTANCIA') ?? instancia) !== instancia
  )
}

/** The user whom supervisord gives the program to: who runs `verificar` may read more. */
function checkUser({ name, file, settings }: Program, files: readonly string[]): Finding[] {
  const user = settings.get('user')?.trim()
  if (!user) return []
  const where = `[program:${name}] de ${file}`
  const who = accountOf(user)
  if (who === null)
    return [error('user', `${where}: el usuario «${user}» no existe en esta máquina`, 'corrija user=, o créelo')]
  const barred = files.filter((each) => !canRead(who, each))
  if (barred.length === 0) return [ok('user', `${where}: ${user} puede leer los ${files.length} archivos`)]
  return [
    error(
      'user',
      `${where}: ${user} no puede leer ${barred.join(', ')}: los workers no arrancan`,
      `dele permiso (chgrp ${user} y chmod 640 al archivo, chmod o+x a las carpetas), o cambie user=`,
    ),
  ]
}

/** By the permission bits alone: what lists of access control (ACL) grant besides is not seen. */
interface Account {
  readonly uid: number
  readonly gids: readonly number[]
}

function accountOf(user: string): Account | null {
  const ask = (flag: string) => spawnSync('id', [flag, '--', user], { encoding: 'utf8' })
  const [uid, groups] = [ask('-u'), ask('-G')]
  if (uid.status !== 0 || groups.status !== 0) return null
  return { uid: Number(uid.stdout), gids: groups.stdout.trim().split(' ').map(Number) }
}

/** May it read the file, and enter every folder on the way to it? */
export function canRead(who: Account, file: string): boolean {
  if (who.uid === 0) return true
  try {
    let path = resolve(file)
    if (!grants(who, statSync(path), 4)) return false
    while (path !== dirname(path)) {
      path = dirname(path)
      if (!grants(who, statSync(path), 1)) return false
    }
    return true
  } catch {
    return false
  }
}

/** @param right of others, 4 to read and 1 to enter */
function grants({ uid, gids }: Account, { mode, uid: owner, gid }: Stats, right: 1 | 4): boolean {
  const shift = uid === owner ? 6 : gids.includes(gid) ? 3 : 0
  return (mode & (right << shift)) !== 0
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
