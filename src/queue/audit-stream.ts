/**
 * The reading end of the audit stream, which is never trimmed by length: entries are handed out to one writer at a time and stay until
 * they are acknowledged. `audit-format.ts` knows what is in them.
 */
import type { AuditEvent } from '../audit/event.ts'
import type { Bytes } from '../model/message.ts'
import { readEvent } from './audit-format.ts'
import type { Queue } from './queue.ts'

export interface AuditEntry {
  readonly streamId: string
  /** Null: this version does not understand it, see `fields`. */
  readonly event: AuditEvent | null
  /**
   * Names and values in turn, as they came; empty when the event was understood: it need not be kept twice. Empty beside no
   * event: the entry was taken out of the stream by somebody else, and is only to be acknowledged.
   */
  readonly fields: readonly Buffer[]
  /** What there is not to understand, for a person. */
  readonly why: string
  readonly size: Bytes
}

/** All writers of the audit are consumers of this group. */
export const AUDIT_GROUP = 'postgres'

/** Entries that are read at once. */
const BATCH = 1000
/** A batch of large ones is shorter: it is held in memory several times over. */
const BATCH_BYTES: Bytes = 8 * 1024 * 1024

/** False: no worker ever read the stream. */
export async function auditGroupExists({ redis, keys }: Queue): Promise<boolean> {
  return redis.xinfo('GROUPS', keys.audit).then(
    (groups) => (groups as unknown[]).length > 0,
    () => false,
  )
}

/** A reader of each stream that there may be entries in: ours first, then that of the version before. */
export function auditReaders(queue: Queue, consumer: string): readonly AuditReader[] {
  return [queue.keys.audit, queue.keys.auditBefore].map((stream) => new AuditReader(queue, consumer, stream))
}

export class AuditReader {
  readonly #queue: Queue
  readonly #consumer: string
  readonly #stream: string
  /** Nothing is known about their size yet: after a long outage there may be a gigabyte of large ones. */
  #count = 8
  #wasFull = false

  /** @param consumer the worker's name: what it read and did not acknowledge is its own, until it is dead */
  constructor(queue: Queue, consumer: string, stream = queue.keys.audit) {
    this.#queue = queue
    this.#consumer = consumer
    this.#stream = stream
  }

  /** The next batch of what this worker has read and not acknowledged. */
  pending(atMost = BATCH): Promise<readonly AuditEntry[]> {
    return this.#read('0', atMost)
  }

  /** The next batch of what nobody has read. */
  fresh(atMost = BATCH): Promise<readonly AuditEntry[]> {
    return this.#read('>', atMost)
  }

  /** The last batch was as large as one may be: there may be more. */
  get wasFull(): boolean {
    return this.#wasFull
  }

  /** The newest entry's id, null: the stream is empty. */
  async newest(): Promise<string | null> {
    return (await this.#queue.redis.xrevrange(this.#stream, '+', '-', 'COUNT', 1))[0]?.[0] ?? null
  }

  /** A batch in the order of the stream, whoever reads it too. @param from, to as XRANGE takes them */
  async range(from: string, to: string): Promise<readonly AuditEntry[]> {
    const found = await this.#queue.redis.xrangeBuffer(this.#stream, from, to, 'COUNT', this.#count)
    return this.#entries(found as unknown as [Buffer, Buffer[]][])
  }

  acknowledge(entries: readonly AuditEntry[]): Promise<void> {
    return this.#queue.acknowledge(
      this.#stream,
      AUDIT_GROUP,
      entries.map(({ streamId }) => streamId),
    )
  }

  /** Entries that are not in the backend yet. */
  depth(): Promise<number> {
    return this.#queue.redis.xlen(this.#stream)
  }

  /**
   * Takes over what dead workers had read, and forgets those workers.
   * @param alive names of the workers that give signs of life
   * @returns how many entries were taken over
   */
  async inherit(alive: ReadonlySet<string>): Promise<number> {
    const { redis } = this.#queue
    const consumers = (await this.#orNewGroup(
      () => redis.xinfo('CONSUMERS', this.#stream, AUDIT_GROUP),
      [],
    )) as unknown[][]
    let taken = 0
    for (const fields of consumers) {
      const name = String(fields[fields.indexOf('name') + 1])
      if (name === this.#consumer || alive.has(name)) continue
      for (;;) {
        const pending = (await redis.xpending(this.#stream, AUDIT_GROUP, '-', '+', 500, name)) as [
          string,
          ...unknown[],
        ][]
        if (pending.length === 0) break
        const ids = pending.map(([id]) => id)
        // One that was deleted meanwhile leaves the group, or is read as an empty one and acknowledged.
        await redis.xclaim(this.#stream, AUDIT_GROUP, this.#consumer, 0, ...ids, 'JUSTID')
        taken += ids.length
      }
      await this.#queue.forgetConsumer(this.#stream, AUDIT_GROUP, name)
    }
    return taken
  }

  async #read(from: '0' | '>', atMost: number): Promise<readonly AuditEntry[]> {
    const { redis } = this.#queue
    const count = Math.min(atMost, this.#count)
    const answer = (await this.#orNewGroup(
      () => redis.xreadgroupBuffer('GROUP', AUDIT_GROUP, this.#consumer, 'COUNT', count, 'STREAMS', this.#stream, from),
      null,
    )) as [Buffer, [Buffer, Buffer[] | null][]][] | null
    return this.#entries(answer?.[0]?.[1] ?? [])
  }

  /** After these, so many of their size are a batch; at most twice as many as these, since the next ones may be larger. */
  #entries(found: readonly [Buffer, Buffer[] | null][]): readonly AuditEntry[] {
    const entries = found.map(([id, flat]) => entryOf(id.toString('latin1'), flat ?? []))
    const bytes = entries.reduce((sum, { size }) => sum + size, 1)
    const fitting = Math.floor((BATCH_BYTES * entries.length) / bytes)
    this.#wasFull = entries.length >= this.#count
    if (entries.length > 0) this.#count = Math.max(1, Math.min(BATCH, entries.length * 2 + 16, fitting))
    return entries
  }

  async #orNewGroup<T>(read: () => Promise<T>, empty: T): Promise<T> {
    try {
      return await read()
    } catch (error) {
      if (!/^NOGROUP|no such key/i.test((error as Error).message)) throw error
      const { redis, keys } = this.#queue
      // That of before is made by nobody any more.
      if (this.#stream === keys.audit || (await redis.exists(this.#stream)) > 0)
        await this.#queue.makeGroup(this.#stream, AUDIT_GROUP)
      return empty
    }
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
