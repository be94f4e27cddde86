/** The public door: what other programs LPUSH is worked just like what `send` enqueues (INTERFACE §4). */

import { until } from '../support/until.ts'
import { expect, test } from '../support/world.ts'

test('an entry with cuerpo is sent byte for byte, with its own method, path, headers and id', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 200 }))
  await world.push(
    '{"v":1,"id":"propio-1","evento":"proveedor.alta","cuerpo":"{\\"id\\":7}","tipo_contenido":"application/json",' +
      '"metodo":"PUT","ruta":"proveedores/7","cabeceras":{"X-A":"b"},"creado":"2026-11-24T20:00:00Z"}',
  )
  await world.settled('propio-1')
  const [request] = listener.requests
  expect(request).toMatchObject({ method: 'PUT', url: '/proveedores/7', body: Buffer.from('{"id":7}') })
  expect(request!.headers).toMatchObject({ 'x-a': 'b', 'webhook-id': 'propio-1', 'content-type': 'application/json' })
})

test('an entry with datos is sent as it was written, not as it parses', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 200 }))
  const data = '{ "z":12345678901234567890, "a":1.0, "b":"\\u00f1\\/", "a":2 }'
  await world.push(`{"id":"d1","evento":"x","datos":${data},"creado":"2026-11-24T20:00:00Z"}`)
  await world.settled('d1')
  expect(listener.requests[0]!.body.toString()).toBe(data)
})

test('what was pushed without a word is found by a worker that sleeps, every sondeo', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 200 }))
  await world.worker()
  await world.push('{"id":"primero","evento":"x"}')
  await world.settled('primero')
  const pushedAt = Date.now()
  await world.push('{"id":"callado","evento":"x"}')
  await until(() => listener.requests.length === 2, { what: 'the second request' })
  // A second, and as much again as a busy machine wants; its loops look by themselves after 15.
  expect(Date.now() - pushedAt).toBeLessThan(9_000)
})

test('an entry with cuerpo_base64 is sent as bytes', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 200 }))
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
  await world.push({
    id: 'b1',
    evento: 'x',
    cuerpo_base64: bytes.toString('base64'),
    tipo_contenido: 'application/pdf',
  })
  await world.settled('b1')
  expect(listener.requests[0]!.body).toEqual(bytes)
  expect(listener.requests[0]!.headers['content-type']).toBe('application/pdf')
  const [row] = await world.sql`SELECT cuerpo FROM ${world.sql(world.schema)}.mensaje WHERE id = 'b1'`
  expect(row!.cuerpo).toEqual(bytes)
})

test('an entry without id is given one', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 200 }))
  await world.push({ evento: 'x', datos: null })
  await world.worker()
  const [request] = await listener.received(1)
  expect(request!.body.toString()).toBe('null')
  await world.settled(String(request!.headers['webhook-id']))
})

test('entries that cannot be understood are kept whole and counted, and the queue goes on', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 200 }))
  const bad = [
    Buffer.from('esto no es JSON'),
    Buffer.from('['.repeat(100_000)),
    Buffer.from('[1,2]'),
    Buffer.from('{"datos":{}}'),
    Buffer.from('{"evento":"x","v":99}'),
    Buffer.from('{"evento":"x","cuerpo":"a","datos":1}'),
    Buffer.from('{"evento":"x","cuerpo_base64":"*"}'),
    Buffer.from([0xff, 0xfe, 0x00, 0x7b]),
    Buffer.alloc(0),
  ]
  for (const entry of bad) await world.push(entry)
  const id = await world.send('x', { n: 1 })
  await world.settled(id)
  expect(listener.requests).toHaveLength(1)
  const kept = await until(async () => {
    const found = await world.redis.lrangeBuffer(world.keys.inboxInvalid, 0, -1)
    return found.length === bad.length ? found : null
  })
  for (const entry of bad) expect(kept.some((each) => each.includes(entry))).toBe(true)
  const state = await world.cli(['estado', '--json'])
  expect(state.code).toBe(0)
  expect(state.stdout).toMatch(new RegExp(`"[a-z_]*invalid[a-z_]*": ?${bad.length}\\b`))
})

test('an id that comes again once it has ended is another round: sent, and its state is that of the last one', async ({
  world,
}) => {
  const answers = [503, 422, 200]
  const listener = await world.listener(() => ({ status: answers.shift() ?? 500 }))
  await world.push({ id: 'orden-7', evento: 'x', datos: { n: 1 } })
  await world.settled('orden-7')
  expect(await world.audit('orden-7')).toMatchObject([{ estado: 'fallida' }])
  await world.push({ id: 'orden-7', evento: 'x', datos: { n: 2 } })
  await listener.received(3)
  await until(async () => (await world.audit('orden-7'))[0]?.estado === 'exitosa')
  const [last] = await world.audit('orden-7')
  expect(last).toMatchObject({ motivo: null, intentos: [{ numero: 1 }, { numero: 1 }, { numero: 2 }] })
  const { stdout } = await world.cli(['ver', 'orden-7'])
  expect(stdout).toContain('n=2')
  expect(stdout).toContain('2 mensajes con este id; éste es el último')
})

test('what is of another version waits whole and is counted: an envelope, a body, a callback, a state, a pause, an event', async ({
  world,
}) => {
  const { redis, keys } = world
  const listener = await world.listener(() => ({ status: 200 }), { nombre: 'a' })
  await world.listener(() => ({ status: 200 }), { nombre: 'en-pausa' })
  await world.worker()
  await redis.hset(keys.paused, 'en-pausa', 'hasta-el-jueves')
  const callbacks = keys.lane('@callbacks')
  const lane = keys.lane('a')
  const body = '{"v":2,"evento":"x","cuerpo":"\\u00f1"}'
  const job = '{"v":2,"tipo":"on_partial","mensaje":"m"}'
  await redis.xadd(keys.audit, '*', 's', '1795704900324 {"v":9,"m":"m"}\n')
  await world.push(body)
  await redis.set(`${keys.messagePrefix}de-otra`, body)
  await redis.rpush(lane.queue, 'de-otra')
  await redis.set(`${keys.messagePrefix}otro-estado`, '{"id":"otro-estado","evento":"x"}')
  await redis.hset(lane.deliveries, 'otro-estado', 'v2 made=3')
  await redis.rpush(lane.queue, 'otro-estado')
  await redis.set(`${keys.messagePrefix}un-callback`, job)
  await redis.rpush(callbacks.queue, 'un-callback')
  await redis.set(`${keys.messagePrefix}ruina`, 'ni JSON')
  await redis.rpush(callbacks.queue, 'ruina')
  await until(async () => (await redis.zcard(lane.retries)) === 2 && (await redis.zcard(callbacks.retries)) === 2)
  const id = await world.send('x', { n: 1 }, ['--listener', 'a'])
  await world.settled(id)
  await until(async () => (await redis.llen(keys.inboxInvalid)) === 1)

  expect(await redis.lrange(keys.inboxInvalid, 0, -1)).toEqual([body])
  expect(await redis.mget(...['de-otra', 'un-callback', 'ruina'].map((each) => keys.messagePrefix + each))).toEqual([
    ...[body, job, 'ni JSON'],
  ])
  expect(await redis.hget(lane.deliveries, 'otro-estado')).toBe('v2 made=3')
  expect(listener.requests.map(({ headers }) => headers['webhook-id'])).toEqual([id])
  const { stdout } = await world.cli(['estado', '--json'])
  const estado = JSON.parse(stdout)
  expect(estado).toMatchObject({
    entrada_invalida: 1,
    auditoria_rechazada: 1,
    callbacks: { reintentos: 2, fallidas: 0 },
  })
  expect(estado.listeners).toMatchObject([
    { listener: 'a', reintentos: 2, fallidas: 0 },
    { listener: 'en-pausa', pausado: 'hasta-el-jueves' },
  ])
  expect((await world.audit('de-otra'))[0]).toMatchObject({ estado: 'reintentando', intentos: [] })
})

test('an id of 20 digits keeps them, and one that the version before rounded stays the same in every attempt', async ({
  world,
}) => {
  const listener = await world.listener(() => ({ status: 200 }), { nombre: 'x' })
  await world.worker()
  // As the version before left it: dispatched under the id that it had read.
  const [written, rounded] = ['12345678901234567891', '12345678901234567000']
  await world.redis.set(`${world.keys.messagePrefix}${rounded}`, `{"id":${written},"evento":"e","datos":1}`)
  await world.redis.lpush(world.keys.lane('x').queue, rounded)
  await listener.received(1)
  await world.push('{"id":12345678901234567892,"evento":"e","datos":2}')
  await listener.received(2)
  const ids = listener.requests.map(({ headers }) => headers['webhook-id'])
  expect(ids).toEqual([rounded, '12345678901234567892'])
})

test('a message larger than max_mensaje is refused by send, and set aside where another program enqueued it', async ({
  world,
}) => {
  const listener = await world.listener(() => ({ status: 200 }))
  await world.set('workers', { max_mensaje: '64k' })
  const big = JSON.stringify('x'.repeat(70_000))
  const refused = await world.cli(['send', 'x', '-'], { input: big })
  expect(refused).toMatchObject({ code: 2, stdout: '' })
  expect(refused.stderr).toMatch(/pesa 69k, más que max_mensaje \(64k\)/)
  const lines = [`{"evento":"x","datos":1}`, `{"evento":"x","datos":${big}}`].join('\n')
  const batch = await world.cli(['send', '--lote'], { input: lines })
  expect(batch.code).toBe(1)
  expect(batch.stderr).toMatch(/línea 2: pesa 69k/)

  const entry = `{"evento":"x","datos":${JSON.stringify('x'.repeat(2_000_000))}}`
  await world.push(entry)
  await world.push({ evento: 'x', datos: 2 })
  const worker = await world.worker()
  await listener.received(2)
  await worker.logged('max_mensaje')
  expect(listener.requests.map(({ body }) => body.toString()).toSorted()).toEqual(['1', '2'])
  expect(await world.redis.lrange(world.keys.inboxInvalid, 0, -1)).toEqual([entry])
  const { stdout } = await world.cli(['verificar'])
  expect(stdout).toMatch(/pesa 2000\d+ bytes: vea max_mensaje/)
})
