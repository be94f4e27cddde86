/**
 * Attempts by hour, listener and event (`resumen_hora`): written with the batch that writes the attempts, in its transaction; and
 * the rates and durations that are read from it.
 *
 * What counts is the rows that were really inserted: a batch that is repeated, halved or delivered twice counts once. An attempt of
 * several requests counts with its last one. `010_resumen.sql` says how attempts of before come in, and those that a worker of the
 * version before writes.
 */
import type { Millis } from '../model/message.ts'
import { type Column, insertInto, insertParameters } from './columns.ts'
import type { Parameter, Session } from './database.ts'
import { original } from './encoding.ts'
import type { AttemptRecord } from './event.ts'

/** Up to how many ms each count of `duraciones` goes; the last one has all the rest. `limites_ms()` says the same. */
export const DURATION_BOUNDS: readonly Millis[] = [
  ...[1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 40, 50, 70, 100, 150, 200, 300, 400, 500, 700],
  ...[1_000, 1_500, 2_000, 3_000, 4_000, 5_000, 7_000, 10_000, 15_000, 20_000, 30_000, 60_000],
  ...[120_000, 300_000, 3_600_000],
]

const HOUR: Millis = 3_600_000

/** What of an attempt counts; `times` -1: its row went. */
export interface Counted extends Pick<AttemptRecord, 'listener' | 'number' | 'result' | 'startedAt'> {
  readonly event: string
  readonly ms: Millis
  readonly times: 1 | -1
}

interface HourRow {
  readonly key: string
  /** ms since epoch. */
  readonly hour: number
  readonly listener: string
  readonly event: string
  sent: number
  succeeded: number
  failed: number
  retries: number
  readonly durations: number[]
}

/** Sorted by their key: two writers of the same hour wait for each other instead of dead-locking. */
function hourRows(counted: Iterable<Counted>): HourRow[] {
  const rows = new Map<string, HourRow>()
  for (const { listener, event, startedAt, number, result, ms, times } of counted) {
    const hour = Math.floor(startedAt / HOUR) * HOUR
    const key = `${hour}\0${listener}\0${event}`
    const row = rows.get(key) ?? emptyRow(key, hour, listener, event)
    rows.set(key, row)
    row.sent += times
    if (result === 'exito') row.succeeded += times
    if (result === 'fallo') row.failed += times
    if (number > 1) row.retries += times
    const place = placeOf(Math.round(ms))
    while (row.durations.length <= place) row.durations.push(0)
    row.durations[place]! += times
  }
  return [...rows.values()].sort((a, b) => (a.key < b.key ? -1 : 1))
}

function emptyRow(key: string, hour: number, listener: string, event: string): HourRow {
  return { key, hour, listener, event, sent: 0, succeeded: 0, failed: 0, retries: 0, durations: [] }
}

function placeOf(ms: Millis): number {
  let place = 0
  while (place < DURATION_BOUNDS.length - 1 && ms > DURATION_BOUNDS[place]!) place++
  return place
}

/** Adds to `resumen_hora`. Last in a transaction: its rows are those that all writers want. */
export async function writeSummary(session: Session, counted: Iterable<Counted>): Promise<void> {
  const rows = hourRows(counted)
  if (rows.length === 0) return
  const { key, text } = session.rules
  const columns: Column<HourRow>[] = [
    { name: 'hora', type: 'instant', of: ({ hour }) => hour },
    { name: 'listener', type: 'text', of: ({ listener }) => key(listener) },
    { name: 'evento', type: 'text', of: ({ event }) => text(event) },
    { name: 'parte', type: 'int4', of: () => 0 },
    { name: 'enviados', type: 'int8', of: ({ sent }) => sent },
    { name: 'exitosos', type: 'int8', of: ({ succeeded }) => succeeded },
    { name: 'fallidos', type: 'int8', of: ({ failed }) => failed },
    { name: 'reintentos', type: 'int8', of: ({ retries }) => retries },
    { name: 'duraciones', type: 'counts', of: ({ durations }) => `{${durations}}` },
  ]
  const [instancia, proyecto] = session.owner
  const constants = [
    { name: 'instancia', value: instancia },
    { name: 'proyecto', value: proyecto },
  ]
  const added = ['enviados', 'exitosos', 'fallidos', 'reintentos'].map(
    (name) => `${name} = old.${name} + excluded.${name}`,
  )
  await session.query(
    `${insertInto(`${session.table('resumen_hora')} AS old`, columns, constants)}
     ON CONFLICT (instancia, proyecto, hora, listener, evento, parte) DO UPDATE SET ${added},
       duraciones = ${session.table('sumar_duraciones')}(old.duraciones, excluded.duraciones)`,
    insertParameters(columns, constants, rows),
  )
}

/**
 * From when on a writer counts what it inserts, ms since epoch; null: this schema has no `resumen_hora` yet. Holds, until the
 * transaction ends, whoever counts the attempts of before.
 */
export async function countedSince(session: Session): Promise<number | null> {
  const [known] = await session.query<{ known: boolean }>('SELECT to_regclass($1) IS NOT NULL AS known', [
    session.table('resumen_progreso'),
  ])
  if (!known!.known) {
    // Whatever makes that table meanwhile counts these attempts by its trigger.
    await session.query(`SELECT set_config('resthooks.resumen', '', true)`)
    return null
  }
  await session.query(`SELECT pg_advisory_xact_lock_shared(hashtext('resthooks.resumen'), hashtext($1))`, [
    session.schema,
  ])
  const [row] = await session.query<{ since: number }>(
    `SELECT extract(epoch FROM desde)::float8 * 1000 AS since FROM ${session.table('resumen_progreso')}`,
  )
  return Number(row!.since)
}

/** Sums over `resumen_hora`, or over attempts. */
export interface Rates {
  readonly enviados: number
  readonly exitosos: number
  readonly fallidos: number
  readonly reintentos: number
  /** ms, at most; null where there was none. */
  readonly p95: Millis | null
}

/** Of one listener, or (null) of all. */
export interface ListenerRates extends Rates {
  readonly listener: string | null
}

const COUNTS = ['enviados', 'exitosos', 'fallidos', 'reintentos']
const NUMBERS = COUNTS.map((name) => `sum(${name})::float8 AS ${name}`)

/** The sums of `duraciones`, count by count. */
const DURATIONS = `ARRAY[${DURATION_BOUNDS.map((_, place) => `sum(duraciones[${place + 1}])`)}]`

function p95(session: Session, durations: string): string {
  return `${session.table('percentil')}(0.95, ${durations}) AS p95`
}

/**
 * Of the hours that begin in [since, until): the sum of all listeners first, then one row a listener.
 * @param since a full hour, or it begins with the next one
 */
export async function readRates(session: Session, since: Date, until?: Date): Promise<ListenerRates[]> {
  // By listener first, and all from that: GROUPING SETS takes three times as long, and no parallel plan.
  const rows = await session.query<ListenerRates>(
    `WITH each AS MATERIALIZED (
       SELECT listener, ${NUMBERS}, ${DURATIONS} AS duraciones FROM ${session.table('resumen_hora')}
        WHERE instancia = $1 AND proyecto = $2 AND hora >= $3 AND hora < coalesce($4, 'infinity'::timestamptz)
        GROUP BY listener HAVING sum(enviados) > 0)
     SELECT NULL AS listener, ${NUMBERS}, ${p95(session, DURATIONS)} FROM each HAVING count(*) > 0
     UNION ALL
     SELECT listener, ${COUNTS}, ${p95(session, 'duraciones')} FROM each ORDER BY listener NULLS FIRST`,
    [...session.owner, since, until ?? null],
  )
  return rows.map(named)
}

/**
 * A request that is its whole attempt, as nearly all are, and tells so: of one that another follows the worker writes `reintento` and
 * no time of a retry. So it does of an attempt that was interrupted, or whose delivery another worker had by then: these are put
 * together for nothing.
 */
const IS_WHOLE = `pedido = 1 AND (resultado <> 'reintento' OR proximo_intento IS NOT NULL)`

const ATTEMPT_COUNTS = `count(*)::float8 AS enviados, count(*) FILTER (WHERE resultado = 'exito')::float8 AS exitosos,
  count(*) FILTER (WHERE resultado = 'fallo')::float8 AS fallidos, count(*) FILTER (WHERE numero > 1)::float8 AS reintentos`

const RESULTS = `ARRAY['reintento', 'fallo', 'exito']`
/** Of several requests: all but the last one have `reintento`. */
const LAST_RESULT = `(${RESULTS})[max(array_position(${RESULTS}, resultado))]`

/**
 * Attempts whose last request began at $3 or later, each once, as `resumen_hora` counts them: in the time of that request, with its
 * result and the time of all of them; of one that began before $3, of those from then on. As in `010_resumen.sql` the same id, come
 * again, begins with its number 1 anew.
 *
 * Only what needs it is put together, and in the order of time only where that tells two attempts apart: all of them sorted took
 * twice as long.
 * @param by what they are counted by, of `listener` and `inicio`
 * @returns CTEs, of which `counted` has a row for each `what` and each duration
 */
function countedAttempts(session: Session, by: string): string {
  const key = 'mensaje_id, listener, numero'
  return `requests AS NOT MATERIALIZED (
      SELECT ${key}, pedido, inicio, duracion_ms, resultado, ${IS_WHOLE} AS is_whole
        FROM ${session.table('intento')} WHERE instancia = $1 AND proyecto = $2 AND inicio >= $3),
    several AS MATERIALIZED (
      SELECT ${key}, max(inicio) AS inicio, sum(duracion_ms) AS ms, ${LAST_RESULT} AS resultado,
             count(*) FILTER (WHERE pedido = 1) > 1
               OR coalesce(min(inicio) < min(inicio) FILTER (WHERE pedido = 1), false) AS came_again
        FROM requests WHERE NOT is_whole GROUP BY ${key}),
    rounds AS (
      SELECT listener, numero, max(inicio) AS inicio, sum(duracion_ms) AS ms, ${LAST_RESULT} AS resultado
        FROM (SELECT *, count(*) FILTER (WHERE pedido = 1) OVER (PARTITION BY ${key} ORDER BY inicio, pedido) AS round
                FROM requests WHERE NOT is_whole AND (${key}) IN (SELECT ${key} FROM several WHERE came_again)) AS placed
       GROUP BY ${key}, round),
    attempts AS (
      SELECT listener, numero, inicio, ms, resultado FROM several WHERE NOT came_again
      UNION ALL
      SELECT listener, numero, inicio, ms, resultado FROM rounds),
    counted AS MATERIALIZED (
      SELECT ${by} AS what, duracion_ms AS ms, ${ATTEMPT_COUNTS} FROM requests WHERE is_whole GROUP BY 1, 2
      UNION ALL
      SELECT ${by}, ms, ${ATTEMPT_COUNTS} FROM attempts GROUP BY 1, 2)`
}

/** `Rates` for each `what`. */
function ratesOf(counted: string): string {
  return `SELECT what, ${NUMBERS}, (min(ms) FILTER (WHERE up_to >= ceil(0.95 * total)))::float8 AS p95
            FROM (SELECT *, sum(enviados) OVER (PARTITION BY what ORDER BY ms) AS up_to,
                         sum(enviados) OVER (PARTITION BY what) AS total FROM ${counted}) AS counted
           GROUP BY what ORDER BY what NULLS FIRST`
}

/** The same of the attempts themselves, for what is shorter than an hour. */
export async function readRecentRates(session: Session, since: Date): Promise<ListenerRates[]> {
  const ofAll = `SELECT NULL, ms, ${COUNTS} FROM counted`
  const rows = await session.query<Rates & { readonly what: string | null }>(
    `WITH ${countedAttempts(session, 'listener')} ${ratesOf(`(SELECT * FROM counted UNION ALL ${ofAll}) AS twice`)}`,
    [...session.owner, since],
  )
  return rows.map(({ what, ...rates }) => named({ listener: what, ...rates }))
}

/** One row for each hour that had attempts, in the order of time. */
export interface HourOfRates extends Rates {
  readonly hora: Date
}

/** @param listener null: of all */
export function readRatesByHour(
  session: Session,
  { since, until, listener }: { readonly since: Date; readonly until?: Date; readonly listener?: string | null },
): Promise<HourOfRates[]> {
  const parameters: Parameter[] = [...session.owner, since, until ?? null]
  const only = listener == null ? '' : `AND listener = $${parameters.push(session.rules.key(listener))}`
  return session.query<HourOfRates>(
    `SELECT hora, ${NUMBERS}, ${p95(session, DURATIONS)} FROM ${session.table('resumen_hora')}
      WHERE instancia = $1 AND proyecto = $2 AND hora >= $3 AND hora < coalesce($4, 'infinity'::timestamptz) ${only}
      GROUP BY hora HAVING sum(enviados) > 0 ORDER BY hora`,
    parameters,
  )
}

/** One row for each minute that had attempts, of the attempts themselves: for what is shorter than a few hours. */
export async function readRatesByMinute(session: Session, since: Date): Promise<HourOfRates[]> {
  const rows = await session.query<Rates & { readonly what: Date }>(
    `WITH ${countedAttempts(session, `date_trunc('minute', inicio)`)} ${ratesOf('counted')}`,
    [...session.owner, since],
  )
  return rows.map(({ what, ...rates }) => ({ hora: what, ...rates }))
}

function named(row: ListenerRates): ListenerRates {
  return row.listener === null ? row : { ...row, listener: original(row.listener) }
}
