/** `ver ID`: everything about one message, for people and for programs. */
import { bodyLines } from '../../src/model/wire-text.ts'
import { attempt, attemptEvent, callbackEvent, message, messageEvent, NOON, state } from '../audit/scenery.ts'
import { expect, test, type World } from '../support/world.ts'
import { writeAudit } from './audit-world.ts'

async function ver(world: World, id: string) {
  const run = await world.cli(['ver', id])
  expect(run).toMatchObject({ code: 0, stderr: '' })
  return run.stdout
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
  const text = await ver(world, sent.id)
  const parts = [
    `Mensaje ${sent.id}`,
    'proveedor.alta',
    // TZ of the tests is Buenos Aires.
    '2026-11-15 09:00:00.000 -03:00',
    'servidor1 php',
    'pedido-7',
    'X-A: b',
    'application/json, 8 bytes',
    '"id": 7',
    'Entregas',
    'exitosa',
    'Historia',
    'intento 1',
    '→ timeout',
    '(30 s)',
    'se reintentará',
    'no respondió en 30 s',
    'on_success',
    'exec:/opt/siu/avisar.sh --ok',
    'salida 0',
    'intento 2',
    '→ 200',
    'éxito',
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
  const results = (await ver(world, sent.id))
    .match(/→ \d{3} .*/g)!
    .map((line) => line.replace(/^→ (\d+) .*\) {2}/, '$1 '))
  expect(results).toEqual([
    '401 desafío: se contesta en el pedido siguiente',
    '307 se sigue la redirección',
    '503 se reintentará',
    '200 éxito',
  ])
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
  expect(await ver(world, 'numbers')).toContain(
    '    {\n      "n": 12345678901234567890,\n      "n": 1.50,\n      "t": "\\u00f1"\n    }\n',
  )
  expect(await ver(world, 'text')).toContain('    línea 1\n    línea 2\\u001b[31m rojo\n')
  expect(await ver(world, 'latin1')).toContain('    señal\n')
  const dump = await ver(world, 'bytes')
  expect(dump).toContain('    00000040  40 41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e 4f  @ABCDEFGHIJKLMNO\n')
  expect(dump).toMatch(/y 44 bytes más\n.*base64, con --json/)
  expect(await ver(world, 'broken')).toContain('    {"a":\n')
  expect(await ver(world, 'nothing')).toContain('0 bytes\n    (vacío)\n')
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
  expect(await ver(world, 'demorado')).toMatch(/hasta 2026-11-15.*\n(.*\n)*.*corre su demora/)
  expect(await ver(world, 'nadie')).toContain('Ningún listener recibe este evento')
  expect(await ver(world, 'temprano')).toContain('su contenido no está en la auditoría')
})

test('an id that nobody knows: where it may be, on stderr, exit 1', async ({ world }) => {
  await world.createSchema()
  for (const more of [[], ['--json']]) {
    const run = await world.cli(['ver', 'NOEXISTE', ...more])
    expect(run).toMatchObject({ code: 1, stdout: '' })
    expect(run.stderr).toMatch(/NOEXISTE.*en la cola.*estado/)
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
