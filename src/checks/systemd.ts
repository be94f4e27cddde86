/** The units of systemd that start workers: who they run as, and what they can read. */
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Config } from '../config/config.ts'
import { parseIni } from '../config/ini.ts'
import { Problems } from '../config/problems.ts'
import { checkUser } from './accounts.ts'
import type { Finding } from './finding.ts'
import { isOfAnother } from './supervisord.ts'

/** What an administrator puts there comes before what packages bring. */
const PLACES = ['/etc/systemd/system', '/usr/lib/systemd/system', '/lib/systemd/system']

/** A `.service` that runs our workers, with what `systemctl edit` adds to it. */
export interface Unit {
  /** As `systemctl` is told: without `.service`. */
  readonly name: string
  readonly file: string
  /** Of `[Service]`, every line of a key; an empty one takes back those before it. */
  readonly settings: ReadonlyMap<string, readonly string[]>
}

type Project = Pick<Config, 'instancia' | 'proyecto'>

/** @param folders where units are looked for, the one that counts first */
export function findUnits(project: Project, folders: readonly string[] = PLACES): Unit[] {
  const units = new Map<string, Unit>()
  for (const folder of folders) {
    for (const file of filesIn(folder, '.service')) {
      const name = basename(file, '.service')
      // A link to /dev/null masks the unit of a package.
      if (!units.has(name)) units.set(name, readUnit(name, file, folders))
    }
  }
  return [...units.values()].filter(
    ({ settings }) =>
      /iniciar[-_]workers/.test(lastOf(settings, 'ExecStart')) &&
      !isOfAnother(lastOf(settings, 'ExecStart'), (settings.get('Environment') ?? []).join(' '), project),
  )
}

/** @param files that the workers must be able to read */
export function checkUnits(units: readonly Unit[], files: readonly string[]): Finding[] {
  return units.flatMap(({ file, settings }) => {
    const user = lastOf(settings, 'User')
    // Only systemd knows who that will be.
    if (user.includes('%') || isOn(settings, 'DynamicUser')) return []
    const group = lastOf(settings, 'Group')
    const keeper = {
      where: file,
      user: user === '' ? 'root' : user,
      group: group === '' ? undefined : group,
      moreGroups: (settings.get('SupplementaryGroups') ?? []).flatMap((line) => line.split(/\s+/)),
      hidden: hiddenBy(settings),
      setting: 'User=',
    }
    return checkUser(keeper, files)
  })
}

function hiddenBy(settings: Unit['settings']): string[] {
  const home = isOn(settings, 'ProtectHome') || lastOf(settings, 'ProtectHome') === 'tmpfs'
  return [
    ...(home ? ['/home', '/root', '/run/user'] : []),
    ...(isOn(settings, 'PrivateTmp') || lastOf(settings, 'PrivateTmp') === 'disconnected' ? ['/tmp', '/var/tmp'] : []),
  ]
}

function lastOf(settings: Unit['settings'], key: string): string {
  return settings.get(key)?.at(-1) ?? ''
}

function isOn(settings: Unit['settings'], key: string): boolean {
  return /^(1|yes|true|on)$/i.test(lastOf(settings, key))
}

function readUnit(name: string, file: string, folders: readonly string[]): Unit {
  const additions = folders.flatMap((folder) => filesIn(join(folder, `${name}.service.d`), '.conf'))
  // systemd sorts them by their names, whichever folder they are in, and of two of a name takes the first.
  const byName = new Map([...additions].reverse().map((each) => [basename(each), each]))
  const sorted = [...byName].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, each]) => each)
  const settings = new Map<string, string[]>()
  for (const each of [file, ...sorted]) {
    for (const [key, value] of serviceLines(each)) {
      if (value === '') settings.delete(key)
      else settings.set(key, [...(settings.get(key) ?? []), value])
    }
  }
  return { name, file, settings }
}

/** Its mistakes are systemd's to report. */
function serviceLines(file: string): [key: string, value: string][] {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    return []
  }
  const { sections } = parseIni(file, text.replace(/\\\n/g, ' '), new Problems(), 'each')
  return sections
    .filter(({ name }) => name === 'Service')
    .flatMap(({ entries }) => [...entries.values()])
    .flatMap(({ key, values }) => values.map((value): [string, string] => [key, value]))
}

function filesIn(folder: string, ending: string): string[] {
  try {
    return readdirSync(folder)
      .filter((file) => file.endsWith(ending))
      .sort()
      .map((file) => join(folder, file))
  } catch {
    return []
  }
}
