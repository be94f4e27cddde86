/**
 * The errors that reach a person. Each has a stable `code`, which decides the exit code, and a Spanish message that
 * says what happened, where, and what to do next.
 *
 * Whatever is thrown and is not one of these is a bug: the command line prints its stack and exits 1.
 */
export type ErrorCode = 'FALLO' | 'USO' | 'CONFIGURACION' | 'NO_DISPONIBLE'

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
  constructor(message: string, options?: ErrorOptions) {
    super('CONFIGURACION', message, options)
  }
}

/** Redis or Postgres cannot be reached or cannot serve now (exit 4): trying again later may work. */
export class Unavailable extends ResthooksError {
  override readonly name = 'Unavailable'
  constructor(message: string, options?: ErrorOptions) {
    super('NO_DISPONIBLE', message, options)
  }
}
