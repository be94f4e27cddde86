/**
 * The reading end of the audit streams, which are never trimmed by length: each entry stays until it is in the backend. Readers share
 * a stream by taking one stretch of it at a time (`lua/stretch.lua`); whoever is late may find it written by another, which changes
 * nothing. `audit-format.ts` knows what is in the entries.
 */
import type { AuditEvent } from '../audit/event.ts'
import type { Bytes, Millis } from '../model/message.ts'
import { readEvent } from './audit-format.ts'
import type { Queue } from './queue.ts'
import { scriptsOf } from './scripts.ts'

export interface AuditEntry {
  readonly streamId: string
  /** Null: this version does not understand it, see `fields`. */
  readonly event: AuditEvent | null
  /** Names and values in turn, as they came; empty when the event was understood: it need not be kept twice. */
  readonly fields: readonly Buffer[]
  /** What there is not to understand, for a person. */
  readonly why: string
  readonly size: Bytes
}

/** A part of the stream that one reader writes into the backend. */
export interface Stretch {
  readonly entries: readonly AuditEntry[]
  /** Id of its last entry: what it is called. */
  readonly last: string
  /** Another reader had taken it, and its time ran out. */
  readonly inherited: boolean
}

/** So long a stretch is its reader's: as long as until a worker counts as dead. */
const HOLD: Millis = 15_000
/** And while it is being written, however long that takes, its time begins anew so often: two of these may get lost. */
export const RENEW_EVERY: Millis = 4_000
/** Entries that are read at once. */
const READ = 1000
/**
 * Entries that are written in one transaction, two readings of them. A delivery whose beginning and end lie in two batches is written
 * twice: at full load 17 of 100 with batches of 1000, 8 with these.
 */
const BATCH = 2 * READ
/** Of large ones fewer are read: they are held in memory several times over, and reading them holds Redis. */
const READ_BYTES: Bytes = 2 * 1024 * 1024

/** A reader of each stream that there may be entries in: ours first, then that of the version before. */
export function auditReaders(queue: Queue, name: string): readonly AuditReader[] {
  const { audit, auditStretches, auditBefore, auditBeforeStretches } = queue.keys
  return [
    new AuditReader(queue, name, audit, auditStretches),
    new AuditReader(queue, name, auditBefore, auditBeforeStretches),
  ]
}

export class AuditReader {
  readonly #queue: Queue
  readonly #name: string
  readonly #stream: string
  readonly #stretches: string
  readonly #batch: number
  /** Nothing is known about their size yet: after a long outage there may be a gigabyte of large ones. */
  #count = 8
  #hasMore = false

  /**
   * @param name  the worker's: what it took and knows nothing of any more is given to it again at once
   * @param batch while another reader is at work, less than this is left to it
   */
  constructor(
    queue: Queue,
    name: string,
    stream = queue.keys.audit,
    stretches = queue.keys.auditStretches,
    batch = BATCH,
  ) {
    this.#queue = queue
    this.#name = name
    this.#stream = stream
    this.#stretches = stretches
    this.#batch = batch
  }

  /** The last stretch was as large as one may be, or one that had been left: there may be more. */
  get hasMore(): boolean {
    return this.#hasMore
  }

  /** The next stretch that nobody writes, null: there is none. It is this reader's for some seconds, see `renew`. */
  async take(): Promise<Stretch | null> {
    for (;;) {
      const answer = await this.#ask('take', HOLD, String(this.#batch))
      const [after, end, again = 0] = answer as [Buffer?, Buffer?, number?]
      if (!after || !end) {
        this.#hasMore = false
        return null
      }
      const whole = String(end)
      const first = await this.range(`(${after}`, whole)
      const second = this.#hasMore ? await this.range(`(${first.at(-1)!.streamId}`, whole) : []
      const entries = [...first, ...second]
      const read = entries.at(-1)?.streamId
      const isPart = this.#hasMore && read !== whole
      // What has come since is behind it.
      if (again > 0) this.#hasMore = true
      // Somebody has removed them: there is nothing to write.
      if (read === undefined) await this.#ask('written', 0, whole)
      else if (!isPart) return { entries, last: whole, inherited: again === 2 }
      else if (await this.#ask('keep', 0, whole, read)) return { entries, last: read, inherited: again === 2 }
    }
  }

  /** It is still being written. */
  async renew({ last }: Stretch): Promise<void> {
    await this.#ask('hold', HOLD, last)
  }

  /** It was not written: whoever can may do it. */
  async giveBack({ last }: Stretch): Promise<void> {
    await this.#ask('hold', 0, last)
  }

  /** It is in the backend, and leaves the stream as soon as all that is older does. Nothing happens where another has it by now. */
  async acknowledge({ last }: Stretch): Promise<void> {
    await this.#ask('written', 0, last)
  }

  /** The newest entry's id, null: the stream is empty. */
  async newest(): Promise<string | null> {
    return (await this.#queue.redis.xrevrange(this.#stream, '+', '-', 'COUNT', 1))[0]?.[0] ?? null
  }

  /**
   * Some in the order of the stream, whoever writes them too. After these, so many of their size are read at once; at most twice as many
   * as these, since the next ones may be larger.
   * @param from, to as XRANGE takes them
   */
  async range(from: string, to: string): Promise<readonly AuditEntry[]> {
    const found: unknown = await this.#queue.redis.xrangeBuffer(this.#stream, from, to, 'COUNT', this.#count)
    const entries = (found as [Buffer, Buffer[]][]).map(([id, fields]) => entryOf(id.toString('latin1'), fields))
    const bytes = entries.reduce((sum, { size }) => sum + size, 1)
    const fitting = Math.floor((READ_BYTES * entries.length) / bytes)
    this.#hasMore = entries.length >= this.#count
    if (entries.length > 0) this.#count = Math.max(1, Math.min(READ, entries.length * 2 + 16, fitting))
    return entries
  }

  /** Removes entries that are in the backend, whoever writes them too. */
  async remove(entries: readonly AuditEntry[]): Promise<void> {
    if (entries.length > 0) await this.#queue.redis.xdel(this.#stream, ...entries.map(({ streamId }) => streamId))
  }

  /** Entries that are not in the backend yet. */
  depth(): Promise<number> {
    return this.#queue.redis.xlen(this.#stream)
  }

  #ask(action: 'take' | 'keep' | 'hold' | 'written', hold: Millis, ...ids: readonly string[]): Promise<unknown> {
    return scriptsOf(this.#queue.redis).stretch(2, this.#stretches, this.#stream, action, this.#name, hold, ...ids)
  }
}

/** One entry of the stream, as XRANGE gives it. */
export function entryOf(streamId: string, fields: readonly Buffer[]): AuditEntry {
  let size = 0
  for (const field of fields) size += field.length
  try {
    return { streamId, event: readEvent(fields), fields: [], why: '', size }
  } catch (error) {
    return { streamId, event: null, fields, why: (error as Error).message, size }
  }
}
