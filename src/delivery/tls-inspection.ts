/**
 * What a TLS server shows of itself, whether it can be trusted or not: for people who must find out why it is not.
 *
 * A connection of its own that sends no request. Deliveries never use it.
 */
import { isIP } from 'node:net'
import { connect, type DetailedPeerCertificate, type TLSSocket } from 'node:tls'
import type { TlsConfig } from '../config/config.ts'
import type { Millis } from '../model/message.ts'
import { type Endpoint, secureContext } from './connect.ts'
import { errorDetail } from './trouble.ts'

export interface TlsInspection {
  readonly protocol: string | null
  readonly cipher: string | null
  readonly certificate: CertificateFacts | null
  /** Why this program does not accept the server, in Spanish with the original code; null when it does. */
  readonly problem: string | null
}

export interface CertificateFacts {
  readonly subject: string
  readonly issuer: string
  /** Host names and addresses that it is for. */
  readonly names: readonly string[]
  readonly validFrom: Date
  readonly validTo: Date
  /** Whole days left; negative once it expired. */
  readonly daysLeft: number
}

/** @param address the one to connect to; verification is against the endpoint's name. Never throws. */
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
