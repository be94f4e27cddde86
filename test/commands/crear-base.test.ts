/** `crear-base` as an administrator runs it. */
import { migrations } from '../../src/audit/migrate.ts'
import { auditConfig, randomName, withSql } from '../audit/scenery.ts'
import { freePort } from '../support/ports.ts'
import { expect, test, type World } from '../support/world.ts'

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

test('--mostrar-sql, run by an administrator, leaves a worker with the configured user that works', async ({
  world,
}) => {
  const [worker, reader] = [randomName('rol'), randomName('rol')]
  await withSql(auditConfig(), (sql) =>
    sql.unsafe(`CREATE ROLE ${worker} LOGIN PASSWORD 'clave'; CREATE ROLE ${reader} LOGIN PASSWORD 'clave'`),
  )
  try {
    await world.listener(() => ({ status: 200 }), { nombre: 'a' })
    await world.setEnv({ REST_HOOKS_DB_USERNAME: worker, REST_HOOKS_DB_PASSWORD: 'clave' })
    const nothing = await verdicts(world)
    expect(nothing.esquema).toMatchObject({ resultado: 'error', que_hacer: expect.stringContaining('crear-base') })

    const { stdout } = await world.cli(['crear-base', '--mostrar-sql', '--rol-lectura', reader])
    await withSql(auditConfig(), (sql) => sql.unsafe(stdout))
    expect((await verdicts(world)).permisos).toMatchObject({ resultado: 'ok' })
    const id = await world.send('compra.alta', { n: 1 })
    await world.settled(id)
    await world.setEnv({ REST_HOOKS_DB_USERNAME: reader })
    expect(await world.cli(['ver', id])).toMatchObject({ code: 0, stdout: expect.stringContaining('1 entregada') })
    expect((await verdicts(world)).permisos).toMatchObject({
      resultado: 'error',
      detalle: expect.stringMatching(/INSERT mensaje.*EXECUTE purgar_particion/),
      que_hacer: expect.stringContaining('crear-base --rol'),
    })
    await world.sql.unsafe(`REVOKE ALL ON ALL TABLES IN SCHEMA ${world.schema} FROM ${reader};
      REVOKE ALL ON SCHEMA ${world.schema} FROM ${reader}`)
    const least = await verdicts(world)
    expect(least.permisos).toMatchObject({ resultado: 'error', detalle: expect.stringContaining('USAGE esquema') })
    expect(least.esquema).toMatchObject({ resultado: 'aviso' })
    expect(least).toHaveProperty('reloj de Postgres')
  } finally {
    const owned = [worker, reader].map((role) => `DROP OWNED BY ${role}; DROP ROLE ${role}`)
    await withSql(auditConfig(), (sql) => sql.unsafe(owned.join(';')))
  }
})

/** What `verificar` says of Postgres, by name. */
async function verdicts(world: World) {
  const { stdout } = await world.cli(['verificar', '--json'])
  const all: { grupo: string; verificacion: string }[] = JSON.parse(stdout).verificaciones
  return Object.fromEntries(all.filter(({ grupo }) => grupo === 'Postgres').map((each) => [each.verificacion, each]))
}

test('--rol of a role that does not exist changes nothing, and says how to make it', async ({ world }) => {
  const run = await world.cli(['crear-base', '--rol', 'no_esta'])
  expect(run).toMatchObject({ code: 3, stdout: '', stderr: expect.stringMatching(/«no_esta» no existe.*CREATE ROLE/) })
  expect(await world.sql`SELECT FROM pg_namespace WHERE nspname = ${world.schema}`).toHaveLength(0)
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
