/**
 * Creates and upgrades the audit schema from the numbered files of `sql/`.
 *
 * Everything missing is applied in one transaction under an advisory lock: two programs starting at once do it once, and a
 * failure leaves the schema as it was. What takes long, because rows of years get a new column's value, comes after it, page by
 * page while workers write; interrupted, it goes on the next time.
 */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { AuditConfig } from '../config/config.ts'
import { ConfigError } from '../errors.ts'
import { packageRoot } from '../folders.ts'
import type { Millis } from '../model/message.ts'
import { typed } from '../model/typed.ts'
import { type Database, identifier, openDatabase, repeated, type Session, SOON } from './database.ts'
import { closeFunctions, grantedRoles, grants, missingRights, type RoleKind, type RoleNames } from './rights.ts'
import { postgresTrouble, sqlState } from './trouble.ts'

interface Migration {
  readonly version: number
  /** The file's name without `.sql`. */
  readonly name: string
  /** With `{{schema}}` (quoted identifier) and `{{schema_literal}}` (quoted text) still in it. */
  readonly sql: string
}

interface MigrationResult {
  /** Applied now, in order; empty when the schema was up to date. */
  readonly applied: readonly { readonly version: number; readonly name: string }[]
  readonly version: number
  /** Partitions made now. */
  readonly partitions: number
}

/** The migrations that this program carries, in order. */
export function migrations(folder = join(packageRoot(), 'sql')): Migration[] {
  return readdirSync(folder)
    .filter((file) => /^\d{3}_\w+\.sql$/.test(file))
    .sort()
    .map((file) => ({
      version: Number(file.slice(0, 3)),
      name: file.replace(/\.sql$/, ''),
      sql: readFileSync(join(folder, file), 'utf8'),
    }))
}

/** The version that this program needs. */
export function latestVersion(known: readonly Migration[] = migrations()): number {
  return known.at(-1)?.version ?? 0
}

/**
 * What a DBA would run by hand, with `psql`, on an empty database, an older schema or one that is up to date: the same as
 * `migrate` with these roles, to the letter.
 */
export function migrationScript(schema: string, roles: RoleNames, known = migrations()): string {
  return [
    '-- Esquema de auditoria de resthooks: lo crea, o lo actualiza, en una sola transaccion. Se puede repetir.',
    'BEGIN;',
    fillIn(`SELECT pg_advisory_xact_lock(hashtext('resthooks.migracion'), hashtext({{schema_literal}}));`, schema),
    fillIn(CREATE_SCHEMA, schema),
    ...known.map((migration) => fillIn(unlessApplied(migration), schema)),
    `SELECT ${identifier(schema)}.crear_particiones();`,
    ...named(roles).map(([kind, role]) => grants(identifier(schema), identifier(role), kind).join('\n')),
    'COMMIT;',
    ...(latestVersion(known) >= 7
      ? ['-- Lo que ya estaba recibe lo nuevo: con muchas filas tarda minutos. Se puede cortar y repetir.']
      : []),
    ...completions(known).map(({ name }) => `SELECT ${identifier(schema)}.${name}();`),
    '',
  ].join('\n\n')
}

/**
 * What goes over the rows of years, in transactions of about a second each: functions, and the arguments of a page of theirs. Each
 * returns where the next page begins (`$1` of it), NULL once all is done.
 */
const COMPLETIONS = [
  { name: 'completar_eventos', since: 7, page: '$1, 20000' },
  { name: 'completar_resumen', since: 10, page: `interval '1 day'` },
  { name: 'completar_indices', since: 11, page: 'false' },
]

function completions(known: readonly Migration[]) {
  return COMPLETIONS.filter(({ since }) => since <= latestVersion(known))
}

/** A condition that plain SQL has, so that the script is good for any client, not for psql alone. */
function unlessApplied({ version, name, sql }: Migration): string {
  const isMissing =
    version === 1
      ? `NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE n.nspname = {{schema_literal}} AND c.relname = 'migracion')`
      : `(SELECT max(version) FROM {{schema}}.migracion) < ${version}`
  return `DO $aplicar_${name}$
BEGIN
IF ${isMissing} THEN
EXECUTE $sql_${name}$
${sql.trim()}
$sql_${name}$;
END IF;
END
$aplicar_${name}$;`
}

/** IF NOT EXISTS asks for the right to create schemas even where somebody already made this one. */
const CREATE_SCHEMA = `DO $crear_esquema$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = {{schema_literal}}) THEN
    CREATE SCHEMA {{schema}};
  END IF;
END
$crear_esquema$;`

interface MigrateOptions {
  /** Roles to be granted what they need. */
  readonly roles?: RoleNames
  readonly known?: Migration[]
  /** Told once where it takes longer than a moment. */
  readonly onFilling?: () => void
}

/**
 * Brings the schema to this program's version, makes the partitions of this month and the next two, and grants what the roles
 * need; those that had it before an upgrade get what the upgrade added.
 * @throws ConfigError when rights or a role are missing, or when the schema is newer than the program
 * @throws Unavailable when the database cannot be reached or cannot serve now
 */
export async function migrate(config: AuditConfig, options: MigrateOptions = {}): Promise<MigrationResult> {
  // Rebuilding an index of years of rows takes as long as it takes; waiting for a lock does not.
  const database = openDatabase(config, null, { connections: 1, statement: 0, lock: 60_000, connect: SOON })
  try {
    const result = await database.transaction((session) => apply(session, config, options))
    await complete(database, options.known ?? migrations(), options.onFilling)
    return result
  } catch (error) {
    throw explain(error, config)
  } finally {
    await database.close()
  }
}

const A_MOMENT: Millis = 1_000

async function complete(database: Database, known: readonly Migration[], onFilling = () => {}): Promise<void> {
  const timer = setTimeout(onFilling, A_MOMENT)
  try {
    for (const { name, page } of completions(known)) {
      for (let after: string | null = ''; after !== null; ) {
        const from: string = after
        after = await repeated(() =>
          database.transaction(async (session) => {
            const [row] = await session.query<{ last: string | null }>(
              `SELECT ${session.table(name)}(${page})::text AS last`,
              page.includes('$1') ? [from] : [],
            )
            return row!.last
          }),
        )
      }
    }
  } finally {
    clearTimeout(timer)
  }
}

async function apply(
  session: Session,
  config: AuditConfig,
  { roles = {}, known = migrations() }: MigrateOptions,
): Promise<MigrationResult> {
  await session.query(`SELECT pg_advisory_xact_lock(hashtext('resthooks.migracion'), hashtext($1))`, [config.schema])
  await session.query(fillIn(CREATE_SCHEMA, config.schema))
  const current = await appliedVersion(session)
  const latest = latestVersion(known)
  if (current > latest) throw new ConfigError(newerSchema(config.schema, current, latest))
  const pending = known.filter(({ version }) => version > current)
  const before = pending.length > 0 ? await grantedRoles(session) : []
  for (const { sql } of pending) await session.query(fillIn(sql, config.schema))
  await closeFunctions(session)
  for (const { role, kind } of before) await grant(session, config, role, kind)
  for (const [kind, role] of named(roles)) await grant(session, config, role, kind)
  return {
    applied: pending.map(({ version, name }) => ({ version, name })),
    version: latest,
    partitions: await createPartitions(session),
  }
}

/** A GRANT of what one does not own is only a warning to Postgres: what counts is what the role may do then. */
async function grant(session: Session, config: AuditConfig, role: string, kind: RoleKind): Promise<void> {
  const [found] = await session.query('SELECT FROM pg_roles WHERE rolname = $1', [role])
  if (!found) {
    throw new ConfigError(
      `El rol «${role}» no existe en el servidor de la auditoría (${config.host}:${config.port}). ` +
        `Créelo antes: CREATE ROLE ${identifier(role)} LOGIN PASSWORD '…';`,
    )
  }
  await session.query(grants(identifier(config.schema), identifier(role), kind).join('\n'))
  const missing = await missingRights(session, kind, role)
  if (missing.length === 0) return
  throw new ConfigError(
    `«${config.username}» no pudo otorgar a «${role}»: ${missing.join(', ')}. Ejecute crear-base como el dueño del esquema ` +
      `«${config.schema}», o pida al administrador que corra lo que muestra «${typed('crear-base --mostrar-sql')}».`,
  )
}

/** Those that have a name. */
function named(roles: RoleNames): (readonly [RoleKind, string])[] {
  return (['worker', 'reader'] as const).flatMap((kind) => {
    const role = roles[kind]
    return role === undefined ? [] : [[kind, role] as const]
  })
}

/** The schema's version, 0 where there is none yet. */
export async function appliedVersion(session: Session): Promise<number> {
  const table = session.table('migracion')
  const [found] = await session.query<{ found: boolean }>('SELECT to_regclass($1) IS NOT NULL AS found', [table])
  if (!found?.found) return 0
  const [row] = await session.query<{ version: number }>(`SELECT coalesce(max(version), 0) AS version FROM ${table}`)
  return row!.version
}

/** Makes the partitions of this month and the next two, where missing; returns how many. */
export async function createPartitions(session: Session): Promise<number> {
  const [row] = await session.query<{ made: number }>(`SELECT ${session.table('crear_particiones')}(2) AS made`)
  return row!.made
}

/** What to say of a schema that a newer program made. */
function newerSchema(schema: string, found: number, known: number): string {
  return (
    `El esquema de auditoría «${schema}» es de la versión ${found} y este programa conoce hasta la ${known}: ` +
    'lo creó un resthooks más nuevo. Actualice este programa, o use otro esquema (REST_HOOKS_DB_SCHEMA).'
  )
}

/** The same of one that an older program made, as a worker's log says it; null where it is not, or this role may not see it. */
export async function olderSchema(session: Session): Promise<string | null> {
  const [row] = await session.query<{ visible: boolean | null }>(
    `SELECT has_table_privilege(to_regclass($1), 'SELECT') AS visible`,
    [session.table('migracion')],
  )
  const found = row!.visible ? await appliedVersion(session) : 0
  const known = latestVersion()
  if (found === 0 || found >= known) return null
  return `el esquema es de la versión ${found} y este programa usa la ${known}: ejecute «${typed('crear-base')}»`
}

/** In one pass: a schema's own name may look like a placeholder. */
function fillIn(sql: string, schema: string): string {
  const literal = `'${schema.replaceAll("'", "''")}'`
  return sql.replace(/\{\{schema(_literal)?\}\}/g, (_, asLiteral) => (asLiteral ? literal : identifier(schema)))
}

function explain(error: unknown, config: AuditConfig): Error {
  if (sqlState(error) !== '42P07') return postgresTrouble(error, config)
  return new ConfigError(
    `El esquema «${config.schema}» de la base «${config.database}» ya tiene tablas con los nombres de la auditoría que ` +
      `resthooks no creó (${(error as Error).message}). Use otro esquema (REST_HOOKS_DB_SCHEMA).`,
    { cause: error },
  )
}
