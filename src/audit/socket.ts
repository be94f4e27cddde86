/**
 * The socket to Postgres, with TLS as libpq's `sslmode` means it.
 *
 * Made here and not by the driver, which goes on with TLS after a server said that it has none, and then reports a
 * broken connection.
 */
import { readFile } from 'node:fs/promises'
import { isIP, Socket } from 'node:net'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls'
import type { AuditConfig } from '../config/config.ts'
import type { Millis } from '../model/message.ts'
import { DeadlineExceeded, SslRefused } from './trouble.ts'

/** Postgres' SSLRequest: length 8, code 80877103. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])

const KEEP_ALIVE: Millis = 5_000

/**
 * Connects and, where `sslmode` wants it, starts TLS. `allow` is treated as `prefer`.
 * @param signal gives the attempt up
 * @throws SslRefused, DeadlineExceeded, or the socket's own error
 */
export async function openSocket(config: AuditConfig, timeout: Millis, signal: AbortSignal): Promise<Socket> {
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
    if (config.host.startsWith('/')) socket.connect(join(config.host, `.s.PGSQL.${config.port}`))
    else socket.connect(config.port, config.host)
    await connected
    if (config.sslmode === 'disable' || config.host.startsWith('/')) return socket
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
