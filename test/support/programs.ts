/** Debian programs that single tests need; where one is missing the test is skipped, and its name says what to install. */
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

const PACKAGES: Readonly<Record<string, string>> = {
  supervisord: 'supervisor',
  nginx: 'nginx-light',
  apache2: 'apache2',
  php: 'php-cli',
  chromium: 'chromium',
  promtool: 'prometheus',
  prometheus: 'prometheus',
  python3: 'python3',
  'systemd-notify': 'systemd',
  'systemd-analyze': 'systemd',
  groff: 'groff-base',
  pg_dump: 'postgresql-client',
  'redis-cli': 'redis-tools',
  script: 'bsdutils',
}

/** Absolute path of a program on the PATH or in sbin, or null. */
export function findProgram(name: string): string | null {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
  return folders.map((folder) => join(folder, name)).find(isExecutable) ?? null
}

/**
 * For `describe.skipIf(peer.missing)(`…${peer.note}`, …)`.
 * @param program its name (`supervisord`)
 * @param file    a further file that must exist (an extension of PHP)
 */
export function peer(program: string, file?: string): { missing: boolean; note: string } {
  const missing = findProgram(program) === null || (file !== undefined && !existsSync(file))
  return { missing, note: missing ? ` (se omite: falta ${PACKAGES[program] ?? program}, instálelo con apt-get)` : '' }
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
