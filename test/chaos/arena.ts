/**
 * Where one fault is played: a Redis of its own, a schema of its own, listeners that note what they see, an installation
 * folder with its configuration, and workers to be killed.
 */
import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import postgres, { type Sql } from 'postgres'
import { ulid } from 'ulid'
import { type Keys, keysOf } from '../../src/queue/keys.ts'
import { type CliResult, cleanEnvironment, spawnProgram, type Worker } from '../support/cli.ts'
import { envText, type IniSections, iniText } from '../support/config-files.ts'
import type { PostgresServer } from '../support/postgres-server.ts'
import { startProxy, type TcpProxy } from '../support/proxy.ts'
import { type RedisServer, startRedis } from '../support/redis-server.ts'
import { until } from '../support/until.ts'
import { type Cast, castOf, usualCast } from './cast.ts'
import type { Program } from './program.ts'
import { atEnd } from './program.ts'
import type { Dice } from './random.ts'
import type { Traffic } from './traffic.ts'
import { Wire } from './wire.ts'

/** Short enough to wait for, long enough that a busy machine renews in time. */
export const LEASE_MS = 5_000
/** Requests in flight of one worker at most. */
export const SLOTS = 20

export interface ArenaOptions {
  /** Further arguments of redis-server. */
  readonly redisArgs?: readonly string[]
  /** Instead of a server of its own (Sentinel): how to reach it, for the suite and for the program. */
  readonly redis?: {
    connect(): Redis
    /** Of the server that foreign programs talk to. */
    port(): number
    readonly variables: Readonly<Record<string, string>>
  }
  /** The program reaches this server through `arena.proxy`; the suite itself does not. */
  readonly through?: 'redis' | 'postgres'
  /** Merged into resthooks.ini, section by section. */
  readonly ini?: IniSections
  /** Added to the environment of the workers. */
  readonly workerEnv?: Readonly<Record<string, string>>
  readonly cast?: Cast
}

/** Workers that ended without settling what they had in flight. */
export interface Crash {
  readonly at: number
  /** Deliveries that may be made twice because of it. */
  readonly inFlight: number
}

export class Arena {
  readonly program: Program
  readonly postgres: PostgresServer
  readonly dice: Dice
  readonly wire = new Wire()
  readonly crashes: Crash[] = []
  readonly workers: Worker[] = []
  readonly keys: Keys
  readonly instancia: string
  readonly schema: string
  readonly cast: Cast
  readonly sections: IniSections
  readonly environment: Record<string, string> = {}
  readonly options: ArenaOptions
  /** When the fault was over and work could go on, ms since epoch. */
  healedAt: number | null = null
  /** Messages put into the inbox that nobody can understand. */
  readonly malformed: (string | Buffer)[] = []
  folder = ''
  /** The senders, for a fault that sends more. */
  traffic!: Traffic
  redis!: RedisServer
  /** Between the program and the server that the options name. */
  proxy!: TcpProxy
  client!: Redis
  sql!: Sql
  /** What the dice drew, for the report. */
  readonly notes: string[] = []
  /** Messages that the ledger judges; all of them unless a fault says otherwise. */
  judges: (id: string) => boolean = () => true
  /** What Postgres knew, and when, after Redis had lost everything. */
  flush: { at: number; known: readonly { mensaje_id: string; listener: string; estado: string }[] } | undefined
  readonly #stopping = new Set<Worker>()
  #close: (() => Promise<void>)[] = []
  /** Every worker ever started, for what their logs say. */
  readonly history: Worker[] = []

  constructor(program: Program, database: PostgresServer, dice: Dice, options: ArenaOptions) {
    this.program = program
    this.postgres = database
    this.dice = dice
    this.options = options
    const tag = ulid().toLowerCase()
    this.instancia = `caos_${tag}`
    this.schema = `caos_${tag}`
    this.keys = keysOf(this.instancia, 'proyecto')
    this.cast = options.cast ?? usualCast
    this.sections = {
      '': { resthooks_activo: 1 },
      workers: { sondeo: '200ms', arriendo: `${LEASE_MS}ms`, drenaje: '5s', concurrencia: SLOTS },
      reintentos: { estrategia: 'lista', esperas: '200ms, 400ms, 600ms, 800ms, 1s, 1s, 2s', jitter: '20%' },
    }
  }

  async build(): Promise<void> {
    this.folder = await mkdtemp(join(tmpdir(), 'resthooks-caos-'))
    this.#close.push(atEnd(() => rm(this.folder, { recursive: true, force: true })))
    let variables: Readonly<Record<string, string>>
    if (this.options.redis) {
      this.client = this.options.redis.connect()
      variables = this.options.redis.variables
    } else {
      this.redis = await startRedis(this.options.redisArgs)
      this.#close.push(atEnd(() => this.redis.stop()))
      const { host, port } = this.redis
      this.client = new Redis({ host, port, maxRetriesPerRequest: null, retryStrategy: () => 50, lazyConnect: true })
      variables = { REST_HOOKS_REDIS_HOST: host, REST_HOOKS_REDIS_PORT: String(port) }
    }
    this.client.on('error', () => {})
    this.#close.push(atEnd(() => this.client.disconnect()))
    const { through } = this.options
    if (through) {
      this.proxy = await startProxy(through === 'redis' ? this.redis : this.postgres)
      this.#close.push(atEnd(() => this.proxy.close()))
    }
    if (through === 'redis') variables = { ...variables, REST_HOOKS_REDIS_PORT: String(this.proxy.port) }
    const { host, port, username, password } = this.postgres
    this.sql = postgres({ host, port, username, password, database: 'postgres', max: 2, onnotice: () => {} })
    this.#close.push(atEnd(() => this.sql.end({ timeout: 1 })))

    await castOf(this)
    for (const [section, settings] of Object.entries(this.options.ini ?? {})) {
      this.sections[section] = { ...this.sections[section], ...settings }
    }
    const ini = join(this.folder, 'resthooks.ini')
    await writeFile(
      join(this.folder, 'instalador.env'),
      envText({
        ...variables,
        REST_HOOKS_DB_HOST: host,
        REST_HOOKS_DB_PORT: String(through === 'postgres' ? this.proxy.port : port),
        REST_HOOKS_DB_DBNAME: 'postgres',
        REST_HOOKS_DB_USERNAME: username,
        REST_HOOKS_DB_PASSWORD: password,
        REST_HOOKS_DB_SCHEMA: this.schema,
      }),
      { mode: 0o600 },
    )
    Object.assign(this.environment, {
      RESTHOOKS_INI: ini,
      TOBA_INSTANCIA: this.instancia,
      TOBA_PROYECTO: 'proyecto',
    })
    await this.writeIni()
    await this.createSchema()
  }

  async writeIni(file = join(this.folder, 'resthooks.ini')): Promise<void> {
    await writeFile(file, iniText(this.sections))
  }

  async createSchema(): Promise<void> {
    const { code, stderr } = await this.cli(['crear-base'])
    if (code !== 0) throw new Error(`crear-base exited ${code}: ${stderr}`)
  }

  cli(args: readonly string[], input = ''): Promise<CliResult> {
    return this.program.run(args, { env: this.environment, cwd: this.folder, input, timeout: 60_000 })
  }

  /** Starts workers beside those that run. */
  start(count = 1, env: Readonly<Record<string, string>> = {}, program: Program = this.program): Worker[] {
    return Array.from({ length: count }, () => {
      const worker = program.startWorker([], {
        env: { ...this.environment, ...this.options.workerEnv, ...env },
        cwd: this.folder,
      })
      this.workers.push(worker)
      this.history.push(worker)
      return worker
    })
  }

  /** Starts a worker by way of another program, which gets the command line after its own arguments. */
  startThrough(program: string, args: readonly string[]): Worker {
    const command = [...args, process.execPath, this.program.bin, 'iniciar-workers']
    const worker = spawnProgram(program, command, { env: this.environment, cwd: this.folder })
    atEnd(() => worker.child.kill('SIGKILL'))
    this.workers.push(worker)
    this.history.push(worker)
    return worker
  }

  /** Starts a worker that writes its log into an open file: nobody reads it. */
  startInto(descriptor: number): void {
    const child = spawn(process.execPath, [this.program.bin, 'iniciar-workers'], {
      env: cleanEnvironment(this.environment),
      cwd: this.folder,
      stdio: ['ignore', descriptor, descriptor],
    })
    this.#close.push(atEnd(() => child.kill('SIGKILL')))
  }

  /** One that runs, drawn by the dice; waits while another fault has stopped them all. */
  async anyWorker(): Promise<Worker> {
    await until(() => this.workers.length > 0, { what: 'a worker that runs' })
    return this.dice.pick(this.workers)
  }

  /** Waits until these workers are at work. */
  async up(workers: readonly Worker[]): Promise<void> {
    await Promise.all(workers.map((worker) => worker.logged('worker en marcha')))
  }

  /** `kill -9`, and what was in flight then may be delivered twice. */
  async killHard(victims: readonly Worker[]): Promise<void> {
    this.noteCrash(victims.length)
    for (const victim of victims) victim.kill('SIGKILL')
    await Promise.all(victims.map((victim) => victim.waitExit()))
    this.#forget(victims)
  }

  /** SIGTERM: an orderly end. @throws when the exit code is not 0 */
  async stop(victims: readonly Worker[] = [...this.workers], patience = 30_000): Promise<void> {
    // A second signal would end it at once: two faults of a mixture may want the same worker to stop.
    for (const victim of victims.filter((each) => !this.#stopping.has(each))) {
      this.#stopping.add(victim)
      victim.kill('SIGTERM')
    }
    const ends = await Promise.all(victims.map((victim) => victim.waitExit(patience)))
    this.#forget(victims)
    ends.forEach(({ code, signal }, i) => {
      // One that had not even begun knows no signals yet: there is nothing that it could leave behind.
      if (code !== 0 && signal !== 'SIGKILL' && victims[i]!.log.length > 0)
        throw new Error(`SIGTERM: worker ended with ${code ?? signal}:\n${victims[i]!.output.slice(-2000)}`)
    })
  }

  noteCrash(workers: number): void {
    this.crashes.push({ at: Date.now(), inFlight: workers * SLOTS })
  }

  /** The fault is over: from now on the time to the next delivery counts. */
  healed(): void {
    this.healedAt = Date.now()
  }

  /** Of all lanes together. */
  async depths(): Promise<Record<string, number>> {
    const { keys, client } = this
    const named = Object.keys(this.sections).flatMap((section) => /^listener (.*)/.exec(section)?.[1] ?? [])
    const lanes = [...new Set([...this.cast.names, ...named]), '@callbacks'].map((name) => keys.lane(name))
    const sum = async (counts: Promise<number>[]) => (await Promise.all(counts)).reduce((a, b) => a + b, 0)
    return {
      entrada: await client.llen(keys.inbox),
      despacho: await client.llen(keys.dispatching),
      demoradas: await client.zcard(keys.delayed),
      cola: await sum(lanes.map(({ queue }) => client.llen(queue))),
      en_curso: await sum(lanes.map(({ inFlight }) => client.zcard(inFlight))),
      reintentos: await sum(lanes.map(({ retries }) => client.zcard(retries))),
      auditoria: await client.xlen(keys.audit),
      // What a dead worker of 0.1.0 had read is taken over like the rest, but only after a while.
      auditoria_anterior: await client.xlen(keys.auditBefore),
    }
  }

  /** Waits until nothing is left to do anywhere. @throws with what is left when that takes too long */
  async quiet(timeout = 60_000): Promise<void> {
    let last: Record<string, number> = {}
    const isQuiet = async () => {
      last = await this.depths()
      return Object.values(last).every((depth) => depth === 0)
    }
    await until(isQuiet, { timeout, every: 100, what: 'quiet' }).catch((error) => {
      throw new Error(`${error.message}: ${JSON.stringify(last)}`)
    })
  }

  async tearDown(): Promise<void> {
    for (const worker of this.history) worker.kill('SIGKILL')
    await this.sql`DROP SCHEMA IF EXISTS ${this.sql(this.schema)} CASCADE`.catch(() => {})
    await Promise.all(this.wire.listeners.map((listener) => listener.shut()))
    while (this.#close.length > 0) await this.#close.pop()!().catch(() => {})
  }

  #forget(ended: readonly Worker[]): void {
    for (const worker of ended) {
      const at = this.workers.indexOf(worker)
      if (at >= 0) this.workers.splice(at, 1)
    }
  }
}
