/** `recuperar`: what Redis lost comes back from Postgres, and nothing else does. */
import { closedGate } from '../support/gate.ts'
import { until } from '../support/until.ts'
import { expect, test, type World } from '../support/world.ts'

/** Forgets everything that Redis has of this project, as FLUSHALL does. */
async function flush({ redis, instancia, proyecto }: World): Promise<void> {
  const keys = await redis.keys(`resthooks:{${instancia}:${proyecto}}:*`)
  if (keys.length > 0) await redis.unlink(keys)
}

/** What waits for its hour waits no more. */
async function dueNow({ redis }: World, key: string): Promise<void> {
  const waiting = await redis.zrange(key, '0', '-1')
  expect(waiting).not.toEqual([])
  for (const member of waiting) await redis.zadd(key, 0, member)
}

async function audited(world: World, id: string, estado: string, count = 1): Promise<void> {
  await until(async () => (await world.audit(id)).filter((row) => row.estado === estado).length >= count, {
    what: `${id} ${estado} in the audit`,
  })
}

async function recover(world: World, args: readonly string[] = []) {
  const { stdout, stderr, code } = await world.cli(['recuperar', '--json', ...args])
  expect(stderr).toBe('')
  expect(code).toBe(0)
  return JSON.parse(stdout)
}

test('after a flush, waiting, retrying and delayed messages come back whole, and what had ended is not sent again', async ({
  world,
}) => {
  let open = false
  const held = await world.listener(() => ({ status: open ? 200 : 503 }), { nombre: 'caido', eventos: 'a.*' })
  const fine = await world.listener(() => ({ status: 200 }), { nombre: 'bien' })
  await world.set('reintentos', { esperas: '1h, 1h' })
  const worker = await world.worker()
  const body = '{"n":12345678901234567890,"a":1,"a":"ñ\\u00f1"}'
  const retrying = await world.send('a.uno', body, ['--cabecera', 'X-A: b', '--ruta', 'x/y', '--metodo', 'PUT'])
  await audited(world, retrying, 'reintentando')
  await audited(world, retrying, 'exitosa')
  expect((await world.cli(['pausar', 'caido', 'bien'])).code).toBe(0)
  const waiting = await world.send('a.dos', { n: 2 })
  await audited(world, waiting, 'pendiente', 2)
  // Longer than it takes to stop the worker, also on a machine with more to do.
  const delayed = await world.send('a.tres', { n: 3 }, ['--demora', '8s'])
  await until(
    async () => (await world.sql`SELECT 1 FROM ${world.sql(world.schema)}.mensaje WHERE id = ${delayed}`).length,
  )
  worker.kill('SIGTERM')
  await worker.waitExit()

  await flush(world)
  expect(await recover(world, ['--simulacro'])).toMatchObject({ pendientes: 2, reintentos: 1, demoradas: 1 })
  expect(await world.redis.exists(world.keys.lane('bien').queue)).toBe(0)
  expect(await recover(world)).toMatchObject({
    simulacro: false,
    pendientes: 2,
    reintentos: 1,
    demoradas: 1,
    no_recuperables: 0,
    listeners: expect.arrayContaining([
      { listener: 'bien', pendientes: 1, reintentos: 0 },
      { listener: 'caido', pendientes: 1, reintentos: 1 },
    ]),
  })
  const [due] = await world.sql`
    SELECT proximo_intento FROM ${world.sql(world.schema)}.entrega WHERE mensaje_id = ${retrying} AND listener = 'caido'`
  const score = await world.redis.zscore(world.keys.lane('caido').retries, retrying)
  expect(Number(score)).toBe(due!.proximo_intento.getTime())
  expect(await recover(world)).toMatchObject({ pendientes: 0, reintentos: 0, demoradas: 0 })

  open = true
  await dueNow(world, world.keys.lane('caido').retries)
  await world.worker()
  await world.settled([retrying, waiting, delayed], { timeout: 40_000 })
  const again = held.requests.filter(({ headers }) => headers['webhook-id'] === retrying)
  expect(again.map(({ headers }) => headers['x-resthooks-intento'])).toEqual(['1', '2'])
  expect(again[1]).toMatchObject({ method: 'PUT', url: '/x/y', headers: { 'x-a': 'b' } })
  expect(again[1]!.body.toString()).toBe(body)
  for (const id of [retrying, waiting, delayed]) {
    expect(fine.requests.filter(({ headers }) => headers['webhook-id'] === id)).toHaveLength(1)
    expect(await world.audit(id)).toMatchObject([{ estado: 'exitosa' }, { estado: 'exitosa' }])
  }
  // Nothing is left of the finished ones.
  const left = await world.redis.keys(`${world.keys.messagePrefix}*`)
  expect(left).toEqual([])
  expect(await world.redis.hlen(world.keys.remaining)).toBe(0)
})

test('nothing that Redis still has is doubled, however it waits there', async ({ world }) => {
  const listener = await world.listener((_, n) => ({ status: n === 1 ? 503 : 200 }), { nombre: 'uno' })
  await world.set('reintentos', { esperas: '1h' })
  const worker = await world.worker()
  const retrying = await world.send('x', { n: 1 })
  await audited(world, retrying, 'reintentando')
  await world.cli(['pausar', 'uno'])
  const waiting = await world.send('x', { n: 2 })
  await audited(world, waiting, 'pendiente')
  worker.kill('SIGKILL')
  await worker.waitExit()
  const inbox = await world.send('x', { n: 3 })
  const delayed = await world.send('x', { n: 4 }, ['--demora', '1s'])
  expect(await recover(world)).toMatchObject({ pendientes: 0, reintentos: 0, demoradas: 0, no_recuperables: 0 })
  await dueNow(world, world.keys.lane('uno').retries)
  await world.cli(['reanudar', 'uno'])
  await world.worker()
  const ids = [retrying, waiting, inbox, delayed]
  await world.settled(ids)
  const seen = listener.requests.map(({ headers }) => headers['webhook-id'])
  expect(seen.toSorted()).toEqual([retrying, ...ids].toSorted())
})

test('what ended in Redis while its audit still waits there is not sent again', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 200 }))
  await world.createSchema()
  await world.setEnv({ REST_HOOKS_DB_SCHEMA: 'no_existe' })
  const worker = await world.worker()
  const id = await world.send('x', { n: 1 })
  await listener.received(1)
  await until(async () => (await world.redis.hlen(world.keys.lane('escucha1').deliveries)) === 0)
  worker.kill('SIGKILL')
  await worker.waitExit()
  await world.setEnv({ REST_HOOKS_DB_SCHEMA: world.schema })
  expect(await recover(world)).toMatchObject({ pendientes: 0 })
  expect(await world.redis.xlen(world.keys.audit)).toBe(0)
  expect(await world.audit(id)).toMatchObject([{ estado: 'exitosa', intentos: [{ numero: 1 }] }])
})

test('the log says that Redis lost its data, and not that somebody resumed what was paused', async ({ world }) => {
  await world.listener(() => ({ status: 200 }), { nombre: 'quieto' })
  const worker = await world.worker()
  expect((await world.cli(['pausar', 'quieto'])).code).toBe(0)
  await until(() => worker.output.includes('listener pausado'))
  await flush(world)
  await until(() => worker.output.includes('Redis perdió sus datos'))
  const line = worker.output.split('\n').find((each) => each.includes('Redis perdió sus datos'))
  expect(JSON.parse(line!)).toMatchObject({ nivel: 'error', pausados: ['quieto'] })
  expect(worker.output).not.toContain('listener reanudado')
})

test('an accepted request whose outcome Redis lost counts as delivered, and its on_success runs', async ({ world }) => {
  const gate = closedGate()
  const listener = await world.listener(() => gate.opened.then(() => ({ status: 200 })), {
    nombre: 'lento',
    espera_total: '5m',
    on_success: 'evento:aviso.entregada',
  })
  const worker = await world.worker()
  const id = await world.send('x', { n: 1 }, ['--listener', 'lento'])
  await until(() => listener.pending === 1)
  await audited(world, id, 'pendiente')
  await flush(world)
  gate.open()
  await until(async () => (await world.audit(id))[0]?.intentos.length === 1)
  expect(await world.audit(id)).toMatchObject([{ estado: 'pendiente', intentos: [{ resultado: 'exito' }] }])
  expect(await recover(world)).toMatchObject({ pendientes: 0, ya_aceptadas: 1 })
  await audited(world, id, 'exitosa')
  await until(async () => (await world.callbacks(id)).some(({ tipo }) => tipo === 'on_success'))
  worker.kill('SIGTERM')
  await worker.waitExit()
  expect(listener.requests.filter(({ headers }) => headers['webhook-id'] === id)).toHaveLength(1)
})

test('after Redis lost its last seconds the audit ends in the true state, and what was accepted is not sent again', async ({
  world,
}) => {
  let open = false
  const listener = await world.listener(() => ({ status: open ? 200 : 503 }), { nombre: 'a' })
  await world.set('reintentos', { esperas: '10ms, 10ms, 1h' })
  expect((await world.cli(['pausar', 'a'])).code).toBe(0)
  const worker = await world.worker()
  const id = await world.send('x', { n: 1 })
  await audited(world, id, 'pendiente')
  const { redis, instancia, proyecto } = world
  const names = (await redis.keys(`resthooks:{${instancia}:${proyecto}}:*`)).filter((key) => !key.endsWith(':pausas'))
  const copies = await Promise.all(names.map((key) => redis.dumpBuffer(key)))
  expect((await world.cli(['reanudar', 'a'])).code).toBe(0)
  await until(async () => (await world.audit(id))[0]?.intentos.length === 3)
  worker.kill('SIGKILL')
  await worker.waitExit()

  await flush(world)
  for (const [i, key] of names.entries()) await redis.restore(key, 0, copies[i]!)
  open = true
  await world.worker()
  await listener.received(4)
  await until(async () => (await world.audit(id))[0]?.intentos.length === 4)
  await audited(world, id, 'exitosa')
  await flush(world)
  expect(await recover(world)).toMatchObject({ pendientes: 0, reintentos: 0 })
  expect(listener.requests).toHaveLength(4)
})

test('a flush in the middle of a run, recovered twice at once with workers at work, ends everything once it is known', async ({
  world,
}) => {
  const listener = await world.listener(() => ({ status: 200, delay: 5 }), { concurrencia: 4, nombre: 'a' })
  const other = await world.listener(() => ({ status: 200, delay: 5 }), { concurrencia: 4, nombre: 'b' })
  await Promise.all([world.worker(), world.worker()])
  const input = Array.from({ length: 300 }, (_, n) => `{"evento":"x","datos":${n}}`).join('\n')
  const ids = (await world.cli(['send', '--lote'], { input })).stdout.trimEnd().split('\n')
  await listener.received(40)
  const known = async () => {
    const rows = await world.sql`SELECT id FROM ${world.sql(world.schema)}.mensaje`
    return rows.map(({ id }) => String(id))
  }
  await until(async () => (await known()).length === ids.length, { timeout: 20_000 })
  await flush(world)
  const results = await Promise.all([recoverQuietly(world), recoverQuietly(world)])
  expect(results.map(({ code }) => code)).toEqual([0, 0])
  await world.settled(ids, { timeout: 30_000 })
  for (const { requests } of [listener, other]) {
    const count = new Map<string, number>()
    for (const { headers } of requests) {
      const id = String(headers['webhook-id'])
      count.set(id, (count.get(id) ?? 0) + 1)
    }
    expect(count.size).toBe(300)
    // What was in flight, or had its outcome in the stream, at the flush.
    expect(requests.length - 300).toBeLessThanOrEqual(60)
  }
  await until(async () => (await world.redis.keys(`${world.keys.messagePrefix}*`)).length === 0)
  expect(await world.redis.hlen(world.keys.remaining)).toBe(0)
})

async function recoverQuietly(world: World) {
  return world.cli(['recuperar', '--json'])
}

test('one listener’s deleted queue comes back, and the others keep theirs', async ({ world }) => {
  const lost = await world.listener(() => ({ status: 200 }), { nombre: 'perdido' })
  const kept = await world.listener(() => ({ status: 200 }), { nombre: 'intacto' })
  await world.cli(['pausar', '--todos'])
  await world.worker()
  const ids = [await world.send('x', { n: 1 }), await world.send('x', { n: 2 })]
  for (const id of ids) await audited(world, id, 'pendiente', 2)
  await world.redis.del(world.keys.lane('perdido').queue)
  expect(await recover(world)).toMatchObject({ pendientes: 2, listeners: [{ listener: 'perdido', pendientes: 2 }] })
  await world.cli(['reanudar', '--todos', '--tambien-sin-fin'])
  await world.settled(ids)
  for (const { requests } of [lost, kept]) {
    expect(requests.map(({ headers }) => headers['webhook-id'])).toEqual(ids)
  }
  expect(await world.redis.keys(`${world.keys.messagePrefix}*`)).toEqual([])
})

test('a message whose body is not audited cannot come back: it is named, and the exit code is 1', async ({ world }) => {
  await world.listener(() => ({ status: 200 }), { nombre: 'reservado', auditar_cuerpo: 0 })
  await world.cli(['pausar', '--todos'])
  await world.worker()
  const id = await world.send('x', { n: 1 })
  await audited(world, id, 'pendiente')
  await flush(world)
  const json = await world.cli(['recuperar', '--json'])
  expect(json.code).toBe(1)
  expect(JSON.parse(json.stdout)).toMatchObject({
    pendientes: 0,
    no_recuperables: 1,
    problemas: [{ mensaje_id: id, listener: 'reservado', motivo: expect.stringContaining('auditar_cuerpo') }],
  })
  const text = await world.cli(['recuperar'])
  expect(text.code).toBe(1)
  expect(text.stderr).toContain(id)
})

test('without Redis or without Postgres it exits 4, and changes nothing', async ({ world }) => {
  await world.createSchema()
  await world.setEnv({ REST_HOOKS_REDIS_PORT: '1' })
  expect(await world.cli(['recuperar'])).toMatchObject({ code: 4, stderr: expect.stringContaining('Redis') })
  await world.setEnv({ REST_HOOKS_REDIS_PORT: String(world.redis.options.port), REST_HOOKS_DB_PORT: '1' })
  expect(await world.cli(['recuperar'])).toMatchObject({ code: 4, stderr: expect.stringContaining('Postgres') })
})
