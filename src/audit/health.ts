/** How the audit database is doing: what `verificar` judges and /salud asks. Apart from the queries, which ask of messages. */
import type { Session } from './database.ts'
import { appliedVersion } from './migrate.ts'
import { missingRights, openFunctions } from './rights.ts'

export interface DatabaseHealth {
  /** As the server says it: `16.4`. */
  readonly version: string
  /** `server_version_num`: 160004. */
  readonly versionNumber: number
  readonly encoding: string
  /** A standby, or a read-only database. */
  readonly readOnly: boolean
  /** The server's clock, ms since epoch. */
  readonly now: number
  readonly user: string
  /** Of the last migration applied, 0 where the schema does not exist, null where this role may not see it. */
  readonly schemaVersion: number | null
  /** Rights that the program lacks: `USAGE esquema`, `INSERT entrega`, `EXECUTE crear_particiones`… */
  readonly missingRights: readonly string[]
  /** Functions with the rights of their owner that everybody may run. */
  readonly openFunctions: readonly string[]
  /** Partitions of this month and the next that do not exist. */
  readonly missingPartitions: readonly string[]
  /** Rows outside every month's partition. */
  readonly strayRows: boolean
}

interface ServerRow {
  readonly version: string
  readonly number: number
  readonly encoding: string
  readonly read_only: boolean
  readonly now: Date
  readonly user_name: string
  readonly has_schema: boolean
}

/** Asks nothing that this role may not ask: what it lacks is told, not stumbled over. */
export async function readHealth(session: Session): Promise<DatabaseHealth> {
  const [server] = await session.query<ServerRow>(
    `SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
            current_setting('server_encoding') AS encoding, current_user::text AS user_name, clock_timestamp() AS now,
            pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on' AS read_only,
            EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                     WHERE n.nspname = $1 AND c.relname = 'migracion') AS has_schema`,
    [session.schema],
  )
  const { version, number, encoding, read_only, now, user_name, has_schema } = server!
  const facts = {
    version,
    versionNumber: number,
    encoding,
    readOnly: read_only,
    now: now.getTime(),
    user: user_name,
  }
  if (!has_schema) {
    return { ...facts, schemaVersion: 0, missingRights: [], openFunctions: [], missingPartitions: [], strayRows: false }
  }
  const missing = await missingRights(session, 'worker')
  const may = (...rights: string[]) => !missing.some((right) => right === 'USAGE esquema' || rights.includes(right))
  return {
    ...facts,
    schemaVersion: may('SELECT migracion') ? await appliedVersion(session) : null,
    missingRights: missing,
    openFunctions: (await openFunctions(session)).map(({ name }) => name),
    missingPartitions: await missingPartitions(session),
    strayRows: may('SELECT mensaje_otros', 'SELECT intento_otros') && (await hasStrayRows(session)),
  }
}

async function missingPartitions(session: Session): Promise<string[]> {
  const rows = await session.query<{ name: string }>(
    `SELECT name FROM (
       SELECT t || to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => n), '"_"YYYY"_"MM') AS name
         FROM unnest(ARRAY['mensaje', 'intento']) AS t, generate_series(0, 1) AS n) AS wanted
      WHERE NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                         WHERE n.nspname = $1 AND c.relname = wanted.name)
      ORDER BY name`,
    [session.schema],
  )
  return rows.map(({ name }) => name)
}

async function hasStrayRows(session: Session): Promise<boolean> {
  const [row] = await session.query<{ stray: boolean }>(
    `SELECT EXISTS (SELECT FROM ${session.table('mensaje_otros')})
         OR EXISTS (SELECT FROM ${session.table('intento_otros')}) AS stray`,
  )
  return row!.stray
}
