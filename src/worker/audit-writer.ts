/**
 * From the audit stream to the backend. One writer a process; what it has read is its own until the backend has it.
 *
 * A failure here never touches a delivery: rows wait in the stream, for a week if need be.
 */
import type { AuditBackend } from '../audit/backend.ts'
import type { AuditEvent } from '../audit/event.ts'
import type { RedisConfig } from '../config/config.ts'
import { ConfigError, type ResthooksError } from '../errors.ts'
import type { AuditEntry, AuditReader } from '../queue/audit-stream.ts'
import { isRedisOutage, redisTrouble } from '../queue/redis.ts'
import type { Logger } from './log.ts'
import { LONGEST_SLEEP } from './loop.ts'
import type { Outage } from './outage.ts'
import { Signal, sleep } from './waiting.ts'

/**
 * A smaller batch than this waits a moment for company, what comes after a silence too: a transaction costs as much as a hundred
 * rows, and a delivery whose beginning and end come together is written once instead of twice. No longer: what Redis loses meanwhile
 * is not in Postgres for `recuperar`.
 */
const WORTHWHILE = 500
const GATHER_MS = 100

export interface AuditWriterOptions {
  readonly log: Logger
  readonly redis: () => RedisConfig
  /** Of Postgres. */
  readonly outage: Outage
  /** Postgres refuses the credentials. */
  readonly refused: () => void
  readonly redisOutage: Outage
  /** Called before each sleep: from now on it is worth its cost to wake it. */
  readonly asleep: () => void
  /** The backend has taken so many. */
  readonly wrote: (rows: number) => void
  /** Called when the backend goes away, and when it is back. */
  readonly away: (away: boolean) => void
}

export class AuditWriter {
  readonly #readers: readonly AuditReader[]
  readonly #backend: AuditBackend
  readonly #options: AuditWriterOptions
  readonly #woken = new Signal()
  /** The last thing that was written arrived. */
  wrote = false
  /** Why the backend takes nothing at present. */
  trouble: ResthooksError | null = null
  #stopping = false
  /** After a start, a failure, or an inheritance: what was read and not written comes first, of each of these. */
  readonly #pendingFirst: Set<AuditReader>

  constructor(readers: readonly AuditReader[], backend: AuditBackend, options: AuditWriterOptions) {
    this.#readers = readers
    this.#pendingFirst = new Set(readers)
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
        this.#options.asleep()
        await this.#woken.wait(wait)
        if (!this.#stopping) await sleep(GATHER_MS)
      }
    }
  }

  /** Read again what this worker owns: entries of a dead one were added to it. */
  inherited(): void {
    this.#ownFirst()
    this.wake()
  }

  #ownFirst(): void {
    for (const reader of this.#readers) this.#pendingFirst.add(reader)
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
    this.#ownFirst()
    for (;;) {
      try {
        if ((await this.#pass()) === 0) return
      } catch (error) {
        if (performance.now() > end) throw error
        // What it had just read is its own by now, and would not come again as fresh.
        this.#ownFirst()
        await sleep(200)
      }
    }
  }

  /** @returns ms to wait before the next step, 0: there is more */
  async #step(): Promise<number> {
    try {
      const count = await this.#pass()
      if (count >= WORTHWHILE || this.#readers.some(({ wasFull }) => wasFull)) return 0
      // Whoever writes an event of this worker wakes it, and the poller does for those of others.
      return count > 0 ? GATHER_MS : LONGEST_SLEEP
    } catch (error) {
      this.#ownFirst()
      if (isRedisOutage(error)) return this.#options.redisOutage.failed(redisTrouble(error, this.#options.redis()))
      return this.failed(error as ResthooksError)
    }
  }

  /** Postgres cannot be written to. @returns ms to wait before the next step */
  failed(error: ResthooksError): number {
    this.wrote = false
    if (error instanceof ConfigError) this.#options.refused()
    this.#setTrouble(error)
    return this.#options.outage.failed(error)
  }

  /** Postgres can be worked with. */
  worked(): void {
    this.#setTrouble(null)
    this.#options.outage.worked()
  }

  #setTrouble(trouble: ResthooksError | null): void {
    if ((trouble === null) !== (this.trouble === null)) this.#options.away(trouble !== null)
    this.trouble = trouble
  }

  /** @returns how many entries were written */
  async #pass(): Promise<number> {
    let count = 0
    for (const reader of this.#readers) count += await this.#passOf(reader)
    return count
  }

  async #passOf(reader: AuditReader): Promise<number> {
    let entries: readonly AuditEntry[] = []
    if (this.#pendingFirst.has(reader)) {
      entries = await reader.pending()
      if (entries.length === 0) this.#pendingFirst.delete(reader)
    }
    if (entries.length === 0) entries = await reader.fresh()
    if (entries.length === 0) return 0
    const events = entries.map(({ event }) => event).filter((event): event is AuditEvent => event !== null)
    const strange = entries.filter(({ event, fields }) => event === null && fields.length > 0)
    if (events.length > 0) await this.#backend.write(events)
    if (strange.length > 0) await this.#backend.setAside(strange)
    this.worked()
    this.wrote = true
    this.#options.wrote(events.length)
    if (strange.length > 0) {
      this.#options.log.error(
        { cantidad: strange.length, primera: strange[0]!.streamId, motivo: strange[0]!.why },
        'entradas que esta versión no entiende en el flujo de auditoría: están, enteras, en auditoria_rechazada',
      )
    }
    await reader.acknowledge(entries)
    return entries.length
  }
}
