/** The way of a message through the real binary: sent, delivered, retried, given up, called back, audited. */
import { Webhook } from 'standardwebhooks'
import { expect, test } from '../support/world.ts'

test('a message reaches its listener, and the audit tells what was sent and answered', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 201, body: '{"aceptado":true}' }), {
    nombre: 'proveedores',
    ruta: 'api/proveedores/{datos.id}',
    metodo: 'PUT',
  })
  const id = await world.send('proveedor.alta', { id: 7, razon_social: 'Núñez S.A.' })
  await world.settled(id)

  expect(listener.requests).toHaveLength(1)
  const [request] = listener.requests
  expect(request).toMatchObject({ method: 'PUT', url: '/api/proveedores/7' })
  expect(request!.headers).toMatchObject({
    'webhook-id': id,
    'webhook-timestamp': expect.stringMatching(/^\d{10}$/),
    'x-resthooks-evento': 'proveedor.alta',
    'x-resthooks-intento': '1',
    'user-agent': expect.stringMatching(/^resthooks\/\d/),
    'content-type': 'application/json',
  })
  expect(request!.body.toString()).toBe('{"id":7,"razon_social":"Núñez S.A."}')
  expect(await world.audit(id)).toMatchObject([
    {
      listener: 'proveedores',
      estado: 'exitosa',
      intentos: [
        {
          numero: 1,
          metodo: 'PUT',
          url: `${listener.url}/api/proveedores/7`,
          ip: '127.0.0.1',
          http_estado: 201,
          respuesta_cuerpo: Buffer.from('{"aceptado":true}'),
          resultado: 'exito',
          error: null,
        },
      ],
    },
  ])
  expect(await world.callbacks(id)).toEqual([])
})

test('a listener that rejects the content is not retried, and its on_failure runs once', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 422 }))
  const id = await world.send('compra.alta', { n: 1 })
  await world.settled(id)
  expect(listener.requests).toHaveLength(1)
  expect(await world.audit(id)).toMatchObject([
    { estado: 'fallida', intentos: [{ http_estado: 422, resultado: 'fallo' }] },
  ])
  expect(await world.callbacks(id)).toMatchObject([{ tipo: 'on_failure', resultado: 'exito' }])
  expect(await world.callbackInputs()).toHaveLength(1)
})

test('a listener that fails for a moment gets the same bytes and the same id until it works', async ({ world }) => {
  const listener = await world.listener((_, n) => ({ status: n < 3 ? 503 : 200 }))
  const id = await world.send('compra.alta', { n: 1 })
  await world.settled(id)
  expect(listener.requests.map(({ headers }) => headers['x-resthooks-intento'])).toEqual(['1', '2', '3'])
  expect(new Set(listener.requests.map(({ headers }) => headers['webhook-id']))).toEqual(new Set([id]))
  expect(new Set(listener.requests.map(({ body }) => body.toString()))).toEqual(new Set(['{"n":1}']))
  expect(await world.audit(id)).toMatchObject([
    {
      estado: 'exitosa',
      intentos: [
        { numero: 1, http_estado: 503, resultado: 'reintento' },
        { numero: 2, http_estado: 503, resultado: 'reintento' },
        { numero: 3, http_estado: 200, resultado: 'exito' },
      ],
    },
  ])
})

test('a listener that never works is given up after its strategy, and on_failure is told the outcome', async ({
  world,
}) => {
  const listener = await world.listener(() => ({ status: 503 }), { nombre: 'caido' })
  const id = await world.send('compra.alta', { n: 1 })
  await world.settled(id)
  expect(listener.requests).toHaveLength(3)
  expect(await world.audit(id)).toMatchObject([
    { estado: 'fallida', intentos: [{ resultado: 'reintento' }, { resultado: 'reintento' }, { resultado: 'fallo' }] },
  ])
  expect(await world.callbacks(id)).toMatchObject([{ listener: 'caido', tipo: 'on_failure', resultado: 'exito' }])
  const [outcome] = await world.callbackInputs()
  const text = JSON.stringify(outcome)
  expect(text).toContain(id)
  expect(text).toContain('caido')
  expect(text).toContain('compra.alta')
})

test('nobody at the other end of the wire is a network error that is retried and then failed', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 200 }))
  await listener.close()
  const id = await world.send('compra.alta', { n: 1 })
  await world.settled(id)
  expect(await world.audit(id)).toMatchObject([
    {
      estado: 'fallida',
      intentos: [1, 2, 3].map((numero) => ({ numero, http_estado: null, error: 'conexion' })),
    },
  ])
})

test('every listener whose events match gets the message, the others do not, and one failing leaves the rest alone', async ({
  world,
}) => {
  const all = await world.listener(() => ({ status: 200 }), { nombre: 'todo' })
  const purchases = await world.listener(() => ({ status: 200 }), { nombre: 'compras', eventos: 'compra.*, orden.*' })
  const broken = await world.listener(() => ({ status: 500 }), { nombre: 'roto', eventos: 'compra.alta' })
  const suppliers = await world.listener(() => ({ status: 200 }), { nombre: 'proveedores', eventos: 'proveedor.*' })
  const off = await world.listener(() => ({ status: 200 }), { nombre: 'apagado', activo: 0 })
  const id = await world.send('compra.alta', { n: 1 })
  await world.settled(id)
  expect([all, purchases, broken, suppliers, off].map(({ requests }) => requests.length)).toEqual([1, 1, 3, 0, 0])
  expect(await world.audit(id)).toMatchObject([
    { listener: 'compras', estado: 'exitosa' },
    { listener: 'roto', estado: 'fallida' },
    { listener: 'todo', estado: 'exitosa' },
  ])
})

test('a message for which nobody listens is audited with zero listeners', async ({ world }) => {
  await world.listener(() => ({ status: 200 }), { eventos: 'compra.*' })
  const id = await world.send('proveedor.alta', { n: 1 })
  await world.settled(id)
  expect(await world.audit(id)).toEqual([])
})

test('on_success runs too, and may be a message of its own', async ({ world }) => {
  await world.listener(() => ({ status: 200 }), {
    nombre: 'alta',
    eventos: 'compra.alta',
    on_success: 'evento:compra.entregada',
  })
  const told = await world.listener(() => ({ status: 200 }), { nombre: 'aviso', eventos: 'compra.entregada' })
  const id = await world.send('compra.alta', { n: 1 })
  await world.settled(id)
  const [request] = await told.received(1)
  expect(request!.body.toString()).toContain(id)
  expect(await world.callbacks(id)).toMatchObject([{ tipo: 'on_success', resultado: 'exito' }])
})

test('a receiver with the standardwebhooks package accepts the signature of either secret', async ({ world }) => {
  const [current, previous] = ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD']
  const listener = await world.listener(() => ({ status: 200 }), { secreto: `${current}, ${previous}` })
  const id = await world.send('compra.alta', { n: 1, texto: 'ñandú' })
  await world.settled(id)
  const { body, headers } = listener.requests[0]!
  for (const secret of [current, previous]) {
    expect(new Webhook(secret).verify(body.toString(), headers as Record<string, string>)).toEqual({
      n: 1,
      texto: 'ñandú',
    })
  }
  expect(() =>
    new Webhook('whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA').verify(body.toString(), headers as never),
  ).toThrow()
})

test('basic and bearer credentials are sent, and appear nowhere in the audit', async ({ world }) => {
  const basic = await world.listener(() => ({ status: 200 }), {
    nombre: 'basico',
    auth_tipo: 'basic',
    auth_usuario: 'pilaga',
    auth_password: 'muy-secreta-1',
  })
  const bearer = await world.listener(() => ({ status: 200 }), {
    nombre: 'portador',
    auth_tipo: 'bearer',
    auth_token: 'muy-secreto-2',
  })
  const id = await world.send('compra.alta', { n: 1 })
  await world.settled(id)
  expect(basic.requests[0]!.headers.authorization).toBe(
    `Basic ${Buffer.from('pilaga:muy-secreta-1').toString('base64')}`,
  )
  expect(bearer.requests[0]!.headers.authorization).toBe('Bearer muy-secreto-2')
  const audited = JSON.stringify(await world.audit(id))
  expect(audited).toContain('***')
  for (const secret of ['muy-secreta-1', 'muy-secreto-2', Buffer.from('pilaga:muy-secreta-1').toString('base64')]) {
    expect(audited).not.toContain(secret)
  }
})
