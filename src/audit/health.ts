/** How the audit database is doing: what `verificar` judges and /salud asks. */
import type { Session } from './database.ts'
import { identifier } from './migrate.ts'

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
  /** Of the last migration applied, 0 where the schema does not exist. */
  readonly schemaVersion: number
  /** Rights that the program lacks: `INSERT entrega`, `DELETE intento`… */
  readonly missingRights: readonly string[]
  /** Partitions of this month and the next that do not exist. */
  readonly missingPartitions: readonly string[]
  /** Rows outside every month's partition. */
  readonly strayRows: boolean
}

const RIGHTS: readonly (readonly [table: string, rights: readonly string[]])[] = [
  ['mensaje', ['SELECT', 'INSERT', 'UPDATE', 'DELETE']],
  ['entrega', ['SELECT', 'INSERT', 'UPDATE', 'DELETE']],
  ['intento', ['SELECT', 'INSERT', 'DELETE']],
  ['callback', ['SELECT', 'INSERT', 'DELETE']],
  ['auditoria_rechazada', ['SELECT', 'INSERT', 'DELETE']],
]

interface ServerRow {
  readonly version: string
  readonly number: number
  readonly encoding: string
  readonly read_only: boolean
  readonly now: Date
  readonly user_name: string
}

/** @param schemaVersion as `appliedVersion` found it; without a schema nothing is asked of its tables */
export async function readHealth(session: Session, schema: string, schemaVersion: number): Promise<DatabaseHealth> {
  const [server] = await session.query<ServerRow>(
    `SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
            current_setting('server_encoding') AS encoding, current_user::text AS user_name, clock_timestamp() AS now,
            pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on' AS read_only`,
  )
  const { version, number, encoding, read_only, now, user_name } = server!
  const facts = {
    version,
    versionNumber: number,
    encoding,
    readOnly: read_only,
    now: now.getTime(),
    user: user_name,
    schemaVersion,
  }
  if (schemaVersion === 0) return { ...facts, missingRights: [], missingPartitions: [], strayRows: false }
  return {
    ...facts,
    missingRights: await missingRights(session, schema),
    missingPartitions: await missingPartitions(session, schema),
    strayRows: await hasStrayRows(session, schema),
  }
}

async function missingRights(session: Session, schema: string): Promise<string[]> {
  const asked = RIGHTS.flatMap(([table, rights]) => rights.map((right) => ({ table, right })))
  const values = asked.map(({ table, right }) => `('${table}', '${right}')`).join(', ')
  const rows = await session.query<{ missing: string }>(
    `SELECT right_name || ' ' || table_name AS missing FROM (VALUES ${values}) AS asked (table_name, right_name)
      WHERE NOT has_table_privilege($1 || '.' || table_name, right_name)`,
    [identifier(schema)],
  )
  return rows.map(({ missing }) => missing)
}

async function missingPartitions(session: Session, schema: string): Promise<string[]> {
  const rows = await session.query<{ name: string }>(
    `SELECT name FROM (
       SELECT t || to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => n), '"_"YYYY"_"MM') AS name
         FROM unnest(ARRAY['mensaje', 'intento']) AS t, generate_series(0, 1) AS n) AS wanted
      WHERE to_regclass($1 || '.' || name) IS NULL ORDER BY name`,
    [identifier(schema)],
  )
  return rows.map(({ name }) => name)
}

async function hasStrayRows(session: Session, schema: string): Promise<boolean> {
  const [row] = await session.query<{ stray: boolean }>(
    `SELECT EXISTS (SELECT FROM ${identifier(schema)}.mensaje_otros) OR EXISTS (SELECT FROM ${identifier(schema)}.intento_otros) AS stray`,
  )
  return row!.stray
}
