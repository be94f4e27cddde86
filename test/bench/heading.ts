/** What a figure is worth nothing without: the machine, the versions, how it was measured. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, loadavg, release, totalmem, type } from 'node:os'
import { fileURLToPath } from 'node:url'
import { findProgram } from '../support/programs.ts'
import { BODY_BYTES } from './payload.ts'
import type { Bench } from './scene.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** One line each, in Spanish. */
export async function headingOf({ options, client, sql }: Bench): Promise<string[]> {
  const [cpu] = cpus()
  const redis = /redis_version:(\S+)/.exec(await client.info('server'))?.[1]
  const [durability] = await sql<{ version: string; settings: string }[]>`
    SELECT current_setting('server_version') AS version,
           string_agg(name || '=' || setting, ', ' ORDER BY name) AS settings
      FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes')`
  const packages = ['undici', 'ioredis', 'postgres', 'bullmq', 'graphile-worker'].map(
    (name) => `${name} ${versionOf(name)}`,
  )
  return [
    `${new Date().toISOString().slice(0, 16)}Z, resthooks ${versionOf(null)}${commit()}`,
    `${cpu?.model.trim()}, ${cpus().length} núcleos, ${Math.round(totalmem() / 2 ** 30)} GB, ${type()} ${release()}, carga al empezar ${loadavg()[0]?.toFixed(2)}`,
    `Node ${process.versions.node}, Redis ${redis} (AOF, everysec), Postgres ${durability?.version} (${durability?.settings}), ${nginxVersion()}`,
    packages.join(', '),
    `${options.rounds === 1 ? '1 ronda' : `mediana de ${options.rounds} rondas, con mínimo y máximo`}; cuerpos de ${BODY_BYTES} B; ${options.concurrency} pedidos HTTP a la vez; todos los servidores en esta máquina`,
  ]
}

function versionOf(name: string | null): string {
  return JSON.parse(readFileSync(`${root}${name ? `node_modules/${name}/` : ''}package.json`, 'utf8')).version
}

function commit(): string {
  try {
    const git = (...args: string[]) => execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: 'pipe' }).trim()
    return ` (${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain', '--', 'src') === '' ? '' : ', con cambios en src/'})`
  } catch {
    // A packed copy has no history.
    return ''
  }
}

function nginxVersion(): string {
  const program = findProgram('nginx')
  try {
    // It answers on stderr.
    const answer = execFileSync('/bin/sh', ['-c', '"$0" -v 2>&1', program ?? 'nginx'], { encoding: 'utf8' })
    return `nginx ${/nginx\/(\S+)/.exec(answer)?.[1]}`
  } catch {
    return 'nginx'
  }
}
