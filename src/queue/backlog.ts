/**
 * How much audit waits for Postgres, and when that is too much: deliveries then stop, before what they leave behind fills
 * Redis. Only reads.
 */
import type { AuditConfig } from '../config/config.ts'
import type { Bytes } from '../model/message.ts'
import type { Queue } from './queue.ts'
import { orForbidden } from './redis.ts'

export interface Backlog {
  /** Events that wait. */
  readonly events: number
  /** What they take of Redis's memory, and what all of it takes; null: Redis does not let this user ask. */
  readonly bytes: Bytes | null
  readonly used: Bytes | null
  /** 0: no limit, or none that this user may know. */
  readonly maxMemory: Bytes
}

export type StopReason = 'max_pendientes' | 'max_pendientes_bytes' | 'memoria'

/** Half of a smaller memory would be no room at all. */
const LEAST_ROOM: Bytes = 1024 ** 2
/** Once stopped, this share of a limit is waited for: one event more or less is no reason to start and stop. */
const ENOUGH = 0.9

export async function readBacklog({ redis, keys }: Queue): Promise<Backlog> {
  const [events, before, bytes, memory] = await Promise.all([
    redis.xlen(keys.audit),
    redis.xlen(keys.auditBefore),
    orForbidden(redis.memory('USAGE', keys.audit) as Promise<number | null>),
    readMemory(redis),
  ])
  return { events: events + before, bytes, used: memory?.used ?? null, maxMemory: memory?.limit ?? 0 }
}

export interface Memory {
  readonly used: Bytes
  /** 0: none. */
  readonly limit: Bytes
}

/** Null where the user of this connection may not ask. */
export async function readMemory(redis: Queue['redis']): Promise<Memory | null> {
  const info = await orForbidden(redis.info('memory'))
  const field = (name: string) => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(info ?? '')?.[1] ?? 0)
  return info === null ? null : { used: field('used_memory'), limit: field('maxmemory') }
}

/** `max_pendientes_bytes`, or half of what Redis may take; 0: no limit. */
export function bytesLimit({ maxPendingBytes }: Pick<AuditConfig, 'maxPendingBytes'>, maxMemory: Bytes): Bytes {
  if (maxPendingBytes > 0) return maxPendingBytes
  return maxMemory > 0 ? Math.max(LEAST_ROOM, Math.floor(maxMemory / 2)) : 0
}

/**
 * Why no more is taken, null: it is. With full memory workers go on, as that is what frees it; not so while Postgres is away
 * and each delivery leaves more behind than it took.
 * @param stopped nothing is taken at present
 */
export function whyStopped(
  { events, bytes, used, maxMemory }: Backlog,
  limits: Pick<AuditConfig, 'maxPending' | 'maxPendingBytes'>,
  { away, stopped }: { away: boolean; stopped: boolean },
): StopReason | null {
  const beyond = (value: number | null, limit: number) =>
    limit > 0 && value !== null && value > limit * (stopped ? ENOUGH : 1)
  if (events === 0) return null
  if (beyond(events, limits.maxPending)) return 'max_pendientes'
  if (beyond(bytes, bytesLimit(limits, maxMemory))) return 'max_pendientes_bytes'
  return away && beyond(used, maxMemory) ? 'memoria' : null
}
