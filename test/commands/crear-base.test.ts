/** `crear-base` as an administrator runs it. */
import { migrations } from '../../src/audit/migrate.ts'
import { auditConfig, withSql } from '../audit/scenery.ts'
import { freePort } from '../support/ports.ts'
import { expect, test } from '../support/world.ts'

const LATEST = migrations().length

test('creates the schema, says what it did, and says so when there was nothing to do', async ({ world }) => {
  const first = await world.cli(['crear-base'])
  expect(first).toMatchObject({ code: 0, stderr: '' })
  expect(first.stdout).toContain('aplicada 001_tablas')
  expect(first.stdout).toMatch(new RegExp(`Esquema «${world.schema}».*listo, versión ${LATEST}`))
  const second = await world.cli(['crear-base'])
  expect(second).toMatchObject({ code: 0, stderr: '' })
  expect(second.stdout).toMatch(new RegExp(`ya estaba en la versión ${LATEST}`))
})

test('toba’s own spelling does the same', async ({ world }) => {
  const run = await world.cli(['proyecto', 'crear_base_resthooks', '-i', world.instancia, '-p', world.proyecto])
  expect(run).toMatchObject({ code: 0, stderr: '' })
  expect(await world.sql`SELECT FROM ${world.sql(world.schema)}.migracion`).toHaveLength(LATEST)
})

test('run twice at once, both end well', async ({ world }) => {
  const runs = await Promise.all([world.cli(['crear-base']), world.cli(['crear-base'])])
  expect(runs).toMatchObject([{ code: 0 }, { code: 0 }])
})

test('--mostrar-sql needs no database, and what it prints can be run', async ({ world }) => {
  const port = String(await freePort())
  const run = await world.cli(['crear-base', '--mostrar-sql'], { env: { REST_HOOKS_DB_PORT: port } })
  expect(run).toMatchObject({ code: 0, stderr: '' })
  expect(run.stdout).toContain(`CREATE TABLE "${world.schema}".intento`)
  expect(run.stdout).not.toContain('{{')
  await withSql(auditConfig(), (sql) => sql.unsafe(run.stdout))
  expect((await world.cli(['crear-base'])).stdout).toMatch(/ya estaba/)
})

test('trouble with the database is told plainly, without a stack', async ({ world }) => {
  const cases = [
    [{ REST_HOOKS_DB_PASSWORD: 'otra' }, 3, /clave del usuario/],
    [{ REST_HOOKS_DB_DBNAME: 'no_esta' }, 3, /«no_esta» no existe/],
    [{ REST_HOOKS_DB_SSLMODE: 'require' }, 3, /no ofrece SSL/],
    [{ REST_HOOKS_DB_PORT: '1' }, 4, /nadie atiende/],
  ] as const
  for (const [env, code, words] of cases) {
    const run = await world.cli(['crear-base'], { env })
    expect(run).toMatchObject({ code, stdout: '', stderr: expect.stringMatching(words) })
    expect(run.stderr).not.toContain('    at ')
    expect(run.stderr).not.toContain('otra')
  }
})
