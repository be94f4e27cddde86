/**
 * One connection to Postgres: its socket, the driver held so that it can neither hang nor surprise, and COPY.
 *
 * The only file that knows the driver. Two things are done here, not by it: TLS, as it goes on with TLS after a server said that
 * it has none, and then reports a broken connection; and COPY … FROM STDIN, as its own stream never ends when the server refuses
 * the rows after their last byte (the usual time for a duplicate), and copies them twice on the way. The protocol is small: Query,
 * CopyInResponse, the rows, CopyDone, CommandComplete or ErrorResponse, ReadyForQuery
 * (https://www.postgresql.org/docs/current/protocol-flow.html, «COPY Operations»).
 */

import { readFile } from 'node:fs/promises'
import { isIP, Socket } from 'node:net'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls'
import postgres from 'postgres'
import type { AuditConfig } from '../config/config.ts'
import type { Millis } from '../model/message.ts'
import { duration } from '../model/words.ts'
import { GrowingBuffer } from './columns.ts'
import { DeadlineExceeded, SslRefused } from './trouble.ts'

/** Text for everything but what the driver converts well by itself. */
export type Parameter = string | number | boolean | Date | Buffer | null

export interface Client {
  /**
   * Opens a transaction with a BEGIN and a SELECT of `encoding`; connects before where needed.
   * @param patience from when the server's address is known: a name that resolves slowly says nothing about the server
   */
  begin(statements: string, patience: Millis): Promise<string>
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

/** Its name included. */
export const CONNECT_TIMEOUT: Millis = 10_000
/** Seconds until an unused connection is given back to the server. */
const IDLE = 300

export function openClient(config: AuditConfig): Client {
  const abort = new AbortController()
  let socket: Socket | undefined
  /** Sockets opened since the last BEGIN was asked for. */
  let opened = 0
  /** Of the BEGIN that is under way. */
  let reaching: Reaching | undefined
  const connect = async () => {
    // A server that closes during start-up makes the driver connect again at once, and again, without telling anybody;
    // and a statement must not reach a new connection, where its transaction does not exist.
    if (opened++ > 0) {
      throw Object.assign(new Error('el servidor cerró la conexión'), { code: 'CONNECTION_CLOSED' })
    }
    socket = await openSocket(config, CONNECT_TIMEOUT, abort.signal, (stage) => reaching?.come(stage))
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
    begin: async (statements, patience) => {
      opened = 0
      reaching = new Reaching(patience)
      if (socket) reaching.come('connected')
      try {
        const answer = Promise.resolve(sql.unsafe(statements))
        const results = (await Promise.race([answer, reaching.late])) as unknown as { encoding: string }[][]
        opened = 1
        return results[1]![0]!.encoding
      } finally {
        reaching.end()
      }
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

/** How far one got on the way to a server. */
type Stage = 'addressed' | 'connected'

/** Gives up when `patience` has passed since the server's address is known. */
class Reaching {
  readonly late: Promise<never>
  readonly #patience: Millis
  #fail: (error: Error) => void = () => {}
  #stage: Stage | undefined
  #timer: NodeJS.Timeout | undefined
  #isOver = false

  constructor(patience: Millis) {
    this.#patience = patience
    this.late = new Promise((_, reject) => {
      this.#fail = reject
    })
    this.late.catch(() => {})
  }

  come(stage: Stage): void {
    this.#stage = stage
    if (!this.#isOver) this.#timer ??= setTimeout(() => this.#fail(this.#why()), this.#patience)
  }

  end(): void {
    this.#isOver = true
    clearTimeout(this.#timer)
  }

  #why(): Error {
    if (this.#stage === 'addressed') return Object.assign(new Error('sin conexión'), { code: 'ETIMEDOUT' })
    return new DeadlineExceeded(`acepta la conexión y no contesta: más de ${duration(this.#patience)}`)
  }
}

const QUERY = 0x51
const COPY_DATA = 0x64
const COPY_DONE = 0x63
const COPY_IN_RESPONSE = 0x47
const ERROR_RESPONSE = 0x45
const READY_FOR_QUERY = 0x5a
/** Letter and length. */
const HEADER = 5
/** The server keeps a whole message in memory before it looks at it. */
const CHUNK = 256 * 1024

/** Fields of an ErrorResponse, by their letter, under the names that the driver gives them. */
const FIELDS: Readonly<Record<string, string>> = {
  V: 'severity',
  C: 'code',
  M: 'message',
  D: 'detail',
  W: 'where',
  t: 'table_name',
  n: 'constraint_name',
}

/**
 * Sends `rows` and waits for the server's word.
 * @param socket of a connection in a transaction, with no query under way; the listeners of its data step aside meanwhile
 * @throws an error like the driver's: `PostgresError` with a SQLSTATE, the connection still good unless it is FATAL; or the
 *   socket's own
 */
function copyIn(socket: Socket, statement: string, rows: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const theirs = socket.listeners('data') as ((data: Buffer) => void)[]
    let refusal: Error | null = null
    let rest: Buffer = Buffer.alloc(0)

    const settle = (error: Error | null) => {
      socket.off('data', take).off('error', settle).off('close', closed)
      for (const listener of theirs) socket.on('data', listener)
      if (error) reject(error)
      else resolve()
    }
    const closed = () => settle(refusal ?? Object.assign(new Error('se cortó la conexión'), { code: 'ECONNRESET' }))
    const take = (data: Buffer) => {
      rest = rest.length === 0 ? data : Buffer.concat([rest, data])
      while (rest.length >= HEADER) {
        const end = 1 + rest.readUInt32BE(1)
        if (rest.length < end) return
        const message = rest.subarray(HEADER, end)
        const kind = rest[0]
        rest = rest.subarray(end)
        if (kind === COPY_IN_RESPONSE) sendRows(socket, rows)
        else if (kind === ERROR_RESPONSE) refusal ??= errorOf(message)
        else if (kind === READY_FOR_QUERY) return settle(refusal)
        // Else CommandComplete, a notice or a changed setting.
      }
    }

    for (const listener of theirs) socket.off('data', listener)
    socket.on('data', take).once('error', settle).once('close', closed)
    if (socket.destroyed) closed()
    else socket.write(message(QUERY, Buffer.from(`${statement}\0`)))
  })
}

function sendRows(socket: Socket, rows: Buffer) {
  socket.cork()
  for (let at = 0; at < rows.length; at += CHUNK) {
    const chunk = rows.subarray(at, at + CHUNK)
    socket.write(header(COPY_DATA, chunk.length))
    socket.write(chunk)
  }
  socket.write(header(COPY_DONE, 0))
  socket.uncork()
}

function header(kind: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER)
  bytes[0] = kind
  bytes.writeUInt32BE(length + HEADER - 1, 1)
  return bytes
}

function message(kind: number, content: Buffer): Buffer {
  return Buffer.concat([header(kind, content.length), content])
}

function errorOf(content: Buffer): Error {
  const fields: Record<string, string> = {}
  for (const part of content.toString('utf8').split('\0')) {
    const name = FIELDS[part[0] ?? '']
    if (name) fields[name] = part.slice(1)
  }
  return Object.assign(new Error(fields.message), fields, { name: 'PostgresError' })
}

/** Postgres' SSLRequest: length 8, code 80877103. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])

const KEEP_ALIVE: Millis = 5_000

/**
 * Connects and, where `sslmode` wants it, starts TLS. `allow` is treated as `prefer`.
 * @param signal gives the attempt up
 * @param come   told how far it got
 * @throws SslRefused, DeadlineExceeded, or the socket's own error
 */
async function openSocket(
  config: AuditConfig,
  timeout: Millis,
  signal: AbortSignal,
  come: (stage: Stage) => void,
): Promise<Socket> {
  const socket = new Socket()
  socket.setNoDelay(true)
  // An idle connection whose peer is gone is noticed within KEEP_ALIVE and ten unanswered seconds, not when it is needed.
  socket.setKeepAlive(true, KEEP_ALIVE)
  let current: Socket = socket
  const giveUp = (error: Error) => current.destroy(error)
  const onAbort = () => giveUp(new DeadlineExceeded('la conexión se abandonó'))
  const timer = setTimeout(() => giveUp(new DeadlineExceeded(`conexión: más de ${timeout} ms`)), timeout)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    if (signal.aborted) throw new DeadlineExceeded('la conexión se abandonó')
    const connected = once(socket, 'connect')
    const isPath = config.host.startsWith('/')
    if (isPath) socket.connect(join(config.host, `.s.PGSQL.${config.port}`))
    else socket.connect(config.port, config.host)
    if (isPath || isIP(config.host)) come('addressed')
    else socket.once('lookup', () => come('addressed'))
    await connected
    come('connected')
    if (config.sslmode === 'disable' || isPath) return socket
    socket.write(SSL_REQUEST)
    const [answer] = await once(socket, 'data')
    if ((answer as Buffer)[0] !== 0x53) {
      if (config.sslmode === 'prefer' || config.sslmode === 'allow') return socket
      throw new SslRefused('el servidor no ofrece SSL')
    }
    current = tlsConnect({ ...(await tlsOptions(config)), socket })
    await once(current, 'secureConnect')
    return current
  } catch (error) {
    current.destroy()
    throw error
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
  }
}

/** `verify-*` trusts PGSSLROOTCERT or ~/.postgresql/root.crt as libpq does, else the system's authorities. */
async function tlsOptions(config: AuditConfig): Promise<ConnectionOptions> {
  // `host` is what the certificate is checked against; without it Node would check for `localhost`.
  const name = { host: config.host, ...(isIP(config.host) ? {} : { servername: config.host }) }
  if (!config.sslmode.startsWith('verify-')) return { ...name, rejectUnauthorized: false }
  const ca = await rootCertificate()
  return {
    ...name,
    ...(ca === null ? {} : { ca }),
    rejectUnauthorized: true,
    ...(config.sslmode === 'verify-ca' ? { checkServerIdentity: () => undefined } : {}),
  }
}

async function rootCertificate(): Promise<string | null> {
  const named = process.env.PGSSLROOTCERT
  if (named && named !== 'system') return readFile(named, 'utf8')
  return readFile(join(homedir(), '.postgresql', 'root.crt'), 'utf8').catch(() => null)
}

/** The event's arguments, or the error or end that came first. */
function once(socket: Socket, event: string): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    const done = (...args: unknown[]) => {
      settle()
      resolve(args)
    }
    const failed = (error: Error) => {
      settle()
      reject(error)
    }
    const closed = () => failed(Object.assign(new Error('el servidor cerró la conexión'), { code: 'ECONNRESET' }))
    const settle = () => socket.off(event, done).off('error', failed).off('close', closed)
    socket.once(event, done).once('error', failed).once('close', closed)
  })
}
