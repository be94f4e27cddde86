/**
 * Deliveries by filter: what `auditoria` lists and follows, and what `reenviar` and `descartar` choose from.
 *
 * Newest first by `creado`, which never changes, so that paging is stable; following goes by `actualizado`.
 */
import type { Session } from './database.ts'
import type { DeliveryStateName } from './event.ts'
import { eventNames } from './event-names.ts'
import { byMessage, countMessages, walk } from './listing-by-event.ts'
import { type Listing, type Page, pageOf } from './listing-sql.ts'

export type { Place } from './listing-sql.ts'

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

/** A delivery as the listings show it: the columns of `entrega`, and its message's event (null when that row is missing). */
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

/**
 * One page.
 *
 * An event is its message's, in another table: the deliveries are gone through in their order and each is asked for its
 * event, which soon fills a page where the event is common. Once as many were looked at as there are messages of that event, it
 * starts from those messages instead: whichever way is the shorter one, this takes about twice as long at most.
 */
export async function listDeliveries(
  session: Session,
  filters: DeliveryFilters,
  page: Page,
): Promise<DeliveryListing[]> {
  const listing: Listing = { filters, order: page.order }
  if (filters.event === undefined) return pageOf(session, listing, page)
  const names = await eventNames(session, filters.event)
  if (names.length === 0) return []
  const found: DeliveryListing[] = []
  let messages: number | null = null
  let walked = 0
  for await (const { deliveries, looked, isLast } of walk(session, listing, names, page)) {
    found.push(...deliveries)
    walked += looked
    if (isLast || found.length >= page.limit) break
    messages ??= await countMessages(session, names)
    if (messages <= walked) return byMessage(session, listing, names, page)
  }
  return found.slice(0, page.limit)
}
