/** `estado`: what waits, who works, and what cannot be known. */
import { onTestFinished } from 'vitest'
import type { Attention } from '../../src/checks/attention.ts'
import { BIN, spawnProgram } from '../support/cli.ts'
import { freePort } from '../support/ports.ts'
import { startRedis } from '../support/redis-server.ts'
import { until } from '../support/until.ts'
import { expect, test, type World } from '../support/world.ts'

test('counts what waits, what is retried and what failed, and names the workers alive', async ({ world }) => {
  await world.listener(() => ({ status: 503 }), { nombre: 'caido', eventos: 'a' })
  await world.listener(() => ({ status: 422 }), { nombre: 'terco', eventos: 'b' })
  const listener = await world.listener(() => 'silence', { nombre: 'lento', eventos: 'c' })
  await world.set('reintentos', { esperas: '1h' })
  await world.settled(await world.send('b', {}))
  await world.send('a', {})
  await world.send('c', {})
  await listener.received(1)

  const run = await world.cli(['estado', '--json'])
  expect(run).toMatchObject({ code: 0, stderr: '' })
  const text = JSON.stringify(JSON.parse(run.stdout))
  for (const name of ['caido', 'terco', 'lento']) expect(text).toContain(`"${name}"`)
  const plain = await world.cli(['estado'])
  expect(plain).toMatchObject({ code: 0, stderr: '' })
  for (const name of ['caido', 'terco', 'lento']) expect(plain.stdout).toContain(name)
})

test('a listener that is gone and holds nothing is forgotten; without Postgres the rest is shown, and the code is 4', async ({
  world,
}) => {
  await world.createSchema()
  await world.listener(() => ({ status: 200 }), { nombre: 'actual', eventos: 'a' })
  // Names that ever had a delivery: one that is out of the file and has nothing left, one that has.
  await world.redis.sadd(world.keys.listeners, 'breve', 'debe')
  await world.redis.rpush(world.keys.lane('debe').queue, '01M8BSYY317RCX9E4FH99V2VBT')
  const { stdout } = await world.cli(['estado', '--todos'])
  expect(stdout).toMatch(
    /^MAL · workers y 1 listener piden atención · espera 1 entrega · Redis y auditoría coinciden$/m,
  )
  expect(stdout).toMatch(/! debe +ya no está en resthooks.ini/)
  expect(stdout).toContain('actual')
  expect(stdout).not.toContain('breve')
  expect(stdout).toMatch(/ Postgres +\d+ ms, auditoría al día ✔$/m)

  const away = await world.cli(['estado'], { env: { REST_HOOKS_DB_PORT: String(await freePort()) } })
  expect(away.code).toBe(4)
  expect(away.stdout).toMatch(/^MAL · .* · Postgres no responde$/m)
  expect(away.stdout).toMatch(/✘ Postgres +Auditoría en Postgres 127/)
})

test('--vigilar outlives a restart of Redis', async ({ world }) => {
  const redis = await startRedis()
  onTestFinished(() => redis.stop())
  await world.setEnv({ REST_HOOKS_REDIS_PORT: String(redis.port) })
  await world.createSchema()
  await world.listener(() => ({ status: 200 }))
  const watching = spawnProgram(process.execPath, [BIN, 'estado', '--vigilar'], { env: world.environment })
  onTestFinished(() => watching.kill('SIGKILL'))
  const shows = (text: string) => watching.output.split(text).length - 1
  await until(() => shows('MAL · ') > 0)
  await redis.kill()
  await until(() => shows('Se sigue intentando') > 0)
  const before = shows('MAL · ')
  await redis.start()
  await until(() => shows('MAL · ') > before)
})

test('--vigilar that begins without Redis shows what the audit knows, until Redis is back', async ({ world }) => {
  const port = await freePort()
  await world.createSchema()
  await world.listener(() => ({ status: 200 }))
  const env = { ...world.environment, REST_HOOKS_REDIS_PORT: String(port) }
  const watching = spawnProgram(process.execPath, [BIN, 'estado', '--vigilar'], { env })
  onTestFinished(() => watching.kill('SIGKILL'))
  await until(() => /Redis pide atención · sin terminar 0 entregas, según la auditoría/.test(watching.output))
  expect(watching.output).toMatch(/rechaza la conexión.*_PORT\. Se sigue intentando, desde las/)
  const redis = await startRedis([], port)
  onTestFinished(() => redis.stop())
  await until(() => /^MAL · workers piden atención/m.test(watching.output))
})

test('a breaker tells its error, a dead worker what it held, a FLUSHALL what is missing until it is put back', async ({
  world,
}) => {
  const gone = await world.listener(() => ({ status: 200 }), {
    nombre: 'compras',
    corte_minimo: 2,
    reintentos: 'lenta',
  })
  await gone.close()
  await world.listener(() => ({ status: 200 }), { nombre: 'sano', eventos: 'nada' })
  await world.set('reintentos lenta', { estrategia: 'lista', esperas: '1h' })
  const first = await world.worker()
  await world.cli(['send', '--lote'], { input: '{"evento":"x","datos":1}\n'.repeat(6) })
  const state = async (): Promise<Attention> => JSON.parse((await world.cli(['estado', '--json'])).stdout)
  const problemOf = ({ problemas }: Attention, kind: string) => problemas.find(({ clase }) => clase === kind)
  await until(async () => problemOf(await state(), 'corte')?.esperan === 6)
  const { problemas, al_dia, faltan, esperan, ...all } = await state()
  expect(problemas).toMatchObject([
    {
      listener: 'compras',
      gravedad: 'mal',
      causa: 'nadie atiende en el puerto (nunca entregó)',
      que_hacer: 'probar compras',
    },
  ])
  expect(problemas[0]!.desde).not.toBeNull()
  expect({ al_dia, faltan, esperan }).toEqual({ al_dia: ['sano'], faltan: 0, esperan: 6 })
  expect(all).toMatchObject({ formato: 2, veredicto: 'mal', postgres: 'ok', ritmo: { hora: { con_error: 1 } } })

  // The plugin: the verdict, or a threshold, whichever is worse; 3 where it cannot be known.
  const check = async (...args: string[]) => (await world.cli(['estado', '--comprobar', ...args])).code
  expect(await check()).toBe(2)
  expect(await check('--umbral-edad', 'mucho')).toBe(3)
  expect(await check('--umbral-edda', '5m')).toBe(3)
  await world.cli(['pausar', 'compras', '--hasta', '2h'])
  expect(await check('--umbral-edad', '5m,15m')).toBe(0)
  expect(await check('--umbral-fallidas', '1:')).toBe(1)
  await world.cli(['reanudar', 'compras'])

  // The audit has all of it, and then Redis loses all it had, while a worker lives.
  await until(async () => (await state()).auditoria_pendiente === 0)
  const dying = await aged(world)
  const left = await world.redis.keys(`${world.keys.inbox.slice(0, -'entrada'.length)}*`)
  await world.redis.unlink(left)
  await until(async () => problemOf(await state(), 'faltan')?.esperan === 6)
  const doctor = await world.cli(['verificar', '--json'])
  expect(doctor.code).toBe(1)
  expect(JSON.parse(doctor.stdout).verificaciones).toContainEqual(
    expect.objectContaining({
      verificacion: 'Redis y auditoría',
      resultado: 'error',
      que_hacer: 'resthooks recuperar',
    }),
  )
  expect((await world.cli(['estado'])).stdout).toMatch(/^MAL .* · faltan 6: resthooks recuperar$/m)
  await world.cli(['recuperar'])
  expect(await state()).toMatchObject({ faltan: 0, esperan: 6 })

  first.kill('SIGKILL')
  await first.waitExit()
  await world.redis.hset(world.keys.workers, 'muerto', dying)
  const dead = (await state()).workers.find(({ worker }) => worker === 'muerto')
  expect(dead).toMatchObject({ estado: 'muerto', vivo: false, en_curso: 57 })
  // Whoever might have taken it over has just died too. Soon after midnight it died on the day before.
  expect((await world.cli(['estado'])).stdout).toMatch(
    /murió (\d\d\/\d\d(\/\d{4})? )?\d\d:\d\d:\d\d, (heredadas 57|con 57 en curso)/,
  )
})

/** The sign of life that a worker gave some minutes ago. */
async function aged({ redis, keys }: World): Promise<string> {
  const [text] = await redis.hvals(keys.workers)
  return JSON.stringify({ ...JSON.parse(text!), worker: 'muerto', visto: Date.now() - 300_000, en_curso: 57 })
}
