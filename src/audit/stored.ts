/**
 * Messages and deliveries as the audit keeps them, by id, whole enough to be put back into the queue.
 *
 * Bodies are read in parts of bounded size: a backlog of large messages never has to fit into memory.
 */
import type { Bytes, Message } from '../model/message.ts'
import { parts } from '../model/parts.ts'
import { arrayLiteral } from './columns.ts'
import type { Session } from './database.ts'
import { original } from './encoding.ts'
import type { DeliveryState } from './event.ts'
import type { TimeRange } from './stretches.ts'
import { asSent, type MessageColumnsAsKept } from './timeline.ts'

export interface StoredMessage {
  readonly message: Message
  /** ms since epoch. */
  readonly receivedAt: number
  /** False: `auditar_cuerpo = 0`, the body is not here and `message.body` is empty. */
  readonly bodyKept: boolean
}

/** A delivery's row, and what its attempts say beyond it. */
export interface StoredDelivery extends Omit<DeliveryState, 'action'> {
  /** When the message was dispatched to this listener, ms since epoch of Redis's clock. */
  readonly createdAt: number
  /** The highest attempt number on record: of attempts whose outcome never reached the delivery too. */
  readonly lastNumber: number
  /** Attempts since the delivery was last sent again: what counts for its strategy. */
  readonly made: number
  /**
   * The listener accepted an attempt whose outcome Redis lost: it has the message already. Attempts decide, not the state:
   * that may be of a time that Redis does not know any more. Those of an
   * earlier round of the same id do not count; the same message, dispatched again because Redis forgot that it was, is none.
   */
  readonly accepted: boolean
}

export type DeliveryBrief = Pick<DeliveryState, 'messageId' | 'listener' | 'state'>

/** Runs one page's query; a transaction each, so that a long reading holds no snapshot. */
export type Page = <T>(work: (session: Session) => Promise<T>) => Promise<T>

const MESSAGES_A_PART = 200
const BYTES_A_PART: Bytes = 8 * 1024 * 1024

interface DeliveryRow {
  readonly mensaje_id: string
  readonly listener: string
  readonly estado: DeliveryState['state']
  readonly intentos: number
  readonly proximo_intento: Date | null
  readonly motivo: string | null
  readonly creado: Date
  readonly version: number
  readonly ultimo: number
  readonly terminado: number
  readonly aceptada: boolean
}

/**
 * The messages with these ids, those there are, in about their order, in parts that fit into memory; of a repeated id the newest.
 * @param received when all of them were: the other months are not looked at
 */
export async function* readMessages(
  page: Page,
  ids: readonly string[],
  received?: TimeRange,
): AsyncGenerator<ReadonlyMap<string, StoredMessage>> {
  const bounds = received ? 'AND recibido >= $4 AND recibido < $5' : ''
  const newest = <Row extends object>(columns: string, of: readonly string[]) =>
    page((session) =>
      session.query<Row>(
        `SELECT DISTINCT ON (id) ${columns} FROM ${session.table('mensaje')}
          WHERE instancia = $1 AND proyecto = $2 AND id = ANY ($3::text[]) ${bounds} ORDER BY id, recibido DESC`,
        [...byIds(session, of), ...(received ? [received.since, received.until] : [])],
      ),
    )
  const found = await newest<{ id: string; size: number }>('id, coalesce(octet_length(cuerpo), 0) AS size', ids)
  const place = new Map(ids.map((id, index) => [id, index]))
  const placeOf = ({ id }: { id: string }) => place.get(original(id)) ?? place.get(id)!
  found.sort((a, b) => placeOf(a) - placeOf(b))
  for (const part of parts(found, MESSAGES_A_PART, BYTES_A_PART, ({ size }) => size)) {
    const wanted = part.map(({ id }) => id)
    const rows = await newest<MessageColumnsAsKept>('*', wanted)
    yield new Map(rows.map((row) => [original(row.id), storedMessage(row)]))
  }
}

/** Every delivery of these messages, whatever its state. */
export async function readDeliveries(session: Session, ids: readonly string[]): Promise<StoredDelivery[]> {
  const rows = await session.query<DeliveryRow>(
    // Materialized: before a table has statistics the planner would read the messages again for each delivery.
    `WITH v AS MATERIALIZED (
       SELECT id, min(recibido) AS desde
         FROM (SELECT id, recibido, huella, first_value(huella) OVER (PARTITION BY id ORDER BY recibido DESC) AS ultima
                 FROM (SELECT id, recibido, CASE WHEN count(*) OVER (PARTITION BY id) > 1
                                                 THEN ROW (creado, evento, md5(cuerpo))::text END AS huella
                         FROM ${session.table('mensaje')}
                        WHERE instancia = $1 AND proyecto = $2 AND id = ANY ($3::text[])) m) m
        WHERE huella = ultima GROUP BY id
     )
     SELECT e.mensaje_id, e.listener, e.estado, e.intentos, e.proximo_intento, e.motivo, e.creado,
            e.version::float8 AS version, coalesce(i.ultimo, 0) AS ultimo, coalesce(i.terminado, 0) AS terminado,
            coalesce(i.aceptada, false) AS aceptada
       FROM ${session.table('entrega')} e
       LEFT JOIN v ON v.id = e.mensaje_id
       LEFT JOIN LATERAL (
         SELECT max(numero) AS ultimo,
                max(numero) FILTER (WHERE resultado <> 'reintento' AND numero <= e.intentos) AS terminado,
                bool_or(resultado = 'exito' AND (numero > e.intentos
                                                 OR e.estado = 'reintentando' AND numero = e.intentos)) AS aceptada
           FROM ${session.table('intento')} i
          WHERE i.mensaje_id = e.mensaje_id AND i.listener = e.listener AND i.instancia = $1 AND i.proyecto = $2
            AND (v.desde IS NULL OR i.inicio >= v.desde)) i ON true
      WHERE e.instancia = $1 AND e.proyecto = $2 AND e.mensaje_id = ANY ($3::text[])
      ORDER BY e.creado, e.mensaje_id, e.listener`,
    byIds(session, ids),
  )
  return rows.map((row) => ({
    messageId: original(row.mensaje_id),
    listener: original(row.listener),
    state: row.estado,
    attempts: row.intentos,
    nextAttemptAt: row.proximo_intento?.getTime() ?? null,
    reason: row.motivo,
    version: row.version,
    createdAt: row.creado.getTime(),
    lastNumber: Math.max(row.intentos, row.ultimo),
    made: Math.max(0, row.intentos - row.terminado),
    accepted: row.aceptada,
  }))
}

/** The same, their states alone: without a look at any attempt. */
export async function readStates(session: Session, ids: readonly string[]): Promise<DeliveryBrief[]> {
  const rows = await session.query<Pick<DeliveryRow, 'mensaje_id' | 'listener' | 'estado'>>(
    `SELECT mensaje_id, listener, estado FROM ${session.table('entrega')}
      WHERE instancia = $1 AND proyecto = $2 AND mensaje_id = ANY ($3::text[])`,
    byIds(session, ids),
  )
  return rows.map((row) => ({
    messageId: original(row.mensaje_id),
    listener: original(row.listener),
    state: row.estado,
  }))
}

function byIds({ owner, rules }: Session, ids: readonly string[]): string[] {
  return [...owner, arrayLiteral(ids.map(rules.key))]
}

function storedMessage(kept: MessageColumnsAsKept): StoredMessage {
  const row = asSent(kept)
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
