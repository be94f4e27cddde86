/**
 * Transactions against the audit database, each bounded in time.
 *
 * A pool of connections that saw trouble is thrown away whole and made anew for the next transaction: the driver's own
 * recovery can leave a query waiting for ever. Nothing is retried here; whoever calls backs off.
 */
import postgres from 'postgres'
import type { AuditConfig } from '../config/config.ts'
import type { Millis } from '../message.ts'
import { openSocket } from './socket.ts'
import { DeadlineExceeded, sqlState } from './trouble.ts'

export interface Session {
  /** `server_encoding` of this connection. */
  readonly encoding: string
  /**
   * Runs one statement; with parameters they are `$1`, `$2`…, and a Date, a Buffer or a text each.
   * Without parameters the text may hold several statements.
   */
  query<Row extends object>(text: string, parameters?: readonly Parameter[]): Promise<Row[]>
}

export type Parameter = string | number | boolean | Date | Buffer | null

export interface Database {
  /**
   * One transaction, READ COMMITTED; committed when `work` returns.
   * @throws the driver's error as it came (SQLSTATE and all); `postgresTrouble` explains it to people
   */
  transaction<T>(work: (session: Session) => Promise<T>): Promise<T>
  /** Ends the connections within a second, running queries included. */
  close(): Promise<void>
}

export interface DatabaseLimits {
  readonly connections: number
  readonly readOnly?: boolean
  /** Of one statement, by the server; 0 = none. */
  readonly statement?: Millis
  /** Of waiting for a lock, by the server. */
  readonly lock?: Millis
}

const CONNECT_TIMEOUT: Millis = 10_000
/** What the network may add to the server's own limit before the connection is given up. */
const MARGIN: Millis = 5_000

export function openDatabase(config: AuditConfig, limits: DatabaseLimits): Database {
  const statement = limits.statement ?? 30_000
  const mode = `isolation level read committed${limits.readOnly ? ' read only' : ''}`
  let pool: Pool | null = null
  let closed = false

  async function transaction<T>(work: (session: Session) => Promise<T>): Promise<T> {
    if (closed) throw Object.assign(new Error('la conexión ya se cerró'), { code: 'CONNECTION_ENDED' })
    pool ??= openPool(config, limits.connections)
    const used = pool
    const deadline = startDeadline(statement === 0 ? 0 : statement + MARGIN)
    try {
      const running = used.sql.begin(mode, async (tx) => {
        const query = async <Row extends object>(text: string, parameters: readonly Parameter[] = []) => {
          deadline.restart()
          return (await tx.unsafe(text, parameters as never[])) as unknown as Row[]
        }
        const [settings] = await query<{ encoding: string }>(SETTINGS, [`${statement}ms`, `${limits.lock ?? 10_000}ms`])
        return work({ encoding: settings!.encoding, query })
      })
      // The loser of the race may fail later; nobody is left to hear it.
      running.catch(() => {})
      return (await Promise.race([running, deadline.exceeded])) as T
    } catch (error) {
      if (isBroken(error)) {
        if (pool === used) pool = null
        used.destroy()
      }
      throw error
    } finally {
      deadline.stop()
    }
  }

  return {
    transaction,
    close: async () => {
      closed = true
      const last = pool
      pool = null
      await last?.end()
    },
  }
}

/**
 * Settings that a database or a role may have changed (old applications do) and that the driver's parsing relies on.
 * Only for this transaction, so that a pooler in between (pgbouncer) is not confused.
 */
const SETTINGS = `
  SELECT pg_catalog.set_config('statement_timeout', $1, true), pg_catalog.set_config('lock_timeout', $2, true),
         pg_catalog.set_config('search_path', 'pg_catalog', true), pg_catalog.set_config('bytea_output', 'hex', true),
         pg_catalog.set_config('DateStyle', 'ISO, MDY', true), pg_catalog.set_config('TimeZone', 'UTC', true),
         pg_catalog.set_config('standard_conforming_strings', 'on', true),
         pg_catalog.current_setting('server_encoding') AS encoding`

interface Pool {
  readonly sql: postgres.Sql
  end(): Promise<void>
  destroy(): void
}

function openPool(config: AuditConfig, connections: number): Pool {
  const abort = new AbortController()
  const options = {
    host: config.host,
    port: config.port,
    database: config.database,
    username: config.username,
    // A function, because the driver takes PGPASSWORD in place of an empty one; the configuration already decided.
    password: () => config.password ?? '',
    max: connections,
    ssl: false as const,
    socket: () => openSocket(config, CONNECT_TIMEOUT, abort.signal),
    connect_timeout: CONNECT_TIMEOUT / 1000,
    idle_timeout: 300,
    // Asking for the types costs a query at each connection, and arrays are written by us.
    fetch_types: false,
    prepare: false,
    // Whoever calls backs off; the driver must not make the next transaction wait on top of that.
    backoff: () => 0,
    onnotice: () => {},
    connection: { application_name: 'resthooks' },
  }
  const sql = postgres(options as postgres.Options<Record<string, never>>) as unknown as postgres.Sql
  return {
    sql,
    // Never a plain end(): with a broken connection it can wait for ever.
    end: () => sql.end({ timeout: 1 }).finally(() => abort.abort()),
    destroy: () => {
      abort.abort()
      sql.end({ timeout: 0 }).catch(() => {})
    },
  }
}

/** Everything but an answer of a server that goes on serving this connection. */
function isBroken(error: unknown): boolean {
  const state = sqlState(error)
  return state === null || /^(08|28|3D|57P|53300)/.test(state)
}

/** A promise that fails when `limit` ms pass without a `restart`; 0 = never. */
function startDeadline(limit: Millis) {
  let fail: (error: Error) => void = () => {}
  let timer: NodeJS.Timeout | undefined
  const exceeded = new Promise<never>((_, reject) => {
    fail = reject
  })
  exceeded.catch(() => {})
  const restart = () => {
    clearTimeout(timer)
    if (limit > 0) timer = setTimeout(() => fail(new DeadlineExceeded(`más de ${limit / 1000} s`)), limit)
  }
  restart()
  return { exceeded, restart, stop: () => clearTimeout(timer) }
}
