/** The SQL that all listings of deliveries share: which rows, in which order, from where on, and their event. */
import { arrayLiteral } from './columns.ts'
import type { Parameter, Session } from './database.ts'
import type { DeliveryFilters, DeliveryListing } from './listing.ts'

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

/** What is listed, apart from where a page begins and ends. */
export interface Listing {
  readonly filters: DeliveryFilters
  readonly order: Order
}

export function timeColumn(order: Order): 'creado' | 'actualizado' {
  return order === 'changes' ? 'actualizado' : 'creado'
}

/** @param reverse from the last row to the first */
export function inOrder(order: Order, reverse = false): string {
  const way = (order === 'newest') === reverse ? 'ASC' : 'DESC'
  return `ORDER BY e.${timeColumn(order)} ${way}, e.mensaje_id ${way}, e.listener ${way}`
}

/** The deliveries `e` that the filters leave, but for the event, which is not theirs. */
export function conditionsOf(
  { owner, rules }: Session,
  { filters, order }: Listing,
  after: Place | undefined,
): Conditions {
  const sql = new Conditions()
  sql.add('e.instancia = ?', owner[0])
  sql.add('e.proyecto = ?', owner[1])
  if (filters.listener !== undefined) sql.add('e.listener = ?', rules.key(filters.listener))
  if (filters.messageId !== undefined) sql.add('e.mensaje_id = ?', rules.key(filters.messageId))
  if (filters.since) sql.add('e.creado >= ?', filters.since)
  if (filters.until) sql.add('e.creado < ?', filters.until)
  if (filters.states) {
    // One state by itself: only then does its index give them in the order of time.
    const [state, ...others] = filters.states
    if (state !== undefined && others.length === 0) sql.add('e.estado = ?', state)
    else sql.add('e.estado = ANY (?::text[])', arrayLiteral(filters.states))
    // Said again in the words of the partial index.
    if (!filters.states.includes('exitosa')) sql.add(`e.estado <> 'exitosa'`)
  }
  if (after) addBound(sql, order, order === 'newest' ? '<' : '>', after)
  return sql
}

/** @param than `<`, `>=`… of a row to that place, in terms of the columns */
export function addBound(sql: Conditions, order: Order, than: '<' | '>' | '<=' | '>=', place: Place): void {
  const time = timeColumn(order)
  // The time again by itself, which an index on it alone understands.
  sql.add(`e.${time} ${than[0]}= ?`, place.at)
  sql.add(`(e.${time}, e.mensaje_id, e.listener) ${than} (?, ?, ?)`, place.at, place.messageId, place.listener)
}

/** Whose message it is, of a delivery `e`. */
function ofMessage(session: Session): string {
  return `FROM ${session.table('mensaje')} m WHERE m.id = e.mensaje_id AND m.instancia = e.instancia AND m.proyecto = e.proyecto`
}

/**
 * The event of a delivery `e`. Most messages come within the hour before their delivery is made, which leaves one month's part
 * to be searched instead of all; where none did (a delayed one, or one sent again), and where an id was used twice, the newest
 * message of that id counts.
 * @param bounds further conditions of such a message `m`
 */
export function eventSql(session: Session, bounds = ''): string {
  const message = ofMessage(session)
  const soon = `m.recibido >= e.creado - interval '1 hour' AND m.recibido <= e.creado`
  // max() of one row: cheaper than ORDER BY … LIMIT over many parts.
  return `COALESCE((SELECT max(m.evento) ${message} AND ${soon}${bounds}),
                   (SELECT m.evento ${message} ORDER BY m.recibido DESC LIMIT 1))`
}

/** @param event an expression of `e` */
export function columnsOf(event: string): string {
  return `e.mensaje_id, ${event} AS evento, e.listener, e.estado, e.intentos, e.proximo_intento, e.motivo, e.creado, e.actualizado`
}

/** A page of all events. */
export function pageOf(session: Session, listing: Listing, { limit, after }: Page): Promise<DeliveryListing[]> {
  const { order } = listing
  const sql = conditionsOf(session, listing, after)
  return session.query<DeliveryListing>(
    `SELECT ${columnsOf(eventSql(session))}
       FROM (SELECT e.* FROM ${session.table('entrega')} e WHERE ${sql.text}
              ${inOrder(order)} LIMIT ${Math.trunc(limit)}) e
      ${inOrder(order)}`,
    sql.parameters,
  )
}

/** Conditions joined by AND, their `?` numbered as they come. */
export class Conditions {
  readonly parameters: Parameter[] = []
  readonly #parts: string[] = []

  add(condition: string, ...values: Parameter[]) {
    this.#parts.push(this.numbered(condition, ...values))
  }

  /** The same text with its parameters taken in, for a place that is not among the conditions. */
  numbered(text: string, ...values: Parameter[]): string {
    return text.replaceAll('?', () => `$${this.parameters.push(values.shift()!)}`)
  }

  get text(): string {
    return this.#parts.join(' AND ')
  }
}
