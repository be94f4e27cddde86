/**
 * Deliveries of some events. The event stands in `mensaje`, one part a month, and the order in `entrega`; two ways lead from
 * one to the other, and `listing.ts` chooses.
 */
import type { Millis } from '../model/message.ts'
import { arrayLiteral } from './columns.ts'
import type { Session } from './database.ts'
import type { DeliveryListing } from './listing.ts'
import {
  addBound,
  columnsOf,
  conditionsOf,
  eventSql,
  inOrder,
  type Listing,
  type Page,
  type Place,
  timeColumn,
} from './listing-sql.ts'

/** Deliveries looked at in one step: the first fills a page of a common event, later ones are larger. */
const FIRST_STEP = 1_000
const LONGEST_STEP = 20_000

/** Up to so many messages, finding and sorting all their deliveries takes a third of a second; walking may take many. */
const MOST_MESSAGES = 50_000

const HOUR: Millis = 3_600_000

/** The deliveries after a place in their order, step by step: of each step those of the events. */
export async function* walk(
  session: Session,
  listing: Listing,
  names: readonly string[],
  { limit, after }: Page,
): AsyncGenerator<{ deliveries: readonly DeliveryListing[]; looked: number; isLast: boolean }> {
  // Workers cost more to start than such a step takes.
  await session.query(`SELECT set_config('max_parallel_workers_per_gather', '0', true)`)
  let from = after
  for (let size = Math.max(FIRST_STEP, 2 * limit); ; size = Math.min(4 * size, Math.max(LONGEST_STEP, size))) {
    const step = await nextStep(session, listing, from, size)
    if (step === null) return
    const isLast = step.deliveries < size
    const deliveries = await matching(session, listing, names, { from, step, limit })
    yield { deliveries, looked: step.deliveries, isLast }
    if (isLast) return
    from = step.last
  }
}

interface Step {
  readonly deliveries: number
  readonly oldest: Date
  readonly newest: Date
  readonly last: Place
}

/** How far the next so many deliveries go; null when there are none. */
async function nextStep(session: Session, listing: Listing, from: Place | undefined, size: number) {
  const { order } = listing
  const sql = conditionsOf(session, listing, from)
  const [row] = await session.query<{
    deliveries: number
    oldest: Date
    newest: Date
    at: Date
    mensaje_id: string
    listener: string
  }>(
    `WITH paso AS MATERIALIZED (
       SELECT e.mensaje_id, e.listener, e.creado, e.actualizado FROM ${session.table('entrega')} e
        WHERE ${sql.text} ${inOrder(order)} LIMIT ${Math.trunc(size)})
     SELECT (SELECT count(*)::int FROM paso) AS deliveries, (SELECT min(creado) FROM paso) AS oldest,
            (SELECT max(creado) FROM paso) AS newest, e.${timeColumn(order)} AS at, e.mensaje_id, e.listener
       FROM paso e ${inOrder(order, true)} LIMIT 1`,
    sql.parameters,
  )
  if (!row) return null
  const { deliveries, oldest, newest, at, mensaje_id: messageId, listener } = row
  return { deliveries, oldest, newest, last: { at, messageId, listener } } satisfies Step
}

function matching(
  session: Session,
  listing: Listing,
  names: readonly string[],
  { from, step, limit }: { from: Place | undefined; step: Step; limit: number },
): Promise<DeliveryListing[]> {
  const { order } = listing
  const sql = conditionsOf(session, listing, from)
  addBound(sql, order, order === 'newest' ? '>=' : '<=', step.last)
  // Implied by the hour before each delivery; as values they tell the planner which months there are to be searched.
  const soon = sql.numbered(
    ' AND m.recibido >= ? AND m.recibido <= ?',
    new Date(step.oldest.getTime() - HOUR),
    step.newest,
  )
  return session.query<DeliveryListing>(
    `SELECT * FROM (
       SELECT ${columnsOf(eventSql(session, soon))}
         FROM ${session.table('entrega')} e WHERE ${sql.text}) e
      WHERE e.evento = ANY (${sql.numbered('?::text[]', arrayLiteral(names))})
      ${inOrder(order)} LIMIT ${Math.trunc(limit)}`,
    sql.parameters,
  )
}

/** How many messages are of these events, whenever they came; Infinity where they are too many to go by. */
export async function countMessages(session: Session, names: readonly string[]) {
  const [row] = await session.query<{ count: number }>(
    `SELECT count(*)::int FROM (
       SELECT FROM ${session.table('mensaje')}
        WHERE instancia = $1 AND proyecto = $2 AND evento = ANY ($3::text[]) LIMIT ${MOST_MESSAGES + 1}) m`,
    [...session.owner, arrayLiteral(names)],
  )
  return row!.count > MOST_MESSAGES ? Number.POSITIVE_INFINITY : row!.count
}

/** A page by way of the messages: all of those events, then their deliveries, sorted. */
export function byMessage(
  session: Session,
  listing: Listing,
  names: readonly string[],
  { limit, after }: Page,
): Promise<DeliveryListing[]> {
  const { order } = listing
  const sql = conditionsOf(session, listing, after)
  const messages = sql.numbered(
    'm.instancia = ? AND m.proyecto = ? AND m.evento = ANY (?::text[])',
    ...session.owner,
    arrayLiteral(names),
  )
  // Materialized, and OFFSET 0: the planner, told of the LIMIT, would go back to walking.
  return session.query<DeliveryListing>(
    `WITH m AS MATERIALIZED (SELECT DISTINCT m.id FROM ${session.table('mensaje')} m WHERE ${messages})
     SELECT ${columnsOf(eventSql(session))}
       FROM (SELECT e.* FROM m, LATERAL (
               SELECT e.* FROM ${session.table('entrega')} e WHERE e.mensaje_id = m.id AND ${sql.text} OFFSET 0) e
              ${inOrder(order)} LIMIT ${Math.trunc(limit)}) e
      ${inOrder(order)}`,
    sql.parameters,
  )
}
