/**
 * One delivery of a peer: a POST over a pool of kept connections with the headers that ours sends, and its record.
 *
 * The record is one row an attempt, with what ours keeps of it, in a table of the peer's own. Two ways, both before the job
 * counts as done (else a crash would lose the record): an INSERT a job, or one INSERT for all that gathered while the one
 * before was under way.
 */
import postgres, { type Sql } from 'postgres'
import { Pool } from 'undici'

export interface Job {
  readonly id: string
  readonly listener: string
  /** Where it goes. */
  readonly origin: string
  readonly path: string
  readonly body: string
}

export type Deliver = (job: Job) => Promise<void>

/**
 * @param connections of the pool, for each origin
 * @param timeout     ms until a request is given up
 * @param write       null: nothing is put on record
 */
export function createDelivery(connections: number, timeout: number, write: WriteAttempt | null): Deliver {
  const pools = new Map<string, Pool>()
  const poolOf = (origin: string) => {
    let pool = pools.get(origin)
    if (!pool) {
      pool = new Pool(origin, { connections, headersTimeout: timeout, bodyTimeout: timeout })
      pools.set(origin, pool)
    }
    return pool
  }
  return async ({ id, listener, origin, path, body }) => {
    const startedAt = new Date()
    const headers = {
      'content-type': 'application/json',
      'user-agent': 'par/1.0',
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(startedAt.getTime() / 1000)),
    }
    const begun = performance.now()
    const signal = AbortSignal.timeout(timeout)
    const response = await poolOf(origin).request({ path, method: 'POST', headers, body, signal })
    const responseBody = await response.body.text()
    if (write) {
      await write({
        messageId: id,
        listener,
        startedAt,
        durationMs: Math.round(performance.now() - begun),
        url: origin + path,
        requestHeaders: headers,
        body,
        status: response.statusCode,
        responseHeaders: response.headers,
        responseBody,
      })
    }
    if (response.statusCode < 200 || response.statusCode > 299) throw new Error(`HTTP ${response.statusCode}`)
  }
}

export interface Database {
  readonly host: string
  readonly port: number
  readonly username: string
  readonly password: string
  readonly database: string
}

export interface AttemptRecord {
  readonly messageId: string
  readonly listener: string
  readonly startedAt: Date
  readonly durationMs: number
  readonly url: string
  readonly requestHeaders: Readonly<Record<string, string>>
  readonly body: string
  readonly status: number
  readonly responseHeaders: Readonly<Record<string, string | string[] | undefined>>
  readonly responseBody: string
}

export type WriteAttempt = (attempt: AttemptRecord) => Promise<void>

export const AUDIT_MODES = ['one by one', 'batched'] as const
export type AuditMode = (typeof AUDIT_MODES)[number]

/** In one statement; more rows are not faster. */
const AT_MOST = 500
/** Enough for the commits of one-row transactions to share an fsync. */
const CONNECTIONS = 20

/** The DDL of the table, for the benchmark. */
export async function createPeerAudit(sql: Sql, schema: string): Promise<void> {
  await sql`CREATE SCHEMA ${sql(schema)}`
  await sql`
    CREATE TABLE ${sql(schema)}.intento (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mensaje_id text NOT NULL, listener text NOT NULL,
      inicio timestamptz NOT NULL, duracion_ms integer NOT NULL, metodo text NOT NULL, url text NOT NULL,
      pedido_cabeceras jsonb NOT NULL, cuerpo text NOT NULL, http_estado integer, respuesta_cabeceras jsonb,
      respuesta_cuerpo text, resultado text NOT NULL)`
  await sql`CREATE INDEX ON ${sql(schema)}.intento (mensaje_id)`
}

/** @param mode one INSERT a job, or one for all that gathered */
export function openPeerAudit(database: Database, schema: string, mode: AuditMode): WriteAttempt {
  const sql = postgres({ ...database, max: mode === 'batched' ? 2 : CONNECTIONS, onnotice: () => {} })
  return mode === 'batched' ? batched(sql, schema) : oneByOne(sql, schema)
}

function oneByOne(sql: Sql, schema: string): WriteAttempt {
  return async (attempt) => {
    await sql`
      INSERT INTO ${sql(schema)}.intento (mensaje_id, listener, inicio, duracion_ms, metodo, url, pedido_cabeceras, cuerpo,
                                          http_estado, respuesta_cabeceras, respuesta_cuerpo, resultado)
      VALUES (${attempt.messageId}, ${attempt.listener}, ${attempt.startedAt}, ${attempt.durationMs}, 'POST', ${attempt.url},
              ${JSON.stringify(attempt.requestHeaders)}::text::jsonb, ${attempt.body}, ${attempt.status},
              ${JSON.stringify(attempt.responseHeaders)}::text::jsonb, ${attempt.responseBody}, ${resultOf(attempt)})`
  }
}

function batched(sql: Sql, schema: string): WriteAttempt {
  type Waiting = { attempt: AttemptRecord; done: () => void; failed: (error: unknown) => void }
  let waiting: Waiting[] = []
  let running = false
  const run = async () => {
    running = true
    // Those that end in the same turn of the event loop go together.
    await new Promise((resolve) => setImmediate(resolve))
    while (waiting.length > 0) {
      const batch = waiting.slice(0, AT_MOST)
      waiting = waiting.slice(AT_MOST)
      const rows = batch.map(({ attempt }) => attempt)
      try {
        await sql`
          INSERT INTO ${sql(schema)}.intento (mensaje_id, listener, inicio, duracion_ms, metodo, url, pedido_cabeceras,
                                              cuerpo, http_estado, respuesta_cabeceras, respuesta_cuerpo, resultado)
          SELECT mensaje_id, listener, inicio, duracion_ms, 'POST', url, pedido_cabeceras::jsonb, cuerpo, http_estado,
                 respuesta_cabeceras::jsonb, respuesta_cuerpo, resultado
            FROM unnest(${rows.map(({ messageId }) => messageId)}::text[], ${rows.map(({ listener }) => listener)}::text[],
                        ${rows.map(({ startedAt }) => startedAt.toISOString())}::text[]::timestamptz[],
                        ${rows.map(({ durationMs }) => durationMs)}::int[], ${rows.map(({ url }) => url)}::text[],
                        ${rows.map(({ requestHeaders }) => JSON.stringify(requestHeaders))}::text[],
                        ${rows.map(({ body }) => body)}::text[], ${rows.map(({ status }) => status)}::int[],
                        ${rows.map(({ responseHeaders }) => JSON.stringify(responseHeaders))}::text[],
                        ${rows.map(({ responseBody }) => responseBody)}::text[], ${rows.map(resultOf)}::text[])
              AS sent (mensaje_id, listener, inicio, duracion_ms, url, pedido_cabeceras, cuerpo, http_estado,
                       respuesta_cabeceras, respuesta_cuerpo, resultado)`
        for (const { done } of batch) done()
      } catch (error) {
        for (const { failed } of batch) failed(error)
      }
    }
    running = false
  }
  return (attempt) =>
    new Promise((done, failed) => {
      waiting.push({ attempt, done, failed })
      if (!running) void run()
    })
}

function resultOf({ status }: AttemptRecord): string {
  return status >= 200 && status < 300 ? 'exito' : 'reintento'
}
