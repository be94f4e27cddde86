/** The workers that Redis knows: each gives a sign of life every few seconds, for people, and asks for what changes for all. */
import { scryptSync } from 'node:crypto'
import type { Config } from '../config/config.ts'
import type { Millis } from '../model/message.ts'
import { type Continuity, parseContinuity } from './continuity.ts'
import { type Pause, parsePauses } from './pauses.ts'
import type { Queue } from './queue.ts'
import { orMistyped } from './redis.ts'
import { scriptsOf } from './scripts.ts'

/** Without a heartbeat for this long a worker counts as late, and as dead. */
const LATE_AFTER: Millis = 7_000
const DEAD_AFTER: Millis = 15_000
/** And is forgotten after this. */
const FORGET_AFTER: Millis = 3_600_000

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
  /** Redis time of the last heartbeat, ms since epoch. */
  readonly visto: number
  readonly en_curso: number
  /** The same by listener, the most first; a version before this one does not say. */
  readonly en_curso_por?: Readonly<Record<string, number>>
  /** Audit entries that this one took over from others, which did not write them in time, and when it last did, ms since epoch. */
  readonly heredado?: { readonly filas: number; readonly cuando: number } | null
}

export interface HeartbeatAnswer {
  /** Redis time, ms since epoch. */
  readonly now: number
  /** Living workers of this version whose configuration is another than this one's. */
  readonly differing: readonly WorkerInfo[]
  /** Paused listeners. */
  readonly paused: ReadonlyMap<string, Pause>
  readonly continuity: Continuity
}

/**
 * Gives a sign of life, and forgets those who have given none for an hour.
 * @param again this worker has given one before
 */
export async function writeHeartbeat(
  queue: Queue,
  own: Omit<WorkerInfo, 'visto'>,
  again: boolean,
): Promise<HeartbeatAnswer> {
  const { workers, continuity, fence, listeners, paused } = queue.keys
  const keys = [workers, continuity, fence, listeners, paused]
  const args = [own.worker, JSON.stringify(own), again ? 1 : 0]
  const answer = await scriptsOf(queue.redis).heartbeat(keys.length, ...keys, ...args)
  const [now, flat, held, mark] = answer as [number, Buffer[], Buffer[], Buffer]
  const known = parseWorkers(flat.filter((_, i) => i % 2 === 1).map(String))
  const forgotten = known.filter(({ visto }) => now - visto > FORGET_AFTER).map(({ worker }) => worker)
  if (forgotten.length > 0) await forgetWorkers(queue, forgotten)
  const living = known.filter((worker) => isAlive(worker, now))
  return {
    now,
    differing: otherConfigurations(living, own),
    paused: parsePauses(pairs(held)),
    continuity: parseContinuity(String(mark), true),
  }
}

function pairs(flat: readonly Buffer[]): Record<string, string> {
  return Object.fromEntries(flat.flatMap((name, i) => (i % 2 === 0 ? [[String(name), String(flat[i + 1])]] : [])))
}

/** @param now Redis time */
export function isAlive({ visto }: Pick<WorkerInfo, 'visto'>, now: number): boolean {
  return now - visto <= DEAD_AFTER
}

/** It lives, and should have given a sign of life by now. @param now Redis time */
export function isLate(worker: Pick<WorkerInfo, 'visto'>, now: number): boolean {
  return now - worker.visto > LATE_AFTER && isAlive(worker, now)
}

/** Every worker that is known, dead ones too. */
export async function readWorkers(queue: Queue): Promise<WorkerInfo[]> {
  return parseWorkers(await orMistyped(queue.redis.hvals(queue.keys.workers), []))
}

export async function forgetWorkers({ redis, keys }: Queue, names: readonly string[]): Promise<void> {
  await redis.hdel(keys.workers, ...names)
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

/** @param texts signs of life as they are in Redis */
export function parseWorkers(texts: readonly string[]): WorkerInfo[] {
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
