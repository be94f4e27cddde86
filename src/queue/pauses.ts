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
 * @param rule `this` replaces the pauses that there are, `longest` leaves those that last as long or longer, and 410's
 * @param by   who asked for it
 * @returns those that were left as they are
 */
export async function pause(
  queue: Queue,
  listeners: readonly string[],
  until: Date | null,
  rule: 'this' | 'longest' = 'this',
  by: Author = currentAuthor(),
): Promise<Map<string, Pause>> {
  const { redis, keys } = queue
  const about = JSON.stringify({ v: 1, desde: await queue.now(), quien: authorName(by) })
  const wanted = `${until?.getTime() ?? 0} manual ${about}`
  const left = new Map<string, Pause>()
  let replaced = listeners
  if (rule === 'longest' && listeners.length > 0) {
    // First where there is none: a 410 that comes in this moment is not replaced.
    const batch = redis.pipeline()
    for (const name of listeners) batch.hsetnx(keys.paused, name, wanted)
    const answers = (await batch.exec()) ?? []
    const failed = answers.find(([error]) => error !== null)?.[0]
    if (failed) throw failed
    const held = await pauses(queue)
    for (const [index, name] of listeners.entries()) {
      const before = held.get(name)
      if (answers[index]![1] === 0 && before && lasts(before, until)) left.set(name, before)
    }
    replaced = listeners.filter((name, index) => answers[index]![1] === 0 && !left.has(name))
  }
  if (replaced.length > 0) await redis.hset(keys.paused, ...replaced.flatMap((name) => [name, wanted]))
  return left
}

function lasts(held: Pause, until: Date | null): boolean {
  return held.until === null || (until !== null && held.until >= until)
}

/** @returns those that were on hold */
export async function resume(queue: Queue, listeners: readonly string[]): Promise<Set<string>> {
  const held = await pauses(queue)
  if (listeners.length > 0) await queue.redis.hdel(queue.keys.paused, ...listeners)
  await queue.wake('claim')
  return new Set(listeners.filter((name) => held.has(name)))
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
