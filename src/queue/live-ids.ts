/**
 * What Redis holds right now, gathered without stopping anybody.
 *
 * Everything moves meanwhile, and always the same way: inbox → being dispatched → handed out → a listener's list → claimed (a state of
 * its own, until the end). Each place is read in that order, and each list from the end that only grows, so that nothing
 * slips past. What is seen may have ended by the time it is asked for; what is not seen had ended, or was never there.
 */
import { understood } from './envelope.ts'
import { FIELD_END, type Queue } from './queue.ts'

interface LiveIds {
  /** Redis's clock before the first look, ms since epoch. */
  readonly since: number
  /** A message that is not dispatched yet. */
  hasMessage(id: string): boolean
  hasDelivery(id: string, listener: string): boolean
}

const CHUNK = 1_000
/** Envelopes are read whole: fewer of them at once. */
const ENVELOPES = 50
/** And fewer still of large ones. */
const BYTES = 1024 * 1024
/** Claims that a stopping worker gives back reappear here. */
const FRONT = 5_000

/** @param listeners names whose queues are looked at, besides those that Redis knows by itself */
export async function gatherLiveIds(queue: Queue, listeners: Iterable<string>): Promise<LiveIds> {
  const { redis, keys } = queue
  const since = await queue.now()
  const ids = new Held()
  await delayed(queue, ids)
  // What a worker of the version before left half-way goes back into the inbox.
  for (const list of [keys.dispatching, keys.inbox, keys.dispatching]) await envelopes(queue, list, ids)
  for (const part of await redis.lrange(keys.fanOut, 0, -1)) {
    const [id, ...names] = part.split(FIELD_END)
    for (const name of names) ids.add(id!, name)
  }
  const names = new Set([...listeners, ...(await redis.smembers(keys.listeners))])
  for (const name of names) await lane(queue, name, ids)
  return {
    since,
    hasMessage: (id) => ids.has(id, NOT_DISPATCHED),
    hasDelivery: (id, listener) => ids.has(id, listener),
  }
}

/** In place of a listener's name. */
const NOT_DISPATCHED = ''

/** A set of ids each: with the listener's name before each id a million deliveries took twice as much (69 and 133 MB). */
class Held {
  readonly #ids = new Map<string, Set<string>>()

  add(id: string, listener: string): void {
    const ids = this.#ids.get(listener)
    if (ids) ids.add(id)
    else this.#ids.set(listener, new Set([id]))
  }

  has(id: string, listener: string): boolean {
    return this.#ids.get(listener)?.has(id) ?? false
  }
}

/** Due ones leave at the front; from the back none is passed over. */
async function delayed({ redis, keys }: Queue, ids: Held): Promise<void> {
  for (let end = -1; ; end -= CHUNK) {
    const found = await redis.zrange(keys.delayed, String(end - CHUNK + 1), String(end))
    for (const id of found) ids.add(id, NOT_DISPATCHED)
    if (found.length < CHUNK) return
  }
}

/** Entries come in on the left and leave on the right: from the left none is passed over. */
async function envelopes({ redis }: Queue, key: string, ids: Held): Promise<void> {
  let count = 1
  for (let start = 0; ; ) {
    const found = await redis.lrangeBuffer(key, start, start + count - 1)
    for (const raw of found) {
      const id = understood(raw)?.message.id
      if (id) ids.add(id, NOT_DISPATCHED)
    }
    if (found.length < count) return
    start += count
    const bytes = found.reduce((sum, raw) => sum + raw.length, 1)
    count = Math.max(1, Math.min(ENVELOPES, Math.floor((BYTES * found.length) / bytes)))
  }
}

/** Ids come in on the right and leave on the left, into the hash, where they stay until their end. */
async function lane(queue: Queue, name: string, ids: Held): Promise<void> {
  const { redis } = queue
  const keys = queue.lane(name)
  for (const list of [keys.queue, keys.front]) {
    for (let end = -1; ; end -= CHUNK) {
      const found = await redis.lrange(list, end - CHUNK + 1, end)
      for (const id of found) ids.add(id, name)
      if (found.length < CHUNK) break
    }
  }
  for (let cursor = '0'; ; ) {
    const [next, fields] = await redis.hscan(keys.deliveries, cursor, 'COUNT', CHUNK)
    for (let i = 0; i < fields.length; i += 2) ids.add(fields[i]!, name)
    if (next === '0') break
    cursor = next
  }
  for (const list of [keys.front, keys.queue]) {
    for (const id of await redis.lrange(list, 0, FRONT - 1)) ids.add(id, name)
  }
}
