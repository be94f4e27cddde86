/**
 * How full the queue is, and what is known of each listener: what `estado`, the page and `verificar` show. Only
 * reads, in two round trips at most, whose cost depends neither on how much waits nor, within reason, on how many listeners
 * there are.
 */

import { decodeTime, isValid } from 'ulid'
import { type Continuity, parseContinuity } from './continuity.ts'
import { understood } from './envelope.ts'
import { type MeasuredLane, measure } from './gauges.ts'
import { CALLBACK_LANE, LANE_KEYS, type Names, SHARED_KEYS, type Table } from './keys.ts'
import { type Pause, parsePauses } from './pauses.ts'
import type { Queue } from './queue.ts'
import { orMistyped } from './redis.ts'
import { parseSituations, type Situation } from './situation.ts'
import { parseWorkers, type WorkerInfo } from './workers.ts'

/** How full a listener's queue is, and what is known of it. */
export interface Lane {
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
  /** Message at the front of the retries: in strict order it holds the others up. */
  readonly primer_reintento: string | null
  readonly pausa: Pause | null
  /** An open breaker lets a trial through then. */
  readonly corte_hasta: Date | null
  readonly situacion: Situation | null
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
  /** Of the oldest event that Postgres has not taken. */
  readonly auditoria_atraso_ms: number | null
  /** Of the oldest entry of the inbox. */
  readonly mas_antigua_ms: number | null
  readonly listeners: readonly Lane[]
  readonly callbacks: Lane
  /** Keys that somebody made something else of: nothing that needs them goes on. */
  readonly claves_rotas: readonly MistypedKey[]
  /** Redis time. */
  readonly fecha: Date
  /** All that are known, dead ones too. */
  readonly workers: readonly WorkerInfo[]
  readonly continuidad: Continuity
}

/** @param configured names that are listed even when nothing waits for them */
export async function readDepths(queue: Queue, configured: Iterable<string>): Promise<Depths> {
  const { redis, keys } = queue
  const first = [CALLBACK_LANE, ...new Set(configured)]
  const asked = Promise.all([
    orMistyped(queue.peek(keys.inbox, -1, -1), []),
    orMistyped(redis.smembers(keys.listeners), []),
    orMistyped(redis.hgetall(keys.paused), {}),
    orMistyped(redis.hgetall(keys.situation), {}),
    orMistyped(redis.hvals(keys.workers), []),
    orMistyped(redis.get(keys.continuity), null),
    redis.exists(keys.fence, keys.listeners),
    mistyped(queue, SHARED_KEYS, keys, null),
  ])
  const [{ shared, lanes: known }, [oldest, seen, held, saw, workers, continuity, worked, brokenShared]] =
    await Promise.all([measure(queue, first), asked])
  const others = seen.filter((name) => !known.has(name))
  if (others.length > 0) for (const [name, lane] of (await measure(queue, others)).lanes) known.set(name, lane)

  const { now } = shared
  const about = { pauses: parsePauses(held), situations: parseSituations(saw), now }
  const foreign = await agesOfForeign(queue, [...known.values()], now)
  const [callbacks, ...listeners] = [
    CALLBACK_LANE,
    ...[...known.keys()].filter((name) => name !== CALLBACK_LANE).sort(),
  ].map((name) => describeLane(name, known.get(name)!, foreign, about))
  const brokenLanes = [...known]
    .filter(([, { broken }]) => broken)
    .map(([name]) => mistyped(queue, LANE_KEYS, queue.lane(name), name))
  return {
    entrada: shared.inbox,
    entrada_invalida: shared.invalid,
    en_despacho: shared.dispatching,
    demoradas: shared.delayed,
    auditoria_pendiente: shared.auditRows,
    auditoria_atraso_ms: shared.auditDelay,
    mas_antigua_ms: oldest[0] ? ageOf(oldest[0].raw, now) : null,
    listeners,
    callbacks: { ...callbacks!, en_cola: callbacks!.en_cola + shared.aside },
    claves_rotas: [...brokenShared, ...(await Promise.all(brokenLanes)).flat()],
    fecha: new Date(now),
    workers: parseWorkers(workers),
    continuidad: parseContinuity(continuity, worked > 0),
  }
}

const BREAKER: Readonly<Record<string, string>> = { open: 'abierto', half: 'a prueba', closed: 'no' }

function describeLane(
  name: string,
  lane: MeasuredLane,
  foreign: ReadonlyMap<string, number | null>,
  about: { pauses: ReadonlyMap<string, Pause>; situations: ReadonlyMap<string, Situation>; now: number },
): Lane {
  const { now } = about
  const held = about.pauses.get(name)
  const pausa = held && !(held.until && held.until.getTime() <= now) ? held : null
  const { waiting, running, retrying, failed, head, firstRetry, firstDue, breaker, breakerUntil } = lane
  return {
    listener: name,
    en_cola: waiting,
    en_curso: running,
    reintentos: retrying,
    proximo_reintento: firstDue ? new Date(firstDue) : null,
    fallidas: failed,
    mas_antigua_ms: head ? (ageOfOwn(head, now) ?? foreign.get(head) ?? null) : null,
    pausado: pausa === null ? 'no' : (pausa.until?.toISOString() ?? pausa.reason),
    corte: BREAKER[breaker] ?? 'no',
    primer_reintento: firstRetry || null,
    pausa,
    corte_hasta: breaker === 'open' && breakerUntil ? new Date(breakerUntil) : null,
    situacion: about.situations.get(name) ?? null,
  }
}

/** Our own ids tell their time. */
function ageOfOwn(id: string, now: number): number | null {
  return isValid(id) ? Math.max(0, now - decodeTime(id)) : null
}

/** Of those with another id the message tells it. */
async function agesOfForeign(
  queue: Queue,
  lanes: readonly MeasuredLane[],
  now: number,
): Promise<Map<string, number | null>> {
  const ids = lanes.map(({ head }) => head).filter((id) => id !== '' && !isValid(id))
  const raws = await Promise.all(
    ids.map((id) => orMistyped(queue.redis.getBuffer(queue.keys.messagePrefix + id), null)),
  )
  return new Map(ids.map((id, at) => [id, raws[at] ? ageOf(raws[at], now) : null]))
}

/** Null where the entry does not tell when it was made or taken. */
function ageOf(raw: Buffer, now: number): number | null {
  const entry = understood(raw)
  const at = entry?.message.createdAt.getTime() || entry?.receivedAt
  return at ? Math.max(0, now - at) : null
}

/** Names that ever had a delivery. */
export function knownListeners({ redis, keys }: Queue): Promise<string[]> {
  return orMistyped(redis.smembers(keys.listeners), [])
}

/** Only reads, so that what is wrong can be shown beside what is not. */
async function mistyped<Rows extends Table>(
  { redis }: Queue,
  rows: Rows,
  keys: Names<Rows>,
  listener: string | null,
): Promise<MistypedKey[]> {
  const found = Object.entries(rows).map(async ([name, [, debe_ser]]) => {
    const clave = keys[name]!
    return { clave, tipo: await redis.type(clave), debe_ser, listener }
  })
  return (await Promise.all(found)).filter(({ tipo, debe_ser }) => tipo !== debe_ser && tipo !== 'none')
}
