/**
 * Deliveries by filter, page by page: what `auditoria` and the page list and follow, and what `reenviar` and `descartar` work
 * through. A page is one query; but a text is looked for in the messages, and a time of attempts in those, of one stretch of time
 * after another, so that what was found is shown soon and no statement takes long.
 *
 * Newest first by `creado`, which never changes, so that paging is stable; following goes by `actualizado`, and what is read in
 * stretches by the time of what is read.
 */
import { eventMatcher } from '../config/subscriptions.ts'
import { UsageError } from '../errors.ts'
import type { Millis } from '../model/message.ts'
import { arrayLiteral } from './columns.ts'
import type { Session } from './database.ts'
import {
  branchesOf,
  type DeliveryFilters,
  deliveriesFrom,
  type Put,
  parameterList,
  SOURCE_TIME,
  searchRange,
  sourceOf,
} from './filters.ts'
import type { Page as Ask } from './stored.ts'
import { type OnProgress, stretches, type TimeRange } from './stretches.ts'
import type { ActionColumns, DeliveryColumns } from './timeline.ts'

/** A delivery as the listings show it: columns of `entrega` (`evento` is null where its message is missing). */
export interface DeliveryListing extends DeliveryColumns {
  readonly mensaje_id: string
  readonly evento: string | null
  /** What a person did last to it; null: nobody did anything. */
  readonly accion: Omit<ActionColumns, 'listener'> | null
}

/** A listing's place in an order by time. */
export interface Place {
  readonly at: Date
  readonly messageId: string
  readonly listener: string
}

/** `newest`: by `creado` downwards; `oldest`: upwards; `changes`: by `actualizado` upwards. */
export type Order = 'newest' | 'oldest' | 'changes'

export interface Page {
  readonly order: Order
  readonly limit: number
  /** The last row of the page before. */
  readonly after?: Place | undefined
}

/** With its time in the order that it was listed in. */
export type Placed = DeliveryListing & { readonly lugar: Date }

type PlacedRow = Omit<Placed, 'accion'> & { readonly accion: string | null }

const COLUMNS =
  'e.mensaje_id, e.evento, e.listener, e.estado, e.intentos, e.proximo_intento, e.motivo, e.creado, e.actualizado, e.accion'

/** One page, of a stretch of the source's time or of all that the filters say. */
export async function listDeliveries(
  session: Session,
  filters: DeliveryFilters,
  page: Page,
  stretch?: TimeRange,
): Promise<Placed[]> {
  const events = await eventsLike(session, filters.event)
  if (events?.length === 0 || filters.states?.length === 0) return []
  const { parameters, put } = parameterList()
  const source = sourceOf(filters)
  const time = page.order === 'changes' ? 'e.actualizado' : SOURCE_TIME[source]
  const way = page.order === 'newest' ? 'DESC' : 'ASC'
  const ordered = `ORDER BY lugar ${way}, mensaje_id ${way}, listener ${way} LIMIT ${Math.trunc(page.limit)}`
  const sql = (source === 'deliveries' ? branchesOf(filters, events) : [{}]).map((branch) => {
    const { from, conditions } = deliveriesFrom(session, filters, put, { branch, stretch })
    conditions.push(...placeConditions(time, page, put))
    return `(SELECT ${COLUMNS}, ${time} AS lugar FROM ${from} WHERE ${conditions.join(' AND ')} ${ordered})`
  })
  const text = sql.length === 1 ? sql[0]! : `SELECT * FROM (${sql.join(' UNION ALL ')}) AS e ${ordered}`
  return withActions(session, await session.query<PlacedRow>(text, parameters))
}

/** The few actions of a page, each read once. */
async function withActions(session: Session, rows: readonly PlacedRow[]): Promise<Placed[]> {
  const ids = [...new Set(rows.flatMap(({ accion }) => (accion === null ? [] : [accion])))]
  const found =
    ids.length === 0
      ? []
      : await session.query<Omit<ActionColumns, 'listener'>>(
          `SELECT id, fecha, quien, equipo, orden FROM ${session.table('accion')}
            WHERE instancia = $1 AND proyecto = $2 AND id = ANY ($3::text[])`,
          [...session.owner, arrayLiteral(ids)],
        )
  const byId = new Map(found.map((action) => [action.id, action]))
  return rows.map((row) => ({ ...row, accion: (row.accion && byId.get(row.accion)) || null }))
}

/** The rows after a place. The time again by itself, which an index on it alone understands. */
function placeConditions(time: string, { order, after }: Page, put: Put): string[] {
  if (!after) return []
  const than = order === 'newest' ? '<' : '>'
  const place = [after.at, after.messageId, after.listener].map(put)
  return [`${time} ${than}= ${place[0]}`, `(${time}, e.mensaje_id, e.listener) ${than} (${place.join(', ')})`]
}

/** More names than these are no vocabulary: their pattern is compared with every row then. */
const MOST_NAMES = 1_000

/**
 * The events that there are deliveries of and that a pattern stands for: one look into an index for each event there is. Null:
 * that is not known, or it is no pattern.
 */
export async function eventsLike(session: Session, pattern: string | undefined): Promise<string[] | null> {
  if (pattern === undefined || !pattern.includes('*'))
    return pattern === undefined ? null : [session.rules.text(pattern)]
  const names = await knownNames(session, 'evento')
  if (names === null) return null
  return names.filter(eventMatcher([session.rules.text(pattern)]))
}

/** The names in a column of `entrega`, in order; null where there are too many, or an upgrade has not made their index yet. */
export async function knownNames(session: Session, column: 'evento' | 'listener'): Promise<string[] | null> {
  const table = session.table('entrega')
  const first = (beyond: string) => `SELECT e.${column} FROM ${table} e
    WHERE e.instancia = $1 AND e.proyecto = $2 AND e.${column} IS NOT NULL${beyond} ORDER BY e.${column} LIMIT 1`
  const rows = await session.query<{ name: string; ready: boolean }>(
    `WITH RECURSIVE ready AS MATERIALIZED (SELECT to_regclass($3) IS NOT NULL AS ready),
     known (name) AS (
       (SELECT name FROM ready, LATERAL (${first('')}) AS one (name) WHERE ready)
       UNION ALL
       SELECT (${first(` AND e.${column} > known.name`)}) FROM known WHERE known.name IS NOT NULL
     )
     SELECT name, ready FROM ready LEFT JOIN (SELECT name FROM known WHERE name IS NOT NULL LIMIT ${MOST_NAMES + 1}) k ON true`,
    [...session.owner, session.table(`entrega_${column}`)],
  )
  if (!rows[0]?.ready || rows.length > MOST_NAMES) return null
  return rows.flatMap(({ name }) => (name === null ? [] : [name]))
}

/** Where a row stands in the order that it was listed in. */
export function placeOf({ lugar, mensaje_id, listener }: Placed): Place {
  return { at: lugar, messageId: mensaje_id, listener }
}

/** A page is often full with the last minutes, and an hour may hold half a million messages. */
const FIRST_LISTED: Millis = 600_000

/** One page of what is read a stretch of time after another until it is full. */
export async function listStretches(
  ask: Ask,
  filters: DeliveryFilters,
  page: Page,
  onProgress?: OnProgress,
): Promise<Placed[]> {
  const { order, limit, after } = page
  const found: Placed[] = []
  const whole = await ask((session) => sourceRange(session, filters))
  // Where the page before ended is where this one begins.
  const bound = after && (order === 'newest' ? { until: new Date(after.at.getTime() + 1) } : { since: after.at })
  const way = order === 'newest' ? 'down' : 'up'
  for await (const stretch of stretches({ ...whole, ...bound }, way, onProgress, FIRST_LISTED)) {
    const left = { ...page, limit: limit - found.length }
    found.push(...(await ask((session) => listDeliveries(session, filters, left, stretch))))
    stretch.read()
    if (found.length >= limit) break
  }
  return found
}

/** What has to be read of the source, where the filters do not say it. */
export async function sourceRange(session: Session, filters: DeliveryFilters): Promise<TimeRange> {
  const source = sourceOf(filters)
  if (source === 'messages') return searchRange(filters)
  const [since, until] =
    source === 'attempts' ? [filters.triedSince ?? filters.since, filters.triedUntil] : [filters.since, filters.until]
  const end = until ?? new Date(Date.now() + AHEAD)
  if (since) return { since, until: end }
  const [row] = await session.query<{ first: Date | null }>(
    `SELECT min(creado) AS first FROM ${session.table('entrega')} WHERE instancia = $1 AND proyecto = $2`,
    session.owner,
  )
  return { since: row!.first ?? end, until: end }
}

/** Clocks of other machines may be ahead of ours. */
const AHEAD: Millis = 60_000

const CURSOR_ORDERS: readonly Order[] = ['newest', 'oldest']

/** A place as a word of a command line or of an address; opaque. */
export function writeCursor(order: Order, { at, messageId, listener }: Place): string {
  return Buffer.from(JSON.stringify([CURSOR_ORDERS.indexOf(order), at.getTime(), messageId, listener])).toString(
    'base64url',
  )
}

/** @throws UsageError where it is none, or one of another order */
export function readCursor(order: Order, text: string): Place {
  try {
    const [kind, at, messageId, listener] = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'))
    const date = new Date(at)
    if (typeof messageId !== 'string' || typeof listener !== 'string' || Number.isNaN(date.getTime())) throw new Error()
    if (CURSOR_ORDERS[kind] === order) return { at: date, messageId, listener }
  } catch {
    throw new UsageError('--despues-de: no es el lugar de una página: copie el comando que mostró la página anterior.')
  }
  throw new UsageError('--despues-de: es de una página en otro orden: repita el --orden de la página anterior.')
}

/** Whether a delivery would be listed by these filters, as far as its own row tells: of a text in its message it does not. */
export function matchesFilters(row: DeliveryListing, filters: DeliveryFilters): boolean {
  const { event, listener, states, since, until, messageId } = filters
  return (
    (event === undefined || (row.evento !== null && eventMatcher([event])(row.evento))) &&
    (listener === undefined || row.listener === listener) &&
    (states === undefined || states.includes(row.estado)) &&
    (since === undefined || row.creado >= since) &&
    (until === undefined || row.creado < until) &&
    (messageId === undefined || row.mensaje_id === messageId)
  )
}
