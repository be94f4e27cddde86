/** The audit schema: made once, upgraded with its data, refused when it is not ours to touch. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { migrate, migrationScript, migrations } from '../../src/audit/migrate.ts'
import { createPostgresBackend } from '../../src/audit/postgres.ts'
import { openAuditQueries } from '../../src/audit/queries.ts'
import type { AuditConfig } from '../../src/config/config.ts'
import { packageRoot } from '../../src/folders.ts'
import {
  attempt,
  attemptEvent,
  auditConfig,
  message,
  messageEvent,
  NOON,
  randomName,
  SCOPE,
  state,
  withSql,
} from './scenery.ts'

const LATEST = migrations().length
let config = auditConfig()

afterEach(async () => {
  await withSql(config, (sql) => sql.unsafe(`DROP SCHEMA IF EXISTS "${config.schema.replaceAll('"', '""')}" CASCADE`))
})

/** Everything that makes up a schema, to compare two of them. */
function catalogue(of: AuditConfig) {
  return withSql(of, async (sql) => ({
    columns: [
      ...(await sql`SELECT table_name, column_name, data_type, is_nullable, collation_name FROM information_schema.columns
                     WHERE table_schema = ${of.schema} ORDER BY 1, 2`),
    ],
    indexes: [
      ...(await sql`SELECT tablename, indexname FROM pg_indexes WHERE schemaname = ${of.schema} ORDER BY 1, 2`),
    ],
    functions: [
      ...(await sql`SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                     WHERE n.nspname = ${of.schema} ORDER BY 1`),
    ],
    versions: [...(await sql`SELECT version, nombre FROM migracion ORDER BY 1`)],
  }))
}

describe('the files', () => {
  test('are numbered without gaps, insert their own number first, and are plain ASCII', () => {
    const folder = join(packageRoot(), 'sql')
    expect(migrations().map(({ version }) => version)).toEqual(Array.from({ length: LATEST }, (_, n) => n + 1))
    for (const { version, name, sql } of migrations()) {
      expect(sql).toContain(`INSERT INTO {{schema}}.migracion (version, nombre) VALUES (${version}, '${name}');`)
    }
    for (const file of readdirSync(folder).filter((name) => name.endsWith('.sql')))
      expect(readFileSync(join(folder, file), 'utf8')).toMatch(/^[\n -~]*$/)
  })
})

describe('migrate', () => {
  test('creates everything, with the partitions of this month and the next two', async () => {
    config = auditConfig()
    const result = await migrate(config)
    expect(result).toEqual({
      applied: migrations().map(({ version, name }) => ({ version, name })),
      version: LATEST,
      partitions: 6,
    })
    const { columns } = await catalogue(config)
    const tables = [...new Set(columns.map(({ table_name }) => table_name))]
    expect(tables).toEqual(
      expect.arrayContaining([
        'mensaje',
        'entrega',
        'intento',
        'callback',
        'migracion',
        'trazabilidad',
        'resumen_diario',
      ]),
    )
    expect(tables.filter((name) => /^(mensaje|intento)_\d{4}_\d{2}$/.test(name))).toHaveLength(6)
  })

  test('does nothing the second time', async () => {
    config = auditConfig()
    await migrate(config)
    expect(await migrate(config)).toEqual({ applied: [], version: LATEST, partitions: 0 })
  })

  test('started many times at once does it once', async () => {
    config = auditConfig()
    const results = await Promise.all(Array.from({ length: 6 }, () => migrate(config)))
    expect(results.flatMap(({ applied }) => applied)).toHaveLength(LATEST)
    expect(results.reduce((sum, { partitions }) => sum + partitions, 0)).toBe(6)
  })

  test.each(['Rest Hooks"x', "o'brien", 'ñandú', 'select', 'a.b', '{{schema}}', '$1'])(
    'works in a schema called %s',
    async (name) => {
      config = auditConfig({ schema: `${name} ${randomName('')}` })
      await migrate(config)
      await migrate(config)
      const backend = createPostgresBackend(config, SCOPE)
      const reader = openAuditQueries(config, SCOPE)
      const sent = message()
      await backend.write([messageEvent(sent, ['a'])])
      await backend.ensurePartitions()
      expect(await reader.message(sent.id)).toMatchObject({ deliveries: [{ estado: 'pendiente' }] })
      expect(await reader.schemaVersion()).toBe(LATEST)
      await Promise.all([backend.close(), reader.close()])
    },
  )

  test.each(migrations().slice(0, -1))('upgrades a schema of version $version that holds data', async ({ version }) => {
    config = auditConfig()
    const old = migrationScript(config.schema, {}, migrations().slice(0, version))
    await withSql(config, (sql) => sql.unsafe(version < 2 ? old.replace(/^SELECT .*crear_particiones.*$/m, '') : old))
    const backend = createPostgresBackend(config, SCOPE)
    const sent = message()
    // Now, so that it lies where version 1 had no partition.
    const at = Date.now()
    await backend.write([
      messageEvent(sent, ['a'], { at, receivedAt: at }),
      attemptEvent(attempt(sent.id, 'a', { startedAt: at }), state(sent.id, 'a', 1)),
    ])
    const before = await withSql(config, (sql) => sql`SELECT * FROM intento`)

    const { applied } = await migrate(config)
    expect(applied.map((each) => each.version)).toEqual(
      migrations()
        .slice(version)
        .map((each) => each.version),
    )
    expect([...(await withSql(config, (sql) => sql`SELECT * FROM intento`))]).toEqual([...before])
    expect(await withSql(config, (sql) => sql`SELECT evento, estado, cuerpo FROM trazabilidad`)).toMatchObject([
      { evento: 'proveedor.alta', estado: 'exitosa', cuerpo: '{"id":7}' },
    ])
    await backend.write([messageEvent(message(), ['a'])])
    await backend.close()
    const events = await withSql(config, (sql) => sql`SELECT evento FROM entrega`)
    expect(events).toEqual([{ evento: 'proveedor.alta' }, { evento: 'proveedor.alta' }])
  })

  test('the deliveries of before get their event page by page, while workers of the version before go on writing', async () => {
    config = auditConfig()
    const { instancia, proyecto } = SCOPE
    await withSql(config, async (sql) => {
      const scripts = [6, LATEST].map((version) => migrationScript(config.schema, {}, migrations().slice(0, version)))
      const fill = `SELECT "${config.schema}".completar_eventos();`
      expect(scripts[1]).toContain(fill)
      const receive = (id: string, evento: string, hour: number) => sql`
        INSERT INTO mensaje (id, instancia, proyecto, evento, cabeceras, creado, recibido)
        VALUES (${id}, ${instancia}, ${proyecto}, ${evento}, '{}', ${new Date(NOON)}, ${new Date(NOON + hour * 3_600_000)})`
      // As the version before does, which updates a row that is there with the earlier time.
      const begin = (id: string, listener: string, at = NOON) => sql`
        INSERT INTO entrega AS old (mensaje_id, listener, instancia, proyecto, estado, intentos, creado, actualizado, version)
        VALUES (${id}, ${listener}, ${instancia}, ${proyecto}, 'exitosa', 1, ${new Date(at)}, ${new Date(at)}, 1)
        ON CONFLICT (mensaje_id, listener, instancia, proyecto) DO UPDATE SET creado = least(old.creado, excluded.creado)`
      await sql.unsafe(scripts[0]!)
      for (const [id, evento] of [
        ['m1', 'uno'],
        ['m2', 'dos'],
        ['m3', 'tres'],
        ['m4', 'cuatro'],
      ] as const) {
        await receive(id, evento, 0)
        for (const listener of ['a', 'b']) await begin(id, listener)
      }
      await receive('m4', 'cuatro.otra.vez', 1)
      await begin('m2x', 'a')

      await sql.unsafe(scripts[1]!.replace(fill, ''))
      const page = async (after: string | null) => {
        const [row] = await sql<{ last: string | null }[]>`SELECT completar_eventos(${after}, 2) AS last`
        return row!.last
      }
      const after: (string | null)[] = ['', await page('')]
      await receive('m0', 'detras', 0)
      await begin('m0', 'a')
      // Its message comes later.
      await begin('m5', 'a', NOON + 1)
      while (after.at(-1) !== null) after.push(await page(after.at(-1)!))
      await receive('m5', 'cinco', 0)
      await begin('m5', 'a')

      expect(after.length).toBeGreaterThan(3)
      const events = await sql`
        SELECT mensaje_id, evento, count(*)::int FROM entrega GROUP BY 1, 2 ORDER BY 1, 2`
      expect(events.map(({ mensaje_id, evento, count }) => [mensaje_id, evento, count])).toEqual([
        ['m0', 'detras', 1],
        ['m1', 'uno', 2],
        ['m2', 'dos', 2],
        ['m2x', null, 1],
        ['m3', 'tres', 2],
        ['m4', 'cuatro.otra.vez', 2],
        ['m5', 'cinco', 1],
      ])
      expect(await sql`SELECT completar_eventos() AS last`).toEqual([{ last: null }])
    })
    const made = await catalogue(config)
    expect(await migrate(config)).toEqual({ applied: [], version: LATEST, partitions: 0 })
    const fresh = auditConfig()
    await migrate(fresh)
    expect(made).toEqual(await catalogue(fresh))
    await withSql(fresh, (sql) => sql.unsafe(`DROP SCHEMA ${fresh.schema} CASCADE`))
  })

  test('refuses a schema that a newer program made, and leaves it alone', async () => {
    config = auditConfig()
    await migrate(config)
    await withSql(config, (sql) => sql`INSERT INTO migracion (version, nombre) VALUES (999, '999_futuro')`)
    await expect(migrate(config)).rejects.toMatchObject({
      code: 'CONFIGURACION',
      message: expect.stringMatching(/versión 999 .* hasta la \d+.*Actualice/),
    })
  })

  test('a failure half way leaves nothing behind', async () => {
    config = auditConfig()
    const broken = [...migrations(), { version: LATEST + 1, name: 'rota', sql: 'CREATE TABLE {{schema}}.a (b nada)' }]
    await expect(migrate(config, { known: broken })).rejects.toThrow(/nada/)
    expect(await withSql(config, (sql) => sql`SELECT FROM pg_namespace WHERE nspname = ${config.schema}`)).toHaveLength(
      0,
    )
  })

  test('does not touch tables of somebody else with the same names', async () => {
    config = auditConfig()
    await withSql(config, (sql) =>
      sql.unsafe(`CREATE SCHEMA ${config.schema}; CREATE TABLE ${config.schema}.mensaje ()`),
    )
    await expect(migrate(config)).rejects.toMatchObject({
      code: 'CONFIGURACION',
      message: expect.stringContaining('REST_HOOKS_DB_SCHEMA'),
    })
  })
})

test('the printed SQL, run by hand, brings an older schema up to date, and can be repeated', async () => {
  config = auditConfig()
  const print = (versions: number) => migrationScript(config.schema, {}, migrations().slice(0, versions))
  await withSql(config, async (sql) => {
    for (const versions of [4, 4, LATEST, LATEST]) {
      await sql.unsafe(print(versions))
      expect(await sql`SELECT version FROM migracion ORDER BY 1`).toEqual(
        Array.from({ length: versions }, (_, n) => ({ version: n + 1 })),
      )
    }
    expect(await sql`SELECT original FROM mensaje`).toEqual([])
  })
  expect(await migrate(config)).toEqual({ applied: [], version: LATEST, partitions: 0 })
})

test('the printed SQL, run by hand, makes exactly the same', async () => {
  config = auditConfig()
  const byProgram = config
  await migrate(byProgram)
  const programs = await catalogue(byProgram)

  const byHand = auditConfig({ schema: `Hecho "a mano" ${randomName('')}` })
  await withSql(byHand, (sql) => sql.unsafe(migrationScript(byHand.schema, {})))
  const hands = await catalogue(byHand)
  expect(await migrate(byHand)).toEqual({ applied: [], version: LATEST, partitions: 0 })
  await withSql(byHand, (sql) => sql.unsafe(`DROP SCHEMA "${byHand.schema.replaceAll('"', '""')}" CASCADE`))
  expect(hands).toEqual(programs)
})
