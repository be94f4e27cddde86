/**
 * Transactions against the audit database, each bounded in time.
 *
 * Each connection is a driver's client of its own. One that saw trouble is thrown away whole and made anew for the next
 * transaction: the driver's own recovery can leave a query waiting for ever, and a query given to it after its socket was
 * lost (its `begin` sends a ROLLBACK) ends the process. Nothing is retried here; whoever calls backs off.
 */
import type { AuditConfig } from '../config/config.ts'
import type { Millis } from '../model/message.ts'
import { type Client, CONNECT_TIMEOUT, openClient, type Parameter } from './client.ts'
import type { GrowingBuffer } from './columns.ts'
import { type TextRules, textRules } from './encoding.ts'
import { DeadlineExceeded, isConnectionLost, isSessionSpent, isWorthRepeating } from './trouble.ts'

export type { Parameter } from './client.ts'

/** Whose rows: several projects share one schema. */
export interface Scope {
  readonly instancia: string
  readonly proyecto: string
}

/** A transaction, in the schema and for the project that its database was opened for. */
export interface Session {
  /** `server_encoding` of this connection. */
  readonly encoding: string
  /** What text columns hold in that encoding. */
  readonly rules: TextRules
  /** The schema's name as it is; `table` quotes it. */
  readonly schema: string
  readonly scope: Scope
  /** `instancia` and `proyecto` as the columns hold them: `$1` and `$2` of most queries. */
  readonly owner: readonly [string, string]
  /** `"schema".name`, also of a function. */
  table(name: string): string
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
   * @param writing it may write, whatever the others of this database may
   * @throws the driver's error as it came (SQLSTATE and all); `postgresTrouble` explains it to people
   */
  transaction<T>(work: (session: Session) => Promise<T>, writing?: boolean): Promise<T>
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
  /**
   * How long an answer may take before its connection is taken for dead; without it as long as a statement may last. Each time
   * it was too short it doubles, up to that: a slow server is asked again with more patience.
   */
  readonly patience?: Millis
  /** How long a new connection may take until its transaction is open. */
  readonly connect?: Millis
}

/** Of those that a person waits for: a server that is hung is told within seconds. */
export const SOON: Millis = 4_000
/** What the network may add to the server's own limit before the connection is given up. */
const MARGIN: Millis = 5_000
/**
 * What an idle connection may take for its BEGIN, which costs a server nothing: later than that the network has forgotten it.
 * And what the server lets a transaction stand still, so that one whose connection died gives back what it had locked.
 */
const QUICK: Millis = 5_000
/** Of a transaction that dead-locked. */
const REPEATS = 5

/**
 * Connects when first used.
 * @param scope null where whole schemas are worked on, and no project's rows
 */
export function openDatabase(config: AuditConfig, scope: Scope | null, limits: DatabaseLimits): Database {
  const statement = limits.statement ?? 30_000
  const longest = statement === 0 ? Number.POSITIVE_INFINITY : statement + MARGIN
  const calm = Math.min(limits.patience ?? longest, longest)
  const quick = Math.min(calm, QUICK)
  const connect = limits.connect ?? Math.min(calm + QUICK, longest, CONNECT_TIMEOUT)
  const begin = (readOnly: boolean) => beginStatement(readOnly, statement, limits.lock ?? 10_000, quick)
  const [reading, writing] = [begin(limits.readOnly ?? false), begin(false)]
  let patience = calm
  const idle: Client[] = []
  const busy = new Set<Client>()
  const waiting: (() => void)[] = []
  let closed = false

  async function take(): Promise<{ client: Client; isNew: boolean }> {
    while (!closed && busy.size >= limits.connections) await new Promise<void>((resolve) => waiting.push(resolve))
    if (closed) throw Object.assign(new Error('la conexión ya se cerró'), { code: 'CONNECTION_ENDED' })
    const used = idle.pop()
    const client = used ?? openClient(config)
    busy.add(client)
    return { client, isNew: used === undefined }
  }

  function giveBack(client: Client, lost: boolean, spent: boolean) {
    busy.delete(client)
    if (lost || closed) client.destroy()
    else if (spent) client.close().catch(() => {})
    else idle.push(client)
    // What happened to this one has probably happened to those that nobody used meanwhile.
    if (lost || spent) for (const other of idle.splice(0)) other.destroy()
    waiting.shift()?.()
  }

  async function transaction<T>(work: (session: Session) => Promise<T>, mayWrite = false): Promise<T> {
    const { client, isNew } = await take()
    const deadline = startDeadline()
    let lost = false
    let spent = false
    /** Each query has the whole limit for itself. */
    const bounded = <R>(query: Promise<R>, limit = patience): Promise<R> => {
      deadline.restart(limit)
      return Promise.race([query, deadline.exceeded])
    }
    try {
      const soon = isNew ? connect : quick
      const encoding = await bounded(
        client.begin(mayWrite ? writing : reading, soon),
        isNew ? CONNECT_TIMEOUT + soon : soon,
      )
      const session = sessionOf(config.schema, scope, encoding, {
        query: <Row extends object>(text: string, parameters: readonly Parameter[] = []) =>
          bounded(client.query(text, parameters)) as Promise<Row[]>,
        copy: (statement, fill) => bounded(client.copy(statement, fill)),
      })
      const result = await work(session)
      await bounded(client.end('COMMIT'))
      patience = calm
      return result
    } catch (error) {
      lost = isConnectionLost(error)
      spent = isSessionSpent(error)
      if (error instanceof DeadlineExceeded) patience = Math.min(patience * 2, longest)
      if (!lost) {
        // The first error is the one to tell; a connection that cannot even roll back is lost as well.
        await bounded(client.end('ROLLBACK')).catch(() => {
          lost = true
        })
      }
      throw error
    } finally {
      deadline.stop()
      giveBack(client, lost, spent)
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

/** Runs the transaction again when it dead-locked with another's, after a moment of its own for each. */
export async function repeated<T>(transaction: () => Promise<T>): Promise<T> {
  for (let made = 1; ; made++) {
    try {
      return await transaction()
    } catch (error) {
      if (made >= REPEATS || !isWorthRepeating(error)) throw error
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 50 * made))
    }
  }
}

/** What follows from the schema, the project and the encoding, beside the statements. */
function sessionOf(
  schema: string,
  scope: Scope | null,
  encoding: string,
  statements: Pick<Session, 'query' | 'copy'>,
): Session {
  const rules = textRules(encoding)
  const owned = () => {
    if (scope === null) throw new Error('this database was opened for no project')
    return scope
  }
  return {
    ...statements,
    encoding,
    rules,
    schema,
    table: (name: string) => `${identifier(schema)}.${name}`,
    get scope() {
      return owned()
    },
    get owner(): readonly [string, string] {
      return [rules.key(owned().instancia), rules.key(owned().proyecto)]
    },
  }
}

/** A name as SQL wants it, whatever is in it. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/**
 * Opens the transaction and sets, for it alone (a pooler may sit in between), what the code relies on: old applications
 * leave other settings on their database or role.
 */
function beginStatement(readOnly: boolean, statement: Millis, lock: Millis, still: Millis): string {
  const settings = {
    statement_timeout: `${Math.trunc(statement)}ms`,
    lock_timeout: `${Math.trunc(lock)}ms`,
    idle_in_transaction_session_timeout: `${Math.trunc(still)}ms`,
    search_path: 'pg_catalog',
    bytea_output: 'hex',
    DateStyle: 'ISO, MDY',
    TimeZone: 'UTC',
    standard_conforming_strings: 'on',
    // Compiling a query over a dozen months' parts takes longer than any of ours runs.
    jit: 'off',
    // Whoever writes attempts counts them too, see summary.ts: the trigger that does it for others has nothing to do.
    'resthooks.resumen': 'escrito',
  }
  const set = Object.entries(settings).map(([name, value]) => `pg_catalog.set_config('${name}', '${value}', true)`)
  return `BEGIN ISOLATION LEVEL READ COMMITTED ${readOnly ? 'READ ONLY' : ''};
    SELECT pg_catalog.current_setting('server_encoding') AS encoding, ${set}`
}

/** A promise that fails when the limit of the last `restart` has passed. */
function startDeadline() {
  let fail: (error: Error) => void = () => {}
  let timer: NodeJS.Timeout | undefined
  const exceeded = new Promise<never>((_, reject) => {
    fail = reject
  })
  exceeded.catch(() => {})
  return {
    exceeded,
    restart: (limit: Millis) => {
      clearTimeout(timer)
      if (Number.isFinite(limit)) {
        timer = setTimeout(() => fail(new DeadlineExceeded(`más de ${limit / 1000} s`)), limit)
      }
    },
    stop: () => clearTimeout(timer),
  }
}
