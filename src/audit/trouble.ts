/**
 * What an error of Postgres means for a person. The one place that looks at SQLSTATEs and socket error codes.
 *
 * ConfigError: it never works without a person. Unavailable: later it may. OperationFailed: this operation will not.
 */

import type { AuditConfig } from '../config/config.ts'
import { ConfigError, OperationFailed, ResthooksError, systemReason, TLS_REASONS, Unavailable } from '../errors.ts'
import type { Millis } from '../model/message.ts'
import { typed } from '../model/typed.ts'
import { duration } from '../model/words.ts'

/** The server answered `N` to our request for TLS and `sslmode` insists on it. */
export class SslRefused extends Error {
  readonly code = 'SSL_REFUSED'
}

/** A query, or the connection it needed, did not answer in time; the connection was given up. */
export class DeadlineExceeded extends Error {
  readonly code = 'DEADLINE'
}

/** @returns the SQLSTATE of a server's answer, or null when the error is not one */
export function sqlState(error: unknown): string | null {
  if (!(error instanceof Error) || error.name !== 'PostgresError') return null
  const { code } = error as { code?: unknown }
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : null
}

/** The database refuses this row for what it holds, and always will: class 22 (data), 23 (constraint), 54 (limits). */
export function isContentRefusal(error: unknown): boolean {
  return /^(22|23|54)/.test(sqlState(error) ?? '') || isTooLongToSend(error)
}

/** The table whose key a row repeats, null: that is not what happened. */
export function tableOfDuplicate(error: unknown): string | null {
  return sqlState(error) === '23505' ? ((error as { table_name?: string }).table_name ?? null) : null
}

/** The text has letters that the database's encoding lacks, or that jsonb refuses. */
export function isEncodingRefusal(error: unknown): boolean {
  return ['22021', '22P05'].includes(sqlState(error) ?? '')
}

/** Another way may do: COPY into a table with row security, for one. */
export function isNotSupported(error: unknown): boolean {
  return sqlState(error) === '0A000'
}

/** Two writers met; the same transaction works when run again. */
export function isWorthRepeating(error: unknown): boolean {
  return ['40P01', '40001'].includes(sqlState(error) ?? '')
}

/** The connection is of no use any more: everything but an answer of a server that goes on serving it. */
export function isConnectionLost(error: unknown): boolean {
  const { severity } = (error ?? {}) as { severity?: unknown }
  const isFatal = severity === 'FATAL' || severity === 'PANIC'
  return isFatal || (sqlState(error) === null && !isTooLongToSend(error))
}

/**
 * The server goes on, but what it refused may be a setting that this session was born with (`default_transaction_read_only` or
 * `role` of its user or database, a standby that is primary elsewhere now): only a new session sees another.
 */
export function isSessionSpent(error: unknown): boolean {
  return ['25006', '42501'].includes(sqlState(error) ?? '')
}

/** A value beyond what a JavaScript string or Buffer can hold: it never reached the server. */
function isTooLongToSend(error: unknown): boolean {
  const { code } = (error ?? {}) as { code?: unknown }
  return error instanceof RangeError || code === 'ERR_STRING_TOO_LONG' || code === 'ERR_OUT_OF_RANGE'
}

/** Turns anything that a query or a connection threw into an error for people; ours pass unchanged. */
export function postgresTrouble(error: unknown, config: AuditConfig): ResthooksError {
  if (error instanceof ResthooksError) return error
  const state = sqlState(error)
  return state === null ? connectionTrouble(error, config) : serverTrouble(state, error as Error, config)
}

/** For whoever did not wait for the answer any longer. */
export function overdue(config: AuditConfig, patience: Millis): ResthooksError {
  return connectionTrouble(new DeadlineExceeded(`más de ${duration(patience)}`), config)
}

const createSchema = () => `Ejecute «${typed('crear-base')}»`

function serverTrouble(state: string, error: Error, config: AuditConfig): ResthooksError {
  const where = place(config)
  const options = { cause: error }
  const said = `Postgres dijo: ${error.message} (${state}).`
  switch (state) {
    case '28P01':
      return new ConfigError(
        `${where}: la clave del usuario «${config.username}» no es correcta, o el usuario no existe. ` +
          'Revise REST_HOOKS_DB_USERNAME y REST_HOOKS_DB_PASSWORD (o PROYECTO_DB_…).',
        options,
      )
    case '28000':
      return new ConfigError(
        `${where}: el servidor no admite al usuario «${config.username}» desde esta máquina con sslmode=${config.sslmode}. ` +
          `Revise el usuario, sslmode y el pg_hba.conf del servidor. ${said}`,
        options,
      )
    case '3D000':
      return new ConfigError(
        `${where}: la base «${config.database}» no existe. Créela (createdb) o corrija REST_HOOKS_DB_DBNAME.`,
        options,
      )
    case '3F000':
      return new ConfigError(
        `${where}: falta el esquema «${config.schema}» en la base «${config.database}». ${createSchema()}.`,
        options,
      )
    case '42P01':
    case '42883':
      return new ConfigError(
        `${where}: el esquema «${config.schema}» de la base «${config.database}» no existe o está incompleto. ` +
          `${createSchema()}. ${said}`,
        options,
      )
    case '42703':
      return new ConfigError(
        `${where}: el esquema «${config.schema}» es de otra versión del programa. ${createSchema()} para actualizarlo. ${said}`,
        options,
      )
    case '42501':
      if (/ database |base de datos/.test(error.message)) {
        return new ConfigError(
          `${where}: el usuario «${config.username}» no puede crear el esquema «${config.schema}» en la base ` +
            `«${config.database}». Pida a un administrador: GRANT CREATE ON DATABASE "${config.database}" TO ` +
            `"${config.username}"; o que corra él el SQL de «${typed('crear-base --mostrar-sql')}». ${said}`,
          options,
        )
      }
      return new ConfigError(
        `${where}: al usuario «${config.username}» le faltan permisos sobre el esquema «${config.schema}» ` +
          `de la base «${config.database}». Pida al dueño del esquema que ejecute «${typed(`crear-base --rol ${config.username}`)}», o que corra el SQL de «${typed('crear-base --mostrar-sql')}», con sus GRANT. ${said}`,
        options,
      )
    case '25006':
      return new Unavailable(
        `${where}: es de solo lectura (¿una réplica, o default_transaction_read_only = on?). ` +
          'La auditoría necesita el servidor principal, y poder escribir.',
        options,
      )
    case '53100':
      return new Unavailable(`${where}: el disco del servidor está lleno. ${said}`, options)
    case '53300':
      return new Unavailable(
        `${where}: el servidor no acepta más conexiones (max_connections, o el límite del usuario o de la base). ${said}`,
        options,
      )
    case '57014':
      return new Unavailable(`${where}: una consulta tardó demasiado y fue cancelada. ${said}`, options)
    case '55P03':
      return new Unavailable(
        `${where}: otra sesión tiene bloqueada una tabla de la auditoría. Vea pg_locks y pg_stat_activity. ${said}`,
        options,
      )
    case '25P03':
      return new Unavailable(`${where}: esta máquina tardó demasiado en seguir una transacción. ${said}`, options)
    case '57P01':
    case '57P02':
    case '57P03':
      return new Unavailable(`${where}: el servidor se está iniciando o deteniendo. ${said}`, options)
  }
  // Of a session that it did not let begin or ended: a full disk may be told so («could not write init file»).
  const isFatal = (error as { severity?: unknown }).severity === 'FATAL'
  if (/^(08|40|53|57|58)/.test(state) || (state === 'XX000' && isFatal))
    return new Unavailable(`${where}: el servidor no puede atender ahora. ${said}`, options)
  if (/^28/.test(state)) return new ConfigError(`${where}: el servidor rechazó la identificación. ${said}`, options)
  return new OperationFailed(`${where}: la operación falló. ${said}`, options)
}

const TLS_CODES = /^(ERR_TLS_|ERR_SSL_|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|EPROTO$|HOSTNAME_MISMATCH$)/
const NETWORK_CODES = /^(E[A-Z]+|CONNECT_TIMEOUT|CONNECTION_\w+|DEADLINE)$/

function connectionTrouble(error: unknown, config: AuditConfig): ResthooksError {
  const where = place(config)
  const options = { cause: error }
  const message = error instanceof Error ? error.message : String(error)
  const code = String((error as { code?: unknown } | null)?.code ?? '')
  switch (code) {
    case 'SSL_REFUSED':
      return new ConfigError(
        `${where}: el servidor no ofrece SSL y sslmode=${config.sslmode} lo exige. ` +
          'Active ssl en el servidor o use REST_HOOKS_DB_SSLMODE=prefer.',
        options,
      )
    case 'ECONNREFUSED':
      return new Unavailable(
        `${where}: nadie atiende en ese puerto. Verifique que Postgres esté en marcha, el puerto y listen_addresses.`,
        options,
      )
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new Unavailable(
        `${where}: el nombre «${config.host}» no se resuelve. Revise REST_HOOKS_DB_HOST y el DNS.`,
        options,
      )
    case 'ETIMEDOUT':
    case 'CONNECT_TIMEOUT':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return new Unavailable(`${where}: no se llega al servidor. Revise la red y el cortafuegos.`, options)
    case 'DEADLINE':
      return new Unavailable(`${where}: el servidor no respondió a tiempo (${message}).`, options)
    case 'SASL_SIGNATURE_MISMATCH':
      return new ConfigError(`${where}: el servidor no probó conocer la clave: puede no ser el que se cree.`, options)
    case 'AUTH_TYPE_NOT_IMPLEMENTED':
      return new ConfigError(
        `${where}: el servidor pide una forma de identificarse que no se conoce (${message}).`,
        options,
      )
  }
  if (TLS_CODES.test(code)) {
    return new ConfigError(
      `${where}: no se pudo verificar la conexión SSL con sslmode=${config.sslmode}: ${TLS_REASONS[code] ?? message}. ` +
        'Revise el certificado del servidor y el de su autoridad (PGSSLROOTCERT).',
      options,
    )
  }
  if (NETWORK_CODES.test(code))
    return new Unavailable(`${where}: se cortó la conexión (${systemReason(error) ?? message}).`, options)
  return new OperationFailed(`${where}: error inesperado: ${message}`, options)
}

function place(config: AuditConfig): string {
  return `Auditoría en Postgres ${config.host}:${config.port}`
}
