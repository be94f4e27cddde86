/** What the roles of the audit may do: who creates, who writes, who reads. */
import { afterEach, describe, expect, test } from 'vitest'
import { migrate, migrationScript, migrations } from '../../src/audit/migrate.ts'
import { createPostgresBackend } from '../../src/audit/postgres.ts'
import { purge } from '../../src/audit/purge.ts'
import { openAuditQueries } from '../../src/audit/queries.ts'
import {
  attempt,
  attemptEvent,
  auditConfig,
  createDatabase,
  message,
  messageEvent,
  randomName,
  SCOPE,
  state,
  stateEvent,
  withSql,
} from './scenery.ts'

const LATEST = migrations().length
let config = auditConfig()
const roles: string[] = []

afterEach(async () => {
  await withSql(config, async (sql) => {
    await sql.unsafe(`DROP SCHEMA IF EXISTS "${config.schema.replaceAll('"', '""')}" CASCADE`)
    for (const role of roles.splice(0)) await sql.unsafe(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  })
})

async function role(): Promise<string> {
  const name = randomName('rol')
  await withSql(config, (sql) => sql.unsafe(`CREATE ROLE ${name} LOGIN PASSWORD 'clave'`))
  roles.push(name)
  return name
}

describe('rights', () => {
  test('a role that may not create schemas is told what to ask for', async () => {
    config = auditConfig()
    const username = await role()
    await expect(migrate({ ...config, username, password: 'clave' })).rejects.toMatchObject({
      code: 'CONFIGURACION',
      message: expect.stringMatching(new RegExp(`${username}.*GRANT CREATE ON DATABASE.*--mostrar-sql`)),
    })
  })

  test.each(['UTF8', 'LATIN1', 'SQL_ASCII'])(
    'a role that owns the schema needs no right on the database (%s), by the program or by hand, and grants what a worker needs',
    async (encoding) => {
      config = auditConfig()
      const [username, worker] = [await role(), await role()]
      const database = await createDatabase(encoding)
      try {
        for (const way of ['program', 'hand']) {
          const of = { ...database.config, schema: randomName('esquema') }
          const mine = { ...of, username, password: 'clave' }
          await withSql(of, (sql) => sql.unsafe(`CREATE SCHEMA ${of.schema} AUTHORIZATION ${username}`))
          if (way === 'program') expect((await migrate(mine, { roles: { worker } })).applied).toHaveLength(LATEST)
          else await withSql(mine, (sql) => sql.unsafe(migrationScript(of.schema, { worker })))
          expect(await migrate(mine)).toEqual({ applied: [], version: LATEST, partitions: 0 })
          const backend = createPostgresBackend({ ...of, username: worker, password: 'clave' }, SCOPE)
          await backend.write([messageEvent(message({ event: 'precio.€' }), ['a'])])
          await backend.ensurePartitions()
          await backend.close()
        }
      } finally {
        await database.drop()
      }
    },
  )

  test('whoever can enter the schema can neither drop months nor make them', async () => {
    config = auditConfig()
    await migrate(config)
    const username = await role()
    await withSql(config, (sql) => sql.unsafe(`GRANT USAGE ON SCHEMA ${config.schema} TO ${username}`))
    await withSql({ ...config, username, password: 'clave' }, async (sql) => {
      for (const call of [`purgar_particion('a', 'b', now() + interval '10 years')`, 'crear_particiones(24)']) {
        await expect(sql.unsafe(`SELECT ${call}`)).rejects.toMatchObject({ code: '42501' })
      }
    })
    // As a copy restored without its privileges leaves them.
    await withSql(config, (sql) => sql.unsafe(`GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA ${config.schema} TO PUBLIC`))
    const audit = openAuditQueries(config, SCOPE)
    const open = async () => (await audit.health()).openFunctions
    expect(await open()).toEqual(['crear_par', 'purgar_par', 'resumir_'].map((name) => expect.stringContaining(name)))
    await migrate(config)
    expect(await open()).toEqual([])
    await audit.close()
  })

  test('an upgrade leaves the roles of before with what they could do, and closes what a later version left open', async () => {
    config = auditConfig()
    const [worker, writer, other] = [await role(), await role(), await role()]
    await withSql(config, (sql) =>
      sql.unsafe(`${migrationScript(config.schema, {}, migrations().slice(0, 4))}
        GRANT USAGE ON SCHEMA ${config.schema} TO ${worker}, ${writer}, ${other};
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${config.schema} TO ${worker};
        GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA ${config.schema} TO ${writer};
        GRANT SELECT ON ${config.schema}.mensaje TO ${other}`),
    )
    const later = {
      version: LATEST + 1,
      name: 'futura',
      sql: `CREATE FUNCTION {{schema}}.nueva() RETURNS integer LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'`,
    }
    await migrate(config, { known: [...migrations(), later] })
    const may = (who: string) =>
      withSql(config, async (sql) => {
        const [row] = await sql`
          SELECT has_function_privilege(${who}, 'crear_particiones(integer)', 'EXECUTE') AS partitions,
                 has_function_privilege(${who}, 'purgar_particion(text, text, timestamptz)', 'EXECUTE') AS purge,
                 has_function_privilege(${who}, 'nueva()', 'EXECUTE') AS later,
                 has_table_privilege(${who}, 'entrega', 'DELETE') AS erases`
        return row
      })
    expect(await may(worker)).toEqual({ partitions: true, purge: true, later: false, erases: true })
    expect(await may(writer)).toEqual({ partitions: true, purge: false, later: false, erases: false })
    expect(await may(other)).toEqual({ partitions: false, purge: false, later: false, erases: false })
  })

  test('a worker’s role writes, makes partitions and purges; a reader’s reads; neither can do more', async () => {
    config = auditConfig()
    const [worker, reader] = [await role(), await role()]
    await migrate(config, { roles: { worker, reader } })
    await withSql(config, async (sql) => {
      const [month] = await sql`SELECT to_char(now() AT TIME ZONE 'UTC', '"_"YYYY"_"MM') AS name`
      await sql.unsafe(`DROP TABLE intento${month!.name}`)
    })
    const as = (username: string) => ({ ...config, username, password: 'clave' })
    const backend = createPostgresBackend(as(worker), SCOPE)
    const sent = message()
    const lost = attempt(sent.id, 'a', { id: 'perdido', error: 'sin_resultado' })
    await backend.write([messageEvent(sent, ['a']), attemptEvent(lost, null)])
    await backend.write([{ ...attemptEvent(attempt(sent.id, 'a'), state(sent.id, 'a', 1)), replaces: lost.id }])
    await backend.write([stateEvent(state(sent.id, 'a', 2, { attempts: 3e9 }))])
    await backend.ensurePartitions()
    await backend.close()
    for (const username of [worker, reader]) {
      const audit = openAuditQueries(as(username), SCOPE)
      expect(await audit.message(sent.id)).toMatchObject({ deliveries: [{ estado: 'exitosa' }], attempts: [{}] })
      expect(await audit.rejectedCount()).toBe(1)
      const { missingRights, schemaVersion } = await audit.health()
      expect(schemaVersion).toBe(LATEST)
      expect(missingRights.length > 0).toBe(username === reader)
      await audit.close()
    }
    await withSql(as(reader), async (sql) => {
      expect(await sql`SELECT evento, cuerpo FROM trazabilidad`).toHaveLength(1)
      expect(await sql`SELECT * FROM resumen_diario`).toHaveLength(1)
    })
    const refused: [string, string[]][] = [
      [reader, ['DELETE FROM callback', `SELECT purgar_particion('a', 'b', now())`, 'SELECT crear_particiones(2)']],
      [worker, ['UPDATE intento SET numero = 1', 'DELETE FROM migracion', 'SELECT * FROM trazabilidad']],
    ]
    for (const [username, statements] of refused) {
      await withSql(as(username), async (sql) => {
        for (const statement of [...statements, 'TRUNCATE entrega', 'DROP VIEW trazabilidad', 'CREATE TABLE a ()']) {
          await expect(sql.unsafe(statement), `${username}: ${statement}`).rejects.toMatchObject({ code: '42501' })
        }
      })
    }
    expect(await purge(as(worker), SCOPE, { before: new Date(Date.now() + 60_000), simulate: false })).toMatchObject({
      mensaje: 1,
      intento: 1,
      auditoria_rechazada: 1,
    })
  })
})
