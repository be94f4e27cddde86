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
