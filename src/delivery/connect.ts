/**
 * Opens one socket: resolve, refuse blocked networks, connect to exactly the addresses that were checked, TLS.
 *
 * Checking and connecting use the same resolution, so that a name cannot answer a harmless address to the check and
 * another to the connection. TLS verifies against the name, whatever the address.
 */
import type { LookupAddress } from 'node:dns'
import { closeSync, openSync } from 'node:fs'
import { type BlockList, connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls, createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls'
import type { TlsConfig } from '../config/config.ts'
import { isBlocked } from '../model/http.ts'
import type { Millis } from '../model/message.ts'
import { names } from './names.ts'
import { type Stage, Trouble } from './trouble.ts'

export interface Endpoint {
  /** Without brackets. */
  readonly host: string
  readonly port: number
  readonly tls: boolean
}

/** How sockets of one listener are opened. */
export interface Dialing {
  readonly connectTimeout: Millis
  readonly blocked: BlockList
  /** @throws when a certificate or key cannot be read */
  readonly context: () => SecureContext
  /** Last TLS session, to resume. */
  session: Buffer | undefined
  /** Of the server's certificate as last seen, ms since epoch. */
  certificateEndsAt?: number
}

/** What was reached, filled in on the way, so that a failure still tells how far it came. */
export interface Progress {
  stage: Stage
  ip: string | null
  readonly phases: Record<string, number>
}

export function newProgress(): Progress {
  return { stage: 'dns', ip: null, phases: {} }
}

export function endpointOf(origin: string): Endpoint {
  const url = new URL(origin)
  const tls = url.protocol === 'https:'
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port) || (tls ? 443 : 80), tls }
}

/** Built on first use and kept. @param withClient false for another host than the listener's: our certificate is not for it */
export function secureContext(tls: TlsConfig, withClient: boolean): () => SecureContext {
  let context: SecureContext | undefined
  return () => {
    if (context !== undefined) return context
    const options: SecureContextOptions = {}
    if (tls.ca !== null) options.ca = tls.ca
    const client = withClient ? tls.client : null
    if (client?.kind === 'pem') Object.assign(options, { cert: client.cert, key: client.key })
    if (client?.kind === 'pkcs12') options.pfx = client.bundle
    if (client?.passphrase != null) options.passphrase = client.passphrase
    try {
      context = createSecureContext(options)
    } catch (cause) {
      throw new Trouble('tls', 'no se pudo cargar el certificado de cliente, su clave o la autoridad (ca_cert)', {
        cause,
      })
    }
    return context
  }
}

/**
 * @param signal gives up at once
 * @throws whatever failed, `progress.stage` says in what; a Trouble for time-outs and blocked networks
 */
export async function openSocket(
  endpoint: Endpoint,
  dialing: Dialing,
  progress: Progress,
  signal: AbortSignal,
): Promise<Socket> {
  const limit = new AbortController()
  const timer = setTimeout(() => {
    const doing = { dns: 'resolviendo el nombre', connect: 'conectando', tls: 'negociando TLS' }[
      progress.stage as string
    ]
    const message = `espera_conexion (${dialing.connectTimeout} ms) agotada ${doing} ${endpoint.host}:${endpoint.port}`
    limit.abort(new Trouble('timeout', message))
  }, dialing.connectTimeout)
  const stop = () => limit.abort(signal.reason)
  if (signal.aborted) stop()
  else signal.addEventListener('abort', stop, { once: true })
  try {
    let since = performance.now()
    const lap = (name: string) => {
      const now = performance.now()
      progress.phases[name] = round(now - since)
      since = now
    }
    const addresses = await unless(limit.signal, names.resolve(endpoint.host))
    lap('dns')
    const allowed = addresses.filter(({ address }) => !isBlocked(dialing.blocked, address))
    progress.ip = (allowed[0] ?? addresses[0])?.address ?? null
    if (allowed.length === 0) {
      const list = addresses.map(({ address }) => address).join(', ')
      throw new Trouble('bloqueada', `${endpoint.host} resuelve a ${list}, dentro de redes_bloqueadas`)
    }
    progress.stage = 'connect'
    const tcp = await dialTcp(endpoint, allowed, dialing, limit.signal)
    lap('conexion')
    progress.ip = tcp.remoteAddress ?? progress.ip
    if (!endpoint.tls) return tcp
    progress.stage = 'tls'
    try {
      const tls = await handshake(tcp, endpoint, dialing, limit.signal)
      lap('tls')
      return tls
    } catch (error) {
      // Whatever threw, before the handshake too: an open socket nobody has keeps the process alive.
      tcp.destroy()
      throw error
    }
  } catch (error) {
    names.forget(endpoint.host)
    // A resolver that cannot open its socket says that the name does not exist.
    if (progress.stage === 'dns') assertDescriptors()
    throw error
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', stop)
  }
}

/** @throws EMFILE or ENFILE where nothing more can be opened */
function assertDescriptors(): void {
  try {
    closeSync(openSync('/dev/null', 'r'))
  } catch (error) {
    if (/^E[MN]FILE$/.test((error as NodeJS.ErrnoException).code ?? '')) throw error
  }
}

/** Happy eyeballs over the checked addresses alone; each gets its share of the time. */
function dialTcp(endpoint: Endpoint, allowed: readonly LookupAddress[], dialing: Dialing, signal: AbortSignal) {
  const share = Math.max(250, Math.min(1000, Math.floor(dialing.connectTimeout / allowed.length)))
  return new Promise<Socket>((resolve, reject) => {
    const socket = connectTcp({
      host: endpoint.host,
      port: endpoint.port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 60_000,
      ...(allowed.length > 1
        ? {
            autoSelectFamily: true,
            autoSelectFamilyAttemptTimeout: share,
            lookup: (_host, _options, callback) => callback(null, [...allowed]),
          }
        : { host: allowed[0]!.address, autoSelectFamily: false }),
    })
    settle(socket, 'connect', signal, resolve, reject)
  })
}

function handshake(tcp: Socket, endpoint: Endpoint, dialing: Dialing, signal: AbortSignal) {
  // Its errors arrive on the TLS socket; one that came here too must not end the process.
  tcp.on('error', () => {})
  return new Promise<Socket>((resolve, reject) => {
    const socket = connectTls({
      socket: tcp,
      host: endpoint.host,
      // RFC 6066 §3: no address literals in SNI; verification then uses `host`.
      ...(isIP(endpoint.host) === 0 ? { servername: endpoint.host } : {}),
      secureContext: dialing.context(),
      ALPNProtocols: ['http/1.1'],
      ...(dialing.session === undefined ? {} : { session: dialing.session }),
    })
    socket.on('session', (session) => {
      dialing.session = session
    })
    const secured = () => {
      const endsAt = Date.parse(socket.getPeerCertificate().valid_to)
      if (!Number.isNaN(endsAt)) dialing.certificateEndsAt = endsAt
      resolve(socket)
    }
    settle(socket, 'secureConnect', signal, secured, (error) => {
      dialing.session = undefined
      reject(error)
    })
  })
}

/** Resolves on `event`; destroys and rejects on error, early close or abort; leaves no listener behind. */
function settle(
  socket: Socket,
  event: 'connect' | 'secureConnect',
  signal: AbortSignal,
  resolve: (socket: Socket) => void,
  reject: (error: unknown) => void,
): void {
  const clear = () => {
    socket.off(event, opened).off('error', failed).off('close', closed)
    signal.removeEventListener('abort', aborted)
  }
  const opened = () => {
    clear()
    resolve(socket)
  }
  const failed = (error: unknown) => {
    clear()
    socket.on('error', () => {})
    socket.destroy()
    reject(error)
  }
  const closed = () => failed(Object.assign(new Error('closed during the handshake'), { code: 'ECONNRESET' }))
  const aborted = () => failed(signal.reason)
  socket.on(event, opened).on('error', failed).on('close', closed)
  if (signal.aborted) aborted()
  else signal.addEventListener('abort', aborted)
}

function unless<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const aborted = () => reject(signal.reason)
    if (signal.aborted) return aborted()
    signal.addEventListener('abort', aborted, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', aborted))
  })
}

/** Milliseconds to two decimals. */
export function round(millis: number): number {
  return Math.round(millis * 100) / 100
}
