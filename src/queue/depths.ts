/**
 * How full the queue is, and what is known of each listener: what `estado`, the page, `verificar` and /metrics show. Only
 * reads, in two round trips at most, whose cost depends neither on how much waits nor, within reason, on how many listeners
 * there are.
 */

import { decodeTime, isValid } from 'ulid'
import type { Millis } from '../model/message.ts'
import { type Continuity, parseContinuity } from './continuity.ts'
import { decodeEnvelope } from './envelope.ts'
import { CALLBACK_LANE, LANE_KINDS, type LaneKeys, SHARED_KINDS } from './keys.ts'
import { type Pause, parsePauses } from './pauses.ts'
import { laneKeyList, type Queue } from './queue.ts'
import { scriptsOf } from './scripts.ts'
import { parseSituations, type Situation } from './situation.ts'
import { parseWorkers, type WorkerInfo } from './workers.ts'

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

/** The same, with all that is known of it. */
export interface Lane extends LaneDepth {
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

/** Lanes of one script call: about a millisecond. */
const LANES_AT_ONCE = 100

/** How long the oldest of these entries has waited, null: there is none. */
function delayOf(entries: readonly (readonly [id: string, ...unknown[]])[], now: number): Millis | null {
  if (entries.length === 0) return null
  return Math.max(0, now - Math.min(...entries.map(([id]) => Number.parseInt(id, 10))))
}

/** @param configured names that are listed even when nothing waits for them */
export async function readDepths(queue: Queue, configured: Iterable<string>): Promise<Depths> {
  const { redis, keys } = queue
  const first = [CALLBACK_LANE, ...new Set(configured)]
  const asked = Promise.all([
    queue.now(),
    orMistyped(redis.llen(keys.inbox), 0),
    orMistyped(redis.llen(keys.inboxInvalid), 0),
    orMistyped(redis.llen(keys.dispatching), 0),
    orMistyped(redis.exists(keys.fanOut), 0),
    orMistyped(redis.zcard(keys.delayed), 0),
    orMistyped(redis.xlen(keys.audit), 0),
    orMistyped(redis.xlen(keys.auditBefore), 0),
    orMistyped(redis.xrange(keys.audit, '-', '+', 'COUNT', 1), []),
    orMistyped(redis.xrange(keys.auditBefore, '-', '+', 'COUNT', 1), []),
    orMistyped(queue.peek(keys.inbox, -1, -1), []),
    orMistyped(redis.smembers(keys.listeners), []),
    orMistyped(redis.hgetall(keys.paused), {}),
    orMistyped(redis.hgetall(keys.situation), {}),
    orMistyped(redis.hvals(keys.workers), []),
    orMistyped(redis.zcard(keys.callbacksAside), 0),
    orMistyped(redis.get(keys.continuity), null),
    redis.exists(keys.fence, keys.listeners),
    mistypedShared(queue),
  ])
  const [shared, known] = await Promise.all([asked, surveyLanes(queue, first)])
  const [
    now,
    inbox,
    invalid,
    dispatching,
    fanOut,
    delayed,
    audit,
    auditBefore,
    unwritten,
    unwrittenBefore,
    oldest,
    seen,
    held,
    saw,
    workers,
    aside,
    continuity,
    worked,
    brokenShared,
  ] = shared
  const others = seen.filter((name) => !known.has(name))
  for (const [name, lane] of await surveyLanes(queue, others)) known.set(name, lane)

  const about = { pauses: parsePauses(held), situations: parseSituations(saw), now }
  const foreign = await agesOfForeign(queue, [...known.values()], now)
  const [callbacks, ...listeners] = [
    CALLBACK_LANE,
    ...[...known.keys()].filter((name) => name !== CALLBACK_LANE).sort(),
  ].map((name) => describeLane(name, known.get(name)!, foreign, about))
  const brokenLanes = [...known].filter(([, { broken }]) => broken).map(([name]) => mistypedOf(queue, name))
  return {
    entrada: inbox,
    entrada_invalida: invalid,
    en_despacho: dispatching + fanOut,
    demoradas: delayed,
    auditoria_pendiente: audit + auditBefore,
    auditoria_atraso_ms: delayOf([...unwritten, ...unwrittenBefore], now),
    mas_antigua_ms: oldest[0] ? ageOf(oldest[0].raw, now) : null,
    listeners,
    callbacks: { ...callbacks!, en_cola: callbacks!.en_cola + aside },
    claves_rotas: [...brokenShared, ...(await Promise.all(brokenLanes)).flat()],
    fecha: new Date(now),
    workers: parseWorkers(workers),
    continuidad: parseContinuity(continuity, worked > 0),
  }
}

/** What a key of another type holds is nobody's: it is told by `claves_rotas`. */
function orMistyped<T>(answer: Promise<T>, nothing: T): Promise<T> {
  return answer.catch((error: Error) => {
    if (/^WRONGTYPE/.test(error.message)) return nothing
    throw error
  })
}

interface Surveyed {
  readonly waiting: number
  readonly inFlight: number
  readonly retries: number
  readonly failed: number
  /** Message at the front of the queue, and of the retries. */
  readonly head: string
  readonly firstRetry: string
  readonly firstDue: number
  readonly breaker: string
  readonly breakerUntil: number
  readonly broken: boolean
}

const EMPTY: Surveyed = {
  ...{ waiting: 0, inFlight: 0, retries: 0, failed: 0, head: '', firstRetry: '', firstDue: 0 },
  ...{ breaker: '', breakerUntil: 0, broken: false },
}

async function surveyLanes(queue: Queue, names: readonly string[]): Promise<Map<string, Surveyed>> {
  const parts: (readonly string[])[] = []
  for (let i = 0; i < names.length; i += LANES_AT_ONCE) parts.push(names.slice(i, i + LANES_AT_ONCE))
  const answers = await Promise.all(
    parts.map((part) => {
      const keys = part.flatMap((name) => laneKeyList(queue.lane(name)))
      return scriptsOf(queue.redis).survey(keys.length, ...keys) as Promise<(readonly (number | Buffer)[])[]>
    }),
  )
  const found = answers.flat()
  return new Map(names.map((name, at) => [name, surveyed(found[at]!)]))
}

function surveyed(answer: readonly (number | Buffer)[]): Surveyed {
  if (answer.length === 0) return EMPTY
  const [queue, front, inFlight, retries, failed] = answer as number[]
  const [head, firstRetry, firstDue, breaker, breakerUntil, wrong] = answer.slice(5).map(String)
  return {
    waiting: queue! + front!,
    inFlight: inFlight!,
    retries: retries!,
    failed: failed!,
    head: head!,
    firstRetry: firstRetry!,
    firstDue: Number(firstDue),
    breaker: breaker!,
    breakerUntil: Number(breakerUntil),
    broken: wrong !== '',
  }
}

const BREAKER: Readonly<Record<string, string>> = { open: 'abierto', half: 'a prueba', closed: 'no' }

function describeLane(
  name: string,
  lane: Surveyed,
  foreign: ReadonlyMap<string, number | null>,
  about: { pauses: ReadonlyMap<string, Pause>; situations: ReadonlyMap<string, Situation>; now: number },
): Lane {
  const { now } = about
  const held = about.pauses.get(name)
  const pausa = held && !(held.until && held.until.getTime() <= now) ? held : null
  const { waiting, inFlight, retries, failed, head, firstRetry, firstDue, breaker, breakerUntil } = lane
  return {
    listener: name,
    en_cola: waiting,
    en_curso: inFlight,
    reintentos: retries,
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
  lanes: readonly Surveyed[],
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
  try {
    const { message, receivedAt } = decodeEnvelope(raw, () => 'x', UNKNOWN)
    const at = Number.isNaN(message.createdAt.getTime()) ? receivedAt : message.createdAt.getTime()
    return at === null ? null : Math.max(0, now - at)
  } catch {
    return null
  }
}

const UNKNOWN = new Date(Number.NaN)

/** Names that ever had a delivery. */
export function knownListeners({ redis, keys }: Queue): Promise<string[]> {
  return orMistyped(redis.smembers(keys.listeners), [])
}

function mistypedShared(queue: Queue): Promise<MistypedKey[]> {
  const kinds = Object.entries(SHARED_KINDS) as [keyof typeof SHARED_KINDS, string][]
  return mistyped(
    queue,
    kinds.map(([name, kind]) => [queue.keys[name], kind]),
    null,
  )
}

function mistypedOf(queue: Queue, listener: string): Promise<MistypedKey[]> {
  const of = queue.lane(listener)
  const kinds = Object.entries(LANE_KINDS) as [keyof LaneKeys, string][]
  return mistyped(
    queue,
    kinds.map(([name, kind]) => [of[name], kind]),
    listener,
  )
}

/** Only reads, so that what is wrong can be shown beside what is not. */
async function mistyped(
  { redis }: Queue,
  keys: readonly (readonly [string, string])[],
  listener: string | null,
): Promise<MistypedKey[]> {
  const types = await Promise.all(keys.map(([key]) => redis.type(key)))
  return keys.flatMap(([clave, debe_ser], i) => {
    const tipo = types[i]!
    return tipo === debe_ser || tipo === 'none' ? [] : [{ clave, tipo, debe_ser, listener }]
  })
}
