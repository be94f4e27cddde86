/**
 * What is not done according to the audit: the deliveries and delayed messages that are still owed, which `recuperar` puts back; and
 * messages without a delivery, those that a listener never got, which `reenviar --faltantes` sends to one that was added, or
 * corrected, later, and those that no listener got at all.
 */
import type { Parameter, Session } from './database.ts'
import { original } from './encoding.ts'
import { type Page, readDeliveries, readMessages, type StoredDelivery, type StoredMessage } from './stored.ts'
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

export interface MissedFilters {
  /** Null: no listener got it, nor was sent it since. */
  readonly listener: string | null
  /** Bounds of `recibido`: from (inclusive), until (exclusive). */
  readonly since?: Date | undefined
  readonly until?: Date | undefined
  readonly messageId?: string | undefined
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

/**
 * Those of one listener are without those that were sent to another listener alone, and without those whose `demora` runs.
 * @param order by `recibido`
 */
export async function* readMissed(
  page: Page,
  { listener, since, until, messageId }: MissedFilters,
  order: 'newest' | 'oldest' = 'oldest',
): AsyncGenerator<MissedMessage> {
  const [beyond, way] = order === 'oldest' ? ['>', 'ASC'] : ['<', 'DESC']
  let after: readonly [Date, string] | null = null
  for (;;) {
    const rows: (MissedMessage & { original: Buffer | null })[] = await page((session) => {
      const { key, text } = session.rules
      const parameters: Parameter[] = [...session.owner]
      const put = (value: Parameter) => `$${parameters.push(value)}`
      const and = (condition: string, value: Parameter | undefined) =>
        value === undefined ? '' : ` AND ${condition} ${put(value)}`
      const missed =
        listener === null
          ? unheardSql(session)
          : `m.listeners IS NOT NULL AND (m.solo_listener IS NULL OR m.solo_listener = ${put(text(listener))})
             AND NOT EXISTS (SELECT FROM ${session.table('entrega')} e WHERE e.mensaje_id = m.id
                              AND e.listener = ${put(key(listener))} AND e.instancia = $1 AND e.proyecto = $2)`
      const bounds = [
        and('m.recibido >=', since),
        and('m.recibido <', until),
        and('m.id =', messageId === undefined ? undefined : key(messageId)),
        after === null ? '' : ` AND (m.recibido, m.id) ${beyond} (${put(after[0])}, ${put(after[1])})`,
      ]
      return session.query(
        `SELECT m.id, m.evento, m.solo_listener, m.origen, m.recibido, m.original FROM ${session.table('mensaje')} m
          WHERE m.instancia = $1 AND m.proyecto = $2 AND ${missed}${bounds.join('')}
          ORDER BY m.recibido ${way}, m.id ${way} LIMIT ${PAGE}`,
        parameters,
      )
    })
    for (const row of rows) yield { ...asSent(row), id: original(row.id) }
    const last = rows.at(-1)
    if (!last || rows.length < PAGE) return
    after = [last.recibido, last.id]
  }
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
