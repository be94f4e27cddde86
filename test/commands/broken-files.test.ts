/**
 * A mistake in resthooks.ini: what needs nothing of it goes on and says so, what needs it tells which line is wrong. The workers go on
 * with what was in force, and whoever is called at night has to see what they do.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { halfDelivered } from '../support/half-delivered.ts'
import { expect, test, type World } from '../support/world.ts'

const GOES_ON = /aviso: se sigue igual, pero los workers no pueden usar estos archivos/

interface Case {
  readonly args: readonly string[]
  readonly code: number
  readonly shows?: RegExp
  readonly says?: RegExp
}

async function expectAll(world: World, wrong: RegExp, cases: readonly Case[]): Promise<void> {
  for (const { args, code, shows = /^/, says = /^/ } of cases) {
    const run = await world.cli(args, { env: { COLUMNS: '300' } })
    const what = args.join(' ')
    expect(run, what).toMatchObject({ code })
    expect(run.stdout, what).toMatch(shows)
    expect(run.stderr, what).toMatch(says)
    // Each with the line that is wrong, once.
    expect(`${run.stdout}${run.stderr}`.match(new RegExp(wrong, 'g')), what).toHaveLength(1)
  }
}

test("one listener's address is wrong: others, and what has happened, can be looked at; what needs it says which line", async ({
  world,
}) => {
  const id = await halfDelivered(world)
  await world.set('workers', { metricas: '127.0.0.1:1' })
  await world.set('listener caido', { url: 'htp:/servidor' })
  const wrong = /resthooks\.ini:\d+ \[listener caido\] url: se encontró «htp:\/servidor»/
  await expectAll(world, wrong, [
    { args: ['ver', id], code: 0, shows: /… caido +reintenta.*\n.*✔ sano/, says: GOES_ON },
    { args: ['ver', id, '--json'], code: 0, shows: /"listener": "caido"/, says: GOES_ON },
    { args: ['ver', id, '--cuerpo'], code: 0, shows: /^\{"n":1\}$/, says: GOES_ON },
    { args: ['auditoria'], code: 0, shows: /caido +reintentando/, says: GOES_ON },
    { args: ['auditoria', '--listener', 'caido', '--json'], code: 0, shows: /"reintentando"/, says: GOES_ON },
    { args: ['entradas'], code: 0, shows: /demoradas +0/, says: GOES_ON },
    { args: ['simular', 'sano'], code: 0, shows: /2 intentos/, says: GOES_ON },
    { args: ['probar', 'sano', '{}'], code: 0, shows: /HTTP 200/, says: GOES_ON },
    { args: ['pausar', 'caido'], code: 0, shows: /caido +sí/, says: GOES_ON },
    { args: ['reanudar', 'caido'], code: 0, shows: /caido .*reanudado/, says: GOES_ON },
    { args: ['salud'], code: 1, shows: /^mal: .*nadie atiende/, says: GOES_ON },
    { args: ['crear-base'], code: 0, shows: /ya estaba/, says: GOES_ON },
    { args: ['panel', '--cerrar-sesiones'], code: 0, says: GOES_ON },
    // What it is about is shown; that the files are wrong is what it ends with.
    { args: ['estado'], code: 3, shows: /^MAL .*espera 1 entrega/m },
    { args: ['estado', '--json'], code: 3, shows: /"esperan": 1,/ },
    { args: ['verificar'], code: 3, shows: /ok .*Redis \(\d+\).*Postgres \(\d+\), listener sano/ },
    { args: ['verificar', '--configuracion'], code: 3 },
    { args: ['estado', '--comprobar'], code: 3, shows: /^RESTHOOKS UNKNOWN/ },
    ...[
      ['simular', 'caido'],
      ['probar', 'caido', '{}'],
      ['pausar', '--todos'],
      ['reenviar', id],
      ['descartar', id],
      ['recuperar', '--simulacro'],
      ['purgar', '--antes-de', '90d', '--simulacro'],
      ['entradas', '--tipo', 'demoradas', '--todas', '--borrar'],
    ].map((args) => ({ args, code: 3, shows: /^$/ })),
  ])
})

test('how Redis is reached is wrong: what Postgres tells is shown', async ({ world }) => {
  const id = await halfDelivered(world)
  await world.set('redis_config', { base: 'cuarta' })
  const wrong = /\[redis_config\] base: se encontró «cuarta»/
  const unknown = /Redis: la configuración no dice bien cómo llegar a él: vea los errores de \[redis_config\]/
  await expectAll(world, wrong, [
    { args: ['estado'], code: 3, shows: new RegExp(`✘ Redis +${unknown.source}`) },
    { args: ['auditoria'], code: 0, shows: /caido +reintentando/, says: GOES_ON },
    { args: ['ver', id], code: 3, shows: /… caido +reintenta/, says: unknown },
    { args: ['entradas', '--tipo', 'rechazadas'], code: 0, says: GOES_ON },
    { args: ['verificar'], code: 3, shows: unknown },
    { args: ['pausar', 'sano'], code: 3, says: unknown },
    { args: ['send', 'compra.alta', '{}'], code: 3 },
  ])
})

test('how Postgres is reached is wrong: what Redis tells is shown; how long it keeps is of no concern to who looks', async ({
  world,
}) => {
  const id = await halfDelivered(world)
  await world.set('auditoria', { retencion: 'mucho' })
  await expectAll(world, /\[auditoria\] retencion: se encontró «mucho»/, [
    { args: ['auditoria'], code: 0, shows: /caido +reintentando/, says: GOES_ON },
    { args: ['ver', id], code: 0, shows: /✔ sano/, says: GOES_ON },
  ])
  await world.set('auditoria', { retencion: '1d' })
  await world.setEnv({ REST_HOOKS_DB_PORT: 'cinco' })
  const unknown = /Postgres: la configuración no dice bien cómo llegar a él: vea los errores de \[auditoria\]/
  await expectAll(world, /REST_HOOKS_DB_PORT: se encontró «cinco»/, [
    { args: ['estado'], code: 3, shows: new RegExp(`✘ Postgres +${unknown.source}`) },
    { args: ['ver', id], code: 3, shows: /… caido +reintenta/, says: unknown },
    { args: ['auditoria'], code: 3, shows: /^$/ },
    { args: ['pausar', 'sano'], code: 0, says: GOES_ON },
    { args: ['send', 'compra.alta', '{}'], code: 0, says: /se envía igual/ },
  ])
})

test('a file that is none, or cannot be told from none, is not gone on with', async ({ world }) => {
  await world.createSchema()
  const good = await readFile(world.ini, 'utf8')
  await writeFile(world.ini, `<<<<<<< HEAD\n${good}`)
  await expectAll(world, /resthooks\.ini:1: la línea no tiene la forma/, [
    { args: ['auditoria'], code: 3, shows: /^$/ },
    { args: ['estado'], code: 3, shows: /^$/ },
  ])
  // In a section it concerns that one; and one that is nearly redis_config may have said where Redis is.
  await writeFile(world.ini, `${good}\n[listener x]\nurl = http://127.0.0.1:1\n<<<<<<< HEAD\n`)
  await expectAll(world, /\[listener x\]: la línea no tiene la forma/, [
    { args: ['auditoria'], code: 0, says: GOES_ON },
  ])
  await writeFile(world.ini, `${good}\n[redis]\nhost = otro\n`)
  await expectAll(world, /\[redis\]: sección desconocida/, [
    { args: ['auditoria'], code: 0, says: GOES_ON },
    { args: ['panel', '--cerrar-sesiones'], code: 3 },
    { args: ['send', 'x', '{}'], code: 3 },
  ])
})

test('what stands in a key that is misspelt, or in a section that is there twice, is as secret as ever', async ({
  world,
}) => {
  const listener = await world.listener(() => ({ status: 200 }), { nombre: 'sano' })
  const id = await world.send('compra.alta', { primera: 'clave-uno-1', segunda: 'clave-dos-2' })
  await world.settled(id)
  await world.set('listener sano', { auth_pasword: 'clave-uno-1' })
  await writeFile(
    world.ini,
    `${await readFile(world.ini, 'utf8')}\n[listener sano]\nurl = ${listener.url}\nauth_password = clave-dos-2\n`,
  )
  const run = await world.cli(['ver', id, '--todo'])
  expect(run).toMatchObject({ code: 0, stderr: expect.stringMatching(GOES_ON) })
  expect(run.stdout).toContain('"primera": "***"')
  expect(run.stdout + run.stderr).not.toMatch(/clave-(uno|dos)/)
})
