/** `ver ID`: everything about one message, for people and for programs. */
import { createHash } from 'node:crypto'
import { newId } from '../../src/id.ts'
import { bodyLines } from '../../src/model/wire-text.ts'
import { attempt, attemptEvent, callbackEvent, message, messageEvent, NOON, state } from '../audit/scenery.ts'
import { until } from '../support/until.ts'
import { expect, test, type World } from '../support/world.ts'
import { writeAudit } from './audit-world.ts'

/** What `ver` shows, read as in the year of the fixtures: from the next one on, each date of theirs has its year. */
async function ver(world: World, id: string, ...more: string[]) {
  const run = await world.cli(['ver', id, ...more], { env: { COLUMNS: '200' } })
  expect(run).toMatchObject({ code: 0, stderr: '' })
  return run.stdout.replaceAll('15/11/2026', '15/11')
}

test('tells the story in order, with phases, headers, errors and callbacks, in local time', async ({ world }) => {
  const sent = message({ key: 'pedido-7', notBefore: new Date(NOON) })
  await writeAudit(world, [
    messageEvent(sent, ['compras']),
    attemptEvent(
      attempt(sent.id, 'compras', {
        status: null,
        responseHeaders: null,
        responseBody: null,
        error: 'timeout',
        errorDetail: 'no respondió en 30 s',
        durationMs: 30_000,
        result: 'reintento',
        nextAttemptAt: NOON + 60_000,
      }),
      null,
    ),
    attemptEvent(attempt(sent.id, 'compras', { number: 2, startedAt: NOON + 60_000 }), state(sent.id, 'compras', 2)),
    callbackEvent(sent.id, 'compras'),
  ])
  const text = await ver(world, sent.id, '--todo')
  const parts = [
    `Mensaje ${sent.id} · proveedor.alta`,
    '1 entregada',
    // TZ of the tests is Buenos Aires.
    '15/11 08:59:59.000 -03:00 por servidor1 (php)',
    '8 bytes JSON, sha256 ',
    'id=7',
    'clave=pedido-7 · PUT proveedores/7 · con demora, hasta 15/11 09:00:00.000 -03:00',
    'X-A: b',
    '"id": 7',
    '✔ compras',
    'Historia',
    'intento 1   timeout   30 s  ▕████████████',
    'no respondió en 30 s → se reintentará',
    'on_success  exec:/opt/siu/avisar.sh --ok: éxito · salida 0',
    'intento 2   200      42 ms  ▕█',
    'conexión 3 ms',
    '10.1.2.3',
    'authorization: ***',
    'set-cookie: b=2',
    'hecho',
  ]
  let at = 0
  for (const part of parts) {
    expect(text.indexOf(part, at), `«${part}» after ${at} in\n${text}`).toBeGreaterThanOrEqual(at)
    at = text.indexOf(part, at)
  }
})

test('a request that only leads to the next one of its attempt is told as that, not as a failed attempt', async ({
  world,
}) => {
  const sent = message({ id: 'tres' })
  const step = (request: number, status: number, more: object = {}) =>
    attemptEvent(
      attempt(sent.id, 'compras', { request, status, startedAt: NOON + request, result: 'reintento', ...more }),
      null,
    )
  await writeAudit(world, [
    messageEvent(sent, ['compras']),
    step(1, 401),
    step(2, 307),
    step(3, 503, { nextAttemptAt: NOON + 60_000 }),
    attemptEvent(attempt(sent.id, 'compras', { number: 2, startedAt: NOON + 60_000 }), state(sent.id, 'compras', 2)),
  ])
  const results = (await ver(world, sent.id)).match(/(?<=intento \d|pedido \d) +\d{3} .*/g)!.map((line) =>
    line
      .trim()
      .replace(/^(\d+) .*[█▒░] */, '$1 ')
      .trim(),
  )
  expect(results).toEqual([
    '401 desafío: se contesta en el pedido siguiente',
    '307 se sigue la redirección',
    '503 «hecho» → se reintentará',
    '200',
  ])
})

test('who discarded it, when and with what command is told, once for all the deliveries it touched', async ({
  world,
}) => {
  const sent = message({ id: 'dado-de-baja' })
  const action = {
    id: newId(),
    who: 'ana',
    host: 'vm',
    order: 'resthooks descartar --fallidas',
    filter: null,
    count: 2,
  }
  const given = (listener: string) => ({
    type: 'state' as const,
    at: NOON + 60_000,
    state: { ...state(sent.id, listener, 1), state: 'descartada' as const, reason: 'descartada', action: action.id },
  })
  await writeAudit(world, [
    messageEvent(sent, ['a', 'b']),
    { type: 'action', at: NOON + 60_000, action },
    given('a'),
    given('b'),
  ])
  const text = await ver(world, sent.id, '--todo')
  expect(text).toMatch(/2 descartadas\n/)
  expect(text).toMatch(/- a +descartada +\d +- +descartada; descartada por ana@vm 15\/11 09:01:00/)
  expect(text).toContain('09:01:00.000  2 listeners  descarte  por ana@vm: «descartar --fallidas»\n    a, b')
})

test('JSON is indented without touching what is in it; text, bytes and nothing are shown as what they are', async ({
  world,
}) => {
  const bodies = {
    numbers: '{"n":12345678901234567890,"n":1.50,"t":"\\u00f1"}',
    text: 'línea 1\nlínea 2\u001b[31m rojo',
    latin1: Buffer.from('se\u00f1al', 'latin1'),
    bytes: Buffer.from(Array.from({ length: 300 }, (_, n) => n % 256)),
    broken: '{"a":',
    nothing: '',
  }
  const sent = Object.entries(bodies).map(([id, body]) =>
    message({
      id,
      body: Buffer.from(body),
      contentType: id === 'latin1' ? 'text/plain; charset=ISO-8859-1' : 'application/octet-stream',
    }),
  )
  await writeAudit(world, [
    ...sent.map((each) => messageEvent(each, [])),
    messageEvent(message({ id: 'oculto' }), [], { keepBody: false }),
  ])
  expect(await ver(world, 'numbers', '--todo')).toContain(
    '    {\n      "n": 12345678901234567890,\n      "n": 1.50,\n      "t": "\\u00f1"\n    }\n',
  )
  expect(await ver(world, 'text', '--todo')).toContain('    línea 1\n    línea 2\\u001b[31m rojo\n')
  expect(await ver(world, 'latin1', '--todo')).toContain('    señal\n')
  const dump = await ver(world, 'bytes', '--todo')
  expect(dump).toContain('    00000040  40 41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e 4f  @ABCDEFGHIJKLMNO\n')
  expect(dump).toMatch(/y 44 bytes más\n.*base64, con --json/)
  expect(await ver(world, 'broken', '--todo')).toContain('    {"a":\n')
  expect(await ver(world, 'nothing', '--todo')).toMatch(/cuerpo {4}0 bytes(.*\n)+ {4}\(vacío\)\n/)
  expect(await ver(world, 'oculto')).toContain('auditar_cuerpo = 0')
})

test('--json is one document whose keys are the columns, with bodies as text or else in base64', async ({ world }) => {
  const sent = message({ id: 'm' })
  const odd = Buffer.from([255, 0])
  await writeAudit(world, [
    messageEvent(sent, ['a']),
    attemptEvent(attempt('m', 'a', { responseBody: odd, startedAt: NOON }), state('m', 'a', 1)),
    callbackEvent('m', 'a'),
  ])
  const run = await world.cli(['ver', 'm', '--json'])
  expect(run).toMatchObject({ code: 0, stderr: '' })
  expect(JSON.parse(run.stdout)).toMatchObject({
    mensaje: { id: 'm', evento: 'proveedor.alta', cuerpo: '{"id":7}', recibido: '2026-11-15T12:00:00.000Z' },
    entregas: [{ listener: 'a', estado: 'exitosa', intentos: 1 }],
    intentos: [{ numero: 1, respuesta_cuerpo: null, respuesta_cuerpo_base64: odd.toString('base64') }],
    callbacks: [{ tipo: 'on_success', resultado: 'exito' }],
  })
})

test('says what a message without deliveries waits for', async ({ world }) => {
  await writeAudit(world, [
    messageEvent(message({ id: 'demorado', notBefore: new Date(NOON) }), null),
    messageEvent(message({ id: 'nadie' }), []),
    { type: 'state', at: NOON, state: state('temprano', 'a', 1) },
  ])
  expect(await ver(world, 'demorado')).toMatch(/con demora, hasta 15\/11.*\n(.*\n)*.*corre su demora/)
  expect(await ver(world, 'nadie')).toContain('Ningún listener recibe este evento')
  expect(await ver(world, 'temprano')).toContain('su contenido no está en la auditoría')
})

test('--evidencia: what one listener was sent and answered, for a program and for a person to sign; nothing of others, no secret', async ({
  world,
}) => {
  const signed = {
    nombre: 'compras',
    secreto: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
    auth_tipo: 'bearer',
    auth_token: 't0k3n-largo',
  }
  const listener = await world.listener((_, n) => ({ status: n < 2 ? 503 : 200, body: `recibido ñ ${n}` }), signed)
  await world.listener(() => ({ status: 200, body: 'ajena' }), { nombre: 'otra', secreto: signed.secreto })
  const id = await world.send('compra.alta', '{"total":12345678901234567890}')
  await world.settled(id)

  const run = await world.cli(['ver', id, '--evidencia', 'compras', '--json'])
  expect(run).toMatchObject({ code: 0, stderr: '' })
  const { evidencia, sha256 } = JSON.parse(run.stdout)
  const hash = (data: string | Buffer) => createHash('sha256').update(data).digest('hex')
  expect(hash(JSON.stringify(evidencia))).toBe(sha256)
  expect(evidencia).toMatchObject({
    listener: 'compras',
    estado: 'exitosa',
    mensaje: {
      id,
      enviado: expect.stringMatching(/^\d{4}-\d\d-\d\d .* -03:00$/),
      cuerpo: { texto: '{"total":12345678901234567890}', sha256: hash(listener.requests[0]!.body) },
    },
    pedidos: [0, 1].map((n) => ({
      intento: n + 1,
      metodo: 'POST',
      firma: listener.requests[n]!.headers['webhook-signature'],
      cuerpo_sha256: hash(listener.requests[n]!.body),
      respuesta: {
        http_estado: n === 0 ? 503 : 200,
        completa: true,
        cuerpo: { sha256: hash(`recibido ñ ${n + 1}`), texto: `recibido ñ ${n + 1}` },
      },
    })),
  })
  expect(Buffer.from(evidencia.mensaje.cuerpo.base64, 'base64')).toEqual(listener.requests[0]!.body)

  const text = (await world.cli(['ver', id, '--evidencia', 'compras'])).stdout
  for (const part of [
    'ENTREGADA',
    id,
    'PEDIDO 2 DE 2',
    `webhook-signature: ${evidencia.pedidos[1].firma}`,
    '< HTTP 503',
    'recibido ñ 2',
    sha256,
    'Firma:  ',
  ]) {
    expect(text).toContain(part)
  }
  expect(text + run.stdout).not.toMatch(/ajena|otra|t0k3n-largo/)
  expect(await world.cli(['ver', id, '--evidencia', 'compra'])).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/compras, otra.*¿Quiso decir «compras»\?/),
  })
  expect((await world.cli(['ver', id, '--cuerpo'])).stdout).toBe('{"total":12345678901234567890}')
})

test('an id that nobody knows: where it may be, on stderr, exit 1', async ({ world }) => {
  await world.createSchema()
  for (const more of [[], ['--json']]) {
    const run = await world.cli(['ver', 'NOEXISTE', ...more])
    expect(run).toMatchObject({ code: 1, stdout: '' })
    expect(run.stderr).toMatch(/NOEXISTE.*purgar.*estado/)
  }
})

test('what a worker did with a retried message is told whole', async ({ world }) => {
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

test('a body nested deeper than anybody reads is shown as it came, not indented to many times its size', async () => {
  const text = `${'['.repeat(5_000)}"]{\\"["${']'.repeat(5_000)}`
  expect(await bodyLines(Buffer.from(text), 'application/json')).toEqual([text])
  expect(await bodyLines(Buffer.from('{"a":["[[[{{{"]}'), null)).toHaveLength(5)
})

test('what waits in Redis is told as well: where, why, and what Postgres does not know yet', async ({ world }) => {
  await world.createSchema()
  const listener = await world.listener(() => ({ status: 200 }), { nombre: 'compras' })
  const id = await world.send('compra.alta', { total: 1 })
  expect(await ver(world, id)).toMatch(
    /espera\n.*\n *Todavía en la entrada: no hay ningún worker en marcha. → resthooks iniciar-workers/,
  )
  await world.cli(['pausar', 'compras'])
  await world.worker()
  const waiting = await until(async () => {
    const text = await ver(world, id)
    return text.includes('… compras') && text.includes('compra.alta') && text
  })
  expect(waiting).toMatch(/compra.alta +1 espera\n/)
  expect(waiting).toMatch(
    /… compras +espera +0 +- +pausado por \S+@\S+, sin fin, desde las [\d:]+ → resthooks reanudar compras/,
  )
  expect(listener.requests).toHaveLength(0)
})
