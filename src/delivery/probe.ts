/**
 * One real request outside the queue, with everything that a person wants to see of it.
 *
 * The request is the deliverer's own, so that what works here works in the worker; DNS and TLS are looked at besides.
 */

import { isIP } from 'node:net'
import { connect, type DetailedPeerCertificate, type TLSSocket } from 'node:tls'
import type { ListenerConfig, TlsConfig } from '../config/config.ts'
import { blockList, isBlocked } from '../model/http.ts'
import type { Message, Millis } from '../model/message.ts'
import type { Secrets } from '../model/secrets.ts'
import { Deliverer } from './attempt.ts'
import { type Endpoint, endpointOf, secureContext } from './connect.ts'
import { diagnose } from './diagnose.ts'
import type { RequestRecord } from './mask.ts'
import { names } from './names.ts'
import type { Judgement } from './outcome.ts'
import { errorDetail } from './trouble.ts'

/** Marks the request as a trial, for receivers that want to tell. */
const PROBE_HEADER = 'X-Resthooks-Prueba'

export interface ProbeReport {
  readonly names: NameReport
  /** Null for http, and when the name gave no address that may be used. */
  readonly tls: TlsInspection | null
  readonly requests: readonly RequestRecord[]
  readonly outcome: Judgement
  /** What is wrong and what to change, in one Spanish sentence. */
  readonly diagnosis: string
}

interface NameReport {
  readonly host: string
  readonly addresses: readonly { readonly address: string; readonly blocked: boolean }[]
  readonly error: string | null
}

/** Never throws for what the listener or its network does. */
export async function probe(
  listener: ListenerConfig,
  message: Message,
  about: {
    readonly version: string
    readonly secrets: Secrets
    readonly signal: AbortSignal
    /** Of the attempt, as the request tells it. */
    readonly number: number
  },
): Promise<ProbeReport> {
  const endpoint = endpointOf(listener.url)
  const marked = { ...listener, headers: [...listener.headers, [PROBE_HEADER, '1'] as const] }
  const deliverer = new Deliverer(marked, about)
  try {
    const found = await lookUp(endpoint.host, listener.blockedNetworks)
    const tls = await lookAtTls(endpoint, found, listener)
    const { requests, outcome } = await deliverer.attempt(message, about.number, about.signal)
    const last = requests.at(-1)!
    const hasClientCertificate = listener.tls.client !== null
    const text = last.responseBody?.subarray(0, 2000).toString('latin1') ?? ''
    return {
      names: found,
      tls,
      requests,
      outcome,
      diagnosis: diagnose({ ...last, text }, { ...listener, hasClientCertificate }),
    }
  } finally {
    await deliverer.close()
  }
}

/** The addresses of a host and whether each may be used. Never throws. */
export async function lookUp(host: string, blockedNetworks: readonly string[]): Promise<NameReport> {
  try {
    const blocked = blockList(blockedNetworks)
    const addresses = await names.resolve(host)
    return {
      host,
      addresses: addresses.map(({ address }) => ({ address, blocked: isBlocked(blocked, address) })),
      error: null,
    }
  } catch (error) {
    return { host, addresses: [], error: errorDetail(error) }
  }
}

/** TLS of the first address that may be used. Never throws. */
export async function lookAtTls(
  endpoint: Endpoint,
  names: NameReport,
  listener: Pick<ListenerConfig, 'tls' | 'connectTimeout'>,
): Promise<TlsInspection | null> {
  const first = names.addresses.find(({ blocked }) => !blocked)
  if (!endpoint.tls || first === undefined) return null
  return inspectTls(endpoint, first.address, listener.tls, listener.connectTimeout)
}

export interface TlsInspection {
  readonly protocol: string | null
  readonly cipher: string | null
  readonly certificate: CertificateFacts | null
  /** Why this program does not accept the server, in Spanish with the original code; null when it does. */
  readonly problem: string | null
}

interface CertificateFacts {
  readonly subject: string
  readonly issuer: string
  /** Host names and addresses that it is for. */
  readonly names: readonly string[]
  readonly validFrom: Date
  readonly validTo: Date
  /** Whole days left; negative once it expired. */
  readonly daysLeft: number
}

/**
 * What a TLS server shows of itself, whether it can be trusted or not, over a connection of its own that sends no request.
 * @param address the one to connect to; verification is against the endpoint's name. Never throws.
 */
export function inspectTls(
  endpoint: Endpoint,
  address: string,
  tls: TlsConfig,
  limit: Millis,
  now = Date.now(),
): Promise<TlsInspection> {
  return new Promise((resolve) => {
    let socket: TLSSocket
    const finish = (result: TlsInspection) => {
      clearTimeout(timer)
      socket?.destroy()
      resolve(result)
    }
    const failed = (error: unknown) => finish({ ...NOTHING, problem: errorDetail(error) })
    const timer = setTimeout(() => finish({ ...NOTHING, problem: `no hubo respuesta en ${limit} ms` }), limit)
    try {
      socket = connect({
        host: address,
        port: endpoint.port,
        ...(isIP(endpoint.host) === 0 ? { servername: endpoint.host } : {}),
        secureContext: secureContext(tls, true)(),
        ALPNProtocols: ['http/1.1'],
        rejectUnauthorized: false,
      })
    } catch (error) {
      failed(error)
      return
    }
    socket.on('error', failed)
    socket.once('secureConnect', () => {
      // Typed as an Error; it is the code alone when the chain is what fails.
      const refused = socket.authorizationError as Error | string | null | undefined
      finish({
        protocol: socket.getProtocol(),
        cipher: socket.getCipher()?.standardName ?? null,
        certificate: factsOf(socket.getPeerCertificate(true), now),
        problem: socket.authorized || refused == null ? null : errorDetail(asError(refused)),
      })
    })
  })
}

const NOTHING = { protocol: null, cipher: null, certificate: null }

function asError(refused: Error | string): Error {
  return refused instanceof Error ? refused : Object.assign(new Error(refused), { code: refused })
}

function factsOf(certificate: DetailedPeerCertificate, now: number): CertificateFacts | null {
  if (certificate.valid_to === undefined) return null
  const validTo = new Date(certificate.valid_to)
  const names = (certificate.subjectaltname ?? '').split(', ').map((name) => name.replace(/^(DNS|IP Address):/, ''))
  return {
    subject: oneLine(certificate.subject),
    issuer: oneLine(certificate.issuer),
    names: names.filter((name) => name !== ''),
    validFrom: new Date(certificate.valid_from),
    validTo,
    daysLeft: Math.floor((validTo.getTime() - now) / 86_400_000),
  }
}

/** `CN=diaguita, O=SIU`. */
function oneLine(name: object | undefined): string {
  return Object.entries(name ?? {})
    .map(([key, value]) => `${key}=${[value].flat().join('+')}`)
    .reverse()
    .join(', ')
}
