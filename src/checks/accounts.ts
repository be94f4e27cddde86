/** What the user may read whom supervisord or systemd gives the workers to: who runs `verificar` may read more. */
import { spawnSync } from 'node:child_process'
import { type Stats, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { error, type Finding, ok } from './finding.ts'

/** By the permission bits alone: what lists of access control (ACL) grant besides is not seen. */
interface Account {
  readonly uid: number
  readonly gids: readonly number[]
}

interface Keeper {
  /** `[program:x] de /etc/…` */
  readonly where: string
  readonly user: string
  /** In place of the user's own main group. */
  readonly group?: string | undefined
  /** Besides the user's own. */
  readonly moreGroups?: readonly string[]
  /** Folders that it hides. */
  readonly hidden?: readonly string[]
  /** How its user is set: `user=`. */
  readonly setting: string
}

/** Whether the workers that a keeper starts can read their files. */
export function checkUser(keeper: Keeper, files: readonly string[]): Finding[] {
  const { where, user, setting, hidden = [] } = keeper
  const name = 'user'
  const who = accountOf(keeper)
  if (who === null)
    return [error(name, `${where}: el usuario «${user}» no existe en esta máquina`, `corrija ${setting}, o créelo`)]
  const unseen = files.filter((each) => hidden.some((folder) => resolve(each).startsWith(`${folder}/`)))
  if (unseen.length > 0) {
    const text = `${where}: su encierro (ProtectHome, PrivateTmp) esconde ${unseen.join(', ')}: los workers no arrancan`
    return [error(name, text, 'mude los archivos a otra carpeta (por ejemplo /etc/resthooks), o cambie esa línea')]
  }
  const barred = files.filter((each) => !canRead(who, each))
  if (barred.length === 0) return [ok(name, `${where}: ${user} puede leer los ${files.length} archivos`)]
  return [
    error(
      name,
      `${where}: ${user} no puede leer ${barred.join(', ')}: los workers no arrancan`,
      `dele permiso (chgrp ${user} y chmod 640 al archivo, chmod o+x a las carpetas), o cambie ${setting}`,
    ),
  ]
}

function accountOf({ user, group, moreGroups = [] }: Keeper): Account | null {
  const ask = (flag: string) => spawnSync('id', [flag, '--', user], { encoding: 'utf8' })
  const [uid, groups] = [ask('-u'), ask('-G')]
  if (uid.status !== 0 || groups.status !== 0) return null
  // The first is the main one.
  const [main, ...others] = groups.stdout.trim().split(' ').map(Number)
  const said = [...(group === undefined ? [] : [group]), ...moreGroups].flatMap((each) => groupOf(each) ?? [])
  return { uid: Number(uid.stdout), gids: [...(group === undefined ? [main!] : []), ...others, ...said] }
}

function groupOf(name: string): number | null {
  if (/^\d+$/.test(name)) return Number(name)
  const found = spawnSync('getent', ['group', '--', name], { encoding: 'utf8' })
  return found.status === 0 ? Number(found.stdout.split(':')[2]) : null
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
