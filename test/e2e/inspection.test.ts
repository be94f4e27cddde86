/** Seeing what happened: ver, auditoria and estado, for people and for programs. */
import { onTestFinished } from 'vitest'
import { BIN, spawnProgram } from '../support/cli.ts'
import { startListener } from '../support/listener.ts'
import { freePort } from '../support/ports.ts'
import { startRedis } from '../support/redis-server.ts'
import { until } from '../support/until.ts'
import { expect, test } from '../support/world.ts'

test('ver tells the whole story of a retried message', async ({ world }) => {
  await world.listener((_, n) => ({ status: n < 2 ? 503 : 200, body: n < 2 ? 'En mantenimiento' : 'listo' }), {
    nombre: 'compras',
  })
  const id = await world.send('compra.alta', { total: '12345678901234567890' })
  await world.settled(id)

  const plain = await world.cli(['ver', id])
  expect(plain).toMatchObject({ code: 0, stderr: '' })
  for (const part of [id, 'compra.alta', 'compras', '503', '200', '12345678901234567890', 'En mantenimiento']) {
    expect(plain.stdout).toContain(part)
  }
  expect(plain.stdout).not.toContain('\u001b[')

  const document = await world.cli(['ver', id, '--json'])
  expect(document).toMatchObject({ code: 0, stderr: '' })
  const text = JSON.stringify(JSON.parse(document.stdout))
  for (const part of [
    '"http_estado":503',
    '"http_estado":200',
    '"resultado":"reintento"',
    '"estado":"exitosa"',
    '"numero":2',
  ]) {
    expect(text).toContain(part)
  }
})

test('auditoria lists the deliveries, and its filters choose among them', async ({ world }) => {
  await world.listener(() => ({ status: 200 }), { nombre: 'bien' })
  await world.listener(() => ({ status: 422 }), { nombre: 'mal', eventos: 'compra.*' })
  const [purchase, supplier] = [await world.send('compra.alta', { n: 1 }), await world.send('proveedor.alta', { n: 2 })]
  await world.settled(purchase)
  await world.settled(supplier)

  const rows = async (...filters: string[]) => {
    const run = await world.cli(['auditoria', '--json', ...filters])
    expect(run.code).toBe(0)
    return JSON.parse(run.stdout) as Record<string, unknown>[]
  }
  expect(await rows()).toHaveLength(3)
  expect(await rows('--evento', 'proveedor.*')).toMatchObject([
    { mensaje_id: supplier, listener: 'bien', estado: 'exitosa' },
  ])
  expect(await rows('--estado', 'fallida')).toMatchObject([{ mensaje_id: purchase, listener: 'mal', intentos: 1 }])
  expect(await rows('--listener', 'bien')).toHaveLength(2)
  expect(await rows('--mensaje', purchase)).toHaveLength(2)
  expect(await rows('--limite', '1')).toHaveLength(1)
  expect(await rows('--desde', '1h')).toHaveLength(3)
  expect(await rows('--hasta', '1h')).toHaveLength(0)

  const plain = await world.cli(['auditoria', '--estado', 'fallida'])
  expect(plain).toMatchObject({ code: 0, stderr: '' })
  expect(plain.stdout).toContain(purchase)
  expect(plain.stdout).not.toContain(supplier)
})

test('estado counts what waits, what is retried and what failed, and names the workers alive', async ({ world }) => {
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

test('estado says what it does not know, and forgets a listener that is gone and holds nothing', async ({ world }) => {
  await world.createSchema()
  await world.listener(() => ({ status: 200 }), { nombre: 'actual', eventos: 'a' })
  // Names that ever had a delivery: one that is out of the file and has nothing left, one that has.
  await world.redis.sadd(world.keys.listeners, 'breve', 'debe')
  await world.redis.rpush(world.keys.lane('debe').queue, '01M8BSYY317RCX9E4FH99V2VBT')
  // As the PHP recipe does: neither an id nor an instant of its own.
  await world.push('{"evento":"a","datos":1}')
  const { stdout } = await world.cli(['estado'])
  expect(stdout).toContain('no dice desde cuándo')
  expect(stdout).not.toContain('hace 0 ms')
  expect(stdout).toContain('actual')
  expect(stdout).toContain('debe')
  expect(stdout).not.toContain('breve')
  expect(stdout).toMatch(/^Postgres +ok$/m)

  const away = await world.cli(['estado'], { env: { REST_HOOKS_DB_PORT: String(await freePort()) } })
  expect(away.code).toBe(4)
  expect(away.stdout).toMatch(/^entrada +1/m)
  expect(away.stdout).toMatch(/^Postgres +Auditoría en Postgres 127/m)
})

test('estado --vigilar outlives a restart of Redis', async ({ world }) => {
  const redis = await startRedis()
  onTestFinished(() => redis.stop())
  await world.setEnv({ REST_HOOKS_REDIS_PORT: String(redis.port) })
  await world.createSchema()
  await world.listener(() => ({ status: 200 }))
  const watching = spawnProgram(process.execPath, [BIN, 'estado', '--vigilar'], { env: world.environment })
  onTestFinished(() => watching.kill('SIGKILL'))
  const shows = (text: string) => watching.output.split(text).length - 1
  await until(() => shows('workers vivos') > 0)
  await redis.kill()
  await until(() => shows('Se sigue intentando') > 0)
  const before = shows('workers vivos')
  await redis.start()
  await until(() => shows('workers vivos') > before)
})

test('reading a project that has no schema yet is explained', async ({ world }) => {
  const run = await world.cli(['auditoria'])
  expect(run.code).toBe(3)
  expect(run.stderr).toContain('crear-base')
})

test('what a listener, a callback or a token server repeats of our secrets is replaced wherever it is written', async ({
  world,
}) => {
  const secrets = {
    CLAVE_API: 'clave-de-api/1',
    ACCESO: "acceso 'entre' comillas/2",
    AVISO: 'argumento-secreto',
    CAMINO: 'T000/B000/camino-secreto',
    CLIENTE: 'cliente-secreto',
  }
  const [token, header] = ['token-obtenido-1', 'cabecera-secreta']
  await world.setEnv(secrets)
  // SIU-Toba's own server repeats a refused api_key in the body of its 401.
  const echo = ({ url, headers }: { url: string; headers: Record<string, unknown> }) => ({
    status: 422,
    headers: { Location: url, Refresh: `5;url=${url}`, 'X-Eco': String(headers['x-acceso'] ?? headers.authorization) },
    body: JSON.stringify({ url, plain: decodeURIComponent(url), headers }),
  })
  const told = await startListener(() => ({ status: 400, body: 'no' }))
  const tokens = await startListener(() => ({
    body: JSON.stringify({ access_token: token, refresh_token: 'otro-token-1' }),
    headers: { 'X-Eco': token },
  }))
  try {
    const api = await world.listener(echo, {
      nombre: 'api',
      auth_tipo: 'api_key',
      auth_parametro: 'llave',
      auth_token: `${'$'}{CLAVE_API}`,
      cabeceras: [`X-Acceso: ${'$'}{ACCESO}`],
      on_failure: `exec:/bin/sh -c 'echo $1; exit 3' sh ${'$'}{AVISO}`,
    })
    const oauth = await world.listener(echo, {
      nombre: 'oauth',
      auth_tipo: 'oauth2',
      auth_url: `${tokens.url}/token`,
      auth_usuario: 'pilaga',
      auth_password: `${'$'}{CLIENTE}`,
      on_failure: `${told.url}/servicios/${'$'}{CAMINO}`,
    })
    const worker = await world.worker()
    const id = await world.send('compra.alta', { n: 1 }, ['--cabecera', `X-Token: ${header}`])
    await world.settled(id)

    // The bytes on the wire are the secrets themselves.
    expect(api.requests[0]!.url).toBe(`/?llave=${encodeURIComponent(secrets.CLAVE_API)}`)
    expect(api.requests[0]!.headers).toMatchObject({ 'x-acceso': secrets.ACCESO, 'x-token': header })
    expect(oauth.requests[0]!.headers.authorization).toBe(`Bearer ${token}`)
    expect(told.requests[0]!.url).toBe(`/servicios/${secrets.CAMINO}`)

    const rows = await world.sql`
      SELECT row_to_json(i)::text || convert_from(respuesta_cuerpo, 'UTF8') AS text
      FROM ${world.sql(world.schema)}.intento i WHERE mensaje_id = ${id}
      UNION ALL SELECT row_to_json(c)::text FROM ${world.sql(world.schema)}.callback c WHERE mensaje_id = ${id}
      UNION ALL SELECT row_to_json(e)::text FROM ${world.sql(world.schema)}.entrega e WHERE mensaje_id = ${id}`
    const written = rows.map(({ text }) => text).join('\n')
    expect(written).toMatch(/llave=\*\*\*.*llave=\*\*\*/)
    const shown = await Promise.all([
      world.cli(['ver', id]),
      world.cli(['ver', id, '--json']),
      world.cli(['auditoria', '--json']),
      world.cli(['estado', '--json']),
      world.cli(['verificar', '--todo']),
      world.cli(['verificar', '--json', '--todo']),
      world.cli(['probar', 'api']),
      world.cli(['probar', 'oauth', '--json']),
    ])
    const everything = [written, worker.output, ...shown.map(({ stdout, stderr }) => stdout + stderr)].join('\n')
    for (const secret of [...Object.values(secrets), token, header, 'otro-token-1']) {
      for (const form of [
        secret,
        encodeURIComponent(secret),
        JSON.stringify(secret).slice(1, -1),
        Buffer.from(secret).toString('base64').slice(0, -4),
      ]) {
        expect(everything).not.toContain(form)
      }
    }
    // Kept where it is needed: what is sent again is what was sent.
    const before = api.requests.length
    expect(await world.cli(['reenviar', id, '--listener', 'api'])).toMatchObject({ code: 0 })
    await api.received(before + 1)
    expect(api.requests.at(-1)!.headers['x-token']).toBe(header)

    // One row for each request, those for a token too, in the order in which they were made.
    const attempts = await world.sql`
      SELECT pedido, metodo, url, http_estado, pedido_cabeceras->>'Authorization' AS auth,
        convert_from(respuesta_cuerpo, 'UTF8') AS cuerpo
      FROM ${world.sql(world.schema)}.intento WHERE mensaje_id = ${id} AND listener = 'oauth' ORDER BY pedido`
    expect(attempts).toMatchObject([
      {
        pedido: 1,
        metodo: 'POST',
        url: `${tokens.url}/token`,
        http_estado: 200,
        auth: '***',
        cuerpo: '{"access_token":"***","refresh_token":"***"}',
      },
      { pedido: 2, url: `${oauth.url}/`, http_estado: 422, auth: '***' },
    ])
  } finally {
    await told.close()
    await tokens.close()
  }
})

test('nothing that a stranger wrote commands the terminal: neither a queue entry nor an answer, a token server or an event', async ({
  world,
}) => {
  const evil = '\u001b]0;título\u0007\u009b31m\u202eoculto\u2066'
  const tokens = await startListener(() => ({ status: 400, body: JSON.stringify({ error: `no${evil}` }) }))
  try {
    await world.listener(() => ({ status: 422, body: `cuerpo${evil}` }), { nombre: 'a', eventos: 'alta*' })
    await world.listener(() => ({}), {
      nombre: 'oauth',
      eventos: 'pedido',
      auth_tipo: 'oauth2',
      auth_url: `${tokens.url}/`,
      auth_usuario: 'u',
      auth_password: 'cliente-secreto',
      reintentos: 'uno',
    })
    await world.set('reintentos uno', { estrategia: 'fija', intentos: 1, espera_inicial: '50ms' })
    const id = await world.send(`alta\u202e${'x'}`)
    await world.settled(id)
    await world.push(`{"evento":"x","id":"${evil}`)
    await world.push({ evento: 'x', metodo: evil })
    await until(async () => (await world.redis.llen(world.keys.inboxInvalid)) === 2, { what: 'two entries set aside' })
    const runs = await Promise.all([
      world.cli(['ver', id]),
      world.cli(['ver', id, '--json']),
      world.cli(['auditoria']),
      world.cli(['auditoria', '--json']),
      world.cli(['verificar']),
      world.cli(['verificar', '--json']),
      world.cli(['probar', 'oauth']),
      world.cli(['send', 'pedido', '--esperar=20s']),
    ])
    for (const { stdout, stderr } of runs) expect(stdout + stderr).not.toMatch(/[^\P{Cc}\n\t]|\p{Bidi_C}/u)
    expect(runs[0]!.stdout).toContain('alta\\u202ex')
    expect(runs[2]!.stdout).toContain('alta\\u202ex')
    expect(runs[6]!.stdout + runs[6]!.stderr).toContain('no\\u001b]0;título\\u0007')
    expect(JSON.parse(runs[1]!.stdout).mensaje.evento).toBe('alta\u202ex')
    expect(JSON.parse(runs[3]!.stdout)).toContainEqual(
      expect.objectContaining({ mensaje_id: id, evento: 'alta\u202ex' }),
    )
  } finally {
    await tokens.close()
  }
})
