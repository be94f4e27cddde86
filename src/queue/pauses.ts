/**
 * Listeners on hold: by a person, or by a 410 (Gone). Kept in Redis, so that every worker obeys at once.
 *
 * A pause is written `until reason`, as versions before this one read it, and after another blank what only people look at, as
 * JSON: who paused it and since when.
 */
import { type Author, authorName, currentAuthor } from '../model/author.ts'
import type { Queue } from './queue.ts'

export interface Pause {
  /** Null: until somebody resumes it. */
  readonly until: Date | null
  /** `410` when the listener itself said that it is gone, else `manual`. */
  readonly reason: string
  /** Redis time; null: a script or a version before this one wrote it, without saying. */
  readonly since: Date | null
  /** `root@vm`; null where it is not known. */
  readonly by: string | null
}

/**
 * @param kept which pauses that there are stay as they are; a 410 that is replaced lets one delivery through first when it ends
 * @param by   who asked for it
 * @returns those that stayed
 */
export async function pause(
  queue: Queue,
  listeners: readonly string[],
  until: Date | null,
  kept: (held: Pause) => boolean = () => false,
  by: Author = currentAuthor(),
): Promise<Map<string, Pause>> {
  const { redis, keys } = queue
  if (listeners.length === 0) return new Map()
  const about = JSON.stringify({ v: 1, desde: await queue.now(), quien: authorName(by) })
  const wanted = `${until?.getTime() ?? 0} manual ${about}`
  // First where there is none: a 410 that comes in this moment is not replaced.
  const batch = redis.pipeline()
  for (const name of listeners) batch.hsetnx(keys.paused, name, wanted)
  const answers = (await batch.exec()) ?? []
  const failed = answers.find(([error]) => error !== null)?.[0]
  if (failed) throw failed
  const held = await pauses(queue)
  const before = listeners.filter((_, index) => answers[index]![1] === 0)
  const left = new Map(
    before.flatMap((name) => (held.has(name) && kept(held.get(name)!) ? [[name, held.get(name)!]] : [])),
  )
  const replaced = before.filter((name) => !left.has(name))
  await onTrial(queue, replaced, held)
  if (replaced.length > 0) await redis.hset(keys.paused, ...replaced.flatMap((name) => [name, wanted]))
  return left
}

/** Those that last as long or longer, and those of a 410. */
export function lasts({ until }: Pause, wanted: Date | null): boolean {
  return until === null || (wanted !== null && until >= wanted)
}

/**
 * One that said that it is gone gets one delivery first, as after an open circuit breaker: were it still gone, a hundred would fail.
 * @param kept which stay as they are
 * @returns those that were on hold, as they were
 */
export async function resume(
  queue: Queue,
  listeners: readonly string[],
  kept: (held: Pause) => boolean = () => false,
): Promise<Map<string, Pause>> {
  const held = await pauses(queue)
  // Those that are not on hold too: a pause of this very moment, and a Redis that takes no writes, are noticed.
  const released = listeners.filter((name) => !held.has(name) || !kept(held.get(name)!))
  await onTrial(queue, released, held)
  if (released.length > 0) await queue.redis.hdel(queue.keys.paused, ...released)
  await queue.wake('claim')
  return new Map(listeners.flatMap((name) => (held.has(name) ? [[name, held.get(name)!]] : [])))
}

/** Those of a 410, as `claim` leaves a breaker whose pause is over. What it had counted goes, and with it the hash's own end. */
async function onTrial(queue: Queue, listeners: readonly string[], held: ReadonlyMap<string, Pause>): Promise<void> {
  for (const name of listeners.filter((each) => held.get(each)?.reason === '410')) {
    const { breaker } = queue.lane(name)
    await queue.redis.multi().del(breaker).hset(breaker, 'state', 'half', 'ramp', 1).exec()
  }
}

export async function pauses(queue: Queue): Promise<Map<string, Pause>> {
  return parsePauses(await queue.redis.hgetall(queue.keys.paused))
}

/** @param held the hash as it is in Redis */
export function parsePauses(held: Readonly<Record<string, string>>): Map<string, Pause> {
  return new Map(Object.entries(held).map(([name, text]) => [name, parsePause(text)]))
}

function parsePause(text: string): Pause {
  const [, until = '', reason = 'manual', about = ''] = /^(\d+)(?: (\S+))?(?: (\{.*\}))?/s.exec(text) ?? []
  // What this version does not understand is a pause all the same, as the scripts take it.
  if (until === '') return { until: null, reason: text, since: null, by: null }
  return { until: Number(until) === 0 ? null : new Date(Number(until)), reason, ...parseAbout(about) }
}

function parseAbout(text: string): Pick<Pause, 'since' | 'by'> {
  try {
    const { desde, quien } = JSON.parse(text) as { desde?: unknown; quien?: unknown }
    return {
      since: typeof desde === 'number' ? new Date(desde) : null,
      by: typeof quien === 'string' ? quien : null,
    }
  } catch {
    return { since: null, by: null }
  }
}
