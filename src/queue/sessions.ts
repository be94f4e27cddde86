/**
 * Who is logged in to the panel: kept in Redis, so that a session outlives a restart of the page, and ends everywhere at once.
 *
 * Known by the hash of its id, which only the browser has. It ends when nobody used it for `IDLE`, or at its absolute end,
 * whichever comes first; both are Redis's time.
 */
import { createHash } from 'node:crypto'
import type { Millis } from '../model/message.ts'
import type { Queue } from './queue.ts'

export interface PanelSession {
  readonly usuario: string
  /** Of what let it in (the entry of its password, the page's own key): where that is another now, it is over. */
  readonly marca: string
  /** ms since epoch. */
  readonly desde: number
  readonly hasta: number
  /** The address that it began from. */
  readonly equipo: string
}

const IDLE: Millis = 2 * 3_600_000
const LONGEST: Millis = 12 * 3_600_000

/** @param id opaque, of the browser alone */
export async function beginSession(queue: Queue, id: string, who: Pick<PanelSession, 'usuario' | 'marca' | 'equipo'>) {
  const { redis, keys } = queue
  const now = await queue.now()
  const session: PanelSession = { ...who, desde: now, hasta: now + LONGEST }
  const hash = hashOf(id)
  // Those that ended by themselves go with the next that begins.
  const old = await redis.zrangebyscore(keys.sessionsSeen, '-inf', now - IDLE)
  if (old.length > 0) await forget(queue, old)
  await redis.hset(keys.sessions, hash, JSON.stringify(session))
  await redis.zadd(keys.sessionsSeen, now, hash)
}

/** Null: it never began, or it is over. A use of it, where it goes on. */
export async function useSession(queue: Queue, id: string): Promise<PanelSession | null> {
  const { redis, keys } = queue
  const hash = hashOf(id)
  const [now, text, seen] = await Promise.all([
    queue.now(),
    redis.hget(keys.sessions, hash),
    redis.zscore(keys.sessionsSeen, hash),
  ])
  const session = text === null || seen === null ? null : (JSON.parse(text) as PanelSession)
  if (session === null) return null
  if (session.hasta <= now || Number(seen) <= now - IDLE) {
    await forget(queue, [hash])
    return null
  }
  // XX: one that somebody ended in this moment does not come back.
  await redis.zadd(keys.sessionsSeen, 'XX', now, hash)
  return session
}

export async function endSession(queue: Queue, id: string): Promise<void> {
  await forget(queue, [hashOf(id)])
}

/**
 * @param user null: everybody's
 * @returns how many there were
 */
export async function endSessions(queue: Queue, user: string | null): Promise<number> {
  const all = Object.entries(await queue.redis.hgetall(queue.keys.sessions))
  const theirs = all.filter(([, text]) => user === null || (JSON.parse(text) as PanelSession).usuario === user)
  const hashes = theirs.map(([hash]) => hash)
  if (hashes.length > 0) await forget(queue, hashes)
  return hashes.length
}

async function forget({ redis, keys }: Queue, hashes: readonly string[]): Promise<void> {
  await Promise.all([redis.hdel(keys.sessions, ...hashes), redis.zrem(keys.sessionsSeen, ...hashes)])
}

function hashOf(id: string): string {
  return createHash('sha256').update(id).digest('base64url')
}
