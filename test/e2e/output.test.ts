/** What is printed, logged and audited, by every command: no secret of ours, nothing of strangers that commands the terminal. */
import { startListener } from '../support/listener.ts'
import { until } from '../support/until.ts'
import { expect, test } from '../support/world.ts'

test('what a listener, a callback or a token server repeats of our secrets is replaced wherever it is written', async ({
  world,
}) => {
  const secrets = {
    CLAVE_API: 'clave-de-api/1',
    ACCESO: "acceso 'entre' comillas/2",
    AVISO: 'argumento-secreto',
    CAMINO: 'T000/B000/camino-secreto',
    CLIENTE: 'cliente-secreto',
    // Two parameters to whoever reads the URL.
    CONSULTA: 's3creto+ñ&</cola%41',
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
      ruta: `ok?u=${'$'}{CONSULTA}`,
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
    expect(oauth.requests[0]!.url).toBe('/ok?u=s3creto+%C3%B1&%3C/cola%41')
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
    const pieces = ['s3creto+', 'cola%41', 'colaA']
    for (const secret of [...Object.values(secrets), token, header, 'otro-token-1', ...pieces]) {
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
      { pedido: 2, url: `${oauth.url}/ok?u=***&***`, http_estado: 422, auth: '***' },
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
