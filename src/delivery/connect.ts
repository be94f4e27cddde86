/**
 * Opens one socket: resolve, refuse blocked networks, connect to exactly the addresses that were checked, TLS.
 *
 * Checking and connecting use the same resolution, so that a name cannot answer a harmless address to the check and
 * another to the connection. TLS verifies against the name, whatever the address.
 */
import { type LookupAddress, lookup } from 'node:dns'
import { closeSync, openSync } from 'node:fs'
import { type BlockList, connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls, createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls'
import type { TlsConfig } from '../config/config.ts'
import { isBlocked } from '../model/http.ts'
import type { Millis } from '../model/message.ts'
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

/** Long enough for a burst of new sockets, short enough to follow a name that moves. */
const KEPT: Millis = 10_000
/** How old addresses may be that stand in for a DNS that does not answer. */
const KEPT_IN_SILENCE: Millis = 3_600_000
/** How long the DNS is waited for when there are such. */
const PATIENCE: Millis = 500
/** A look-up that takes longer counts as one that did not answer. */
const SLOW: Millis = 1000
const MAX_NAMES = 1000
const THREADS = Number(process.env.UV_THREADPOOL_SIZE) || 4

type Addresses = readonly LookupAddress[]

interface Known {
  readonly addresses: Addresses
  readonly at: number
  /** Until then they are given without asking. */
  until: number
}

/**
 * Host names to addresses, through the system's resolver (so /etc/hosts and nsswitch count), kept for some seconds.
 *
 * `getaddrinfo` runs on libuv's pool of threads and cannot be called off: names whose DNS does not answer would take all
 * of them, for 10 seconds and more, and every other listener would wait behind. So there is one look-up a name at a time,
 * some threads are never used for look-ups, names that did not answer the last time share few of them (`bin/resthooks`
 * asks for more than Node's four), and where the DNS is silent the last good addresses serve for an hour.
 */
export class Names {
  readonly #lookup: (host: string) => Promise<Addresses>
  readonly #atOnce: number
  readonly #silentAtOnce: number
  readonly #known = new Map<string, Known>()
  readonly #running = new Map<string, Promise<Addresses>>()
  /** Whose last look-up got no answer, or a late one. */
  readonly #silent = new Set<string>()
  #busy = 0
  #busyWithSilent = 0
  readonly #waiting: { readonly silent: boolean; readonly start: () => void }[] = []

  /** @param threads of the pool that look-ups run on */
  constructor(lookup: (host: string) => Promise<Addresses> = systemLookup, threads = THREADS) {
    this.#lookup = lookup
    this.#atOnce = Math.max(1, threads - 2)
    this.#silentAtOnce = Math.max(1, Math.floor(this.#atOnce / 4))
  }

  /** Every address of a host, in the resolver's order; an address literal is its own. @throws the resolver's error */
  async resolve(host: string): Promise<Addresses> {
    const family = isIP(host)
    if (family !== 0) return [{ address: host, family }]
    const known = this.#known.get(host)
    if (known !== undefined && Date.now() < known.until) return known.addresses
    let asked = this.#running.get(host)
    if (asked === undefined) {
      asked = this.#ask(host)
      this.#running.set(host, asked)
    }
    if (known === undefined || Date.now() - known.at > KEPT_IN_SILENCE) return asked
    return this.#askedOr(known, asked)
  }

  /** To be called when connecting failed: the name may have moved. */
  forget(host: string): void {
    const known = this.#known.get(host)
    if (known !== undefined) known.until = 0
  }

  /** The answer; or what is known, where none comes: a name that the DNS says not to exist is no such case. */
  async #askedOr(known: Known, asked: Promise<Addresses>): Promise<Addresses> {
    let timer: NodeJS.Timeout | undefined
    const patience = new Promise<null>((done) => {
      timer = setTimeout(done, PATIENCE, null)
    })
    const answer = await Promise.race([asked, patience]).catch((error) => {
      if (isSilence(error)) return null
      throw error
    })
    clearTimeout(timer)
    if (answer !== null) return answer
    known.until = Date.now() + KEPT
    return known.addresses
  }

  async #ask(host: string): Promise<Addresses> {
    const silent = this.#silent.has(host)
    if (this.#mayStart(silent)) this.#take(silent)
    else await new Promise<void>((start) => this.#waiting.push({ silent, start }))
    const started = Date.now()
    try {
      const addresses = await this.#lookup(host)
      this.#heard(host, Date.now() - started > SLOW)
      if (this.#known.size >= MAX_NAMES) this.#known.clear()
      this.#known.set(host, { addresses, at: Date.now(), until: Date.now() + KEPT })
      return addresses
    } catch (error) {
      this.#heard(host, isSilence(error))
      if (!isSilence(error)) this.#known.delete(host)
      throw error
    } finally {
      this.#running.delete(host)
      this.#busy--
      if (silent) this.#busyWithSilent--
      this.#startWaiting()
    }
  }

  #mayStart(silent: boolean): boolean {
    return this.#busy < this.#atOnce && (!silent || this.#busyWithSilent < this.#silentAtOnce)
  }

  #take(silent: boolean): void {
    this.#busy++
    if (silent) this.#busyWithSilent++
  }

  /** One ended, so one may start: the first for which there is room. */
  #startWaiting(): void {
    const at = this.#waiting.findIndex(({ silent }) => this.#mayStart(silent))
    if (at < 0) return
    const [next] = this.#waiting.splice(at, 1)
    this.#take(next!.silent)
    next!.start()
  }

  #heard(host: string, silent: boolean): void {
    if (!silent) this.#silent.delete(host)
    else if (this.#silent.size < MAX_NAMES) this.#silent.add(host)
  }
}

/** No answer, as opposed to the answer that there is no such name. */
function isSilence(error: unknown): boolean {
  return !/^(ENOTFOUND|ENODATA)$/.test((error as NodeJS.ErrnoException).code ?? '')
}

function systemLookup(host: string): Promise<Addresses> {
  return new Promise((done, failed) => {
    lookup(host, { all: true, verbatim: true }, (error, addresses) =>
      error === null ? done(addresses) : failed(error),
    )
  })
}

/** Those of this process. */
export const names = new Names()
