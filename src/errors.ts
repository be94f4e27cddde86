/**
 * The errors that reach a person. Each has a stable `code`, which decides the exit code, and a Spanish message that
 * says what happened, where, and what to do next.
 *
 * Whatever else is thrown, `cli.ts` turns into a sentence: what Redis, Postgres or the system said. The rest is a bug: its stack
 * is printed, and the exit code is 1.
 */
type ErrorCode = 'FALLO' | 'USO' | 'CONFIGURACION' | 'NO_DISPONIBLE'

/** Exit codes of INTERFACE §3. 130 and 143 come from signals, 0 from success. */
export const EXIT_CODES: Readonly<Record<ErrorCode, number>> = {
  FALLO: 1,
  USO: 2,
  CONFIGURACION: 3,
  NO_DISPONIBLE: 4,
}

export class ResthooksError extends Error {
  override readonly name: string = 'ResthooksError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }

  get exitCode(): number {
    return EXIT_CODES[this.code]
  }
}

/** The operation was understood and did not work out (exit 1). */
export class OperationFailed extends ResthooksError {
  override readonly name = 'OperationFailed'
  constructor(message: string, options?: ErrorOptions) {
    super('FALLO', message, options)
  }
}

/** The command line itself is wrong (exit 2). */
export class UsageError extends ResthooksError {
  override readonly name = 'UsageError'
  constructor(message: string, options?: ErrorOptions) {
    super('USO', message, options)
  }
}

/** A file, a setting or a credential is wrong (exit 3): trying again changes nothing. */
export class ConfigError extends ResthooksError {
  override readonly name = 'ConfigError'
  /** What is wrong, one by one, where the message lists several. */
  readonly problems: readonly string[]
  constructor(
    message: string,
    { problems = [message], ...options }: ErrorOptions & { problems?: readonly string[] } = {},
  ) {
    super('CONFIGURACION', message, options)
    this.problems = problems
  }
}

/** Redis or Postgres cannot be reached or cannot serve now (exit 4): trying again later may work. */
export class Unavailable extends ResthooksError {
  override readonly name = 'Unavailable'
  constructor(message: string, options?: ErrorOptions) {
    super('NO_DISPONIBLE', message, options)
  }
}

/** Several as one, in whose place nothing can be shown; the first decides the code. */
export function together(first: ResthooksError, ...others: readonly ResthooksError[]): ResthooksError {
  if (others.length === 0) return first
  const sentences = [first, ...others].map(({ message }) => ended(message))
  return new ResthooksError(first.code, sentences.join(' '), { cause: first })
}

/** With its full stop, so that another sentence can follow. */
export function ended(message: string): string {
  return message.endsWith('.') ? message : `${message}.`
}

const SYSTEM_REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no existe',
  ENOTDIR: 'no existe: una parte de la ruta no es una carpeta',
  EACCES: 'no hay permiso',
  EPERM: 'no hay permiso',
  EISDIR: 'es una carpeta, no un archivo',
  ENOSPC: 'no queda espacio en el disco',
  EDQUOT: 'se agotó la cuota de disco',
  EFBIG: 'el archivo sería demasiado grande',
  EROFS: 'el disco es de sólo lectura',
  EIO: 'el disco falla (EIO)',
  ELOOP: 'los enlaces simbólicos forman un círculo',
  ENAMETOOLONG: 'el nombre es demasiado largo',
  EMFILE: 'el proceso no puede abrir más archivos (ulimit -n)',
  ENFILE: 'el sistema no puede abrir más archivos',
  ENOMEM: 'no queda memoria',
  EPIPE: 'nadie lee lo que se escribe',
  EADDRINUSE: 'la dirección ya está en uso',
  EADDRNOTAVAIL: 'la dirección no es de esta máquina',
  ERR_FS_FILE_TOO_LARGE: 'el archivo es demasiado grande (más de 2 GiB)',
}

/** What an error of the operating system means, without the path; null: it is none. */
export function systemReason(error: unknown): string | null {
  const { code, syscall } = (error ?? {}) as NodeJS.ErrnoException
  if (code === undefined) return null
  return SYSTEM_REASONS[code] ?? (syscall === undefined ? null : `el sistema no lo permite (${syscall}: ${code})`)
}

/** What Node says of a handshake or a certificate, of whichever server. */
export const TLS_REASONS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'el certificado del servidor está vencido',
  CERT_NOT_YET_VALID: 'el certificado del servidor todavía no es válido (¿reloj atrasado?)',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'el certificado del servidor está firmado por él mismo',
  SELF_SIGNED_CERT_IN_CHAIN: 'la autoridad que firma el certificado del servidor no es de confianza aquí',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'no se pudo verificar quién firma el certificado del servidor',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'falta aquí la autoridad que firma el certificado del servidor',
  UNABLE_TO_GET_ISSUER_CERT: 'falta un certificado intermedio del servidor',
  ERR_TLS_CERT_ALTNAME_INVALID: 'el certificado del servidor es de otro nombre',
  EPROTO: 'no se pudo negociar TLS',
}
