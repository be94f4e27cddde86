/** A worker's sign of life, for `estado` and for those who inherit from the dead. */

import { scryptSync } from 'node:crypto'
import { hostname } from 'node:os'
import type { Config } from '../config/config.ts'
import { writeBeat } from '../queue/beat.ts'
import type { Queue } from '../queue/queue.ts'
import type { WorkerScene } from './scene.ts'

/** A worker beats this often. */
export const BEAT_MS = 3_000
/** Without a beat for this long it counts as dead. */
export const DEAD_AFTER_MS = 15_000
/** And is forgotten after this. */
const FORGET_AFTER_MS = 3_600_000

/** What a worker says about its configuration. Versions before this one say nothing. */
export interface LoadedConfig {
  /** Of what decides who gets a message, and how: two workers with the same say the same. */
  readonly configuracion?: string
  /** A newer one could not be put in force: why, and since when (ms since epoch). */
  readonly configuracion_rechazada?: { readonly motivo: string; readonly desde: number } | null
}

export interface WorkerInfo extends LoadedConfig {
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
  /** Living workers of this version whose configuration is another than this one's. */
  readonly differing: readonly WorkerInfo[]
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
    ...scene.loaded(),
  }
  const { now, workers: known, readers } = await writeBeat(queue, scene.worker, description)
  const workers = parseWorkers(known)
  const forgotten = workers.filter(({ visto }) => now - visto > FORGET_AFTER_MS).map(({ worker }) => worker)
  if (forgotten.length > 0) await queue.redis.hdel(queue.keys.workers, ...forgotten)
  const living = workers.filter(({ visto }) => now - visto <= DEAD_AFTER_MS)
  const alive = new Set(living.map(({ worker }) => worker))
  const differing = otherConfigurations(living, description)
  return { now, alive, differing, deadReaders: readers.some((name) => !alive.has(name)) }
}

/**
 * The workers whose configuration is another than that one's: they give the same message to other listeners. Those of another
 * version are not compared: the same files may mean something else to them.
 */
export function otherConfigurations<W extends Pick<WorkerInfo, 'version' | 'configuracion'>>(
  workers: readonly W[],
  own: Pick<WorkerInfo, 'version' | 'configuracion'>,
): W[] {
  return workers.filter(
    ({ version, configuracion }) =>
      version === own.version && configuracion !== undefined && configuracion !== own.configuracion,
  )
}

/**
 * What two machines compare; where their files lie and how much each does at a time is their own affair. Passwords are part of
 * it, hence a function that is slow to try out.
 */
export function configurationHash({ active, defaultStrategy, listeners }: Config): string {
  const sorted = [...listeners.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  return scryptSync(JSON.stringify([active, defaultStrategy, sorted]), 'resthooks', 8).toString('hex')
}

/** Every worker that is known, dead ones too. */
export async function readWorkers(queue: Queue): Promise<WorkerInfo[]> {
  const known = await queue.redis.hvals(queue.keys.workers).catch((error: Error) => {
    // A key of another type, which `estado` and `verificar` tell of.
    if (/^WRONGTYPE/.test(error.message)) return []
    throw error
  })
  return parseWorkers(known)
}

function parseWorkers(texts: readonly string[]): WorkerInfo[] {
  return texts.flatMap((text) => {
    try {
      const info = JSON.parse(text) as WorkerInfo | null
      // Of a version to come, or of nobody: it stays where it is, but tells nothing here.
      return typeof info?.worker === 'string' && typeof info.visto === 'number' ? [info] : []
    } catch {
      return []
    }
  })
}

export async function sayGoodbye(queue: Queue, scene: WorkerScene): Promise<void> {
  await queue.redis.hdel(queue.keys.workers, scene.worker)
}
