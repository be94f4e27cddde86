/** A worker's sign of life, for `estado` and for those who inherit from the dead. */
import { hostname } from 'node:os'
import { writeBeat } from '../queue/beat.ts'
import type { Queue } from '../queue/queue.ts'
import type { WorkerScene } from './scene.ts'

/** A worker beats this often. */
export const BEAT_MS = 3_000
/** Without a beat for this long it counts as dead. */
export const DEAD_AFTER_MS = 15_000
/** And is forgotten after this. */
const FORGET_AFTER_MS = 3_600_000

export interface WorkerInfo {
  readonly worker: string
  readonly host: string
  readonly pid: number
  readonly version: string
  /** ms since epoch. */
  readonly desde: number
  /** Redis time of the last beat, ms since epoch. */
  readonly visto: number
  readonly en_curso: number
}

export interface Beat {
  /** Redis time, ms since epoch. */
  readonly now: number
  /** Workers that give signs of life, this one included. */
  readonly alive: ReadonlySet<string>
  /** A worker that is not alive has a name among the readers of the audit. */
  readonly deadReaders: boolean
  /** Audit events that are not in the backend yet. */
  readonly audit: number
}

/** Gives a sign of life, and forgets those who have given none for an hour. */
export async function beat(queue: Queue, scene: WorkerScene, startedAt: number): Promise<Beat> {
  const description: Omit<WorkerInfo, 'visto'> = {
    worker: scene.worker,
    host: hostname(),
    pid: process.pid,
    version: scene.version,
    desde: startedAt,
    en_curso: scene.inFlight(),
  }
  const { now, workers: known, readers, audit } = await writeBeat(queue, scene.worker, description)
  const workers = parseWorkers(known)
  const forgotten = workers.filter(({ visto }) => now - visto > FORGET_AFTER_MS).map(({ worker }) => worker)
  if (forgotten.length > 0) await queue.redis.hdel(queue.keys.workers, ...forgotten)
  const alive = new Set(workers.filter(({ visto }) => now - visto <= DEAD_AFTER_MS).map(({ worker }) => worker))
  return { now, alive, deadReaders: readers.some((name) => !alive.has(name)), audit }
}

/** Every worker that is known, dead ones too. */
export async function readWorkers(queue: Queue): Promise<WorkerInfo[]> {
  return parseWorkers(await queue.redis.hvals(queue.keys.workers))
}

function parseWorkers(texts: readonly string[]): WorkerInfo[] {
  return texts.flatMap((text) => {
    try {
      return [JSON.parse(text) as WorkerInfo]
    } catch {
      return []
    }
  })
}

export async function sayGoodbye(queue: Queue, scene: WorkerScene): Promise<void> {
  await queue.redis.hdel(queue.keys.workers, scene.worker)
}
