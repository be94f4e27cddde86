/** A project of resthooks on the servers of the benchmark, run as a user runs it: files, `crear-base`, workers. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ulid } from 'ulid'
import { type Keys, keysOf } from '../../src/queue/keys.ts'
import { type CliResult, runProgram, spawnProgram, type Worker } from '../support/cli.ts'
import { envText, type IniSections, iniText } from '../support/config-files.ts'
import { until } from '../support/until.ts'
import { body, envelope } from './payload.ts'
import type { Bench } from './scene.ts'

const INSTANCIA = 'banco'
const CHUNK = 500

export class Installation {
  readonly proyecto = ulid().slice(-10).toLowerCase()
  readonly schema = `rh_${this.proyecto}`
  readonly keys: Keys = keysOf(INSTANCIA, this.proyecto)
  readonly environment: Readonly<Record<string, string>>
  readonly #bench: Bench
  readonly #workers = new Set<Worker>()

  private constructor(bench: Bench, folder: string) {
    this.#bench = bench
    this.environment = {
      RESTHOOKS_INI: join(folder, 'resthooks.ini'),
      RESTHOOKS_ENV: join(folder, 'instalador.env'),
      TOBA_INSTANCIA: INSTANCIA,
      TOBA_PROYECTO: this.proyecto,
    }
  }

  /** Writes the files and creates the audit schema. @param sections of resthooks.ini, over the defaults */
  static async create(bench: Bench, sections: IniSections): Promise<Installation> {
    const folder = join(bench.folder, ulid())
    await mkdir(folder)
    const installation = new Installation(bench, folder)
    await installation.write(sections)
    const { host, port, username, password } = bench.postgres
    const variables = {
      REST_HOOKS_REDIS_HOST: bench.redis.host,
      REST_HOOKS_REDIS_PORT: String(bench.redis.port),
      REST_HOOKS_DB_HOST: host,
      REST_HOOKS_DB_PORT: String(port),
      REST_HOOKS_DB_DBNAME: 'postgres',
      REST_HOOKS_DB_USERNAME: username,
      REST_HOOKS_DB_PASSWORD: password,
      REST_HOOKS_DB_SCHEMA: installation.schema,
    }
    await writeFile(installation.environment.RESTHOOKS_ENV!, envText(variables), { mode: 0o600 })
    await installation.run(['crear-base'])
    bench.defer(() => installation.end())
    return installation
  }

  /** Writes resthooks.ini anew. */
  async write(sections: IniSections): Promise<void> {
    const all = {
      '': { resthooks_activo: 1 },
      workers: { concurrencia: this.#bench.options.concurrency },
      ...sections,
    }
    await writeFile(this.environment.RESTHOOKS_INI!, iniText(all))
  }

  /** Runs the program to its end. @throws when it does not exit 0 */
  async run(args: readonly string[], input?: string | Buffer): Promise<CliResult> {
    const result = await runProgram(process.execPath, [this.#bench.program, ...args], {
      env: this.environment,
      timeout: 120_000,
      ...(input === undefined ? {} : { input }),
    })
    if (result.code !== 0) throw new Error(`resthooks ${args.join(' ')} exited ${result.code}: ${result.stderr}`)
    return result
  }

  /** Starts `iniciar-workers` and waits until all its processes work. @param nodeFlags for `node` itself */
  async startWorker(processes = 1, nodeFlags: readonly string[] = []): Promise<Worker> {
    const args = [this.#bench.program, 'iniciar-workers', '--procesos', String(processes)]
    const worker = spawnProgram(process.execPath, [...nodeFlags, ...args], { env: this.environment })
    this.#workers.add(worker)
    const ready = () => worker.log.filter(({ mensaje }) => mensaje === 'worker en marcha').length >= processes
    await until(ready, { what: 'the start of the workers' }).catch((error) => {
      throw new Error(`${error.message}\n${worker.output}`)
    })
    return worker
  }

  async stopWorker(worker: Worker): Promise<void> {
    this.#workers.delete(worker)
    worker.kill('SIGTERM')
    await worker.waitExit(60_000)
  }

  /** Writes messages where no worker looks yet. @param eventOf by the number of the message */
  async stage(count: number, eventOf: (number: number) => string = () => 'compra.alta'): Promise<void> {
    const staged = `${this.keys.inbox}:puesta`
    for (let done = 0; done < count; done += CHUNK) {
      const numbers = Array.from({ length: Math.min(CHUNK, count - done) }, (_, i) => done + i)
      await this.#bench.client.lpush(staged, ...numbers.map((number) => envelope(eventOf(number), body(number))))
    }
  }

  /** Makes everything staged arrive at once. */
  async release(): Promise<void> {
    const { client } = this.#bench
    if ((await client.renamenx(`${this.keys.inbox}:puesta`, this.keys.inbox)) !== 1) {
      throw new Error('the inbox was not empty')
    }
    await client.publish(this.keys.wake, '')
  }

  /** Rows of `intento`. */
  async attempts(): Promise<number> {
    const { sql } = this.#bench
    const [row] = await sql`SELECT count(*)::int AS count FROM ${sql(this.schema)}.intento`
    return row!.count
  }

  /** The same once every event has left the stream, 0 before: asking this costs Postgres nothing while it writes. */
  async finalAttempts(): Promise<number> {
    return (await this.#bench.client.xlen(this.keys.audit)) === 0 ? this.attempts() : 0
  }

  /** Waits until every event has left the stream: all that happened is in Postgres. */
  async audited(): Promise<void> {
    await until(async () => (await this.#bench.client.xlen(this.keys.audit)) === 0, {
      timeout: 120_000,
      what: 'the end of the audit stream',
    })
  }

  async truncate(): Promise<void> {
    const { sql } = this.#bench
    await sql`TRUNCATE ${sql(this.schema)}.mensaje, ${sql(this.schema)}.entrega, ${sql(this.schema)}.intento`
  }

  /** Ends its workers and drops its schema. */
  async end(): Promise<void> {
    for (const worker of this.#workers) {
      this.#workers.delete(worker)
      worker.kill('SIGKILL')
      await worker.waitExit()
    }
    const { sql } = this.#bench
    await sql`DROP SCHEMA IF EXISTS ${sql(this.schema)} CASCADE`
  }
}
