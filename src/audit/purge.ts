/**
 * Deletes what is older than a date: whole months where it can, the rest in pages that each take a moment.
 *
 * Everything of a message that has not ended stays, however old. Each page starts where the last one ended, so that what was
 * already deleted is never walked over again.
 */
import type { AuditConfig } from '../config/config.ts'
import { type Database, openDatabase, type Parameter, repeated, type Scope, type Session, SOON } from './database.ts'
import { postgresTrouble } from './trouble.ts'

export interface Purged {
  /** Names of the months' tables that were dropped. */
  readonly particiones: readonly string[]
  readonly mensaje: number
  readonly entrega: number
  readonly intento: number
  readonly callback: number
  readonly accion: number
  readonly resumen_hora: number
  readonly auditoria_rechazada: number
}

interface PurgeOptions {
  readonly before: Date
  /** Count only. What lies in whole months is counted row by row then. */
  readonly simulate: boolean
  /** Stops between two pages. */
  readonly signal?: AbortSignal
}

const PAGE = 5_000
const STATEMENT = 10 * 60_000

/** @throws what `postgresTrouble` makes of the database's trouble; what was deleted until then stays deleted */
export async function purge(config: AuditConfig, scope: Scope, options: PurgeOptions): Promise<Purged> {
  const limits = { connections: 1, readOnly: options.simulate, statement: STATEMENT }
  const database = openDatabase(config, scope, options.simulate ? { ...limits, connect: SOON } : limits)
  try {
    const particiones = options.simulate ? [] : await dropMonths(database, options)
    const counts: Partial<Record<Table, number>> = {}
    for (const table of Object.keys(TABLES) as Table[]) {
      // A schema of before lacks the last ones.
      counts[table] = (await isThere(database, table)) ? await deletePages(database, table, options) : 0
    }
    return { particiones, ...(counts as Record<Table, number>) }
  } catch (error) {
    throw postgresTrouble(error, config)
  } finally {
    await database.close()
  }
}

async function dropMonths(database: Database, { before, signal }: PurgeOptions) {
  const dropped: string[] = []
  while (!signal?.aborted) {
    const name = await repeated(() =>
      database.transaction(async (session) => {
        const [row] = await session.query<{ name: string | null }>(
          `SELECT ${session.table('purgar_particion')}($1, $2, $3) AS name`,
          [...session.owner, before],
        )
        return row!.name
      }),
    )
    if (name === null) break
    dropped.push(name)
  }
  return dropped
}

type Table = Exclude<keyof Purged, 'particiones'>

interface Walk {
  /** The column that the message's id is in; null: of no message. */
  readonly message: string | null
  readonly time: string
  /** The column, of text or of time, that a page walks along: an index, so that only what is old is looked at. */
  readonly along: string
  /** Further condition of a row `o` that may go. */
  readonly and?: string
}

/** In this order: what tells whether a message has ended goes last. */
const TABLES: Readonly<Record<Table, Walk>> = {
  intento: { message: 'mensaje_id', time: 'inicio', along: 'mensaje_id' },
  callback: { message: 'mensaje_id', time: 'fecha', along: 'mensaje_id' },
  mensaje: { message: 'id', time: 'recibido', along: 'id', and: 'AND o.listeners IS NOT NULL' },
  entrega: { message: 'mensaje_id', time: 'creado', along: 'creado' },
  auditoria_rechazada: { message: null, time: 'fecha', along: 'huella' },
  accion: { message: null, time: 'fecha', along: 'id' },
  // Whole hours.
  resumen_hora: { message: null, time: 'hora', along: 'hora', and: `AND o.hora <= $3 - interval '1 hour'` },
}

/** One page, whose rows come after `$4`: how many went (or would go), and where it ended (null: it was empty). */
function pageStatement(session: Session, table: Table, simulate: boolean): string {
  const { message, time, along, and = '' } = TABLES[table]
  const rows = `${session.table(table)} o`
  const column = `o.${along}`
  const old = `o.instancia = $1 AND o.proyecto = $2 AND o.${time} < $3 AND ${column} > $4 ${and}`
  // Whole messages, and whole instants, belong to one page.
  const places = `SELECT ${along === time ? '' : 'DISTINCT'} ${column} AS place FROM ${rows} WHERE ${old} ORDER BY 1 LIMIT ${PAGE}`
  const ended =
    message === null
      ? ''
      : `AND NOT EXISTS (SELECT FROM ${session.table('entrega')} e
                              WHERE e.mensaje_id = o.${message} AND e.instancia = $1 AND e.proyecto = $2
                                AND e.estado IN ('pendiente', 'reintentando'))`
  const these = `${old} AND ${column} <= (SELECT last FROM page) ${ended}`
  const gone = simulate ? `SELECT 1 FROM ${rows} WHERE ${these}` : `DELETE FROM ${rows} WHERE ${these} RETURNING 1`
  return `WITH page AS MATERIALIZED (SELECT max(place) AS last FROM (${places}) AS places), gone AS (${gone})
          SELECT (SELECT count(*) FROM gone)::float8 AS count, last FROM page`
}

function isThere(database: Database, table: Table): Promise<boolean> {
  return database.transaction(async (session) => {
    const [row] = await session.query<{ there: boolean }>('SELECT to_regclass($1) IS NOT NULL AS there', [
      session.table(table),
    ])
    return row!.there
  })
}

async function deletePages(
  database: Database,
  table: Table,
  { before, simulate, signal }: PurgeOptions,
): Promise<number> {
  let total = 0
  const { along, time } = TABLES[table]
  let after: Parameter = along === time ? new Date(0) : ''
  while (!signal?.aborted) {
    const { count, last } = await repeated(() =>
      database.transaction(async (session) => {
        const [row] = await session.query<{ count: number; last: string | Date | null }>(
          pageStatement(session, table, simulate),
          [...session.owner, before, after],
        )
        return row!
      }),
    )
    total += count
    if (last === null) break
    after = last
  }
  return total
}
