/**
 * The tables that the audit writes: their columns, where each value comes from, and what happens to a row that is
 * already there.
 */
import { type Column, type Constant, insertInto } from './columns.ts'
import type { Session } from './database.ts'
import type { TextRules } from './encoding.ts'
import type { ActionRow, AttemptRow, CallbackRow, DeliveryRow, MessageRow, Rows } from './rows.ts'

export interface TableWriter<Row> {
  /** Its name, with the schema. */
  readonly table: string
  readonly columns: readonly Column<Row>[]
  readonly constants: readonly Constant[]
  /** INSERT of rows that may be there. */
  readonly insert: string
  /** Bytes of a row, roughly. */
  readonly size: (row: Row) => number
}

type TableWriters = { readonly [Table in keyof Rows]: TableWriter<Rows[Table][number]> }

/**
 * The writers of a session's schema and project, for text under `rules`.
 * @param exact some message has values that its columns do not hold: where none has, neither the cost nor the column is needed
 * @param withEvent deliveries have their `evento`: not so in a schema of before, which is completed when it is upgraded
 * @param withAction some delivery was touched by an action: like `exact`
 */
export function tableWriters(
  session: Session,
  rules: TextRules,
  {
    exact,
    withEvent,
    withAction,
  }: { readonly exact: boolean; readonly withEvent: boolean; readonly withAction: boolean },
): TableWriters {
  return {
    messages: messageWriter(session, rules, exact),
    deliveries: deliveryWriter(session, rules, withEvent, withAction),
    attempts: attemptWriter(session, rules),
    callbacks: callbackWriter(session, rules),
    actions: actionWriter(session, rules),
  }
}

function messageWriter(session: Session, rules: TextRules, exact: boolean): TableWriter<MessageRow> {
  const text = optional(rules.text)
  const columns: Column<MessageRow>[] = [
    { name: 'id', type: 'text', of: ({ message }) => rules.key(message.id) },
    { name: 'evento', type: 'text', of: ({ message }) => rules.text(message.event) },
    { name: 'metodo', type: 'text', of: ({ message }) => text(message.method) },
    { name: 'ruta', type: 'text', of: ({ message }) => text(message.path) },
    { name: 'cabeceras', type: 'jsonb', of: ({ message }) => rules.json(message.headers) },
    { name: 'tipo_contenido', type: 'text', of: ({ message }) => text(message.contentType) },
    { name: 'cuerpo', type: 'bytea', of: ({ body }) => body },
    { name: 'clave', type: 'text', of: ({ message }) => text(message.key) },
    { name: 'origen', type: 'text', of: ({ message }) => text(message.origin) },
    { name: 'listeners', type: 'int4', of: ({ listeners }) => listeners },
    // A foreign program may give a time that is none; the message counts more than that.
    {
      name: 'creado',
      type: 'instant',
      of: ({ message, receivedAt }) => valid(message.createdAt.getTime()) ?? receivedAt,
    },
    { name: 'recibido', type: 'instant', of: ({ receivedAt }) => receivedAt },
    { name: 'no_antes_de', type: 'instant', of: ({ message }) => valid(message.notBefore?.getTime()) },
    { name: 'solo_listener', type: 'text', of: ({ message }) => text(message.onlyListener) },
    { name: 'profundidad', type: 'int2', of: ({ message }) => message.depth },
    ...(exact ? [{ name: 'original', type: 'bytea', of: (row: MessageRow) => row.exact } as const] : []),
  ]
  // A delayed message comes twice: first without listeners, then with them; only then is it known who wants its body.
  const conflict = `(id, instancia, proyecto, recibido) DO UPDATE SET listeners = excluded.listeners, cuerpo = excluded.cuerpo
        WHERE old.listeners IS NULL AND excluded.listeners IS NOT NULL`
  const size = ({ message, body }: MessageRow) => 500 + (body?.length ?? 0) * 2 + message.event.length
  return writer(session, 'mensaje', columns, conflict, size)
}

function deliveryWriter(
  session: Session,
  rules: TextRules,
  withEvent: boolean,
  withAction: boolean,
): TableWriter<DeliveryRow> {
  const text = optional(rules.text)
  const columns: Column<DeliveryRow>[] = [
    { name: 'mensaje_id', type: 'text', of: ({ messageId }) => rules.key(messageId) },
    { name: 'listener', type: 'text', of: ({ listener }) => rules.key(listener) },
    { name: 'estado', type: 'text', of: ({ state }) => state },
    { name: 'intentos', type: 'int4', of: ({ attempts }) => attempts },
    { name: 'proximo_intento', type: 'instant', of: ({ nextAttemptAt }) => nextAttemptAt },
    { name: 'motivo', type: 'text', of: ({ reason }) => text(reason) },
    { name: 'creado', type: 'instant', of: ({ createdAt }) => createdAt },
    { name: 'actualizado', type: 'instant', of: ({ updatedAt }) => updatedAt },
    { name: 'version', type: 'int8', of: ({ version }) => version },
    ...(withEvent ? [{ name: 'evento', type: 'text', of: (row: DeliveryRow) => text(row.event) } as const] : []),
    ...(withAction ? [{ name: 'accion', type: 'text', of: (row: DeliveryRow) => text(row.action) } as const] : []),
  ]
  // Of two beginnings of a delivery (version 0) the later one begins another round of it: see `merged` in rows.ts.
  const ms = (instant: string) => `round(extract(epoch FROM ${instant}) * 1000)::bigint`
  const before = `CASE WHEN old.version = 0 AND excluded.creado < old.creado THEN ${ms('old.creado')} ELSE old.version END`
  const after = `CASE WHEN excluded.version = 0 AND excluded.creado > greatest(old.creado, old.actualizado)
                      THEN ${ms('excluded.creado')} ELSE excluded.version END`
  const newer = `(${before}, old.actualizado) < (${after}, excluded.actualizado)`
  const taken = ['estado', 'intentos', 'proximo_intento', 'motivo', 'actualizado'].map(
    (column) => `${column} = CASE WHEN ${newer} THEN excluded.${column} ELSE old.${column} END`,
  )
  taken.push(`version = CASE WHEN ${newer} THEN ${after} ELSE ${before} END`)
  if (withEvent) {
    const [newest, other] = [
      `CASE WHEN ${newer} THEN excluded.evento ELSE old.evento END`,
      'excluded.evento, old.evento',
    ]
    taken.push(`evento = coalesce(${newest}, ${other})`)
  }
  // Ids of actions are in the order of time; NULL is none, which greatest() passes over.
  if (withAction) taken.push('accion = greatest(old.accion, excluded.accion)')
  const told = [
    withEvent ? 'OR old.evento IS NULL AND excluded.evento IS NOT NULL' : '',
    withAction ? `OR coalesce(old.accion, '') < excluded.accion` : '',
  ].join(' ')
  // A state may arrive before the message that it belongs to: the older event then only tells when it all began.
  const conflict = `(mensaje_id, listener, instancia, proyecto)
      DO UPDATE SET creado = least(old.creado, excluded.creado), ${taken}
        WHERE ${newer} OR excluded.creado < old.creado ${told}`
  return writer(session, 'entrega', columns, conflict, ({ reason }) => 200 + (reason?.length ?? 0))
}

function attemptWriter(session: Session, rules: TextRules): TableWriter<AttemptRow> {
  const text = optional(rules.text)
  const json = optional(rules.jsonText)
  const columns: Column<AttemptRow>[] = [
    { name: 'id', type: 'text', of: ({ attempt: { id } }) => rules.key(id) },
    { name: 'mensaje_id', type: 'text', of: ({ attempt: { messageId } }) => rules.key(messageId) },
    { name: 'listener', type: 'text', of: ({ attempt: { listener } }) => rules.key(listener) },
    { name: 'numero', type: 'int4', of: ({ attempt: { number } }) => number },
    { name: 'pedido', type: 'int2', of: ({ attempt: { request } }) => request },
    { name: 'inicio', type: 'instant', of: ({ attempt: { startedAt } }) => startedAt },
    { name: 'duracion_ms', type: 'int4', of: ({ attempt: { durationMs } }) => Math.round(durationMs) },
    { name: 'fases', type: 'jsonb', of: ({ attempt: { phases } }) => json(phases) },
    { name: 'metodo', type: 'text', of: ({ attempt: { method } }) => rules.text(method) },
    { name: 'url', type: 'text', of: ({ attempt: { url } }) => rules.text(url) },
    { name: 'ip', type: 'text', of: ({ attempt: { ip } }) => ip },
    { name: 'pedido_cabeceras', type: 'jsonb', of: ({ attempt: { requestHeaders } }) => json(requestHeaders) },
    { name: 'http_estado', type: 'int4', of: ({ attempt: { status } }) => status },
    { name: 'respuesta_cabeceras', type: 'jsonb', of: ({ attempt: { responseHeaders } }) => json(responseHeaders) },
    { name: 'respuesta_cuerpo', type: 'bytea', of: ({ attempt: { responseBody } }) => responseBody },
    { name: 'respuesta_truncada', type: 'bool', of: ({ attempt: { responseTruncated } }) => responseTruncated },
    { name: 'error', type: 'text', of: ({ attempt: { error } }) => text(error) },
    { name: 'error_detalle', type: 'text', of: ({ attempt: { errorDetail } }) => text(errorDetail) },
    { name: 'resultado', type: 'text', of: ({ attempt: { result } }) => result },
    { name: 'proximo_intento', type: 'instant', of: ({ attempt: { nextAttemptAt } }) => nextAttemptAt },
    { name: 'worker', type: 'text', of: ({ attempt: { worker } }) => rules.text(worker) },
  ]
  const size = ({ attempt: { responseBody, errorDetail } }: AttemptRow) =>
    1000 + (responseBody?.length ?? 0) * 2 + (errorDetail?.length ?? 0)
  return writer(session, 'intento', columns, 'DO NOTHING RETURNING mensaje_id, id, pedido', size)
}

function callbackWriter(session: Session, rules: TextRules): TableWriter<CallbackRow> {
  const columns: Column<CallbackRow>[] = [
    { name: 'id', type: 'text', of: ({ callback: { id } }) => rules.key(id) },
    { name: 'mensaje_id', type: 'text', of: ({ callback: { messageId } }) => rules.key(messageId) },
    { name: 'listener', type: 'text', of: ({ callback: { listener } }) => rules.key(listener) },
    { name: 'tipo', type: 'text', of: ({ callback: { type } }) => type },
    { name: 'destino', type: 'text', of: ({ callback: { target } }) => rules.text(target) },
    { name: 'intento', type: 'int4', of: ({ callback: { attempt } }) => attempt },
    { name: 'resultado', type: 'text', of: ({ callback: { result } }) => result },
    { name: 'detalle', type: 'text', of: ({ callback: { detail } }) => optional(rules.text)(detail) },
    { name: 'fecha', type: 'instant', of: ({ at }) => at },
  ]
  return writer(session, 'callback', columns, 'DO NOTHING', ({ callback: { detail } }) => 300 + (detail?.length ?? 0))
}

function actionWriter(session: Session, rules: TextRules): TableWriter<ActionRow> {
  const columns: Column<ActionRow>[] = [
    { name: 'id', type: 'text', of: ({ action: { id } }) => rules.key(id) },
    { name: 'fecha', type: 'instant', of: ({ at }) => at },
    { name: 'quien', type: 'text', of: ({ action: { who } }) => rules.text(who) },
    { name: 'equipo', type: 'text', of: ({ action: { host } }) => rules.text(host) },
    { name: 'orden', type: 'text', of: ({ action: { order } }) => rules.text(order) },
    { name: 'filtro', type: 'text', of: ({ action: { filter } }) => optional(rules.text)(filter) },
    { name: 'cantidad', type: 'int8', of: ({ action: { count } }) => count },
  ]
  // Its beginning and its end, in any order.
  const conflict = `(instancia, proyecto, id)
      DO UPDATE SET fecha = least(old.fecha, excluded.fecha), cantidad = greatest(old.cantidad, excluded.cantidad)`
  const size = ({ action: { order, filter } }: ActionRow) => 300 + order.length + (filter?.length ?? 0)
  return writer(session, 'accion', columns, conflict, size)
}

/** @param conflict what becomes of a row that is there, which is called `old` */
function writer<Row>(
  session: Session,
  name: string,
  columns: readonly Column<Row>[],
  conflict: string,
  size: (row: Row) => number,
): TableWriter<Row> {
  const table = session.table(name)
  const [instancia, proyecto] = session.owner
  const constants: Constant[] = [
    { name: 'instancia', value: instancia },
    { name: 'proyecto', value: proyecto },
  ]
  const insert = `${insertInto(`${table} AS old`, columns, constants)} ON CONFLICT ${conflict}`
  return { table, columns, constants, insert, size }
}

function optional(change: (text: string) => string): (text: string | null) => string | null {
  return (text) => (text === null ? null : change(text))
}

function valid(instant: number | undefined): number | null {
  return instant === undefined || Number.isNaN(instant) ? null : instant
}
