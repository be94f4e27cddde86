/** How full the queue is: what `estado` shows. Only reads. */
import { decodeTime, isValid } from 'ulid'
import { decodeEnvelope } from './envelope.ts'
import { CALLBACK_LANE, type LaneKeys } from './keys.ts'
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
  /** Circuit breaker: `cerrado`, `abierto`, `semiabierto`. */
  readonly corte: string
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
  /** Redis time. */
  readonly fecha: Date
}

/** @param configured names that are listed even when nothing waits for them */
export async function readDepths(queue: Queue, configured: Iterable<string>): Promise<Depths> {
  const { redis, keys } = queue
  const [now, inbox, invalid, dispatching, delayed, audit, oldest, seen, held, aside] = await Promise.all([
    queue.now(),
    redis.llen(keys.inbox),
    redis.llen(keys.inboxInvalid),
    redis.llen(keys.dispatching),
    redis.zcard(keys.delayed),
    redis.xlen(keys.audit),
    redis.lindexBuffer(keys.inbox, -1),
    redis.smembers(keys.listeners),
    pauses(queue),
    redis.zcard(keys.callbacksAside),
  ])
  const names = [...new Set([...configured, ...seen])].sort()
  const lane = (name: string) => laneDepth(queue, name, now, held)
  const [callbacks, ...listeners] = await Promise.all([lane(CALLBACK_LANE), ...names.map(lane)])
  return {
    entrada: inbox,
    entrada_invalida: invalid,
    en_despacho: dispatching,
    demoradas: delayed,
    auditoria_pendiente: audit,
    mas_antigua_ms: oldest ? ageOf(oldest, now) : null,
    listeners,
    callbacks: { ...callbacks!, en_cola: callbacks!.en_cola + aside },
    fecha: new Date(now),
  }
}

const BREAKER: Readonly<Record<string, string>> = { open: 'abierto', half: 'semiabierto', closed: 'cerrado' }

async function laneDepth(
  queue: Queue,
  name: string,
  now: number,
  held: Awaited<ReturnType<typeof pauses>>,
): Promise<LaneDepth> {
  const { redis } = queue
  const lane: LaneKeys = queue.lane(name)
  const [waiting, inFlight, retries, first, failed, head, breaker] = await Promise.all([
    redis.llen(lane.queue),
    redis.zcard(lane.inFlight),
    redis.zcard(lane.retries),
    redis.zrange(lane.retries, '0', '0', 'WITHSCORES'),
    redis.zcard(lane.failed),
    redis.lindex(lane.queue, 0),
    redis.hget(lane.breaker, 'state'),
  ])
  const pause = held.get(name)
  return {
    listener: name,
    en_cola: waiting,
    en_curso: inFlight,
    reintentos: retries,
    proximo_reintento: first[1] ? new Date(Number(first[1])) : null,
    fallidas: failed,
    mas_antigua_ms: head ? await ageOfMessage(queue, head, now) : null,
    pausado:
      !pause || (pause.until && pause.until.getTime() <= now) ? 'no' : (pause.until?.toISOString() ?? pause.reason),
    corte: BREAKER[breaker ?? 'closed'] ?? 'cerrado',
  }
}

async function ageOfMessage(queue: Queue, id: string, now: number): Promise<number | null> {
  // Our own ids tell their time; a foreign one's message does.
  if (isValid(id)) return Math.max(0, now - decodeTime(id))
  const raw = await queue.redis.getBuffer(queue.keys.messagePrefix + id)
  return raw ? ageOf(raw, now) : null
}

function ageOf(raw: Buffer, now: number): number | null {
  try {
    return Math.max(0, now - decodeEnvelope(raw, () => 'x', new Date(now)).message.createdAt.getTime())
  } catch {
    return null
  }
}
