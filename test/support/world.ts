/**
 * The scenery of an end-to-end test: a project of its own on the run's Redis and Postgres, with a folder of
 * configuration files as an installation has it, and the program at hand as a user runs it.
 *
 * Everything it starts ends with the test.
 */
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Redis } from 'ioredis'
import postgres, { type Sql } from 'postgres'
import { ulid } from 'ulid'
import { test as base, inject } from 'vitest'
import { migrate } from '../../src/audit/migrate.ts'
import { keysOf } from '../../src/queue/keys.ts'
import { type CliOptions, type CliResult, runCli, spawnWorker, type Worker } from './cli.ts'
import { envText, type IniSections, type IniValue, iniText } from './config-files.ts'
import { type Script, type ScriptedListener, startListener } from './listener.ts'
import { until } from './until.ts'

type Row = Readonly<Record<string, unknown>>

export interface World {
  readonly instancia: string
  readonly proyecto: string
  readonly schema: string
  /** The installation (`$TOBA_INSTALACION_DIR`), which holds `ini` and `env`. */
  readonly folder: string
  /** Path of resthooks.ini. */
  readonly ini: string
  /** Path of instalador.env. */
  readonly env: string
  readonly redis: Redis
  readonly keys: ReturnType<typeof keysOf>
  readonly sql: Sql
  /** A scripted HTTP server that is also a `[listener NAME]` of the ini, with an on_failure that records its input. */
  listener(script: Script, settings?: { nombre?: string } & Record<string, IniValue>): Promise<ScriptedListener>
  /** Merges settings into a section of resthooks.ini ('' = above the sections) and writes the file. */
  set(section: string, settings: Record<string, IniValue>): Promise<void>
  /** Takes a section out of resthooks.ini, and writes the file. */
  unset(section: string): Promise<void>
  /** Merges variables into instalador.env and writes the file. */
  setEnv(variables: Record<string, string>): Promise<void>
  /** The environment in which the program finds this world. */
  readonly environment: Readonly<Record<string, string>>
  /** Runs `resthooks ARGS` to its end. */
  cli(args: readonly string[], options?: CliOptions): Promise<CliResult>
  /** `resthooks send`; the id that it printed. @throws when it does not exit 0 */
  send(event: string, data?: unknown, args?: readonly string[]): Promise<string>
  /** What a foreign program does: LPUSH of an entry, text as it is. */
  push(entry: string | Buffer | Row): Promise<void>
  /**
   * Creates the audit schema as `crear-base` does, without starting a program for it: that command has tests of its own.
   * Done by itself before the first worker.
   */
  createSchema(): Promise<void>
  /** Starts `iniciar-workers`, and waits until it works (or has ended). */
  worker(args?: readonly string[], options?: CliOptions): Promise<Worker>
  /**
   * Waits until every delivery of a message, or of each of many, is final in the audit and its callbacks ran. Starts a
   * worker where the test has not; `start: false` where something else does.
   */
  settled(ids: string | readonly string[], options?: { timeout?: number; start?: boolean }): Promise<void>
  /** The deliveries of a message by listener, each with its attempts in order, as the audit has them. */
  audit(id: string): Promise<(Row & { intentos: Row[] })[]>
  /** The callback attempts of a message, in order. */
  callbacks(id: string): Promise<Row[]>
  /** What the recording callback was given on stdin, one per run. */
  callbackInputs(): Promise<Row[]>
}

/** @param encoding of the audit database; without it the run's own UTF8 one is shared, each test in its schema */
export function worldTest(encoding?: Encoding) {
  return base.extend<{ world: World }>({ world: worldOf(encoding) })
}

/** One world for all the tests of a file: where they tell their messages apart and change nothing for each other. */
export function sharedWorldTest() {
  return base.extend<{ world: World }>({ world: [worldOf(), { scope: 'file' }] })
}

type Encoding = 'LATIN1' | 'SQL_ASCII' | 'UTF8'

function worldOf(encoding?: Encoding) {
  // biome-ignore lint/correctness/noEmptyPattern: Vitest reads the dependencies from the pattern.
  return async ({}, use: (world: World) => Promise<void>) => {
    const { world, end } = await createWorld(encoding)
    try {
      await use(world)
    } finally {
      await end()
    }
  }
}

/** A listener that gets nothing: for a worker that has no other. */
export const NOBODY = ['listener nadie', { url: 'http://127.0.0.1:1', activo: 0 }] as const

export const test = worldTest()
export { expect } from 'vitest'

async function createWorld(encoding?: Encoding): Promise<{ world: World; end: () => Promise<void> }> {
  const tag = ulid().slice(-10).toLowerCase()
  const [instancia, proyecto, schema] = [`prueba_${tag}`, 'proyecto', `esquema_${tag}`]
  const servers = { redis: inject('redis'), postgres: inject('postgres') }
  const folder = await mkdtemp(join(tmpdir(), 'resthooks-mundo-'))
  const ini = join(folder, `i__${instancia}`, `p__${proyecto}`, 'resthooks.ini')
  const env = join(folder, 'instalador.env')
  const recorder = join(folder, 'registrar.sh')
  const keys = keysOf(instancia, proyecto)
  const redis = new Redis({ ...servers.redis, lazyConnect: true })
  const login = { ...servers.postgres, database: 'postgres', max: 2, onnotice: () => {} }
  const database = encoding ? `base_${tag}` : 'postgres'
  if (encoding) await createDatabase(login, database, encoding)
  const sql = postgres({ ...login, database })

  const sections: IniSections = {
    '': { resthooks_activo: 1 },
    workers: { sondeo: '100ms' },
    reintentos: { estrategia: 'lista', esperas: '50ms, 100ms', jitter: '0%' },
  }
  const variables: Record<string, string> = {
    REST_HOOKS_REDIS_HOST: servers.redis.host,
    REST_HOOKS_REDIS_PORT: String(servers.redis.port),
    REST_HOOKS_DB_HOST: servers.postgres.host,
    REST_HOOKS_DB_PORT: String(servers.postgres.port),
    REST_HOOKS_DB_DBNAME: database,
    REST_HOOKS_DB_USERNAME: servers.postgres.username,
    REST_HOOKS_DB_PASSWORD: servers.postgres.password,
    REST_HOOKS_DB_SCHEMA: schema,
  }
  const listeners: ScriptedListener[] = []
  const workers: Worker[] = []
  const environment = { TOBA_INSTALACION_DIR: folder, TOBA_INSTANCIA: instancia, TOBA_PROYECTO: proyecto }
  const options = ({ env: more, ...rest }: CliOptions = {}): CliOptions => ({
    cwd: folder,
    ...rest,
    env: { ...environment, ...more },
  })
  let schemaMade: Promise<void> | undefined

  const world: World = {
    instancia,
    proyecto,
    schema,
    folder,
    ini,
    env,
    environment,
    redis,
    keys,
    sql,
    listener: async (script, { nombre, ...settings } = {}) => {
      const listener = await startListener(script)
      listeners.push(listener)
      const name = nombre ?? `escucha${listeners.length}`
      await world.set(`listener ${name}`, { url: listener.url, on_failure: `exec:${recorder}`, ...settings })
      return listener
    },
    set: async (section, settings) => {
      sections[section] = { ...sections[section], ...settings }
      await writeFile(ini, iniText(sections))
    },
    unset: async (section) => {
      delete sections[section]
      await writeFile(ini, iniText(sections))
    },
    setEnv: async (more) => {
      Object.assign(variables, more)
      await writeFile(env, envText(variables), { mode: 0o600 })
    },
    cli: (args, more) => runCli(args, options(more)),
    send: async (event, data, args = []) => {
      const text = data === undefined ? [] : [typeof data === 'string' ? data : JSON.stringify(data)]
      const result = await world.cli(['send', event, ...text, ...args])
      if (result.code !== 0) throw new Error(`send exited ${result.code}: ${result.stderr}`)
      return result.stdout.trim()
    },
    push: async (entry) => {
      await redis.lpush(keys.inbox, typeof entry === 'string' || Buffer.isBuffer(entry) ? entry : JSON.stringify(entry))
    },
    createSchema: () => {
      schemaMade ??= migrate({
        ...servers.postgres,
        database,
        sslmode: 'disable',
        schema,
        maxPending: 0,
        maxPendingBytes: 0,
        retention: 0,
      }).then(() => {})
      return schemaMade
    },
    worker: async (args = [], more) => {
      await world.createSchema()
      // A worker without any listener does not start; who sends to nobody wants one that nothing reaches.
      if (!/^\[listener /m.test(await readFile(ini, 'utf8').catch(() => '[listener ]'))) await world.set(...NOBODY)
      const worker = spawnWorker(args, options(more))
      workers.push(worker)
      await Promise.race([worker.logged('en marcha'), worker.waitExit(30_000)])
      return worker
    },
    settled: async (ids, { timeout = 40_000, start = true } = {}) => {
      if (start && workers.length === 0) await world.worker()
      const all = [ids].flat()
      const what = all.length === 1 ? `the end of message ${all[0]}` : `the end of ${all.length} messages`
      await until(() => areSettled(all), { timeout, what }).catch((error) => {
        throw new Error(`${error.message}\n${workers.map((worker) => worker.output).join('\n')}`)
      })
    },
    audit: async (id) => {
      const deliveries = await sql`
        SELECT * FROM ${sql(schema)}.entrega WHERE mensaje_id = ${id} ORDER BY listener`
      const attempts = await sql`
        SELECT * FROM ${sql(schema)}.intento WHERE mensaje_id = ${id} ORDER BY numero, inicio`
      return deliveries.map((delivery) => ({
        ...delivery,
        intentos: attempts.filter((attempt) => attempt.listener === delivery.listener),
      }))
    },
    callbacks: (id) =>
      sql<Row[]>`SELECT * FROM ${sql(schema)}.callback WHERE mensaje_id = ${id} ORDER BY listener, intento`,
    callbackInputs: async () => {
      const text = await readFile(join(folder, 'callbacks.jsonl'), 'utf8').catch(() => '')
      return text
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line))
    },
  }

  /** The audit itself tells how many deliveries there are; the settings written here, which of them owe a callback. */
  async function areSettled(ids: readonly string[]): Promise<boolean> {
    const of = (table: string) => sql`FROM ${sql(schema)}.${sql(table)} WHERE mensaje_id = ANY(${ids})`
    const messages = await sql`SELECT id, listeners FROM ${sql(schema)}.mensaje WHERE id = ANY(${ids})`
    if (messages.length < ids.length || messages.some(({ listeners }) => listeners === null)) return false
    const deliveries = await sql`SELECT mensaje_id, listener, estado ${of('entrega')}`
    const isFinal = (state: string) => ['exitosa', 'fallida', 'descartada'].includes(state)
    if (!deliveries.every(({ estado }) => isFinal(estado))) return false
    const made = (id: string) => deliveries.filter(({ mensaje_id }) => mensaje_id === id).length
    if (messages.some(({ id, listeners }) => made(id) < listeners)) return false
    const ran = await sql`SELECT mensaje_id, listener, tipo ${of('callback')} AND resultado <> 'reintento'`
    return deliveries.every(({ mensaje_id, listener, estado }) => {
      const type = estado === 'exitosa' ? 'on_success' : estado === 'fallida' ? 'on_failure' : null
      if (type === null || !sections[`listener ${listener}`]?.[type]) return true
      return ran.some((row) => row.mensaje_id === mensaje_id && row.listener === listener && row.tipo === type)
    })
  }

  async function end() {
    for (const worker of workers) worker.kill('SIGKILL')
    await Promise.all(workers.map((worker) => worker.waitExit()))
    await Promise.all(listeners.map((listener) => listener.close()))
    const left = await redis.keys(`resthooks:{${instancia}:${proyecto}}:*`)
    if (left.length > 0) await redis.unlink(left)
    redis.disconnect()
    if (!encoding) await sql`DROP SCHEMA IF EXISTS ${sql(schema)} CASCADE`
    await sql.end({ timeout: 2 })
    if (encoding) await dropDatabase(login, database)
    await rm(folder, { recursive: true, force: true })
  }

  await mkdir(dirname(ini), { recursive: true })
  await writeFile(recorder, '#!/bin/sh\n{ cat; echo; } >> "$(dirname "$0")/callbacks.jsonl"\n')
  await chmod(recorder, 0o755)
  await world.set('', {})
  await world.setEnv({})
  return { world, end }
}

async function createDatabase(login: postgres.Options<Record<string, never>>, name: string, encoding: string) {
  const admin = postgres({ ...login, max: 1 })
  await admin.unsafe(`CREATE DATABASE ${name} ENCODING '${encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`)
  await admin.end({ timeout: 2 })
}

async function dropDatabase(login: postgres.Options<Record<string, never>>, name: string) {
  const admin = postgres({ ...login, max: 1 })
  await admin.unsafe(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
  await admin.end({ timeout: 2 })
}
