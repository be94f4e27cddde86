/** How full the queue is: what `estado` shows. Only reads. */
import { decodeTime, isValid } from 'ulid'
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

export interface MistypedKey {
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
