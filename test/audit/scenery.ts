/** What the audit's tests share: a database or schema of their own, and events with everything filled in. */
import { randomBytes } from 'node:crypto'
import postgres from 'postgres'
import { ulid } from 'ulid'
import { afterAll, afterEach, beforeAll, inject } from 'vitest'
import type { AuditBackend } from '../../src/audit/backend.ts'
import {
  type ActionEvent,
  type AttemptEvent,
  type AttemptRecord,
  type CallbackEvent,
  type DeliveryState,
  type MessageEvent,
  type StateEvent,
  toldAttempt,
} from '../../src/audit/event.ts'
import { migrate } from '../../src/audit/migrate.ts'
import { createPostgresBackend } from '../../src/audit/postgres.ts'
import type { AuditConfig } from '../../src/config/config.ts'
import type { Message } from '../../src/model/message.ts'

export const SCOPE = { instancia: 'pruebas', proyecto: 'resthooks' }
/** The middle of a month in which every test's events happen. */
export const NOON = Date.parse('2026-11-15T12:00:00Z')

export function randomName(prefix: string): string {
  return `${prefix}_${randomBytes(6).toString('hex')}`
}

/** Opens backends, each of which is closed after the test that opened it. Called once, where the file's tests are declared. */
export function closedBackends(): (config: AuditConfig) => AuditBackend {
  const backends: AuditBackend[] = []
  afterEach(async () => {
    await Promise.all(backends.splice(0).map((backend) => backend.close()))
  })
  return (config) => {
    const backend = createPostgresBackend(config, SCOPE)
    backends.push(backend)
    return backend
  }
}

/** A configuration that reaches the run's Postgres, with a schema that does not exist yet. */
export function auditConfig(changes: Partial<AuditConfig> = {}): AuditConfig {
  const { host, port, username, password } = inject('postgres')
  return {
    host,
    port,
    username,
    password,
    database: 'postgres',
    sslmode: 'disable',
    schema: randomName('resthooks'),
    maxPending: 0,
    maxPendingBytes: 0,
    retention: 0,
    ...changes,
  }
}

/** A plain connection beside the code under test. */
export function connect(config: AuditConfig) {
  return postgres({
    host: config.host,
    port: config.port,
    user: config.username,
    password: config.password ?? '',
    database: config.database,
    max: 1,
    onnotice: () => {},
    connection: { search_path: `"${config.schema.replaceAll('"', '""')}"`, TimeZone: 'UTC' },
  })
}

export type Sql = ReturnType<typeof connect>

/**
 * One migrated schema for the tests of a file, and a plain connection to it; both go when the file ends, after what the file
 * closes itself.
 */
export function sharedSchema() {
  const config = auditConfig()
  // Connects when it is first used.
  const sql = connect(config)
  beforeAll(() => migrate(config))
  afterAll(async () => {
    await sql.unsafe(`DROP SCHEMA "${config.schema}" CASCADE`)
    await sql.end({ timeout: 1 })
  })
  const truncate = async () => {
    await sql`TRUNCATE mensaje, entrega, intento, callback, accion, resumen_hora, auditoria_rechazada`
  }
  return { config, sql, truncate }
}

/** Runs `work` with a plain connection and closes it. */
export async function withSql<T>(config: AuditConfig, work: (sql: Sql) => Promise<T>): Promise<T> {
  const sql = connect(config)
  try {
    return await work(sql)
  } finally {
    await sql.end({ timeout: 1 })
  }
}

/** A new database of that encoding; `drop` removes it. */
export async function createDatabase(encoding: string) {
  const admin = auditConfig()
  const database = randomName('base')
  await withSql(admin, (sql) =>
    sql.unsafe(`CREATE DATABASE ${database} TEMPLATE template0 ENCODING '${encoding}' LC_COLLATE 'C' LC_CTYPE 'C'`),
  )
  return {
    config: auditConfig({ database }),
    drop: () => withSql(admin, (sql) => sql.unsafe(`DROP DATABASE ${database} WITH (FORCE)`)),
  }
}

export function message(changes: Partial<Message> = {}): Message {
  return {
    id: ulid(),
    event: 'proveedor.alta',
    body: Buffer.from('{"id":7}'),
    contentType: 'application/json',
    method: 'PUT',
    path: 'proveedores/7',
    headers: { 'X-A': 'b' },
    createdAt: new Date(NOON - 1_000),
    key: null,
    origin: 'servidor1 php',
    onlyListener: null,
    notBefore: null,
    depth: 0,
    ...changes,
  }
}

export function messageEvent(of: Message, listeners: readonly string[] | null, changes: Partial<MessageEvent> = {}) {
  return { type: 'message', at: NOON, receivedAt: NOON, message: of, listeners, keepBody: true, ...changes } as const
}

export function state(messageId: string, listener: string, version: number, changes: Partial<DeliveryState> = {}) {
  return {
    messageId,
    listener,
    version,
    state: 'exitosa',
    attempts: version,
    nextAttemptAt: null,
    reason: null,
    action: null,
    ...changes,
  } as const satisfies DeliveryState
}

export function stateEvent(of: DeliveryState, at = NOON + of.version * 1_000): StateEvent {
  return { type: 'state', at, state: of }
}

export function attempt(messageId: string, listener: string, changes: Partial<AttemptRecord> = {}): AttemptRecord {
  return {
    id: ulid(),
    messageId,
    event: null,
    listener,
    number: 1,
    request: 1,
    startedAt: NOON + 500,
    durationMs: 42,
    phases: { dns: 1, conexion: 2.5, primer_byte: 30 },
    method: 'PUT',
    url: 'https://proveedores.example.edu.ar/proveedores/7',
    ip: '10.1.2.3',
    requestHeaders: { authorization: '***', 'webhook-id': messageId },
    status: 200,
    responseHeaders: { 'content-type': 'text/plain', 'set-cookie': ['a=1', 'b=2'] },
    responseBody: Buffer.from('hecho'),
    responseTruncated: false,
    error: null,
    errorDetail: null,
    result: 'exito',
    nextAttemptAt: null,
    worker: 'servidor2:123:abc',
    ...changes,
  }
}

export function attemptEvent(of: AttemptRecord, then: DeliveryState | null, at = of.startedAt + 42): AttemptEvent {
  return { type: 'attempt', at, attempt: toldAttempt(of), attemptMs: null, state: then, replaces: null }
}

export function callbackEvent(messageId: string, listener: string, attemptNumber = 1): CallbackEvent {
  return {
    type: 'callback',
    at: NOON + 5_000 + attemptNumber,
    callback: {
      id: `${messageId}/${listener}/on_success`,
      messageId,
      listener,
      type: 'on_success',
      target: 'exec:/opt/siu/avisar.sh --ok',
      attempt: attemptNumber,
      result: 'exito',
      detail: 'salida 0',
    },
  }
}

export function actionEvent(id: string, count: number, at: number): ActionEvent {
  const action = { id, who: 'ana', host: 'servidor1', order: 'descartar --fallidas', filter: null, count }
  return { type: 'action', at, action }
}
