/**
 * What went wrong with a request, in one short code and one line of text.
 *
 * `networkTrouble` is the only place that looks at ECONNREFUSED, UND_ERR_*, ERR_TLS_* and their like; the codes it
 * gives are those of `intento.error`. Whatever knows its own trouble throws a `Trouble` and is passed through.
 */
import { TLS_REASONS } from '../errors.ts'
import { withoutUserInfo } from '../model/secrets.ts'

export type TroubleCode =
  /** Connecting or the whole request took too long; the detail says which. */
  | 'timeout'
  | 'dns'
  | 'conexion'
  | 'tls'
  /** The answer was not HTTP, ended early or was longer than it said. */
  | 'respuesta'
  /** Every address of the host lies in `redes_bloqueadas`. */
  | 'bloqueada'
  | 'redireccion'
  /** The request cannot be built from this message: trying again changes nothing. */
  | 'solicitud'
  /** A 401 that asks for nothing that the listener's `auth_tipo` could answer. */
  | 'desafio'
  /** Credentials could not be obtained (token endpoint). */
  | 'auth'
  /** This process or machine has no descriptors left: nothing was tried, and nobody else is to blame. */
  | 'recursos'
  /** Stopped by us: lease lost or drain over. */
  | 'interrumpido'

/** Where the request stood when it failed; decides between codes that share an error number. */
export type Stage = 'dns' | 'connect' | 'tls' | 'request' | 'response'

export interface TroubleReport {
  readonly error: TroubleCode
  readonly detail: string
}

/** A trouble already classified where it arose. The message is Spanish and holds no secret. */
export class Trouble extends Error {
  override readonly name = 'Trouble'
  readonly error: TroubleCode

  constructor(error: TroubleCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.error = error
  }
}

/** Turns whatever the network, TLS or undici threw into a code and a line of text. */
export function networkTrouble(error: unknown, stage: Stage): TroubleReport {
  if (error instanceof Trouble) return { error: error.error, detail: errorDetail(error) }
  return { error: codeOf(error, stage), detail: errorDetail(error) }
}

/**
 * True when the peer dropped the connection, as opposed to answering wrongly: what a reused socket shows when the
 * server closed it just before our request arrived.
 */
export function isConnectionLoss(error: unknown): boolean {
  return codesOf(error).some((code) => LOSS.has(code))
}

const LOSS = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE', 'ECONNABORTED', 'ERR_STREAM_DESTROYED'])
const OUT_OF_DESCRIPTORS = /^E[MN]FILE$/
const DNS = /^(ENOTFOUND|EAI_|ENODATA|ESERVFAIL|ENONAME|EBADNAME|ETIMEOUT$|EREFUSED$)/
const TLS =
  /^(ERR_TLS_|ERR_SSL_|ERR_OSSL_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|EPROTO$|CRL_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_|ERR_CRYPTO_)/
const ANSWER = /^(HPE_|UND_ERR_RES|UND_ERR_HEADERS_OVERFLOW|UND_ERR_RESPONSE)/
const UNWRITABLE = /^UND_ERR_(INVALID_ARG|NOT_SUPPORTED|REQ_CONTENT_LENGTH)/
const TIMEOUT = /^(ETIMEDOUT$|UND_ERR_(CONNECT|HEADERS|BODY)_TIMEOUT)/

function codeOf(error: unknown, stage: Stage): TroubleCode {
  const codes = codesOf(error)
  const any = (pattern: RegExp) => codes.some((code) => pattern.test(code))
  if (any(OUT_OF_DESCRIPTORS)) return 'recursos'
  // undici refuses what cannot be written before it has a socket.
  if (any(UNWRITABLE)) return 'solicitud'
  if (stage === 'dns' || any(DNS)) return 'dns'
  if (stage === 'tls' || any(TLS)) return 'tls'
  // The kernel's own ETIMEDOUT only counts when no address answered at all.
  if (codes.length > 0 && codes.every((code) => TIMEOUT.test(code))) return 'timeout'
  if (any(ANSWER)) return 'respuesta'
  if (any(/^ERR_INVALID_/)) return 'solicitud'
  return stage === 'response' ? 'respuesta' : 'conexion'
}

/** Every code in the cause chain and in the parts of AggregateErrors. */
function codesOf(error: unknown): string[] {
  const codes: string[] = []
  walk(error, (one) => {
    const code = (one as NodeJS.ErrnoException).code
    if (typeof code === 'string') codes.push(code)
  })
  return codes
}

function walk(error: unknown, visit: (error: Error) => void, depth = 0): void {
  if (!(error instanceof Error) || depth > 8) return
  visit(error)
  if (error instanceof AggregateError) for (const part of error.errors) walk(part, visit, depth + 1)
  walk(error.cause, visit, depth + 1)
}

/** What the codes mean to a person; the original text follows in brackets. */
const MEANING: Readonly<Record<string, string>> = {
  ENOTFOUND: 'el nombre no existe en el DNS',
  EAI_AGAIN: 'el DNS no responde',
  ECONNREFUSED: 'nadie atiende en ese puerto',
  ECONNRESET: 'el servidor cortó la conexión',
  ECONNABORTED: 'se cortó la conexión',
  EPIPE: 'el servidor cerró la conexión mientras se le enviaba el pedido',
  ETIMEDOUT: 'la dirección no responde',
  EHOSTUNREACH: 'no se llega a esa dirección',
  ENETUNREACH: 'no hay ruta hacia esa red',
  EADDRNOTAVAIL: 'este equipo no tiene puertos o direcciones libres para conectar',
  EMFILE: 'el proceso alcanzó su máximo de archivos abiertos (ulimit -n)',
  ENFILE: 'el sistema alcanzó su máximo de archivos abiertos',
  ...TLS_REASONS,
  ERR_SSL_WRONG_VERSION_NUMBER: 'en ese puerto no se habla TLS',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'en ese puerto no se habla TLS',
  UND_ERR_SOCKET: 'el servidor cerró la conexión',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'la respuesta no mide lo que anuncia',
  UND_ERR_HEADERS_OVERFLOW: 'las cabeceras de la respuesta son demasiado largas',
  UND_ERR_INVALID_ARG: 'el pedido no se puede escribir en HTTP',
}

/** Of undici's SocketError, which has one code for whatever it closes a connection for. */
const SOCKET_MEANING: Readonly<Record<string, string>> = {
  'bad upgrade': 'el servidor respondió 101 (cambio de protocolo), que no se le pidió',
  'bad response': 'el servidor envió una respuesta que no corresponde a ningún pedido',
}

/**
 * The whole cause chain in one line, each address tried included, without secrets.
 * At most 1,000 characters: it goes into a row for every attempt.
 */
export function errorDetail(error: unknown): string {
  const parts: string[] = []
  walk(error, (one) => {
    const part = describe(one)
    if (part !== '' && !parts.some((known) => known.includes(part))) parts.push(part)
  })
  if (parts.length === 0) parts.push(String(error))
  // Cut first: others' texts may be long (all the names of a certificate), and are looked at more than once.
  return withoutUserInfo(parts.join('; ').slice(0, 4000).replace(/\s+/g, ' ').trim()).slice(0, 1000)
}

/** Its thread, numbers, library, function, file and line say nothing to anybody here; the reason does. */
const OPENSSL = /\b[0-9A-F]+:error:[0-9A-F]+:[^:\n]*:[^:\n]*:([^:\n]+):[^\n]*\n?/g

function describe(error: Error): string {
  const code = (error as NodeJS.ErrnoException).code
  const meaning =
    code === 'UND_ERR_SOCKET' && SOCKET_MEANING[error.message] !== undefined
      ? SOCKET_MEANING[error.message]!
      : typeof code === 'string'
        ? (MEANING[code] ?? (code.startsWith('HPE_') ? 'no es HTTP válido' : ''))
        : ''
  // An AggregateError of net has an empty message: its parts say it all.
  const message = error instanceof AggregateError ? '' : error.message.replace(OPENSSL, '$1')
  const original =
    typeof code === 'string' && !message.includes(code) && message !== '' ? `${code}: ${message}` : message
  if (meaning === '') return original
  return original === '' ? '' : `${meaning} (${original})`
}
