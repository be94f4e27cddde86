/** What is still owed according to the audit: the deliveries, and the delayed messages, that `recuperar` puts back. */
import type { Message } from '../message.ts'
import type { Session } from './database.ts'
import { textRules } from './encoding.ts'
import type { DeliveryState } from './event.ts'
import { identifier } from './migrate.ts'
import type { Scope } from './tables.ts'
import type { MessageColumns } from './timeline.ts'

export type Unfinished =
  /** `message` is null when its row was refused, or not written yet. */
  | { readonly kind: 'delivery'; readonly state: DeliveryState; readonly message: StoredMessage | null }
  /** Its `demora` had not ended. */
  | { readonly kind: 'delayed'; readonly message: StoredMessage }

export interface StoredMessage {
  readonly message: Message
  /** ms since epoch. */
  readonly receivedAt: number
  /** False: `auditar_cuerpo = 0`, the body is not here and `message.body` is empty. */
  readonly bodyKept: boolean
}

type MessageRow = { readonly [Column in keyof MessageColumns]: MessageColumns[Column] }
type DeliveryRow = { readonly [Column in keyof MessageRow]: MessageRow[Column] | null } & {
  readonly mensaje_id: string
  readonly e_listener: string
  readonly e_estado: DeliveryState['state']
  readonly e_intentos: number
  readonly e_proximo: Date | null
  readonly e_motivo: string | null
  readonly e_creado: Date
  readonly e_version: number
}

/** Bodies come along, so pages are small. */
const PAGE = 200

/** Runs one page's query; a transaction each, so that a long recovery holds no snapshot. */
export type Page = <T>(work: (session: Session) => Promise<T>) => Promise<T>

/**
 * Oldest first. A delivery that changes meanwhile may come twice, or not at all when it ended.
 */
export async function* readUnfinished(page: Page, schema: string, scope: Scope): AsyncGenerator<Unfinished> {
  for (const state of ['pendiente', 'reintentando'] as const) {
    let after: readonly [Date, string, string] = [new Date(0), '', '']
    for (;;) {
      const rows = await page((session) => deliveriesAfter(session, schema, scope, state, after))
      for (const row of rows) yield unfinishedDelivery(row)
      const last = rows.at(-1)
      if (!last || rows.length < PAGE) break
      after = [last.e_creado, last.mensaje_id, last.e_listener]
    }
  }
  let after: readonly [Date, string] = [new Date(0), '']
  for (;;) {
    const rows = await page((session) => delayedAfter(session, schema, scope, after))
    for (const row of rows) yield { kind: 'delayed', message: storedMessage(row) }
    const last = rows.at(-1)
    if (!last || rows.length < PAGE) return
    after = [last.recibido, last.id]
  }
}

function deliveriesAfter(
  session: Session,
  schema: string,
  scope: Scope,
  state: 'pendiente' | 'reintentando',
  [at, messageId, listener]: readonly [Date, string, string],
): Promise<DeliveryRow[]> {
  const { key } = textRules(session.encoding)
  return session.query<DeliveryRow>(
    `SELECT e.mensaje_id, e.listener AS e_listener, e.estado AS e_estado, e.intentos AS e_intentos,
            e.proximo_intento AS e_proximo, e.motivo AS e_motivo, e.creado AS e_creado,
            e.version::float8 AS e_version, m.*
       FROM (SELECT * FROM ${identifier(schema)}.entrega
              WHERE instancia = $1 AND proyecto = $2 AND estado = '${state}' AND (creado, mensaje_id, listener) > ($3, $4, $5)
              ORDER BY creado, mensaje_id, listener LIMIT ${PAGE}) e
       LEFT JOIN LATERAL (SELECT * FROM ${identifier(schema)}.mensaje m
                           WHERE m.id = e.mensaje_id AND m.instancia = $1 AND m.proyecto = $2
                           ORDER BY m.recibido DESC LIMIT 1) m ON true
      ORDER BY e.creado, e.mensaje_id, e.listener`,
    [key(scope.instancia), key(scope.proyecto), at, messageId, listener],
  )
}

function delayedAfter(
  session: Session,
  schema: string,
  scope: Scope,
  [at, id]: readonly [Date, string],
): Promise<MessageRow[]> {
  const { key } = textRules(session.encoding)
  return session.query<MessageRow>(
    `SELECT * FROM ${identifier(schema)}.mensaje
      WHERE instancia = $1 AND proyecto = $2 AND listeners IS NULL AND (recibido, id) > ($3, $4)
      ORDER BY recibido, id LIMIT ${PAGE}`,
    [key(scope.instancia), key(scope.proyecto), at, id],
  )
}

function unfinishedDelivery(row: DeliveryRow): Unfinished {
  const state: DeliveryState = {
    messageId: row.mensaje_id,
    listener: row.e_listener,
    state: row.e_estado,
    attempts: row.e_intentos,
    nextAttemptAt: row.e_proximo?.getTime() ?? null,
    reason: row.e_motivo,
    version: row.e_version,
  }
  return { kind: 'delivery', state, message: row.id === null ? null : storedMessage(row as unknown as MessageRow) }
}

function storedMessage(row: MessageRow): StoredMessage {
  return {
    receivedAt: row.recibido.getTime(),
    bodyKept: row.cuerpo !== null,
    message: {
      id: row.id,
      event: row.evento,
      body: row.cuerpo ?? Buffer.alloc(0),
      contentType: row.tipo_contenido ?? 'application/octet-stream',
      method: row.metodo,
      path: row.ruta,
      headers: row.cabeceras,
      createdAt: row.creado,
      key: row.clave,
      origin: row.origen,
      onlyListener: row.solo_listener,
      notBefore: row.no_antes_de,
      depth: row.profundidad,
    },
  }
}
