/**
 * The tables that the audit writes: their columns, where each value comes from, and what happens to a row that is
 * already there.
 */
import { bytes, type Column, type Constant, insertInto, instant } from './columns.ts'
import type { TextRules } from './encoding.ts'
import { identifier } from './migrate.ts'
import type { AttemptRow, CallbackRow, DeliveryRow, MessageRow, Rows } from './rows.ts'

/** Whose rows these are. */
export interface Scope {
  readonly instancia: string
  readonly proyecto: string
}

export interface TableWriter<Row> {
  readonly columns: readonly Column<Row>[]
  readonly constants: readonly Constant[]
  readonly sql: string
  /** Bytes of a row, roughly. */
  readonly size: (row: Row) => number
}

export type TableWriters = { readonly [Table in keyof Rows]: TableWriter<Rows[Table][number]> }

/** The four writers of one schema, for text under `rules`. */
export function tableWriters(schema: string, scope: Scope, rules: TextRules): TableWriters {
  return {
    messages: messageWriter(schema, scope, rules),
    deliveries: deliveryWriter(schema, scope, rules),
    attempts: attemptWriter(schema, scope, rules),
    callbacks: callbackWriter(schema, scope, rules),
  }
}

function messageWriter(schema: string, scope: Scope, rules: TextRules): TableWriter<MessageRow> {
  const text = optional(rules.text)
  const columns: Column<MessageRow>[] = [
    { name: 'id', type: 'text', of: ({ message }) => rules.key(message.id) },
    { name: 'evento', type: 'text', of: ({ message }) => rules.text(message.event) },
    { name: 'metodo', type: 'text', of: ({ message }) => text(message.method) },
    { name: 'ruta', type: 'text', of: ({ message }) => text(message.path) },
    { name: 'cabeceras', type: 'jsonb', of: ({ message }) => rules.json(message.headers) },
    { name: 'tipo_contenido', type: 'text', of: ({ message }) => text(message.contentType) },
    bytes('cuerpo', ({ body }) => body),
    { name: 'clave', type: 'text', of: ({ message }) => text(message.key) },
    { name: 'origen', type: 'text', of: ({ message }) => text(message.origin) },
    { name: 'listeners', type: 'int4', of: ({ listeners }) => listeners },
    // A foreign program may give a time that is none; the message counts more than that.
    instant('creado', ({ message, receivedAt }) => valid(message.createdAt.getTime()) ?? receivedAt),
    instant('recibido', ({ receivedAt }) => receivedAt),
    instant('no_antes_de', ({ message }) => valid(message.notBefore?.getTime())),
    { name: 'solo_listener', type: 'text', of: ({ message }) => text(message.onlyListener) },
    { name: 'profundidad', type: 'int2', of: ({ message }) => message.depth },
  ]
  const constants = scopeConstants(scope, rules)
  return {
    columns,
    constants,
    // A delayed message comes twice: first without listeners, then with them; only then is it known who wants its body.
    sql: `${insertInto(`${identifier(schema)}.mensaje AS old`, columns, constants)}
      ON CONFLICT (id, instancia, proyecto, recibido) DO UPDATE SET listeners = excluded.listeners, cuerpo = excluded.cuerpo
        WHERE old.listeners IS NULL AND excluded.listeners IS NOT NULL`,
    size: ({ message, body }) => 500 + (body?.length ?? 0) * 2 + message.event.length,
  }
}

function deliveryWriter(schema: string, scope: Scope, rules: TextRules): TableWriter<DeliveryRow> {
  const text = optional(rules.text)
  const columns: Column<DeliveryRow>[] = [
    { name: 'mensaje_id', type: 'text', of: ({ messageId }) => rules.key(messageId) },
    { name: 'listener', type: 'text', of: ({ listener }) => rules.key(listener) },
    { name: 'estado', type: 'text', of: ({ state }) => state },
    { name: 'intentos', type: 'int4', of: ({ attempts }) => attempts },
    instant('proximo_intento', ({ nextAttemptAt }) => nextAttemptAt),
    { name: 'motivo', type: 'text', of: ({ reason }) => text(reason) },
    instant('creado', ({ createdAt }) => createdAt),
    instant('actualizado', ({ updatedAt }) => updatedAt),
    { name: 'version', type: 'int8', of: ({ version }) => version },
  ]
  const newer = '(old.version, old.actualizado) < (excluded.version, excluded.actualizado)'
  const taken = ['estado', 'intentos', 'proximo_intento', 'motivo', 'actualizado', 'version'].map(
    (column) => `${column} = CASE WHEN ${newer} THEN excluded.${column} ELSE old.${column} END`,
  )
  const constants = scopeConstants(scope, rules)
  return {
    columns,
    constants,
    // A state may arrive before the message that it belongs to: the older event then only tells when it all began.
    sql: `${insertInto(`${identifier(schema)}.entrega AS old`, columns, constants)}
      ON CONFLICT (mensaje_id, listener, instancia, proyecto)
      DO UPDATE SET creado = least(old.creado, excluded.creado), ${taken}
        WHERE ${newer} OR excluded.creado < old.creado`,
    size: ({ reason }) => 200 + (reason?.length ?? 0),
  }
}

function attemptWriter(schema: string, scope: Scope, rules: TextRules): TableWriter<AttemptRow> {
  const text = optional(rules.text)
  const json = (value: unknown) => (value === null ? null : rules.json(value))
  const columns: Column<AttemptRow>[] = [
    { name: 'id', type: 'text', of: ({ id }) => rules.key(id) },
    { name: 'mensaje_id', type: 'text', of: ({ messageId }) => rules.key(messageId) },
    { name: 'listener', type: 'text', of: ({ listener }) => rules.key(listener) },
    { name: 'numero', type: 'int4', of: ({ number }) => number },
    { name: 'pedido', type: 'int2', of: ({ request }) => request },
    instant('inicio', ({ startedAt }) => startedAt),
    { name: 'duracion_ms', type: 'int4', of: ({ durationMs }) => Math.round(durationMs) },
    { name: 'fases', type: 'jsonb', of: ({ phases }) => json(phases) },
    { name: 'metodo', type: 'text', of: ({ method }) => rules.text(method) },
    { name: 'url', type: 'text', of: ({ url }) => rules.text(url) },
    { name: 'ip', type: 'text', of: ({ ip }) => ip },
    { name: 'pedido_cabeceras', type: 'jsonb', of: ({ requestHeaders }) => json(requestHeaders) },
    { name: 'http_estado', type: 'int4', of: ({ status }) => status },
    { name: 'respuesta_cabeceras', type: 'jsonb', of: ({ responseHeaders }) => json(responseHeaders) },
    bytes('respuesta_cuerpo', ({ responseBody }) => responseBody),
    { name: 'respuesta_truncada', type: 'bool', of: ({ responseTruncated }) => responseTruncated },
    { name: 'error', type: 'text', of: ({ error }) => text(error) },
    { name: 'error_detalle', type: 'text', of: ({ errorDetail }) => text(errorDetail) },
    { name: 'resultado', type: 'text', of: ({ result }) => result },
    instant('proximo_intento', ({ nextAttemptAt }) => nextAttemptAt),
    { name: 'worker', type: 'text', of: ({ worker }) => rules.text(worker) },
  ]
  const constants = scopeConstants(scope, rules)
  return {
    columns,
    constants,
    sql: `${insertInto(`${identifier(schema)}.intento`, columns, constants)} ON CONFLICT DO NOTHING`,
    size: ({ responseBody, errorDetail }) => 1000 + (responseBody?.length ?? 0) * 2 + (errorDetail?.length ?? 0),
  }
}

function callbackWriter(schema: string, scope: Scope, rules: TextRules): TableWriter<CallbackRow> {
  const columns: Column<CallbackRow>[] = [
    { name: 'id', type: 'text', of: ({ id }) => rules.key(id) },
    { name: 'mensaje_id', type: 'text', of: ({ messageId }) => rules.key(messageId) },
    { name: 'listener', type: 'text', of: ({ listener }) => rules.key(listener) },
    { name: 'tipo', type: 'text', of: ({ type }) => type },
    { name: 'destino', type: 'text', of: ({ target }) => rules.text(target) },
    { name: 'intento', type: 'int4', of: ({ attempt }) => attempt },
    { name: 'resultado', type: 'text', of: ({ result }) => result },
    { name: 'detalle', type: 'text', of: ({ detail }) => optional(rules.text)(detail) },
    instant('fecha', ({ at }) => at),
  ]
  const constants = scopeConstants(scope, rules)
  return {
    columns,
    constants,
    sql: `${insertInto(`${identifier(schema)}.callback`, columns, constants)} ON CONFLICT DO NOTHING`,
    size: ({ detail }) => 300 + (detail?.length ?? 0),
  }
}

function scopeConstants({ instancia, proyecto }: Scope, rules: TextRules): Constant[] {
  return [
    { name: 'instancia', value: rules.key(instancia) },
    { name: 'proyecto', value: rules.key(proyecto) },
  ]
}

function optional(change: (text: string) => string): (text: string | null) => string | null {
  return (text) => (text === null ? null : change(text))
}

function valid(instant: number | undefined): number | null {
  return instant === undefined || Number.isNaN(instant) ? null : instant
}
