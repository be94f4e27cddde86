/**
 * What is not done according to the audit: the deliveries and delayed messages that are still owed, which `recuperar` puts back; and
 * messages without a delivery, those that a listener never got, which `reenviar --faltantes` sends to one that was added, or
 * corrected, later, and those that no listener got at all.
 */
import { arrayLiteral } from './columns.ts'
import type { Session } from './database.ts'
import { original } from './encoding.ts'
import { type DeliveryFilters, likePattern, messageConditions, type Put, parameterList } from './filters.ts'
import type { Place } from './listing.ts'
import { type Page, readDeliveries, readMessages, type StoredDelivery, type StoredMessage } from './stored.ts'
import { type OnProgress, stretches, type TimeRange } from './stretches.ts'
import { asSent } from './timeline.ts'

export type Owed =
  /** At least one delivery has not ended; all of the message's are listed. `message` is null when its row was refused. */
  | {
      readonly kind: 'deliveries'
      readonly id: string
      readonly message: StoredMessage | null
      readonly deliveries: readonly StoredDelivery[]
    }
  /** Its `demora` had not ended. */
  | { readonly kind: 'delayed'; readonly id: string; readonly message: StoredMessage }

/** Asked before anything is read of a delivery, or (`listener` null) of a delayed message. */
export type Wanted = (messageId: string, listener: string | null) => boolean

/** Keys alone: bodies are read of those that are wanted. */
const PAGE = 1_000

/**
 * Message by message, about oldest first. A message may come twice (its deliveries wait in different states), and one
 * whose deliveries end meanwhile may not come at all.
 */
export async function* readOwed(page: Page, wanted: Wanted): AsyncGenerator<Owed> {
  for (const state of ['pendiente', 'reintentando'] as const) {
    let after: readonly [Date, string, string] = [new Date(0), '', '']
    for (;;) {
      const rows = await page((session) => keysAfter(session, state, after))
      const keys = rows.map((row) => ({ id: original(row.mensaje_id), listener: original(row.listener) }))
      const ids = new Set(keys.filter(({ id, listener }) => wanted(id, listener)).map(({ id }) => id))
      yield* groups(page, [...ids])
      const last = rows.at(-1)
      if (!last || rows.length < PAGE) break
      after = [last.creado, last.mensaje_id, last.listener]
    }
  }
  let after: readonly [Date, string] = [new Date(0), '']
  for (;;) {
    const rows = await page((session) => delayedAfter(session, after))
    const ids = rows.map(({ id }) => original(id)).filter((id) => wanted(id, null))
    for await (const messages of readMessages(page, ids)) {
      for (const [id, message] of messages) yield { kind: 'delayed', id, message }
    }
    const last = rows.at(-1)
    if (!last || rows.length < PAGE) return
    after = [last.recibido, last.id]
  }
}

async function* groups(page: Page, ids: readonly string[]): AsyncGenerator<Owed> {
  if (ids.length === 0) return
  const deliveries = new Map<string, StoredDelivery[]>(ids.map((id) => [id, []]))
  for (const each of await page((session) => readDeliveries(session, ids))) {
    deliveries.get(each.messageId)?.push(each)
  }
  const without = new Set(ids)
  for await (const messages of readMessages(page, ids)) {
    // In the order of dispatch, which the map of ids keeps.
    for (const id of ids) {
      const message = messages.get(id)
      if (!message) continue
      without.delete(id)
      yield { kind: 'deliveries', id, message, deliveries: deliveries.get(id)! }
    }
  }
  for (const id of without) yield { kind: 'deliveries', id, message: null, deliveries: deliveries.get(id)! }
}

function keysAfter(session: Session, state: 'pendiente' | 'reintentando', after: readonly [Date, string, string]) {
  return session.query<{ creado: Date; mensaje_id: string; listener: string }>(
    `SELECT creado, mensaje_id, listener FROM ${session.table('entrega')}
      WHERE instancia = $1 AND proyecto = $2 AND estado = '${state}' AND (creado, mensaje_id, listener) > ($3, $4, $5)
      ORDER BY creado, mensaje_id, listener LIMIT ${PAGE}`,
    [...session.owner, ...after],
  )
}

function delayedAfter(session: Session, after: readonly [Date, string]): Promise<{ id: string; recibido: Date }[]> {
  return session.query(
    `SELECT id, recibido FROM ${session.table('mensaje')}
      WHERE instancia = $1 AND proyecto = $2 AND listeners IS NULL AND (recibido, id) > ($3, $4)
      ORDER BY recibido, id LIMIT ${PAGE}`,
    [...session.owner, ...after],
  )
}

export interface MissedFilters
  extends Pick<DeliveryFilters, 'since' | 'until' | 'messageId' | 'key' | 'search' | 'event'> {
  /** Null: no listener got it, nor was sent it since. */
  readonly listener: string | null
  /** Patterns, of which the message's event is like one; those that the listener wants. */
  readonly wanted?: readonly string[] | undefined
}

export interface MissedMessage {
  readonly id: string
  readonly evento: string
  readonly solo_listener: string | null
  readonly origen: string | null
  readonly recibido: Date
}

/** Beyond this it does not matter any more how many there are. */
const MOST_COUNTED = 10_000

/** Of a message `m`: dispatched, and to nobody. The words of the index `mensaje_sin_listener`. */
export function unheardSql(session: Session): string {
  return `m.listeners = 0 AND NOT EXISTS (SELECT FROM ${session.table('entrega')} e WHERE e.mensaje_id = m.id
            AND e.instancia = m.instancia AND e.proyecto = m.proyecto)`
}

/** Of a message `m`: those of one listener without those that were sent to another alone, and without those whose `demora` runs. */
function missedConditions(session: Session, filters: MissedFilters, put: Put): string[] {
  const { listener, wanted } = filters
  const { key, text } = session.rules
  const conditions = messageConditions(session, filters, put)
  if (wanted && !wanted.includes('*')) {
    conditions.push(`m.evento LIKE ANY (${put(arrayLiteral(wanted.map((each) => likePattern(text(each)))))}::text[])`)
  }
  if (listener === null) conditions.push(unheardSql(session))
  else {
    conditions.push(
      `m.listeners IS NOT NULL AND (m.solo_listener IS NULL OR m.solo_listener = ${put(text(listener))})`,
      `NOT EXISTS (SELECT FROM ${session.table('entrega')} e WHERE e.mensaje_id = m.id AND e.listener = ${put(key(listener))}
                    AND e.instancia = m.instancia AND e.proyecto = m.proyecto)`,
    )
  }
  return conditions
}

export interface MissedOrder {
  /** By `recibido`. */
  readonly order?: 'newest' | 'oldest' | undefined
  /** The last of those that came before. */
  readonly start?: Place | undefined
  readonly onProgress?: OnProgress | undefined
}

/** One stretch of time after another, however few of its messages are missed */
export async function* readMissed(
  page: Page,
  filters: MissedFilters,
  { order = 'oldest', start, onProgress }: MissedOrder = {},
): AsyncGenerator<MissedMessage> {
  const way = order === 'oldest' ? 'ASC' : 'DESC'
  let after = start && ([start.at, start.messageId] as const)
  const range = await page((session) => missedRange(session, filters, { order, start }))
  // Those of nobody are in an index of their own.
  const isQuick = filters.listener === null && filters.search === undefined
  const parts = isQuick
    ? [{ ...range, read: () => {} }]
    : stretches(range, order === 'oldest' ? 'up' : 'down', onProgress)
  for await (const stretch of parts) {
    const { since, until } = stretch
    for (;;) {
      const rows = await page((session) => {
        const { parameters, put } = parameterList()
        const conditions = missedConditions(session, { ...filters, since, until }, put)
        if (after)
          conditions.push(
            `(m.recibido, m.id) ${order === 'oldest' ? '>' : '<'} (${after.map((each) => put(each)).join(', ')})`,
          )
        return session.query<MissedMessage & { original: Buffer | null }>(
          `SELECT m.id, m.evento, m.solo_listener, m.origen, m.recibido, m.original FROM ${session.table('mensaje')} m
            WHERE ${conditions.join(' AND ')} ORDER BY m.recibido ${way}, m.id ${way} LIMIT ${PAGE}`,
          parameters,
        )
      })
      stretch.read()
      for (const row of rows) yield { ...asSent(row), id: original(row.id) }
      const last = rows.at(-1)
      if (last) after = [last.recibido, last.id]
      if (rows.length < PAGE) break
    }
  }
}

/** How many of one listener there are. */
export async function countMissed(page: Page, filters: MissedFilters, onProgress?: OnProgress): Promise<number> {
  let sum = 0
  const range = await page((session) => missedRange(session, filters, {}))
  for await (const stretch of stretches(range, 'up', onProgress)) {
    const { since, until } = stretch
    const [row] = await page((session) => {
      const { parameters, put } = parameterList()
      const conditions = missedConditions(session, { ...filters, since, until }, put)
      return session.query<{ count: number }>(
        `SELECT count(*)::float8 FROM ${session.table('mensaje')} m WHERE ${conditions.join(' AND ')}`,
        parameters,
      )
    })
    stretch.read()
    sum += row!.count
  }
  return sum
}

/** The messages there are, within what the filters and the place say. */
async function missedRange(
  session: Session,
  { since, until }: MissedFilters,
  { order, start }: MissedOrder,
): Promise<TimeRange> {
  const [row] = await session.query<{ first: Date | null; last: Date | null }>(
    `SELECT min(recibido) AS first, max(recibido) AS last FROM ${session.table('mensaje')} WHERE instancia = $1 AND proyecto = $2`,
    session.owner,
  )
  const end = row!.last ? new Date(row!.last.getTime() + 1) : new Date(0)
  const range = { since: since ?? row!.first ?? end, until: until && until < end ? until : end }
  if (!start) return range
  return order === 'newest' ? { ...range, until: new Date(start.at.getTime() + 1) } : { ...range, since: start.at }
}

/** How many that nobody got came since then; ten thousand stands for more. */
export async function countUnheard(session: Session, since: Date) {
  const [row] = await session.query<{ count: number }>(
    `SELECT count(*)::float8 FROM (
       SELECT FROM ${session.table('mensaje')} m
        WHERE m.instancia = $1 AND m.proyecto = $2 AND m.recibido >= $3 AND ${unheardSql(session)}
        LIMIT ${MOST_COUNTED}) AS unheard`,
    [...session.owner, since],
  )
  return row!.count
}
