/** A worker's sign of life, for `estado` and for those who inherit from the dead. */
import { hostname } from 'node:os'
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

/** Writes the beat and @returns Redis's clock and the workers that are alive, this one included. */
export async function beat(
  queue: Queue,
  scene: WorkerScene,
  startedAt: number,
): Promise<{ now: number; alive: Set<string> }> {
  const now = await queue.now()
  const info: WorkerInfo = {
    worker: scene.worker,
    host: hostname(),
    pid: process.pid,
    version: scene.version,
    desde: startedAt,
    visto: now,
    en_curso: scene.inFlight(),
  }
  await queue.beat(scene.worker, JSON.stringify(info))
  const workers = await readWorkers(queue)
  const forgotten = workers.filter(({ visto }) => now - visto > FORGET_AFTER_MS).map(({ worker }) => worker)
  if (forgotten.length > 0) await queue.redis.hdel(queue.keys.workers, ...forgotten)
  return {
    now,
    alive: new Set(workers.filter(({ visto }) => now - visto <= DEAD_AFTER_MS).map(({ worker }) => worker)),
  }
}

/** Every worker that is known, dead ones too. */
export async function readWorkers(queue: Queue): Promise<WorkerInfo[]> {
  const all = await queue.redis.hgetall(queue.keys.workers)
  return Object.values(all).flatMap((text) => {
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
