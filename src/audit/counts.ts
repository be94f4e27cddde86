/**
 * How many deliveries, or failed attempts, there are of each kind: what `auditoria --contar` shows, and what a dry run says. One
 * query where that is quick; where it must read much, a stretch of time after another, so that a person sees how far it is and no
 * statement takes long.
 */
import type { Millis } from '../model/message.ts'
import type { Session } from './database.ts'
import {
  attemptConditions,
  between,
  type DeliveryFilters,
  deliveriesFrom,
  deliveryConditions,
  type Put,
  parameterList,
  sourceOf,
} from './filters.ts'
import { eventsLike, sourceRange } from './listing.ts'
import type { Page as Ask } from './stored.ts'
import { type OnProgress, stretches, type TimeRange } from './stretches.ts'

export const COUNTED_BY = ['listener', 'evento', 'estado', 'error', 'hora'] as const
export type CountedBy = (typeof COUNTED_BY)[number]

/** Deliveries; of `error` attempts that did not succeed, in `intentos` alone. */
export interface Count {
  /** Its name; of `hora` when that began. Null: an attempt, or an event, that does not say. */
  readonly de: string | Date | null
  readonly entregas: number
  readonly exitosas: number
  readonly en_espera: number
  readonly fallidas: number
  readonly descartadas: number
  /** Attempts. */
  readonly intentos: number
  /** Of the first and the last of them; of those that succeeded, counted with `estado`, of all. */
  readonly primera: Date
  readonly ultima: Date
}

interface CountedRow {
  readonly de: string | Date | null
  /** Null: of any state. */
  readonly estado: string | null
  readonly cuantas: number
  readonly primera: Date
  readonly ultima: Date
}

/** As the planner reckons: about 150 ms. */
const QUICK = 30_000

const DAY: Millis = 24 * 3_600_000

export async function countDeliveries(
  ask: Ask,
  filters: DeliveryFilters,
  by: CountedBy,
  onProgress?: OnProgress,
): Promise<Count[]> {
  const counts = new Map<unknown, Tally>()
  const apart = isApart(filters)
  const add = async (stretch?: TimeRange) => {
    const rows = await ask((session) => countSql(session, filters, by, stretch))
    for (const row of rows as CountedRow[]) addTo(counts, row, by, apart)
  }
  const isPlain = by === 'error' || sourceOf(filters) === 'deliveries'
  if (isPlain && (await ask((session) => isQuick(session, filters, by)))) await add()
  else {
    onProgress?.(0, 1)
    const range = await ask((session) => sourceRange(session, by === 'error' ? timesOfErrors(filters) : filters))
    for await (const stretch of stretches(range, 'up', onProgress)) {
      await add(stretch)
      stretch.read()
    }
  }
  const all = [...counts.values()].filter(({ entregas, intentos }) => entregas + intentos > 0)
  return all.sort(by === 'hora' ? byTime : byCount)
}

/** A filter by creation counts as one by when attempts were made. */
function timesOfErrors({ since, until, triedSince, triedUntil }: DeliveryFilters): DeliveryFilters {
  return { triedSince: triedSince ?? since, triedUntil: triedUntil ?? until }
}

function byTime(one: Count, other: Count): number {
  return (one.de as Date).getTime() - (other.de as Date).getTime()
}

function byCount(one: Count, other: Count): number {
  return other.entregas + other.intentos - one.entregas - one.intentos || (String(one.de) < String(other.de) ? -1 : 1)
}

async function isQuick(session: Session, filters: DeliveryFilters, by: CountedBy): Promise<boolean> {
  const [row] = (await countSql(session, filters, by, undefined, 'EXPLAIN (FORMAT JSON)')) as {
    'QUERY PLAN': unknown
  }[]
  const plan = row?.['QUERY PLAN']
  if (plan === undefined) return true
  const [{ Plan }] = (typeof plan === 'string' ? JSON.parse(plan) : plan) as [{ Plan: { 'Total Cost': number } }]
  return Plan['Total Cost'] < QUICK
}

async function countSql(
  session: Session,
  filters: DeliveryFilters,
  by: CountedBy,
  stretch?: TimeRange,
  before = '',
): Promise<object[]> {
  const events = await eventsLike(session, filters.event)
  if (events?.length === 0) return []
  const { parameters, put } = parameterList()
  const sql = by === 'error' ? errors(session, filters, stretch, put) : deliveries(session, filters, by, stretch, put)
  return session.query(`${before} ${sql}`, parameters)
}

/** Whether all and those that did not succeed are counted apart. */
function isApart(filters: DeliveryFilters): boolean {
  return filters.states === undefined && sourceOf(filters) === 'deliveries'
}

const KEYS: Readonly<Record<Exclude<CountedBy, 'error'>, string>> = {
  listener: 'e.listener',
  evento: 'e.evento',
  estado: 'e.estado',
  hora: `date_trunc('hour', e.creado)`,
}

/**
 * Those that did not succeed are few and in an index of their own, all together in another: neither look at a row. So what
 * succeeded is the difference of the two.
 */
function deliveries(
  session: Session,
  filters: DeliveryFilters,
  by: Exclude<CountedBy, 'error'>,
  stretch: TimeRange | undefined,
  put: Put,
): string {
  const count = (key: string, state: string, ...also: string[]) => {
    const { from, conditions } = deliveriesFrom(session, filters, put, { stretch })
    return `SELECT ${key} AS de, ${state} AS estado, count(*)::float8 AS cuantas, min(e.creado) AS primera, max(e.creado) AS ultima
      FROM ${from} WHERE ${[...conditions, ...also].join(' AND ')} GROUP BY 1, 2`
  }
  if (!isApart(filters)) return count(KEYS[by], 'e.estado')
  const all = count(by === 'estado' ? 'NULL::text' : KEYS[by], 'NULL::text')
  return `${all} UNION ALL ${count(KEYS[by], 'e.estado', `e.estado <> 'exitosa'`)}`
}

/** What went wrong, attempt by attempt: `timeout`, `HTTP 503`. An attempt of several requests ended as its last one did. */
function errors(session: Session, filters: DeliveryFilters, stretch: TimeRange | undefined, put: Put): string {
  const { listener, event, states, messageId, key } = filters
  const conditions = [...attemptConditions(session, { listener }, put, 'i'), `i.resultado <> 'exito'`]
  const { triedSince: since, triedUntil: until } = timesOfErrors(filters)
  const times = stretch ?? { since, until }
  conditions.push(...between('i.inicio', times, put))
  if ([event, states, messageId, key].some((each) => each !== undefined)) {
    const rest = deliveryConditions(session, { event, states, messageId, key }, put)
    conditions.push(`EXISTS (SELECT FROM ${session.table('entrega')} e WHERE e.mensaje_id = i.mensaje_id AND e.listener = i.listener
      AND ${rest.join(' AND ')})`)
  }
  // All requests of an attempt begin within a day, the longest `espera_total`. Bounded by constants too, which leave out partitions and
  // the requests that are the first ones: half the work.
  const laterTimes = { since: times.since, until: times.until && new Date(times.until.getTime() + DAY) }
  const ofLater = [
    ...attemptConditions(session, { listener }, put, 'later'),
    ...between('later.inicio', laterTimes, put),
  ]
  conditions.push(`NOT EXISTS (SELECT FROM ${session.table('intento')} later
    WHERE (later.mensaje_id, later.listener, later.numero) = (i.mensaje_id, i.listener, i.numero) AND later.pedido > i.pedido
      AND later.pedido > 1 AND later.inicio >= i.inicio AND later.inicio < i.inicio + interval '1 day' AND ${ofLater.join(' AND ')})`)
  return `SELECT coalesce(i.error, 'HTTP ' || i.http_estado) AS de, NULL AS estado, count(*)::float8 AS cuantas,
      min(i.inicio) AS primera, max(i.inicio) AS ultima
    FROM ${session.table('intento')} i WHERE ${conditions.join(' AND ')} GROUP BY 1`
}

const STATE_COLUMNS: Readonly<Record<string, 'exitosas' | 'en_espera' | 'fallidas' | 'descartadas'>> = {
  exitosa: 'exitosas',
  pendiente: 'en_espera',
  reintentando: 'en_espera',
  fallida: 'fallidas',
  descartada: 'descartadas',
}
const NONE = { entregas: 0, exitosas: 0, en_espera: 0, fallidas: 0, descartadas: 0, intentos: 0 }

type Tally = { -readonly [K in keyof Count]: Count[K] }

function addTo(
  counts: Map<unknown, Tally>,
  { de, estado, cuantas, primera, ultima }: CountedRow,
  by: CountedBy,
  apart: boolean,
) {
  const tallyOf = (name: string | Date | null): Tally => {
    const key = name instanceof Date ? name.getTime() : name
    const known = counts.get(key) ?? { de: name, ...NONE, primera, ultima }
    counts.set(key, known)
    if (primera < known.primera) known.primera = primera
    if (ultima > known.ultima) known.ultima = ultima
    return known
  }
  if (by === 'error') {
    tallyOf(de).intentos += cuantas
    return
  }
  const state = estado ?? 'exitosa'
  const tally = tallyOf(by === 'estado' ? state : de)
  tally[STATE_COLUMNS[state]!] += cuantas
  if (!apart || estado === null || by === 'estado') tally.entregas += cuantas
  if (!apart || estado === null) return
  // It was counted among all, of which those that are left succeeded.
  const all = by === 'estado' ? tallyOf('exitosa') : tally
  all.exitosas -= cuantas
  if (by === 'estado') all.entregas -= cuantas
}
