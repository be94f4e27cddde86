/** What is still owed according to the audit: the deliveries, and the delayed messages, that `recuperar` puts back. */
import type { Session } from './database.ts'
import { original } from './encoding.ts'
import { type Page, readDeliveries, readMessages, type StoredDelivery, type StoredMessage } from './stored.ts'

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
