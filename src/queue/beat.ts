/** A worker's sign of life in Redis, and the answers that come with it: all of it one script call every few seconds. */
import { AUDIT_GROUP } from './audit-reader.ts'
import type { Queue } from './queue.ts'
import { scriptsOf } from './scripts.ts'

export interface Beaten {
  /** Redis time, ms since epoch. */
  readonly now: number
  /** Descriptions of every worker that is known (JSON), with `visto`, the time of its last beat. */
  readonly workers: readonly string[]
  /** Workers that once read the audit stream and were not forgotten. */
  readonly readers: readonly string[]
}

/** @param description of the worker, without `visto` */
export async function writeBeat(queue: Queue, worker: string, description: object): Promise<Beaten> {
  const { workers, audit } = queue.keys
  const args = [workers, audit, worker, JSON.stringify(description), AUDIT_GROUP]
  const [now, readers, known] = (await scriptsOf(queue.redis).beat(2, ...args)) as [number, Buffer[], Buffer[]]
  return {
    now,
    workers: known.filter((_, i) => i % 2 === 1).map(String),
    readers: readers.map(String),
  }
}
