/** The servers that all contenders share, and a copy of the program that nobody builds over while it is measured. */
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import postgres, { type Sql } from 'postgres'
import { type PostgresServer, startPostgres } from '../support/postgres-server.ts'
import { findProgram } from '../support/programs.ts'
import { type RedisServer, startRedis } from '../support/redis-server.ts'
import { type Nginx, startNginx } from './nginx.ts'
import type { Options } from './options.ts'

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
    const program = await copyProgram(folder)
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

async function copyProgram(folder: string): Promise<string> {
  const root = fileURLToPath(new URL('../../', import.meta.url))
  const copy = join(folder, 'programa')
  for (const name of ['bin', 'dist', 'sql', 'package.json']) {
    await cp(join(root, name), join(copy, name), { recursive: true })
  }
  return join(copy, 'bin/resthooks')
}
