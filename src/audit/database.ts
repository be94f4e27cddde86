/**
 * Transactions against the audit database, each bounded in time.
 *
 * Each connection is a driver's client of its own. One that saw trouble is thrown away whole and made anew for the next
 * transaction: the driver's own recovery can leave a query waiting for ever, and a query given to it after its socket was
 * lost (its `begin` sends a ROLLBACK) ends the process. Nothing is retried here; whoever calls backs off.
 */
import type { AuditConfig } from '../config/config.ts'
import type { Millis } from '../message.ts'
import type { GrowingBuffer } from './binary-rows.ts'
import { type Client, openClient, type Parameter } from './client.ts'
import { DeadlineExceeded, isConnectionLost } from './trouble.ts'

export type { Parameter } from './client.ts'

export interface Session {
  /** `server_encoding` of this connection. */
  readonly encoding: string
  /**
   * Runs one statement, its parameters `$1`, `$2`…
   * Without parameters the text may hold several statements, and the rows are not to be looked at.
   */
  query<Row extends object>(text: string, parameters?: readonly Parameter[]): Promise<Row[]>
  /** `COPY … FROM STDIN` of what `fill` appends; a row that the server refuses ends the transaction. */
  copy(statement: string, fill: (rows: GrowingBuffer) => void): Promise<void>
}

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
  /** Transactions at the same time; further ones wait for their turn. */
  readonly connections: number
  readonly readOnly?: boolean
  /** Of one statement, by the server; 0 = none. */
  readonly statement?: Millis
  /** Of waiting for a lock, by the server. */
  readonly lock?: Millis
}

/** What the network may add to the server's own limit before the connection is given up. */
const MARGIN: Millis = 5_000

/** Connects when first used. */
export function openDatabase(config: AuditConfig, limits: DatabaseLimits): Database {
  const statement = limits.statement ?? 30_000
  const begin = beginStatement(limits.readOnly ?? false, statement, limits.lock ?? 10_000)
  const idle: Client[] = []
  const busy = new Set<Client>()
  const waiting: (() => void)[] = []
  let closed = false

  async function take(): Promise<Client> {
    while (!closed && busy.size >= limits.connections) await new Promise<void>((resolve) => waiting.push(resolve))
    if (closed) throw Object.assign(new Error('la conexión ya se cerró'), { code: 'CONNECTION_ENDED' })
    const client = idle.pop() ?? openClient(config)
    busy.add(client)
    return client
  }

  function giveBack(client: Client, lost: boolean) {
    busy.delete(client)
    if (lost || closed) client.destroy()
    else idle.push(client)
    waiting.shift()?.()
  }

  async function transaction<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const client = await take()
    const deadline = startDeadline(statement === 0 ? 0 : statement + MARGIN)
    let lost = false
    /** Each query has the whole limit for itself. */
    const bounded = <R>(query: Promise<R>): Promise<R> => {
      deadline.restart()
      return Promise.race([query, deadline.exceeded])
    }
    try {
      const encoding = await bounded(client.begin(begin))
      const result = await work({
        encoding,
        query: <Row extends object>(text: string, parameters: readonly Parameter[] = []) =>
          bounded(client.query(text, parameters)) as Promise<Row[]>,
        copy: (statement, fill) => bounded(client.copy(statement, fill)),
      })
      await bounded(client.end('COMMIT'))
      return result
    } catch (error) {
      lost = isConnectionLost(error)
      if (!lost) {
        // The first error is the one to tell; a connection that cannot even roll back is lost as well.
        await bounded(client.end('ROLLBACK')).catch(() => {
          lost = true
        })
      }
      throw error
    } finally {
      deadline.stop()
      giveBack(client, lost)
    }
  }

  return {
    transaction,
    close: async () => {
      closed = true
      for (const wake of waiting.splice(0)) wake()
      for (const client of busy) client.destroy()
      await Promise.all(idle.splice(0).map((client) => client.close()))
    },
  }
}

/**
 * Opens the transaction and sets, for it alone (a pooler may sit in between), what the code relies on: old applications
 * leave other settings on their database or role.
 */
function beginStatement(readOnly: boolean, statement: Millis, lock: Millis): string {
  const settings = {
    statement_timeout: `${Math.trunc(statement)}ms`,
    lock_timeout: `${Math.trunc(lock)}ms`,
    search_path: 'pg_catalog',
    bytea_output: 'hex',
    DateStyle: 'ISO, MDY',
    TimeZone: 'UTC',
    standard_conforming_strings: 'on',
    // Compiling a query over a dozen months' parts takes longer than any of ours runs.
    jit: 'off',
  }
  const set = Object.entries(settings).map(([name, value]) => `pg_catalog.set_config('${name}', '${value}', true)`)
  return `BEGIN ISOLATION LEVEL READ COMMITTED ${readOnly ? 'READ ONLY' : ''};
    SELECT pg_catalog.current_setting('server_encoding') AS encoding, ${set}`
}

/** A promise that fails when `limit` ms pass without a `restart`; 0 = never. */
function startDeadline(limit: Millis) {
  let fail: (error: Error) => void = () => {}
  let timer: NodeJS.Timeout | undefined
  const exceeded = new Promise<never>((_, reject) => {
    fail = reject
  })
  exceeded.catch(() => {})
  return {
    exceeded,
    restart: () => {
      clearTimeout(timer)
      if (limit > 0) timer = setTimeout(() => fail(new DeadlineExceeded(`más de ${limit / 1000} s`)), limit)
    },
    stop: () => clearTimeout(timer),
  }
}
