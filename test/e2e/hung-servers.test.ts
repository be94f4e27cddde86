/**
 * A Redis or a Postgres that accepts connections and never answers, or refuses them: whoever looks is told within seconds what is
 * wrong, and shown what the other one knows. How long was waited stands in the sentence.
 */
import { onTestFinished } from 'vitest'
import { BIN, spawnProgram } from '../support/cli.ts'
import { halfDelivered } from '../support/half-delivered.ts'
import { freePort } from '../support/ports.ts'
import { type SilentServer, startSilent } from '../support/silent-server.ts'
import { until } from '../support/until.ts'
import { expect, test, type World } from '../support/world.ts'

const HUNG_REDIS = /Redis \(127\.0\.0\.1:\d+\): acepta la conexión y no contesta \(3 s\)/
const HUNG_POSTGRES =
  /Postgres 127\.0\.0\.1:\d+: el servidor no respondió a tiempo \(acepta la conexión y no contesta: más de 4 s\)/

async function hung(): Promise<SilentServer> {
  const server = await startSilent()
  onTestFinished(() => server.close())
  return server
}

interface Case {
  readonly args: readonly string[]
  readonly code: number
  /** In what is shown, and in what is said beside it. */
  readonly shows?: readonly RegExp[]
  readonly says?: readonly RegExp[]
}

/** All at once: they do nothing but wait. */
async function expectAll(world: World, env: Record<string, string>, cases: readonly Case[]): Promise<void> {
  const runs = await Promise.all(cases.map(({ args }) => world.cli(args, { env })))
  for (const [n, { args, code, shows = [], says = [] }] of cases.entries()) {
    const run = runs[n]!
    expect(run, args.join(' ')).toMatchObject({ code })
    for (const part of shows) expect(run.stdout, args.join(' ')).toMatch(part)
    for (const part of says) expect(run.stderr, args.join(' ')).toMatch(part)
  }
}

test('Redis is hung: seconds for whoever looks, and longer for whoever sends, of whose message Redis hears nothing', async ({
  world,
}) => {
  const id = await halfDelivered(world)
  const redis = await hung()

  await expectAll(world, { REST_HOOKS_REDIS_PORT: String(redis.port), COLUMNS: '300' }, [
    {
      args: ['estado'],
      code: 4,
      shows: [
        /^MAL · Redis pide atención · sin terminar 1 entrega, según la auditoría$/m,
        /✘ Redis +Redis \(127/,
        HUNG_REDIS,
        / 1 día +\S/,
        /Postgres +\d+ ms ✔/,
      ],
      says: [/no se pudo consultar a Redis/],
    },
    { args: ['estado', '--comprobar'], code: 2, shows: [/^RESTHOOKS CRITICAL - Redis/, HUNG_REDIS] },
    { args: ['verificar'], code: 4, shows: [HUNG_REDIS, /ok .*Postgres \(\d+\)/] },
    { args: ['ver', id], code: 4, shows: [/✔ sano/, /… caido .*HTTP 503/], says: [HUNG_REDIS] },
    { args: ['ver', id, '--cuerpo'], code: 0, shows: [/^\{"n":1\}$/] },
    { args: ['auditoria'], code: 0, shows: [/sano/, /caido/] },
    {
      args: ['auditoria', '--listener', 'otro'],
      code: 2,
      says: [/aviso: no se sabe si sus colas/, HUNG_REDIS, /«otro» no está en resthooks.ini/],
    },
    { args: ['entradas'], code: 4, shows: [/demoradas +no se sabe/, /rechazadas +0/], says: [HUNG_REDIS] },
    { args: ['entradas', '--tipo', 'rechazadas'], code: 0, says: [/No hay ninguna/] },
    { args: ['recuperar', '--simulacro'], code: 4, says: [HUNG_REDIS] },
    { args: ['reenviar', '--fallidas', '--simulacro'], code: 4, says: [HUNG_REDIS] },
    { args: ['pausar', 'sano'], code: 4, says: [HUNG_REDIS] },
    { args: ['probar', 'sano', '{}'], code: 0, shows: [/HTTP 200/], says: [HUNG_REDIS] },
    { args: ['send', 'compra.alta', '{"secreto":1}'], code: 4, says: [/no contesta \(15 s\)(?!.*encolado)/] },
  ])
  expect(redis.heard()).toMatch(/ping/i)
  expect(redis.heard()).not.toMatch(/secreto|info|lpush/i)
})

test('Redis is hung or refuses: --json has the keys of always, null for what only Redis knows', async ({ world }) => {
  await halfDelivered(world)
  const whole = JSON.parse((await world.cli(['estado', '--json'])).stdout)
  const env = { REST_HOOKS_REDIS_PORT: String(await freePort()) }
  const run = await world.cli(['estado', '--json'], { env })
  expect(run.code).toBe(4)
  const cut = JSON.parse(run.stdout)
  expect(Object.keys(whole).filter((key) => !(key in cut))).toEqual([])
  expect(cut).toMatchObject({
    ...{ formato: 2, proyecto: world.proyecto, veredicto: 'mal', postgres: 'ok', inconclusas: 1 },
    ...{ esperan: null, faltan: null, redis: null, workers: null, listeners: null, al_dia: null },
    problemas: [{ clase: 'redis_ausente', gravedad: 'mal', listener: null, esperan: 1 }],
    ritmo: { dia: { con_error: 0.5 } },
  })
})

test('Postgres is hung: seconds, the right cause, and what Redis knows', async ({ world }) => {
  const id = await halfDelivered(world)
  const postgres = await hung()
  const unsure = /el servidor no respondió a tiempo \(más de 3 s\)/
  await expectAll(world, { REST_HOOKS_DB_PORT: String(postgres.port), COLUMNS: '300' }, [
    { args: ['estado'], code: 4, shows: [/✘ Postgres +Auditoría en Postgres 127/, unsure, /caido/] },
    { args: ['estado', '--comprobar'], code: 2, shows: [unsure] },
    { args: ['verificar'], code: 4, shows: [HUNG_POSTGRES, /ok .*Redis \(\d+\)/] },
    {
      args: ['ver', id],
      code: 4,
      shows: [/· compra\.alta +1 reintenta/, /cuerpo +7 bytes JSON/, /… caido +reintenta +1 .*worker en marcha/],
      says: [/falta lo que no se pudo preguntar/, HUNG_POSTGRES],
    },
    { args: ['ver', '01ARZ3NDEKTSV4RRFFQ69G5FAV'], code: 4, says: [HUNG_POSTGRES] },
    { args: ['auditoria'], code: 4, says: [HUNG_POSTGRES] },
    { args: ['auditoria', '--seguir'], code: 4, says: [HUNG_POSTGRES] },
    { args: ['entradas'], code: 4, shows: [/demoradas +0/, /rechazadas +no se sabe/], says: [HUNG_POSTGRES] },
    { args: ['entradas', '--tipo', 'demoradas'], code: 0 },
    { args: ['recuperar', '--simulacro'], code: 4, says: [HUNG_POSTGRES] },
    { args: ['purgar', '--antes-de', '90d', '--simulacro'], code: 4, says: [HUNG_POSTGRES] },
    { args: ['crear-base'], code: 4, says: [HUNG_POSTGRES] },
    // The time is what was asked for, not what Postgres lets one wait.
    {
      args: ['send', 'x', '{}', '--esperar', '1500ms'],
      code: 1,
      says: [/está encolado: no lo envíe otra vez.*no respondió a tiempo \(más de 1,\d s\)/],
    },
  ])
})

test('a table that somebody holds is told as that, within seconds', async ({ world }) => {
  await halfDelivered(world)
  await world.sql.begin(async (sql) => {
    await sql`LOCK TABLE ${sql(world.schema)}.entrega IN ACCESS EXCLUSIVE MODE`
    const locked = /otra sesión tiene bloqueada una tabla de la auditoría/
    await expectAll(world, { COLUMNS: '300' }, [
      { args: ['estado'], code: 4, shows: [locked, /caido/] },
      { args: ['auditoria'], code: 4, says: [locked, /lock timeout/] },
    ])
  })
})

test('both are hung: both are named', async ({ world }) => {
  const server = await hung()
  const env = { REST_HOOKS_REDIS_PORT: String(server.port), REST_HOOKS_DB_PORT: String(server.port) }
  await expectAll(world, env, [
    { args: ['estado'], code: 4, says: [HUNG_REDIS, /Postgres 127.*no respondió a tiempo/] },
    { args: ['verificar'], code: 4, shows: [HUNG_REDIS, HUNG_POSTGRES] },
    { args: ['ver', '01ARZ3NDEKTSV4RRFFQ69G5FAV'], code: 4, says: [HUNG_REDIS, HUNG_POSTGRES] },
    { args: ['entradas'], code: 4, says: [HUNG_REDIS, HUNG_POSTGRES] },
  ])
})

test('the page, with both hung: `salud` is told what is away', async ({ world }) => {
  const server = await hung()
  const env = { REST_HOOKS_REDIS_PORT: String(server.port), REST_HOOKS_DB_PORT: String(server.port) }
  const address = `127.0.0.1:${await freePort()}`
  const page = spawnProgram(process.execPath, [BIN, 'panel', '--direccion', address], {
    env: { ...world.environment, ...env },
  })
  onTestFinished(() => page.kill('SIGKILL'))
  await until(() => page.output.includes('Página en'))
  await expectAll(world, env, [
    { args: ['salud', '--url', `http://${address}/salud`], code: 1, shows: [/^mal: .*redis: mal; postgres: mal$/m] },
  ])
})
