/**
 * What a role may do in the audit's schema: granted by `crear-base`, looked at by `verificar`.
 *
 * One table of rights, so that what is granted, what is printed for an administrator and what is missed cannot differ.
 */
import type { Session } from './database.ts'

export type RoleKind = 'worker' | 'reader'

/** Role names by what they are to be granted. */
export type RoleNames = { readonly [Kind in RoleKind]?: string | undefined }

interface Rights {
  /** Table or view, and what on it. */
  readonly tables: Readonly<Record<string, readonly string[]>>
  /** Name and argument types. */
  readonly functions: readonly string[]
}

const ROLES: Readonly<Record<RoleKind, Rights>> = {
  worker: {
    tables: {
      mensaje: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
      entrega: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
      intento: ['SELECT', 'INSERT', 'DELETE'],
      callback: ['SELECT', 'INSERT', 'DELETE'],
      accion: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
      resumen_hora: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
      resumen_progreso: ['SELECT'],
      auditoria_rechazada: ['SELECT', 'INSERT', 'DELETE'],
      migracion: ['SELECT'],
      mensaje_otros: ['SELECT'],
      intento_otros: ['SELECT'],
    },
    functions: ['crear_particiones(integer)', 'purgar_particion(text, text, timestamptz)'],
  },
  reader: {
    tables: {
      mensaje: ['SELECT'],
      entrega: ['SELECT'],
      intento: ['SELECT'],
      callback: ['SELECT'],
      accion: ['SELECT'],
      resumen_hora: ['SELECT'],
      resumen_progreso: ['SELECT'],
      auditoria_rechazada: ['SELECT'],
      migracion: ['SELECT'],
      mensaje_otros: ['SELECT'],
      intento_otros: ['SELECT'],
      trazabilidad: ['SELECT'],
      resumen_diario: ['SELECT'],
    },
    functions: ['texto(bytea)'],
  },
}

/** The GRANTs of one role. @param schema as `identifier` quotes it, and so is `role` */
export function grants(schema: string, role: string, kind: RoleKind): string[] {
  const { tables, functions } = ROLES[kind]
  return [
    `GRANT USAGE ON SCHEMA ${schema} TO ${role};`,
    ...Object.entries(tables).map(([table, rights]) => `GRANT ${rights.join(', ')} ON ${schema}.${table} TO ${role};`),
    ...functions.map((name) => `GRANT EXECUTE ON FUNCTION ${schema}.${name} TO ${role};`),
  ]
}

/**
 * What a role lacks of a kind's rights: `INSERT entrega`, `EXECUTE purgar_particion`, `USAGE esquema`. Asked of the catalogue,
 * which everybody may read; a table that is not there is not a right that lacks.
 * @param role null: the session's own
 */
export async function missingRights(session: Session, kind: RoleKind, role: string | null = null) {
  const { tables, functions } = ROLES[kind]
  const rights = Object.entries(tables).flatMap(([table, each]) => each.map((right) => `('${right}', '${table}')`))
  const names = functions.map((name) => `'${name.replace(/\(.*/, '')}'`)
  const rows = await session.query<{ missing: string }>(
    `WITH place AS (SELECT oid FROM pg_namespace WHERE nspname = $1),
          who AS (SELECT coalesce($2, current_user)::name AS role)
     SELECT 'USAGE esquema' AS missing FROM place, who WHERE NOT has_schema_privilege(who.role, place.oid, 'USAGE')
     UNION ALL
     SELECT right_name || ' ' || table_name
       FROM (VALUES ${rights.join(', ')}) AS asked (right_name, table_name)
       JOIN pg_class c ON c.relname = table_name AND c.relnamespace = (SELECT oid FROM place), who
      WHERE NOT has_table_privilege(who.role, c.oid, right_name)
     UNION ALL
     SELECT 'EXECUTE ' || p.proname FROM pg_proc p, who
      WHERE p.pronamespace = (SELECT oid FROM place) AND p.proname IN (${names.join(', ')})
        AND NOT has_function_privilege(who.role, p.oid, 'EXECUTE')`,
    [session.schema, role],
  )
  return rows.map(({ missing }) => missing)
}

/** Functions that act with their owner's rights and that everybody may run, as a REVOKE names them. */
export async function openFunctions(session: Session) {
  return session.query<{ name: string; mine: boolean }>(
    `SELECT p.oid::regprocedure::text AS name, pg_has_role(p.proowner, 'USAGE') AS mine
       FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
      WHERE n.nspname = $1 AND p.prosecdef
        AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0)
      ORDER BY 1`,
    [session.schema],
  )
}

/** Takes from everybody what a restored copy, or a function of a newer version, gave them; what is not ours stays. */
export async function closeFunctions(session: Session): Promise<void> {
  for (const { name, mine } of await openFunctions(session)) {
    if (mine) await session.query(`REVOKE ALL ON FUNCTION ${name} FROM PUBLIC`)
  }
}

/**
 * Roles that have the rights of a kind as `grants` gives them, whoever gave them: what a newer version adds is for them too.
 * One that was given less on purpose is none of them.
 */
export async function grantedRoles(session: Session): Promise<{ role: string; kind: RoleKind }[]> {
  const may = (right: string, table: string) => `bool_or(c.relname = '${table}' AND a.privilege_type = '${right}')`
  return session.query<{ role: string; kind: RoleKind }>(
    `SELECT * FROM (
       SELECT pg_get_userbyid(a.grantee)::text AS role,
              CASE WHEN ${may('INSERT', 'entrega')} AND ${may('DELETE', 'intento')} THEN 'worker'
                   WHEN ${may('SELECT', 'trazabilidad')} AND NOT ${may('INSERT', 'entrega')} THEN 'reader' END AS kind
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) AS a
        WHERE n.nspname = $1 AND a.grantee NOT IN (0, c.relowner)
        GROUP BY 1
       HAVING ${may('SELECT', 'migracion')}) AS roles
      WHERE kind IS NOT NULL`,
    [session.schema],
  )
}
