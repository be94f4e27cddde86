/** Whether Postgres can take the audit: its version, its role, the schema, rights, partitions, what it refused. */

import type { DatabaseHealth } from '../audit/queries.ts'
import { typed } from '../model/typed.ts'
import { aviso, checkClock, error, type Finding, ok } from './finding.ts'

export interface PostgresFacts {
  readonly health: DatabaseHealth
  /** What this program needs. */
  readonly latest: number
  /** Rows of `auditoria_rechazada`; null where they cannot be counted. */
  readonly rejected: number | null
  /** Postgres's clock less this machine's, ms. */
  readonly skew: number
}

/** Pure. */
export function checkPostgres({ health, latest, rejected, skew }: PostgresFacts): Finding[] {
  return [
    checkVersion(health),
    checkEncoding(health),
    checkWritable(health),
    checkSchema(health, latest),
    ...(health.schemaVersion === 0 ? [] : [checkRights(health), ...checkOpen(health), checkPartitions(health)]),
    ...(rejected === null ? [] : [checkRejected(rejected)]),
    checkClock('reloj de Postgres', skew),
  ]
}

function checkVersion({ version, versionNumber }: DatabaseHealth): Finding {
  if (versionNumber >= 120_000) return ok('versión', `Postgres ${version}`)
  return error('versión', `Postgres ${version}: se necesita 12 o posterior`, 'actualice el servidor')
}

const KNOWN_ENCODINGS = ['UTF8', 'LATIN1', 'SQL_ASCII']

function checkEncoding({ encoding }: DatabaseHealth): Finding {
  if (encoding === 'UTF8') return ok('codificación', encoding)
  if (KNOWN_ENCODINGS.includes(encoding)) {
    return ok('codificación', `${encoding}: lo que no cabe en ella se guarda escapado (los cuerpos, siempre exactos)`)
  }
  return aviso(
    'codificación',
    `${encoding}: los textos con letras fuera de ASCII pueden guardarse escapados`,
    'si puede elegir, use una base UTF8',
  )
}

function checkWritable({ readOnly }: DatabaseHealth): Finding {
  if (!readOnly) return ok('escritura', 'acepta escrituras')
  return error('escritura', 'es de solo lectura (¿una réplica?)', 'apunte REST_HOOKS_DB_HOST al servidor principal')
}

function grants(user: string): string {
  const named = /^[\w.-]+$/.test(user) ? user : `'${user.replaceAll("'", "'\\''")}'`
  return `que el dueño del esquema ejecute: ${typed(`crear-base --rol ${named}`)}`
}

function checkSchema({ schemaVersion, user }: DatabaseHealth, latest: number): Finding {
  const name = 'esquema'
  if (schemaVersion === latest) return ok(name, `versión ${schemaVersion}`)
  if (schemaVersion === 0) return error(name, 'no existe', `ejecute: ${typed('crear-base')}`)
  if (schemaVersion === null) return aviso(name, 'su versión no se puede ver (tabla migracion)', grants(user))
  if (schemaVersion < latest) {
    return error(name, `versión ${schemaVersion}; este programa usa la ${latest}`, `ejecute: ${typed('crear-base')}`)
  }
  return error(
    name,
    `versión ${schemaVersion}, de un resthooks más nuevo; este conoce hasta la ${latest}`,
    'actualice este programa',
  )
}

function checkRights({ missingRights, user }: DatabaseHealth): Finding {
  const name = 'permisos'
  if (missingRights.length === 0) return ok(name, `«${user}» tiene los que hacen falta`)
  const detail = `a «${user}» le faltan: ${missingRights.join(', ')}`
  // Without these the audit is written all the same: only `purgar`, or a look at it, fails.
  const minor = /^(DELETE (?!intento)|EXECUTE purgar_particion|SELECT (migracion|\w+_otros)$)/
  return (missingRights.every((right) => minor.test(right)) ? aviso : error)(name, detail, grants(user))
}

/** A copy restored without its privileges, or a schema that an administrator opened. */
function checkOpen({ openFunctions }: DatabaseHealth): Finding[] {
  if (openFunctions.length === 0) return []
  return [
    error(
      'funciones abiertas',
      `cualquier usuario que entre al esquema puede ejecutar ${openFunctions.join(', ')} con los permisos de su dueño`,
      `que el dueño del esquema ejecute: ${typed('crear-base')}`,
    ),
  ]
}

function checkPartitions({ missingPartitions, strayRows }: DatabaseHealth): Finding {
  const name = 'particiones'
  const repair = `ejecute: ${typed('crear-base')} (los workers también las crean)`
  if (missingPartitions.length > 0) return aviso(name, `faltan: ${missingPartitions.join(', ')}`, repair)
  if (strayRows) {
    return aviso(
      name,
      'hay filas fuera de las de cada mes (mensaje_otros, intento_otros): son lentas de purgar',
      'si son de un mes por venir, se mueven solas; si no, revise los relojes',
    )
  }
  return ok(name, 'las de este mes y el próximo están')
}

function checkRejected(rejected: number): Finding {
  const name = 'auditoria_rechazada'
  if (rejected === 0) return ok(name, 'vacía')
  return aviso(
    name,
    `${rejected} filas que la base no aceptó por su contenido`,
    `véalas, y bórrelas cuando estén atendidas: ${typed('entradas')}`,
  )
}
