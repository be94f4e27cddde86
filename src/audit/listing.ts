/**
 * Deliveries by filter: what `auditoria` lists and follows, and what `reenviar` and `descartar` choose from.
 *
 * Newest first by `creado`, which never changes, so that paging is stable; following goes by `actualizado`. Whatever the filters,
 * it is one query of one table: `entrega` has an index in each order that pages are asked for, and each holds what else may be
 * filtered by, so that what does not match is passed over without a look at its row.
 */
import { eventMatcher } from '../config/subscriptions.ts'
import { arrayLiteral } from './columns.ts'
import type { Parameter, Session } from './database.ts'
import type { DeliveryStateName } from './event.ts'

/** All that are given must hold. */
export interface DeliveryFilters {
  /** Pattern; `*` matches any run of characters. */
  readonly event?: string | undefined
  readonly listener?: string | undefined
  readonly states?: readonly DeliveryStateName[] | undefined
  /** Bounds of `creado`: from (inclusive), until (exclusive). */
  readonly since?: Date | undefined
  readonly until?: Date | undefined
  readonly messageId?: string | undefined
}

/** A delivery as the listings show it: columns of `entrega` (`evento` is null where its message is missing). */
export interface DeliveryListing {
  readonly mensaje_id: string
  readonly evento: string | null
  readonly listener: string
  readonly estado: DeliveryStateName
  readonly intentos: number
  readonly proximo_intento: Date | null
  readonly motivo: string | null
  readonly creado: Date
  readonly actualizado: Date
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

/** One page. */
export function listDeliveries(session: Session, filters: DeliveryFilters, page: Page): Promise<DeliveryListing[]> {
  const parameters: Parameter[] = []
  const put = (value: Parameter) => `$${parameters.push(value)}`
  const conditions = [...filterConditions(session, filters, put), ...pageConditions(page, put)]
  const way = page.order === 'newest' ? 'DESC' : 'ASC'
  return session.query<DeliveryListing>(
    `SELECT mensaje_id, evento, listener, estado, intentos, proximo_intento, motivo, creado, actualizado
       FROM ${session.table('entrega')} WHERE ${conditions.join(' AND ')}
      ORDER BY ${timeColumn(page.order)} ${way}, mensaje_id ${way}, listener ${way} LIMIT ${Math.trunc(page.limit)}`,
    parameters,
  )
}

/** Takes a parameter in, and gives its `$n`. */
type Put = (value: Parameter) => string

function filterConditions({ owner, rules }: Session, filters: DeliveryFilters, put: Put): string[] {
  const { event, listener, states, since, until, messageId } = filters
  const conditions = [`instancia = ${put(owner[0])}`, `proyecto = ${put(owner[1])}`]
  if (event !== undefined) conditions.push(eventCondition(rules.text(event), put))
  if (listener !== undefined) conditions.push(`listener = ${put(rules.key(listener))}`)
  if (messageId !== undefined) conditions.push(`mensaje_id = ${put(rules.key(messageId))}`)
  if (since) conditions.push(`creado >= ${put(since)}`)
  if (until) conditions.push(`creado < ${put(until)}`)
  if (states) {
    // One state by itself: only then does its index give them in the order of time.
    const [state, ...others] = states
    if (state !== undefined && others.length === 0) conditions.push(`estado = ${put(state)}`)
    else conditions.push(`estado = ANY (${put(arrayLiteral(states))}::text[])`)
    // Said again in the words of the partial index.
    if (!states.includes('exitosa')) conditions.push(`estado <> 'exitosa'`)
  }
  return conditions
}

function eventCondition(event: string, put: Put): string {
  if (!event.includes('*')) return `evento = ${put(event)}`
  const like = event.replace(/[\\%_]/g, '\\$&').replaceAll('*', '%')
  return `evento LIKE ${put(like)}`
}

/** The rows after a place. The time again by itself, which an index on it alone understands. */
function pageConditions({ order, after }: Page, put: Put): string[] {
  if (!after) return []
  const [time, than] = [timeColumn(order), order === 'newest' ? '<' : '>']
  const place = [after.at, after.messageId, after.listener].map(put)
  return [`${time} ${than}= ${place[0]}`, `(${time}, mensaje_id, listener) ${than} (${place.join(', ')})`]
}

function timeColumn(order: Order): 'creado' | 'actualizado' {
  return order === 'changes' ? 'actualizado' : 'creado'
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
