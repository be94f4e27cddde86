/** `probar` and `simular` as a user runs them: without `--mensaje` they need neither Redis nor Postgres. */
import { expect, test } from '../support/world.ts'

test('probar shows the request, the answer and what to change, and exits 1 unless the listener accepts', async ({
  world,
}) => {
  const listener = await world.listener(
    ({ url }) => ({
      status: url.endsWith('/7') ? 201 : 422,
      headers: { 'Content-Type': 'application/json', 'Set-Cookie': 'sid=secreta' },
      body: '{"eco":12345678901234567890}',
    }),
    { nombre: 'rrhh', ruta: 'p/{datos.id}', auth_tipo: 'bearer', auth_token: 't0k3n' },
  )

  const good = await world.cli(['probar', 'rrhh', '{"id":7}', '--evento', 'persona.alta', '--cabecera', 'X-A: b'])
  expect(good).toMatchObject({ code: 0, stderr: '' })
  expect(listener.requests[0]).toMatchObject({
    method: 'POST',
    url: '/p/7',
    headers: {
      authorization: 'Bearer t0k3n',
      'x-resthooks-prueba': '1',
      'x-resthooks-evento': 'persona.alta',
      'x-a': 'b',
    },
  })
  for (const part of [
    '> POST http://127.0.0.1',
    '> Authorization: ***',
    '< HTTP 201',
    '"eco": 12345678901234567890',
    '✔ El listener aceptó',
  ]) {
    expect(good.stdout).toContain(part)
  }
  expect(good.stdout).not.toMatch(/t0k3n|sid=secreta/)

  const bad = await world.cli(['probar', 'rrhh', '{"id":8}'])
  expect(bad.code).toBe(1)
  expect(bad.stdout).toContain('✘ El servidor entendió el pedido y rechaza su contenido')
  expect(bad.stderr).toContain('HTTP 422')
})

test('probar shows the request for an OAuth2 token as one of its own, without the message and without the token', async ({
  world,
}) => {
  const listener = await world.listener(
    ({ url }) => (url === '/token' ? { body: '{"access_token":"t0k3n-largo"}' } : { status: 200 }),
    { nombre: 'huarpe', ruta: 'p', auth_tipo: 'oauth2', auth_usuario: 'u', auth_password: 'cl4ve-larga' },
  )
  await world.set('listener huarpe', { auth_url: `${listener.url}/token` })
  const { code, stdout } = await world.cli(['probar', 'huarpe', '{"propio":7}'])
  expect(code).toBe(0)
  expect(stdout).not.toMatch(/t0k3n-largo|cl4ve-larga/)
  expect(listener.requests.map(({ url }) => url)).toEqual(['/token', '/p'])
  const [token, own] = stdout.split(/^(?=> POST )/m).slice(1)
  expect(token).toContain(`> POST ${listener.url}/token`)
  expect(token).not.toContain('propio')
  expect(own).toContain('"propio": 7')
})

test('probar points at the secret where a signed request is refused', async ({ world }) => {
  await world.listener(() => ({ status: 401, body: 'firma inválida' }), {
    nombre: 'portal',
    secreto: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  })
  const { stdout } = await world.cli(['probar', 'portal', '{}'])
  expect(stdout).toMatch(/✘ El servidor no acepta la firma.*«secreto»/)
  expect(stdout).not.toContain('auth_tipo')
})

test('probar --json is one document with the columns of intento', async ({ world }) => {
  await world.set('listener nadie', { url: 'http://127.0.0.1:1/' })
  const { stdout, code } = await world.cli(['probar', 'nadie', '--json'])
  expect(code).toBe(1)
  expect(JSON.parse(stdout)).toMatchObject({
    listener: 'nadie',
    resultado: 'reintento',
    motivo: expect.stringContaining('ECONNREFUSED'),
    diagnostico: expect.stringContaining('Nadie atiende en 127.0.0.1, puerto 1'),
    dns: { nombre: '127.0.0.1', direcciones: [{ direccion: '127.0.0.1', bloqueada: false }], error: null },
    tls: null,
    pedidos: [{ pedido: 1, metodo: 'POST', url: 'http://127.0.0.1:1/', http_estado: null, error: 'conexion' }],
  })
})

test('probar says what is wrong with its own words', async ({ world }) => {
  const listener = await world.listener(() => ({}), { nombre: 'rrhh' })
  expect(await world.cli(['probar', 'otro'])).toMatchObject({ code: 2, stderr: expect.stringContaining('rrhh') })
  expect((await world.cli(['probar', 'rhh'])).stderr).toContain('¿Quiso decir «rrhh»?')
  expect(await world.cli(['probar', 'rrhh', '{mal'])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('DATOS no es JSON'),
  })
  expect(await world.cli(['probar', 'rrhh', '--ruta', '../x'])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('../x'),
  })
  expect(await world.cli(['probar', 'rrhh', '--metodo', 'POSTT'])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('¿Quiso decir «POST»?'),
  })
  expect(listener.requests).toHaveLength(0)
})

test('probar --mensaje makes the request that this message would make, and says what holds the queue back although it worked', async ({
  world,
}) => {
  const listener = await world.listener(() => ({ status: 200 }), {
    nombre: 'rrhh',
    ruta: 'p/{datos.id}',
    metodo: 'PUT',
  })
  const missing = await world.cli(['probar', 'rrhh'])
  expect(missing.code).toBe(2)
  expect(missing.stderr).toContain(`resthooks probar rrhh '{"id":7}'`)
  expect(missing.stderr).toContain('--mensaje ID')
  expect(listener.requests).toHaveLength(0)

  const id = await world.send('persona.alta', '{"id":12345678901234567890}', ['--cabecera', 'X-A: b'])
  await world.settled(id)
  await world.cli(['pausar', 'rrhh'])
  const run = await world.cli(['probar', 'rrhh', '--mensaje', id])
  expect(run).toMatchObject({ code: 0, stderr: '' })
  const [sent, tried] = listener.requests
  expect(tried).toMatchObject({ method: 'PUT', url: sent!.url, body: sent!.body })
  const { 'webhook-timestamp': _, ...same } = sent!.headers
  expect(tried!.headers).toMatchObject({ ...same, 'x-resthooks-intento': '2', 'x-resthooks-prueba': '1' })
  expect(run.stdout).toMatch(
    /! Aunque este pedido funcionó, .* pausado por .*, sin fin, desde .* → resthooks reanudar rrhh/,
  )
  expect(await world.cli(['probar', 'rrhh', '{}', '--mensaje', id])).toMatchObject({ code: 2 })
  expect(await world.cli(['probar', 'rrhh', '--mensaje', 'NINGUNO'])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('NINGUNO'),
  })
})

test('probar says that the listener would not get such a message, and makes the request all the same', async ({
  world,
}) => {
  const sent = await world.listener(() => ({ status: 200 }), { nombre: 'rrhh', eventos: 'persona.*' })
  const deaf = await world.listener(() => ({ status: 200 }), { nombre: 'compras', eventos: 'compra.*, pago.alta' })
  const id = await world.send('persona.alta', { id: 7 })
  await world.settled(id)
  const run = await world.cli(['probar', 'compras', '--mensaje', id])
  expect(run.code).toBe(0)
  expect(run.stderr).toContain('compras no escucha «persona.alta» (eventos = compra.*, pago.alta)')
  expect(deaf.requests).toHaveLength(1)
  expect((await world.cli(['probar', 'rrhh', '--mensaje', id])).stderr).toBe('')
  expect((await world.cli(['probar', 'compras', '--evento', 'compra.alta'])).stderr).toBe('')
  const json = await world.cli(['probar', 'compras', '--evento', 'persona.baja', '--json'])
  expect(JSON.parse(json.stdout).no_lo_recibe).toContain('no escucha «persona.baja»')

  const only = await world.send('pago.alta', { id: 8 }, ['--listener', 'rrhh'])
  await world.settled(only)
  expect((await world.cli(['probar', 'compras', '--mensaje', only])).stderr).toContain('sólo para «rrhh»')
  // Its two messages, and a trial.
  expect(sent.requests).toHaveLength(3)
})

test('simular prints the schedule and when it gives up', async ({ world }) => {
  await world.set('reintentos corto', { estrategia: 'lista', esperas: '5s, 5m', jitter: '20%', vencimiento: '1h' })
  await world.set('listener rrhh', { url: 'http://127.0.0.1:1/', reintentos: 'corto' })
  const { stdout, code } = await world.cli(['simular', 'rrhh', '--desde', '2026-11-24T10:00:00'])
  expect(code).toBe(0)
  expect(stdout).toMatch(/2\s+5s\s+4s y 6s\s+5s\s+2026-11-24 10:00:05/)
  expect(stdout).toMatch(/3\s+5m\s+4m y 6m\s+5m 5s\s+2026-11-24 10:05:05/)
  expect(stdout).toContain('3 intentos: después de ese intento no hay más reintentos (vencimiento a los 1h)')

  const json = await world.cli(['simular', 'rrhh', '--json', '--limite', '2'])
  expect(JSON.parse(json.stdout)).toMatchObject({
    listener: 'rrhh',
    reintentos: { nombre: 'corto', estrategia: 'lista', jitter: 0.2, vencimiento_ms: 3_600_000 },
    intentos: [
      { intento: 1, transcurrido_ms: 0 },
      { intento: 2, espera_ms: 5000, espera_minima_ms: 4000, espera_maxima_ms: 6000 },
    ],
    fin: expect.stringContaining('--limite'),
  })
  expect(await world.cli(['simular', 'rrhh', '--limite', '0'])).toMatchObject({ code: 2 })
})
