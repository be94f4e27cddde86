/**
 * How full the queue is, what `estado` shows; and how much audit waits for Postgres, and when that is too much: deliveries then
 * stop, before what they leave behind fills Redis. Only reads.
 */
import { decodeTime, isValid } from 'ulid'
import type { AuditConfig } from '../config/config.ts'
import type { Bytes } from '../model/message.ts'
import { decodeEnvelope } from './envelope.ts'
import { CALLBACK_LANE, LANE_KINDS, type LaneKeys, SHARED_KINDS } from './keys.ts'
import { pauses } from './pauses.ts'
import type { Queue } from './queue.ts'

export interface LaneDepth {
  readonly listener: string
  readonly en_cola: number
  readonly en_curso: number
  readonly reintentos: number
  readonly proximo_reintento: Date | null
  readonly fallidas: number
  /** Of the first one that waits. */
  readonly mas_antigua_ms: number | null
  /** `no`, `manual`, `410`, or until when. */
  readonly pausado: string
  /** Circuit breaker: `no` (nothing is held back), `abierto`, `a prueba`. */
  readonly corte: string
}

interface MistypedKey {
  readonly clave: string
  readonly tipo: string
  readonly debe_ser: string
  /** Whose queue it belongs to; null: everybody's. */
  readonly listener: string | null
}

export interface Depths {
  readonly entrada: number
  readonly entrada_invalida: number
  readonly en_despacho: number
  readonly demoradas: number
  readonly auditoria_pendiente: number
  /** Of the oldest entry of the inbox. */
  readonly mas_antigua_ms: number | null
  readonly listeners: readonly LaneDepth[]
  readonly callbacks: LaneDepth
  /** Keys that somebody made something else of: nothing that needs them goes on. */
  readonly claves_rotas: readonly MistypedKey[]
  /** Redis time. */
  readonly fecha: Date
}

/** @param configured names that are listed even when nothing waits for them */
export async function readDepths(queue: Queue, configured: Iterable<string>): Promise<Depths> {
  const { redis, keys } = queue
  const [now, inbox, invalid, dispatching, fanOut, delayed, audit, oldest, seen, held, aside] = await Promise.all([
    queue.now(),
    orMistyped(redis.llen(keys.inbox), 0),
    orMistyped(redis.llen(keys.inboxInvalid), 0),
    orMistyped(redis.llen(keys.dispatching), 0),
    orMistyped(redis.exists(keys.fanOut), 0),
    orMistyped(redis.zcard(keys.delayed), 0),
    orMistyped(redis.xlen(keys.audit), 0),
    orMistyped(queue.peek(keys.inbox, -1, -1), []),
    orMistyped(redis.smembers(keys.listeners), []),
    orMistyped(pauses(queue), new Map()),
    orMistyped(redis.zcard(keys.callbacksAside), 0),
  ])
  const names = [...new Set([...configured, ...seen])].sort()
  const lane = (name: string) => laneDepth(queue, name, now, held)
  const [callbacks, ...listeners] = await Promise.all([lane(CALLBACK_LANE), ...names.map(lane)])
  return {
    entrada: inbox,
    entrada_invalida: invalid,
    en_despacho: dispatching + fanOut,
    demoradas: delayed,
    auditoria_pendiente: audit,
    mas_antigua_ms: oldest[0] ? ageOf(oldest[0].raw, now) : null,
    listeners,
    callbacks: { ...callbacks!, en_cola: callbacks!.en_cola + aside },
    claves_rotas: await mistypedKeys(queue, [CALLBACK_LANE, ...names]),
    fecha: new Date(now),
  }
}

/** Only reads, so that what is wrong can be shown beside what is not. */
async function mistypedKeys({ redis, keys }: Queue, names: readonly string[]): Promise<MistypedKey[]> {
  const all = Object.entries(SHARED_KINDS).map(([name, kind]) => ({
    clave: keys[name as keyof typeof SHARED_KINDS],
    kind,
    listener: null as string | null,
  }))
  for (const listener of names) {
    const of = keys.lane(listener)
    for (const [name, kind] of Object.entries(LANE_KINDS))
      all.push({ clave: of[name as keyof LaneKeys], kind, listener })
  }
  const types = await Promise.all(all.map(({ clave }) => redis.type(clave)))
  return all.flatMap(({ clave, kind, listener }, i) => {
    const tipo = types[i]!
    return tipo === kind || tipo === 'none' ? [] : [{ clave, tipo, debe_ser: kind, listener }]
  })
}

/** What a key of another type holds is nobody's: it is told by `claves_rotas`. */
function orMistyped<T>(answer: Promise<T>, nothing: T): Promise<T> {
  return answer.catch((error: Error) => {
    if (/^WRONGTYPE/.test(error.message)) return nothing
    throw error
  })
}

const BREAKER: Readonly<Record<string, string>> = { open: 'abierto', half: 'a prueba', closed: 'no' }

async function laneDepth(
  queue: Queue,
  name: string,
  now: number,
  held: Awaited<ReturnType<typeof pauses>>,
): Promise<LaneDepth> {
  const { redis } = queue
  const lane: LaneKeys = queue.lane(name)
  const [waiting, front, inFlight, retries, first, failed, head, breaker] = await Promise.all([
    orMistyped(redis.llen(lane.queue), 0),
    orMistyped(redis.llen(lane.front), 0),
    orMistyped(redis.zcard(lane.inFlight), 0),
    orMistyped(redis.zcard(lane.retries), 0),
    orMistyped(redis.zrange(lane.retries, '0', '0', 'WITHSCORES'), []),
    orMistyped(redis.zcard(lane.failed), 0),
    orMistyped(redis.lindex(lane.queue, 0), null),
    orMistyped(redis.hget(lane.breaker, 'state'), null),
  ])
  const pause = held.get(name)
  return {
    listener: name,
    en_cola: waiting + front,
    en_curso: inFlight,
    reintentos: retries,
    proximo_reintento: first[1] ? new Date(Number(first[1])) : null,
    fallidas: failed,
    mas_antigua_ms: head ? await ageOfMessage(queue, head, now) : null,
    pausado:
      !pause || (pause.until && pause.until.getTime() <= now) ? 'no' : (pause.until?.toISOString() ?? pause.reason),
    corte: BREAKER[breaker ?? 'closed'] ?? 'no',
  }
}

async function ageOfMessage(queue: Queue, id: string, now: number): Promise<number | null> {
  // Our own ids tell their time; a foreign one's message does.
  if (isValid(id)) return Math.max(0, now - decodeTime(id))
  const raw = await queue.redis.getBuffer(queue.keys.messagePrefix + id)
  return raw ? ageOf(raw, now) : null
}

/** Null where the entry does not tell when it was made or taken. */
function ageOf(raw: Buffer, now: number): number | null {
  try {
    const { message, receivedAt } = decodeEnvelope(raw, () => 'x', UNKNOWN)
    const at = Number.isNaN(message.createdAt.getTime()) ? receivedAt : message.createdAt.getTime()
    return at === null ? null : Math.max(0, now - at)
  } catch {
    return null
  }
}

const UNKNOWN = new Date(Number.NaN)

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
  const [events, bytes, memory] = await Promise.all([
    redis.xlen(keys.audit),
    allowed(redis.memory('USAGE', keys.audit) as Promise<number | null>),
    allowed(redis.info('memory')),
  ])
  const field = (name: string) => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(memory ?? '')?.[1] ?? Number.NaN)
  const [used, maxMemory] = [field('used_memory'), field('maxmemory')]
  return { events, bytes, used: Number.isNaN(used) ? null : used, maxMemory: maxMemory || 0 }
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

/** Null where the user of this connection may not ask. */
async function allowed<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer
  } catch (error) {
    if (/^NOPERM|unknown command/.test((error as Error).message)) return null
    throw error
  }
}
