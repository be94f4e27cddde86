/**
 * One connection to Postgres: the driver, held so that it can neither hang nor surprise.
 *
 * The only file that knows the driver.
 */
import type { Socket } from 'node:net'
import postgres from 'postgres'
import type { AuditConfig } from '../config/config.ts'
import type { Millis } from '../model/message.ts'
import { GrowingBuffer } from './binary-rows.ts'
import { copyIn } from './copy.ts'
import { openSocket } from './socket.ts'

/** Text for everything but what the driver converts well by itself. */
export type Parameter = string | number | boolean | Date | Buffer | null

export interface Client {
  /** Opens a transaction with a BEGIN and a SELECT of `encoding`; connects before where needed. */
  begin(statements: string): Promise<string>
  query(text: string, parameters: readonly Parameter[]): Promise<object[]>
  /** `COPY … FROM STDIN`, in an open transaction, of what `fill` appends. */
  copy(statement: string, fill: (rows: GrowingBuffer) => void): Promise<void>
  /** Ends the transaction. */
  end(statement: 'COMMIT' | 'ROLLBACK'): Promise<void>
  /** Says good-bye to the server, within a second. */
  close(): Promise<void>
  /** Drops the socket; whatever runs fails. */
  destroy(): void
}

const CONNECT_TIMEOUT: Millis = 10_000
/** Seconds until an unused connection is given back to the server. */
const IDLE = 300

export function openClient(config: AuditConfig): Client {
  const abort = new AbortController()
  let socket: Socket | undefined
  /** Sockets opened since the last BEGIN was asked for. */
  let opened = 0
  const connect = async () => {
    // A server that closes during start-up makes the driver connect again at once, and again, without telling anybody;
    // and a statement must not reach a new connection, where its transaction does not exist.
    if (opened++ > 0) {
      throw Object.assign(new Error('el servidor cerró la conexión'), { code: 'CONNECTION_CLOSED' })
    }
    socket = await openSocket(config, CONNECT_TIMEOUT, abort.signal)
    return socket
  }
  // Also the socket itself: the driver only half-closes it, and a frozen server would keep this process from ending.
  const cut = () => {
    abort.abort()
    socket?.destroy()
  }
  const options = {
    host: config.host,
    port: config.port,
    database: config.database,
    username: config.username,
    // A function, because the driver takes PGPASSWORD in place of an empty one; the configuration already decided.
    password: () => config.password ?? '',
    max: 1,
    ssl: false as const,
    socket: connect,
    connect_timeout: CONNECT_TIMEOUT / 1000,
    idle_timeout: IDLE,
    // Asking for the types costs a query at each connection, and arrays are written by us.
    fetch_types: false,
    // A pooler in between may give each statement another connection's prepared statements.
    prepare: false,
    // Whoever calls backs off; the driver must not make the next transaction wait on top of that.
    backoff: () => 0,
    onnotice: () => {},
    connection: { application_name: 'resthooks' },
  }
  const rows = new GrowingBuffer()
  const sql = postgres(options as unknown as postgres.Options<Record<string, never>>)
  return {
    begin: async (statements) => {
      opened = 0
      const results = (await sql.unsafe(statements)) as unknown as { encoding: string }[][]
      opened = 1
      return results[1]![0]!.encoding
    },
    query: async (text, parameters) => await sql.unsafe(text, parameters as never[]),
    copy: async (statement, fill) => {
      rows.clear()
      fill(rows)
      // When this fails half-way the socket may still hold the bytes; then nobody uses this client again.
      await copyIn(socket!, statement, rows.content)
    },
    end: async (statement) => {
      await sql.unsafe(statement)
    },
    // Never a plain end(): with a broken connection it can wait for ever.
    close: () => sql.end({ timeout: 1 }).finally(cut),
    destroy: () => {
      cut()
      sql.end({ timeout: 0 }).catch(() => {})
    },
  }
}
