/**
 * What `recuperar`, `reenviar` and `descartar` do alike: the lock under which anything changes, the audit brought up to date
 * before anything is decided from it, batches that hold Redis for a moment, and the count of what became of it.
 */
import type { AuditBackend } from '../audit/backend.ts'
import type { ActionRecord, AuditEvent } from '../audit/event.ts'
import type { AuditQueries } from '../audit/queries.ts'
import type { Config } from '../config/config.ts'
import { newId } from '../id.ts'
import type { Bytes, Millis } from '../model/message.ts'
import { type AuditReader, auditReaders } from '../queue/audit-stream.ts'
import { QueueAdmin, type RestoredMessage, takeMaintenanceLock } from '../queue/maintenance.ts'
import type { Queue } from '../queue/queue.ts'
import { type Problem, type Selection, selectionText } from './selection.ts'

export interface Maintenance {
  readonly config: Config
  readonly queue: Queue
  readonly audit: AuditQueries
  readonly backend: AuditBackend
  /** Count only; nothing is changed in Redis. */
  readonly simulate: boolean
  /** Told to the person, on the way. */
  readonly note: (text: string) => void
  /** Who asked for it, and with what words: kept in the audit with all that it changes. */
  readonly action: Omit<ActionRecord, 'id' | 'count'>
  /** How many are done, those with which it did not work included. */
  readonly progress?: (done: number) => void
}

/** What `reenviar` and `descartar` are told beside what was chosen. */
export interface Run {
  /** Deliveries at most. */
  readonly limit: number
  /** How many a person was shown and agreed to: where there are more or fewer by now, nothing is done. */
  readonly expected?: number | undefined
}

/** Tells the audit who does what, from the first change on: what is found to be nothing leaves no trace. */
export class Told {
  readonly #maintenance: Maintenance
  readonly #admin: QueueAdmin | null
  readonly #filter: string | null
  #begun = false
  #counted = 0

  constructor(maintenance: Maintenance, admin: QueueAdmin | null, selection: Selection | null) {
    this.#maintenance = maintenance
    this.#admin = admin
    this.#filter = maintenance.action.filter ?? (selection && selectionText(selection))
  }

  /** Before a delivery is changed; once is enough. */
  async begin(): Promise<void> {
    if (this.#begun || this.#admin === null) return
    this.#begun = true
    const { action, config } = this.#maintenance
    const filter = this.#filter && config.secrets.hide(this.#filter)
    await this.#admin.began({ ...action, filter, id: newId(), count: 0 })
  }

  /** After each step: who is interrupted, or loses Redis, has done what came before. @param done deliveries that were changed so far */
  async count(done: number): Promise<void> {
    if (!this.#begun || done === this.#counted) return
    await this.#admin?.counted(done)
    this.#counted = done
  }
}

export const LOCK_PATIENCE: Millis = 60_000

export const NO_BODY =
  'su cuerpo no se guarda en la auditoría (auditar_cuerpo = 0): envíelo de nuevo desde el sistema de origen'
export const NO_LISTENER = 'el listener no está en resthooks.ini, o está inactivo'
export const NO_MESSAGE = 'la auditoría no tiene la fila de su mensaje: envíelo de nuevo desde el sistema de origen'

/**
 * Runs `work` while no other maintenance command changes anything; a simulation needs no lock and gets no admin.
 * @param patience ms to wait for another one
 * @throws OperationFailed when the other one does not end in time
 */
export async function underLock<T>(
  maintenance: Maintenance,
  command: string,
  patience: Millis,
  work: (admin: QueueAdmin | null) => Promise<T>,
): Promise<T> {
  if (maintenance.simulate) return work(null)
  const lock = await takeMaintenanceLock(maintenance.queue, command, patience, maintenance.note)
  try {
    return await work(new QueueAdmin(maintenance.queue, lock))
  } finally {
    await lock.release()
  }
}

/**
 * What ended in Redis may still be on its way to Postgres, where it looks unfinished. Everything up to the newest event of
 * this moment is written here, whether workers write it too or not (writing twice changes nothing), so it ends also where
 * no worker runs.
 * @throws Unavailable or ConfigError when Postgres does not take them
 */
export async function drainAudit(queue: Queue, backend: AuditBackend): Promise<void> {
  for (const reader of auditReaders(queue, 'mantenimiento')) await drainStream(reader, backend)
}

async function drainStream(reader: AuditReader, backend: AuditBackend): Promise<void> {
  const last = await reader.newest()
  for (let from = '-'; last !== null; ) {
    const entries = await reader.range(from, last)
    if (entries.length === 0) break
    // What is not an event of ours is the workers' to report.
    const ours = entries.filter(({ event }) => event !== null)
    await backend.write(ours.map(({ event }) => event as AuditEvent))
    await reader.remove(ours)
    from = `(${entries.at(-1)!.streamId}`
  }
}

const ITEMS = 100
const BYTES: Bytes = 1024 * 1024

/** Gathers messages until they are worth a script: a hundred items, or a megabyte. */
export class Batches {
  readonly #send: (messages: readonly RestoredMessage[]) => Promise<void>
  #messages: RestoredMessage[] = []
  #items = 0
  #bytes = 0

  constructor(send: (messages: readonly RestoredMessage[]) => Promise<void>) {
    this.#send = send
  }

  async add(message: RestoredMessage): Promise<void> {
    this.#messages.push(message)
    this.#items += message.items.length
    this.#bytes += message.envelope.length
    if (this.#items >= ITEMS || this.#bytes >= BYTES) await this.flush()
  }

  async flush(): Promise<void> {
    const messages = this.#messages
    this.#messages = []
    this.#items = 0
    this.#bytes = 0
    if (messages.length > 0) await this.#send(messages)
  }
}

const KEPT = 1_000

/** What became of many deliveries: how many by listener, and those with which it did not work. */
export class Tally {
  readonly #listeners = new Map<string, number>()
  readonly #problems: Problem[] = []
  readonly #progress: (done: number) => void
  #problemCount = 0
  #total = 0

  /** @param progress told how many are done, after each */
  constructor(progress: (done: number) => void = () => {}) {
    this.#progress = progress
  }

  done(listener: string): void {
    this.#listeners.set(listener, (this.#listeners.get(listener) ?? 0) + 1)
    this.#total += 1
    this.#progress(this.#total + this.#problemCount)
  }

  problem(mensaje_id: string, listener: string, motivo: string): void {
    this.#problemCount += 1
    this.#progress(this.#total + this.#problemCount)
    if (this.#problems.length < KEPT) this.#problems.push({ mensaje_id, listener, motivo })
  }

  get total(): number {
    return this.#total
  }

  get listeners(): { readonly listener: string; readonly cantidad: number }[] {
    return [...this.#listeners].map(([listener, cantidad]) => ({ listener, cantidad }))
  }

  /** The first thousand; `problemCount` counts all. */
  get problems(): readonly Problem[] {
    return this.#problems
  }

  get problemCount(): number {
    return this.#problemCount
  }
}
