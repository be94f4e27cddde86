/** A private redis-server in a temporary folder: start, kill, restart, stop. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './ports.ts'
import { SetUpError } from './set-up.ts'
import { until } from './until.ts'

export interface RedisServer {
  readonly host: string
  readonly port: number
  readonly folder: string
  /** The running process, for signals. */
  readonly process: ChildProcess
  /** Ends it with `signal` and waits for its end; the data stays. */
  kill(signal?: NodeJS.Signals): Promise<void>
  /** Starts it again on the same port and data. */
  start(): Promise<void>
  /** Ends it and removes its folder. */
  stop(): Promise<void>
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'))
    socket.setTimeout(1000, () => socket.destroy())
    socket.once('data', (data) => {
      resolve(/^(\+PONG|-NOAUTH)/.test(data.toString()))
      socket.destroy()
    })
    socket.once('error', () => resolve(false))
    socket.once('close', () => resolve(false))
  })
}

/** @param args further arguments of redis-server (`['--maxmemory', '50mb']`); AOF with fsync every second is on. */
export async function startRedis(args: readonly string[] = [], port?: number): Promise<RedisServer> {
  const folder = await mkdtemp(join(tmpdir(), 'resthooks-redis-'))
  const chosen = port ?? (await freePort())
  let child: ChildProcess
  const start = async () => {
    child = spawn(
      'redis-server',
      ['--port', String(chosen), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'yes', ...args],
      { stdio: 'ignore' },
    )
    let failed: Error | undefined
    child.once('error', (error) => {
      failed = new SetUpError(`redis-server no arranca: ${error.message}. Instálelo (apt-get install redis-server).`)
    })
    await until(() => failed !== undefined || answers(chosen), { what: `redis-server on port ${chosen}` })
    if (failed) throw failed
  }
  const kill = async (signal: NodeJS.Signals = 'SIGKILL') => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill(signal)
    await ended
  }
  await start()
  return {
    host: '127.0.0.1',
    port: chosen,
    folder,
    get process() {
      return child
    },
    kill,
    start,
    stop: async () => {
      await kill('SIGKILL')
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** A Redis that runs already, where the machine has no redis-server: `RESTHOOKS_PRUEBAS_REDIS=host:port`, or null. */
export function givenRedis(): { host: string; port: number } | null {
  const given = process.env.RESTHOOKS_PRUEBAS_REDIS
  if (!given) return null
  const [, host, port] = /^(.*):(\d+)$/.exec(given) ?? []
  if (!host) throw new Error(`RESTHOOKS_PRUEBAS_REDIS=${given}: se espera host:puerto`)
  return { host, port: Number(port) }
}
