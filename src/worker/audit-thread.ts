/**
 * The audit writer, in a thread of its own: turning events into rows costs as much as delivering them, and must not take
 * the deliveries' core.
 *
 * This file is the main thread's handle; `audit-thread-main.ts` is what runs over there.
 */

import { join } from 'node:path'
import { Worker as Thread } from 'node:worker_threads'
import type { AuditConfig, LogLevel, RedisConfig } from '../config/config.ts'
import { ConfigError, type ResthooksError, Unavailable } from '../errors.ts'
import { packageRoot, standInLaunchFolder } from '../folders.ts'
import type { Millis } from '../model/message.ts'
import { keptInHints } from '../model/typed.ts'
import type { WorkerContext } from './context.ts'
import { atMost } from './waiting.ts'

/** What the thread is started with. */
export interface ThreadData {
  readonly instancia: string
  readonly proyecto: string
  readonly redis: RedisConfig
  readonly audit: AuditConfig
  readonly worker: string
  readonly secrets: readonly string[]
  readonly level: LogLevel
  /** The options that commands in its messages keep (`model/typed.ts`). */
  readonly given: ReturnType<typeof keptInHints>
}

export type ToThread =
  | { readonly kind: 'wake' }
  /** What is in force now. */
  | { readonly kind: 'configure'; readonly data: ThreadData }
  /** Write what is there, for so long at most, and end. */
  | { readonly kind: 'finish'; readonly patience: Millis }

export type FromThread =
  /** From now on it is worth its cost to wake it. */
  | { readonly kind: 'asleep' }
  /** The backend has taken so many. */
  | { readonly kind: 'wrote'; readonly rows: number }
  /** Taken over from a worker that did not write them in time. */
  | { readonly kind: 'inherited'; readonly rows: number }
  /** The backend goes away, or is back. */
  | { readonly kind: 'backend'; readonly away: boolean }
  /** Postgres refuses the credentials. */
  | { readonly kind: 'refused' }
  | { readonly kind: 'finished'; readonly failure: { readonly message: string; readonly code: string } | null }

const RESTART_MS = 1_000
/** Beyond the patience given to `finish`: closing connections. */
const CLOSE_MS = 3_000

/** What of it concerns others. */
interface AuditEvents {
  /** `away` changed. */
  backendChanged(): void
  refused(): void
  inherited(rows: number): void
}

export class AuditThread {
  readonly #context: WorkerContext
  readonly #events: AuditEvents
  /** The backend takes nothing at present. */
  away = false
  #thread: Thread | undefined
  #asleep = false
  #finishing = false

  constructor(context: WorkerContext, events: AuditEvents) {
    this.#context = context
    this.#events = events
  }

  start(): void {
    standInLaunchFolder()
    const thread = new Thread(join(packageRoot(), 'dist', 'audit-thread.js'), { workerData: this.#data() })
    thread.on('message', (message: FromThread) => {
      if (message.kind === 'asleep') this.#asleep = true
      if (message.kind === 'wrote') this.#context.metrics()?.audited(message.rows)
      if (message.kind === 'inherited') this.#events.inherited(message.rows)
      if (message.kind === 'refused') this.#events.refused()
      if (message.kind !== 'backend') return
      this.away = message.away
      this.#events.backendChanged()
    })
    thread.on('error', (error) => this.#context.log.error({ err: error }, 'el hilo de auditoría falló: se inicia otro'))
    thread.on('exit', () => {
      if (this.#finishing) return
      // What it had taken is given to the next one at once: it has the same name. Of the backend that one knows nothing yet.
      this.#thread = undefined
      if (this.away) {
        this.away = false
        this.#events.backendChanged()
      }
      setTimeout(() => {
        if (!this.#finishing) this.start()
      }, RESTART_MS)
    })
    this.#thread = thread
  }

  /** There is something to write. */
  wake(): void {
    if (!this.#asleep) return
    this.#asleep = false
    this.#send({ kind: 'wake' })
  }

  /** The configuration changed. */
  configure(): void {
    this.#send({ kind: 'configure', data: this.#data() })
  }

  /**
   * Writes what is there and ends the thread.
   * @param patience for a backend that is away
   * @returns why rows were left in Redis, null when none was
   */
  async finish(patience: Millis): Promise<ResthooksError | null> {
    this.#finishing = true
    const thread = this.#thread
    if (!thread) return new Unavailable('el hilo de auditoría no está en marcha')
    const ended = new Promise<ResthooksError | null>((resolve) => {
      thread.on('message', (message: FromThread) => {
        if (message.kind === 'finished') resolve(message.failure && failureOf(message.failure))
      })
      thread.on('exit', () => resolve(new Unavailable('el hilo de auditoría terminó antes de tiempo')))
    })
    this.#send({ kind: 'finish', patience })
    const failure = await atMost(
      patience + CLOSE_MS,
      ended,
      () => new Unavailable('el hilo de auditoría no terminó a tiempo'),
    )
    await thread.terminate()
    return failure
  }

  #data(): ThreadData {
    const { instancia, proyecto, redis, audit, secrets, workers } = this.#context.config()
    const { worker } = this.#context
    return {
      instancia,
      proyecto,
      redis,
      audit,
      worker,
      secrets: secrets.values(),
      level: workers.level,
      given: keptInHints(),
    }
  }

  #send(message: ToThread): void {
    this.#thread?.postMessage(message)
  }
}

function failureOf({ message, code }: { message: string; code: string }): ResthooksError {
  return code === 'CONFIGURACION' ? new ConfigError(message) : new Unavailable(message)
}
