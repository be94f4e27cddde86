/** Changing the configuration under a running worker: nothing is dropped, and a broken file changes nothing. */
import { appendFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { closedGate } from '../support/gate.ts'
import { startRedis } from '../support/redis-server.ts'
import { until } from '../support/until.ts'
import { expect, test } from '../support/world.ts'

test('resthooks_activo = 0 stops running workers from taking messages, and 1 lets them go on', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 200 }))
  const worker = await world.worker()
  await world.settled(await world.send('x', { n: 1 }))

  await world.set('', { resthooks_activo: 0 })
  await worker.logged(/recarg/i)
  await world.push({ id: 'espera', evento: 'x', datos: { n: 2 } })
  await new Promise((resolve) => setTimeout(resolve, 700))
  expect(listener.requests).toHaveLength(1)
  expect(worker.child.exitCode).toBeNull()

  await world.set('', { resthooks_activo: 1 })
  await world.settled('espera')
  expect(listener.requests).toHaveLength(2)
})

test('a changed file is obeyed without a restart', async ({ world }) => {
  const before = await world.listener(() => ({ status: 200 }), { nombre: 'antes' })
  await world.worker()
  await world.settled(await world.send('x', { n: 1 }))

  const added = await world.listener(() => ({ status: 200 }), { nombre: 'agregado' })
  await world.set('listener antes', { activo: 0 })
  await until(async () => {
    await world.settled(await world.send('x', { n: 2 }))
    return added.requests.length > 0
  })
  const count = before.requests.length
  await world.settled(await world.send('x', { n: 3 }))
  expect(before.requests).toHaveLength(count)
})

test('SIGHUP reloads at once, and a request in the middle is finished', async ({ world }) => {
  const gate = closedGate()
  const slow = await world.listener(() => gate.opened.then(() => ({ status: 200 })), {
    nombre: 'lento',
    eventos: 'lento',
  })
  const worker = await world.worker()
  const inTheMiddle = await world.send('lento', {})
  await slow.received(1)
  const added = await world.listener(() => ({ status: 200 }), { nombre: 'nuevo', eventos: 'nuevo' })
  worker.kill('SIGHUP')
  await worker.logged(/recarg/i)
  await world.settled(await world.send('nuevo', {}))
  expect(added.requests).toHaveLength(1)
  gate.open()
  await world.settled(inTheMiddle)
  expect(slow.requests).toHaveLength(1)
})

test('a file with errors is reported and the old one stays in force', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 200 }))
  const worker = await world.worker()
  await world.settled(await world.send('x', { n: 1 }))

  const good = await readFile(world.ini, 'utf8')
  await appendFile(world.ini, '\n[listener roto]\nurll = http://127.0.0.1:1\n')
  worker.kill('SIGHUP')
  await worker.logged('urll')
  await world.push({ id: 'sigue', evento: 'x', datos: {} })
  await world.settled('sigue')
  expect(listener.requests).toHaveLength(2)

  await writeFile(world.ini, good)
  worker.kill('SIGHUP')
  await world.settled(await world.send('x', { n: 3 }))
  expect(listener.requests).toHaveLength(3)
})

test('without a configuration that can be used the old one stays in force, and everybody is told', async ({
  world,
}) => {
  const listener = await world.listener(() => ({ status: 200 }), { nombre: 'fijo' })
  const worker = await world.worker()
  const good = await readFile(world.ini, 'utf8')
  const goodEnv = await readFile(world.env, 'utf8')
  const refusals = () => worker.log.filter(({ mensaje }) => /sigue en vigor la anterior/.test(String(mensaje)))
  const breakages: [what: string, change: () => Promise<unknown>, told: RegExp][] = [
    ['deleted', () => rm(world.ini), /no hay resthooks\.ini/],
    ['emptied', () => writeFile(world.ini, ''), /no define ningún \[listener NOMBRE\]/],
    ['comments alone', () => writeFile(world.ini, good.replace(/^/gm, ';')), /no define ningún/],
    ['without listeners', () => writeFile(world.ini, '[workers]\nconcurrencia = 5\n'), /no define ningún/],
    ['a folder', () => rm(world.ini).then(() => mkdir(world.ini)), /tiene un error:\n.*es una carpeta/],
    ['instalador.env deleted', () => rm(world.env), /instalador\.env: estaba en uso y ya no está/],
    ['instalador.env emptied', () => writeFile(world.env, ''), /instalador\.env: quedó sin ninguna variable/],
  ]
  const repair = async () => {
    await rm(world.ini, { recursive: true, force: true })
    await writeFile(world.ini, good)
    await writeFile(world.env, goodEnv, { mode: 0o600 })
  }
  for (const [n, [what, change, told]] of breakages.entries()) {
    await repair()
    await change()
    worker.kill('SIGHUP')
    await until(() => refusals().length === n + 1, { what })
    expect(String(refusals()[n]!.detalle), what).toMatch(told)
    await world.push({ id: `sigue-${n}`, evento: 'x', datos: {} })
    await listener.received(n + 1)
  }
  // What instalador.env said, for the commands that look on meanwhile.
  const environment = Object.fromEntries(
    [...goodEnv.matchAll(/^(\w+)="(.*)"$/gm)].map(([, name, value]) => [name!, value!]),
  )
  const beats = async () => Object.values(await world.redis.hgetall(world.keys.workers)).map((text) => JSON.parse(text))
  // A heartbeat may still tell of a refusal before the last one.
  await until(async () => /quedó sin ninguna/.test((await beats())[0]?.configuracion_rechazada?.motivo))
  for (const command of ['estado', 'verificar']) {
    const { stdout } = await world.cli([command, '--json'], { env: environment })
    expect(stdout, command).toMatch(
      /sigue con la configuración anterior: .*instalador\.env: quedó sin ninguna variable/,
    )
  }
  await repair()
  worker.kill('SIGHUP')
  await until(async () => (await beats())[0]?.configuracion_rechazada === null)
  expect((await world.cli(['estado', '--json'])).stdout).not.toContain('configuración anterior')
})

// Those that are concurrent wait most of their time.
test.concurrent('a file rewritten in place under load loses no message', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 200 }), { nombre: 'fijo' })
  const worker = await world.worker()
  const good = await readFile(world.ini, 'utf8')
  for (let n = 0; n < 50; n++) {
    await writeFile(world.ini, good.slice(0, (n * 37) % good.length))
    if (n % 10 === 0) worker.kill('SIGHUP')
    await world.push({ id: `m${n}`, evento: 'x', datos: {} })
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await writeFile(world.ini, good)
  await listener.received(50)
})

test.concurrent('workers with different configurations say so, and so do estado and verificar', async ({ world }) => {
  await world.listener(() => ({ status: 200 }), { nombre: 'comun' })
  const one = await world.worker()
  const good = await readFile(world.ini, 'utf8')
  const other = join(world.folder, 'otro.ini')
  await writeFile(other, `${good}\n[listener extra]\nurl = http://127.0.0.1:1\n`)
  const two = await world.worker(['--config', other])
  for (const worker of [one, two]) await worker.logged('otros workers tienen otra configuración')
  for (const command of ['estado', 'verificar']) {
    expect((await world.cli([command, '--json'])).stdout, command).toMatch(/no todos tienen la misma/)
  }
})

test.concurrent('a changed password of Redis or Postgres is taken without a restart, whichever side changes first', {
  timeout: 60_000,
}, async ({ world }) => {
  const server = await startRedis(['--requirepass', 'uno'])
  const role = `rol_${world.schema}`
  await world.sql.unsafe(`CREATE ROLE ${role} LOGIN SUPERUSER PASSWORD 'uno'`)
  const admin = new Redis({ port: server.port, password: 'uno' })
  try {
    await world.setEnv({ REST_HOOKS_REDIS_PORT: String(server.port), REST_HOOKS_REDIS_PASSWORD: 'uno' })
    await world.setEnv({ REST_HOOKS_DB_USERNAME: role, REST_HOOKS_DB_PASSWORD: 'uno' })
    const listener = await world.listener(() => ({ status: 200 }))
    const worker = await world.worker()
    await world.settled(await world.send('x', 1))

    const cut = async (password: string) => {
      await admin.config('SET', 'requirepass', password)
      await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
      await admin.call('CLIENT', 'KILL', 'SKIPME', 'yes', 'TYPE', 'normal')
      await world.sql.unsafe(`ALTER ROLE ${role} PASSWORD '${password}'`)
      await world.sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ${role}`
    }
    // First the files.
    await world.setEnv({ REST_HOOKS_REDIS_PASSWORD: 'dos', REST_HOOKS_DB_PASSWORD: 'dos' })
    await worker.logged('cambió el acceso')
    await cut('dos')
    await world.settled(await world.send('x', 2))
    // First the servers: the worker is refused, says why, and asks the files again.
    await cut('tres')
    await worker.logged('rechaza el usuario o la clave')
    await world.setEnv({ REST_HOOKS_REDIS_PASSWORD: 'tres', REST_HOOKS_DB_PASSWORD: 'tres' })
    await world.settled(await world.send('x', 3))
    expect(listener.requests).toHaveLength(3)
    expect(worker.child.exitCode).toBeNull()
    expect(worker.output).not.toMatch(/writeable|enableOfflineQueue|Connection is closed/)
    expect(worker.log.filter(({ mensaje }) => /^Redis no admite/.test(String(mensaje)))).toHaveLength(1)
  } finally {
    admin.disconnect()
    await server.stop()
    await world.sql.unsafe(`REASSIGN OWNED BY ${role} TO CURRENT_USER; DROP ROLE ${role}`)
  }
})
