/** The servers that all contenders share, and a copy of the program that nobody builds over while it is measured. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, loadavg, release, tmpdir, totalmem, type } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import postgres, { type Sql } from 'postgres'
import { copyProgram } from '../support/cli.ts'
import { type PostgresServer, startPostgres } from '../support/postgres-server.ts'
import { findProgram } from '../support/programs.ts'
import { type RedisServer, startRedis } from '../support/redis-server.ts'
import { type Nginx, startNginx } from './nginx.ts'
import type { Options } from './options.ts'
import { BODY_BYTES } from './payload.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

export interface Bench {
  readonly options: Options
  /** AOF, fsync every second. */
  readonly redis: RedisServer
  /** Its default durability: fsync, full_page_writes and synchronous_commit on. */
  readonly postgres: PostgresServer
  readonly nginx: Nginx
  readonly client: Redis
  readonly sql: Sql
  /** Path of the program's executable. */
  readonly program: string
  /** Where a contender may put files. */
  readonly folder: string
  /** Leaves nothing of the contender before in the servers: keys, dirty pages, the WAL of a checkpoint that is due. */
  fresh(): Promise<void>
  /** Called at the end of the run, last one first. */
  defer(end: () => Promise<unknown>): void
  end(): Promise<void>
}

/** @throws when a program is missing, in Spanish */
export async function startBench(options: Options): Promise<Bench> {
  for (const name of ['redis-server', 'redis-benchmark', 'redis-cli']) {
    if (findProgram(name) === null) throw new Error(`Hace falta ${name}: sudo apt-get install redis-server (y repita)`)
  }
  const ends: (() => Promise<unknown>)[] = []
  const end = async () => {
    for (let each = ends.pop(); each; each = ends.pop()) {
      await each().catch((error) => process.stderr.write(`${error}\n`))
    }
  }
  const kept = <T extends { stop(): Promise<void> }>(server: T): T => {
    ends.push(() => server.stop())
    return server
  }
  try {
    const nginx = kept(await startNginx())
    const [redis, database] = await Promise.all([startRedis().then(kept), startPostgres().then(kept)])
    const folder = await mkdtemp(join(tmpdir(), 'resthooks-bench-'))
    ends.push(() => rm(folder, { recursive: true, force: true }))
    const program = await copyProgram(join(folder, 'programa'))
    const { host, port, username, password } = database
    const sql = postgres({ host, port, username, password, database: 'postgres', max: 2, onnotice: () => {} })
    ends.push(() => sql.end({ timeout: 2 }))
    const client = new Redis({ host: redis.host, port: redis.port })
    ends.push(async () => client.disconnect())
    return {
      options,
      redis,
      postgres: database,
      nginx,
      client,
      sql,
      program,
      folder,
      fresh: async () => {
        await client.flushall()
        await sql`CHECKPOINT`
      },
      defer: (each) => void ends.push(each),
      end,
    }
  } catch (error) {
    await end()
    throw error
  }
}

/** What a figure is worth nothing without: the machine, the versions, how it was measured. One line each, in Spanish. */
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
