/** A project of which nothing is known: a mistyped `-p`, and the first use of one. */
import { onTestFinished } from 'vitest'
import type { Attention } from '../../src/checks/attention.ts'
import { startRedis } from '../support/redis-server.ts'
import { until } from '../support/until.ts'
import { expect, test, type World } from '../support/world.ts'

/** A message that was delivered. */
async function delivered(world: World): Promise<string> {
  await world.listener(() => ({ status: 200 }), { nombre: 'sano' })
  const worker = await world.worker()
  const id = await world.send('compra.alta', { n: 1 })
  await world.settled(id)
  worker.kill()
  await worker.waitExit()
  return id
}

/** With the same files, as where several projects share a resthooks.ini. */
function mistyped(world: World) {
  return (...args: string[]) =>
    world.cli([...args, '--config', world.ini, '-p', 'proyect'], { env: { COLUMNS: '300' } })
}

test('a mistyped project is told as that wherever nothing is shown, with the one that was meant, and exit codes stay', async ({
  world,
}) => {
  const id = await delivered(world)
  const run = mistyped(world)
  const name = `«proyect» (${world.instancia})`

  const screen = await run('estado')
  expect(screen).toMatchObject({ code: 0, stderr: '' })
  expect(screen.stdout).toMatch(/^MAL · proyecto y workers piden atención/m)
  expect(screen.stdout).toMatch(
    /✘ proyecto +no hay rastro de .*ni en Redis ni en Postgres; los que hay: .* ¿es «-p proyecto»\?$/m,
  )
  const { problemas } = JSON.parse((await run('estado', '--json')).stdout) as Attention
  expect(problemas[0]).toMatchObject({ clase: 'sin_rastro', gravedad: 'mal', causa: expect.stringContaining(name) })
  expect(await run('estado', '--comprobar')).toMatchObject({
    code: 2,
    stdout: expect.stringContaining(`RESTHOOKS CRITICAL - proyecto: no hay rastro de ${name}`),
  })
  expect(await run('verificar')).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/AVISO +cola, proyecto: no hay rastro de .*\n +→ ¿es «-p proyecto»\?/),
  })

  const told = expect.stringMatching(/aviso: no hay rastro de «proyect» .*¿Quiso decir «-p proyecto»\?/)
  for (const args of [
    ['auditoria'],
    ['auditoria', '--contar', 'listener'],
    ['auditoria', '--sin-listener'],
    ['auditoria', '--json'],
    ['entradas'],
    ['recuperar'],
  ])
    expect(await run(...args), args.join(' ')).toMatchObject({ code: 0, stderr: told })
  expect(await run('ver', id)).toMatchObject({
    code: 1,
    stderr: expect.stringContaining(
      `Es del proyecto «proyecto» de la instancia «${world.instancia}»: repítalo con -p proyecto`,
    ),
  })

  // `recuperar` has left no trace; what is sent to nobody is told to whoever sends, and to whoever looks.
  expect((await run('estado')).stdout).toMatch(/no hay rastro de/)
  for (const args of [
    ['send', 'compra.alta', '{}'],
    ['send', '--lote', 'compra.alta'],
  ])
    expect(
      await world.cli([...args, '--config', world.ini, '-p', 'proyect'], { input: '{"datos":1}\n' }),
    ).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\w{26}\n$/),
      stderr: expect.stringMatching(/ningún worker trabajó nunca para «proyect» .*¿Quiso decir «-p proyecto»\?/),
    })
  expect((await run('estado')).stdout).toMatch(/✘ proyecto +ningún worker trabajó nunca para «proyect»/)
  await world.redis.del(
    world.keys.inbox.replace(':proyecto}', ':proyect}'),
    world.keys.continuity.replace(':proyecto}', ':proyect}'),
  )
})

test('a project that was worked with is not told so, and one that has a resthooks.ini of its own is right from the first day', async ({
  world,
}) => {
  await world.createSchema()
  expect((await world.cli(['estado'])).stdout).not.toMatch(/rastro|nunca para/)
  await delivered(world)
  const shared = ['--config', world.ini, '--instalacion', '/tmp']
  for (const args of [['estado'], ['auditoria', '--desde', '1h', '--hasta', '50m'], ['send', 'compra.alta', '{}']]) {
    const { stdout, stderr, code } = await world.cli([...args, ...shared])
    expect(code, stderr).toBe(0)
    expect(stdout + stderr, args.join(' ')).not.toMatch(/rastro|nunca para/)
  }
})

test('the first project of a Redis and a Postgres is new, and no slip', async ({ world }) => {
  const redis = await startRedis()
  onTestFinished(() => redis.stop())
  await world.setEnv({ REST_HOOKS_REDIS_PORT: String(redis.port) })
  await world.createSchema()
  const shared = ['--config', world.ini, '--instalacion', '/tmp']
  const run = await world.cli(['estado', ...shared], { env: { COLUMNS: '300' } })
  expect(run.stdout).toMatch(/^MAL · workers piden atención/m)
  expect(run.stdout).toMatch(
    /· proyecto +no hay rastro de «proyecto» .*ni en Redis ni en Postgres +nada, si es nuevo$/m,
  )
  for (const args of [['send', 'compra.alta', '{}'], ['auditoria'], ['entradas']])
    expect((await world.cli([...args, ...shared])).stderr, args.join(' ')).not.toMatch(/rastro|nunca para/)
  // A worker that came and went has left one.
  await world.set('listener sano', { url: 'http://127.0.0.1:1' })
  const worker = await world.worker()
  worker.kill()
  await worker.waitExit()
  await until(async () => {
    const { stdout, code } = await world.cli(['estado', ...shared])
    return code === 0 && !/rastro/.test(stdout)
  })
})
