/** `estado`: what waits, who works, and what cannot be known. */
import { onTestFinished } from 'vitest'
import { BIN, spawnProgram } from '../support/cli.ts'
import { freePort } from '../support/ports.ts'
import { startRedis } from '../support/redis-server.ts'
import { until } from '../support/until.ts'
import { expect, test } from '../support/world.ts'

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
