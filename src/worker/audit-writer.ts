/**
 * From the audit streams to the backend. One writer a process; several share a stream, a stretch at a time, and what one of them
 * cannot write is any other's.
 *
 * A failure here never touches a delivery: rows wait in the stream, for a week if need be.
 */
import type { AuditBackend } from '../audit/backend.ts'
import type { AuditEvent } from '../audit/event.ts'
import type { RedisConfig } from '../config/config.ts'
import { ConfigError, type ResthooksError } from '../errors.ts'
import { type AuditEntry, type AuditReader, RENEW_EVERY, type Stretch } from '../queue/audit-stream.ts'
import { isRedisOutage, redisTrouble } from '../queue/redis.ts'
import type { FromThread } from './audit-thread.ts'
import type { Logger } from './log.ts'
import { LONGEST_SLEEP } from './loop.ts'
import type { Outage } from './outage.ts'
import { Signal, sleep } from './waiting.ts'

/**
 * Less than a whole batch waits a moment for company, what comes after a silence too: a transaction costs as much as a hundred
 * rows, and a delivery whose beginning and end come together is written once instead of twice. No longer: what Redis loses meanwhile
 * is not in Postgres for `recuperar`.
 */
const GATHER_MS = 100

/** What the writer needs of a backend. */
export type AuditTaker = Pick<AuditBackend, 'write' | 'setAside'>

export interface AuditWriterOptions {
  readonly log: Logger
  readonly redis: () => RedisConfig
  /** Of Postgres. */
  readonly outage: Outage
  readonly redisOutage: Outage
  readonly tell: (message: FromThread) => void
}

export class AuditWriter {
  readonly #readers: readonly AuditReader[]
  readonly #backend: AuditTaker
  readonly #options: AuditWriterOptions
  readonly #woken = new Signal()
  /** The last thing that was written arrived. */
  wrote = false
  /** Why the backend takes nothing at present. */
  trouble: ResthooksError | null = null
  #stopping = false

  constructor(readers: readonly AuditReader[], backend: AuditTaker, options: AuditWriterOptions) {
    this.#readers = readers
    this.#backend = backend
    this.#options = options
  }

  /** Runs until `stop`. */
  async run(): Promise<void> {
    while (!this.#stopping) {
      const wait = await this.#step()
      if (wait === 0 || this.#stopping) continue
      if (wait === GATHER_MS) await sleep(wait)
      else {
        this.#options.tell({ kind: 'asleep' })
        await this.#woken.wait(wait)
        if (!this.#stopping) await sleep(GATHER_MS)
      }
    }
  }

  /** There is something to write. */
  wake(): void {
    this.#woken.notify()
  }

  stop(): void {
    this.#stopping = true
    this.wake()
  }

  /**
   * Writes what is there, until there is nothing more.
   * @param patience ms to try for while the backend is away
   * @throws Unavailable or ConfigError when the backend did not take it in time: the rows stay in Redis
   */
  async drain(patience: number): Promise<void> {
    const end = performance.now() + patience
    for (;;) {
      try {
        if ((await this.#pass()) === 0) return
      } catch (error) {
        if (performance.now() > end) throw error
        await sleep(200)
      }
    }
  }

  /** @returns ms to wait before the next step, 0: there is more */
  async #step(): Promise<number> {
    try {
      const count = await this.#pass()
      if (this.#readers.some(({ hasMore }) => hasMore)) return 0
      // Whoever writes an event of this worker wakes it, and the poller does for those of others.
      return count > 0 ? GATHER_MS : LONGEST_SLEEP
    } catch (error) {
      if (isRedisOutage(error)) return this.#options.redisOutage.failed(redisTrouble(error, this.#options.redis()))
      return this.failed(error as ResthooksError)
    }
  }

  /** Postgres cannot be written to. @returns ms to wait before the next step */
  failed(error: ResthooksError): number {
    this.wrote = false
    if (error instanceof ConfigError) this.#options.tell({ kind: 'refused' })
    this.#setTrouble(error)
    return this.#options.outage.failed(error)
  }

  /** Postgres can be worked with. */
  worked(): void {
    this.#setTrouble(null)
    this.#options.outage.worked()
  }

  #setTrouble(trouble: ResthooksError | null): void {
    if ((trouble === null) !== (this.trouble === null)) this.#options.tell({ kind: 'backend', away: trouble !== null })
    this.trouble = trouble
  }

  /** @returns how many entries were written */
  async #pass(): Promise<number> {
    let count = 0
    for (const reader of this.#readers) count += await this.#passOf(reader)
    return count
  }

  async #passOf(reader: AuditReader): Promise<number> {
    const stretch = await reader.take()
    if (stretch === null) return 0
    const { entries, inherited } = stretch
    if (inherited) this.#options.tell({ kind: 'inherited', rows: entries.length })
    await this.#holding(reader, stretch, () => this.#write(entries))
    await reader.acknowledge(stretch)
    return entries.length
  }

  /** While the backend works on a stretch, for seconds or minutes, it is kept; where that fails it is anybody's at once. */
  async #holding(reader: AuditReader, stretch: Stretch, work: () => Promise<void>): Promise<void> {
    // Without Redis its time runs out, and acknowledging it, or giving it back, tells why.
    const timer = setInterval(() => void reader.renew(stretch).catch(() => {}), RENEW_EVERY)
    try {
      await work()
    } catch (error) {
      clearInterval(timer)
      // Likewise; what stopped the work is what is to be told.
      await reader.giveBack(stretch).catch(() => {})
      throw error
    } finally {
      clearInterval(timer)
    }
  }

  async #write(entries: readonly AuditEntry[]): Promise<void> {
    const events = entries.map(({ event }) => event).filter((event): event is AuditEvent => event !== null)
    const strange = entries.filter(({ event }) => event === null)
    if (events.length > 0) await this.#backend.write(events)
    if (strange.length > 0) await this.#backend.setAside(strange)
    this.worked()
    this.wrote = true
    this.#options.tell({ kind: 'wrote', rows: events.length })
    if (strange.length > 0) {
      this.#options.log.error(
        { cantidad: strange.length, primera: strange[0]!.streamId, motivo: strange[0]!.why },
        'entradas que esta versión no entiende en el flujo de auditoría: están, enteras, en auditoria_rechazada',
      )
    }
  }
}
