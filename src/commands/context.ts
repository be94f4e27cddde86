/**
 * What a command may ask for: the configuration, the queue, the queries of the audit. Each is opened when first asked for, so
 * that `send` never loads Postgres and `ver` loads Redis only for what has not ended, and all are closed when the command ends.
 */

import type { Command } from 'commander'
import type { AuditBackend } from '../audit/backend.ts'
import type { ActionRecord } from '../audit/event.ts'
import type { AuditQueries } from '../audit/queries.ts'
import { AUDIT_PART, type Config, REDIS_PART } from '../config/config.ts'
import type { LenientConfig } from '../config/load.ts'
import { ConfigError, ResthooksError } from '../errors.ts'
import { keepInHints, typed } from '../model/typed.ts'
import type { Queue } from '../queue/queue.ts'
import type { Maintenance } from '../recovery/maintenance.ts'
import { note, withhold } from './print.ts'

/** The options that every command takes, before or after its name. */
export interface GlobalOptions {
  readonly instancia?: string
  readonly proyecto?: string
  readonly config?: string
  readonly env?: string
  readonly instalacion?: string
}

/** What a command's file exports: a function that adds it to the program. */
export type Definition = (program: Command, context: Context) => void

/** A command that failed, as it is told. */
export interface Failure {
  readonly exitCode: number
  /** A sentence. */
  readonly text: string
  /** What was thrown, where that is a bug: its stack is wanted. */
  readonly bug?: unknown
}

/** The configuration, whatever is wrong with it. */
interface ConfigAsItIs extends Pick<LenientConfig, 'config' | 'isWell'> {
  /** Lists all that is wrong; null: nothing is. */
  readonly broken: ConfigError | null
}

/** What is wrong with the files and does not keep the command from its work. @param goesOn `se sigue` */
function tellBroken(goesOn: string, wrong: string): void {
  note(`resthooks: aviso: ${goesOn} igual, pero los workers no pueden usar estos archivos. ${wrong}`)
}

export class Context {
  #options: GlobalOptions = {}
  #reading: Promise<LenientConfig> | undefined
  /** Only what is asked for has to be well. */
  #lenient = false
  #queue: Promise<Queue> | undefined
  #audit: Promise<AuditQueries> | undefined
  #backend: Promise<AuditBackend> | undefined
  /** A program hands messages over: a Redis that stalls is waited for longer than where a person looks. */
  #sends = false
  /** Where a failure is told instead of on stderr. */
  tellFailure: ((failure: Failure) => Promise<void>) | undefined

  /** What the command line said about where the configuration is. */
  get options(): GlobalOptions {
    return this.#options
  }

  /** Called once the command line is parsed, before the command's action. */
  setOptions(options: GlobalOptions) {
    this.#options = options
    keepInHints(options)
  }

  /** @throws ConfigError with every error of the files at once; where some was asked for alone, only what was wrong with that */
  async config(): Promise<Config> {
    const { config, require } = await this.#read()
    if (!this.#lenient) require()
    return config
  }

  /**
   * The same for what looks, or has to do with one listener: at three in the morning a mistake in another one must not keep anybody
   * from it. What is wrong is told; Redis and Postgres are still asked only where what says how to reach them is well.
   * @param parts what has to be well besides: `listener X`, `cliente *`
   * @throws ConfigError, with every error of the files, when that is not
   */
  async configToLook(...parts: string[]): Promise<Config> {
    const { config, broken } = await this.configAsItIs(...parts)
    if (broken) tellBroken('se sigue', broken.message)
    return config
  }

  /** The same for what tells by itself that something is wrong. */
  async configAsItIs(...parts: string[]): Promise<ConfigAsItIs> {
    const { config, require, isWell } = await this.#read()
    require(parts)
    this.#lenient = true
    try {
      require()
      return { config, broken: null, isWell }
    } catch (error) {
      return { config, broken: error as ConfigError, isWell }
    }
  }

  /**
   * The same for `send`, which goes on where only others have to mind; they are warned of.
   * @param parts what its options name: `listener X`, `auditoria`
   * @throws ConfigError when what it needs is wrong
   */
  async configToSend(parts: readonly string[]): Promise<Config> {
    const { loadSendConfig } = await import('../config/load.ts')
    const read = loadSendConfig(this.#options, parts)
    withhold(read.config.secrets)
    this.#reading = Promise.resolve(read)
    this.#sends = true
    this.#lenient = true
    if (read.text !== '') tellBroken('se envía', read.text)
    return read.config
  }

  #read(): Promise<LenientConfig> {
    this.#reading ??= import('../config/load.ts').then(({ loadLenientConfig, searchPlaces, strayProject }) => {
      const read = loadLenientConfig(this.#options)
      withhold(read.config.secrets)
      // A mistyped -p would show an empty queue as if all were well.
      const stray = read.config.files.ini === null ? strayProject(searchPlaces(this.#options)) : null
      if (stray !== null) note(`resthooks: aviso: ${stray}`)
      return read
    })
    return this.#reading
  }

  /** @throws ConfigError when it is not known how to reach it: what is wrong was told before */
  async #configToReach(server: 'Redis' | 'Postgres'): Promise<Config> {
    const config = await this.config()
    const part = server === 'Redis' ? REDIS_PART : AUDIT_PART
    if ((await this.#read()).isWell(part)) return config
    throw new ConfigError(`${server}: la configuración no dice bien cómo llegar a él: vea los errores de [${part}]`)
  }

  /** @throws Unavailable when Redis does not answer */
  queue(): Promise<Queue> {
    this.#queue ??= (async () => {
      const config = await this.#configToReach('Redis')
      const [{ openQueue }, { LOOKING, SENDING }] = await Promise.all([
        import('../queue/queue.ts'),
        import('../queue/redis.ts'),
      ])
      return openQueue(config, this.#sends ? SENDING : LOOKING)
    })()
    return this.#queue
  }

  /** @throws Unavailable when Postgres does not answer */
  audit(): Promise<AuditQueries> {
    this.#audit ??= (async () => {
      const { audit, instancia, proyecto } = await this.#configToReach('Postgres')
      const { openAuditQueries } = await import('../audit/queries.ts')
      return openAuditQueries(audit, { instancia, proyecto })
    })()
    return this.#audit
  }

  /**
   * Says it where nothing is known of the project that was named: a result in which there is nothing looks as if all were well.
   * @param ask where to look
   */
  async tellStray(ask: { readonly queue: boolean }): Promise<void> {
    const [config, { strayOf, strayWarning }] = [await this.config(), await import('../checks/stray.ts')]
    const stray = await strayOf({ config, queue: ask.queue ? await this.queue() : null, audit: await this.audit() })
    if (stray !== null && stray.others.length > 0) note(strayWarning(stray))
  }

  /**
   * Queue and audit, for what puts deliveries back or gives them up.
   * @throws Unavailable when Redis or Postgres does not answer
   */
  async maintenance(simulate: boolean): Promise<Maintenance> {
    const config = await this.config()
    const [queue, audit, backend] = [await this.queue(), await this.audit(), await this.#auditBackend()]
    const { id: _, count: __, ...action } = await this.action()
    return { config, queue, audit, backend, simulate, note, action }
  }

  /** What this command line does, for the audit: who, where, and the words as they were typed, without secrets. */
  async action(filter: string | null = null, count = 0): Promise<ActionRecord> {
    const [{ newId }, { currentAuthor }, { commandLine }] = await Promise.all([
      import('../id.ts'),
      import('../model/author.ts'),
      import('./formats.ts'),
    ])
    const { secrets } = await this.config()
    const { user, host } = currentAuthor()
    return { id: newId(), who: user, host, order: secrets.hide(commandLine(process.argv.slice(2))), filter, count }
  }

  /** The writing end of the audit; connects when it first writes. */
  #auditBackend(): Promise<AuditBackend> {
    this.#backend ??= (async () => {
      const { audit, instancia, proyecto } = await this.#configToReach('Postgres')
      const { createPostgresBackend } = await import('../audit/postgres.ts')
      return createPostgresBackend(audit, { instancia, proyecto })
    })()
    return this.#backend
  }

  /**
   * What a person is told of what was thrown: ours as it is, what Redis said in our words; null: it was none of them. (What
   * reads and writes Postgres explains itself.)
   */
  async explain(error: unknown): Promise<ResthooksError | null> {
    if (error instanceof ResthooksError) return error
    // Without the configuration it was asked nothing.
    const config = this.#queue && (await this.config())
    if (!config) return null
    const { causeOf, isRedisError, redisTrouble } = await import('../queue/redis.ts')
    if (!isRedisError(error)) return null
    // One that was never opened has told its own trouble.
    const queue = await this.#queue?.catch(() => null)
    return redisTrouble(queue ? causeOf(error, queue.redis) : error, config.redis)
  }

  /** Where the files were looked for, when there is none: what does not answer is then but a default. Else null. */
  async missingConfiguration(): Promise<string | null> {
    const config = (await this.#reading?.catch(() => null))?.config
    if (!config || config.files.ini !== null || config.files.env !== null) return null
    const { searchPlaces } = await import('../config/load.ts')
    const { ini, env } = searchPlaces(this.#options)
    return (
      'No se encontró ninguna configuración, y se probaron los valores por omisión. ' +
      `resthooks.ini se buscó en: ${ini.join(', ')}; instalador.env, en: ${env.join(', ')}. ` +
      `Para escribirla: ${typed('iniciar')}`
    )
  }

  /** Forgets the connections, so that whoever asks again gets new ones. */
  async disconnect(): Promise<void> {
    await this.close()
    this.#queue = undefined
    this.#audit = undefined
    this.#backend = undefined
  }

  /** Closes whatever was opened. Never throws: the command's own result matters more. */
  async close(): Promise<void> {
    await Promise.allSettled([
      this.#queue?.then((queue) => queue.close()),
      this.#audit?.then((audit) => audit.close()),
      this.#backend?.then((backend) => backend.close()),
    ])
  }
}
