/** `resthooks send` in all its forms. */
import { spawn } from 'node:child_process'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { inject } from 'vitest'
import { BIN, cleanEnvironment } from '../support/cli.ts'
import { freePort } from '../support/ports.ts'
import { startProxy } from '../support/proxy.ts'
import { startRedis } from '../support/redis-server.ts'
import { until } from '../support/until.ts'
import { expect, test, type World } from '../support/world.ts'

const ULID = /^[0-9A-HJKMNP-TV-Z]{26}\n$/

/** A listener of everything that nothing has to reach. */
const ANYBODY = ['listener todos', { url: 'http://127.0.0.1:1' }] as const

async function waiting(world: World): Promise<Record<string, unknown>[]> {
  const entries = await world.redis.lrange(world.keys.inbox, 0, -1)
  return entries.toReversed().map((entry) => JSON.parse(entry))
}

test('the id alone is printed, from an argument, stdin and a file', async ({ world }) => {
  await world.set(...ANYBODY)
  await writeFile(join(world.folder, 'datos.json'), '{"de":"archivo"}')
  const runs = [
    await world.cli(['send', 'x', '{"de":"argumento"}']),
    await world.cli(['send', 'x', '-'], { input: '{"de":"stdin"}' }),
    await world.cli(['send', 'x', '@datos.json']),
  ]
  for (const run of runs) expect(run).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(ULID) })
  expect(await waiting(world)).toMatchObject(
    runs.map(({ stdout }, n) => ({
      id: stdout.trim(),
      evento: 'x',
      datos: { de: ['argumento', 'stdin', 'archivo'][n] },
      origen: expect.any(String),
    })),
  )
})

test('a plain send does not load what takes a tenth of its start each: OpenSSL, TLS, child processes', async ({
  world,
}) => {
  await world.listener(() => ({ status: 200 }))
  const seen = join(world.folder, 'cargados.cjs')
  await writeFile(
    seen,
    "const { _load } = require('node:module')\n" +
      "require('node:module')._load = function (name, ...more) { process._rawDebug(name); return _load.call(this, name, ...more) }\n",
  )
  const run = await world.cli(['send', 'x', '{}'], { env: { NODE_OPTIONS: `--require ${seen}` } })
  const loaded = run.stderr.split('\n').map((name) => name.replace('node:', ''))
  expect(loaded).toContain('net')
  expect(loaded.filter((name) => ['crypto', 'tls', 'child_process', 'assert', 'https', 'http'].includes(name))).toEqual(
    [],
  )
})

test('path, method, headers and content type travel with the message', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 200 }))
  const id = await world.send('x', 'hola <b>', [
    ...['--ruta', 'a/b?c=d', '--metodo', 'patch', '--tipo-contenido', 'text/html; charset=utf-8'],
    ...['--cabecera', 'X-Uno: 1', '--cabecera', 'X-Dos: a: b'],
  ])
  await world.settled(id)
  expect(listener.requests[0]).toMatchObject({ method: 'PATCH', url: '/a/b?c=d', body: Buffer.from('hola <b>') })
  expect(listener.requests[0]!.headers).toMatchObject({
    'x-uno': '1',
    'x-dos': 'a: b',
    'content-type': 'text/html; charset=utf-8',
  })
})

test('the same --clave enqueues once and prints the first id again', async ({ world }) => {
  const first = await world.send('x', { n: 1 }, ['--clave', 'compra-88213'])
  const again = await world.send('x', { n: 2 }, ['--clave', 'compra-88213'])
  const other = await world.send('x', { n: 3 }, ['--clave', 'compra-88214'])
  expect(again).toBe(first)
  expect(other).not.toBe(first)
  expect(await waiting(world)).toMatchObject([{ datos: { n: 1 } }, { datos: { n: 3 } }])
})

test('--demora holds a message back for that time', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 200 }))
  await world.worker()
  const sentAt = Date.now()
  const delayed = await world.send('x', { n: 'después' }, ['--demora', '3s'])
  const direct = await world.send('x', { n: 'ahora' })
  await world.settled(direct)
  await world.settled(delayed)
  expect(listener.requests.map(({ body }) => JSON.parse(body.toString()).n)).toEqual(['ahora', 'después'])
  expect(listener.requests[1]!.at - sentAt).toBeGreaterThanOrEqual(3000)
})

test.for([
  ['--demora', ['send', 'x', '{}', '--demora', '10m'], ''],
  [
    'a line of --lote',
    ['send', '--lote'],
    '{"evento":"x","demora":"10m"}\n{"evento":"x","demora":"10m","clave":"k"}\n',
  ],
] as const)("%s counts from Redis's clock, whatever this machine's says", async ([, args, input], { world }) => {
  await world.set(...ANYBODY)
  await writeFile(
    join(world.folder, 'reloj.cjs'),
    'const real = Date.now\nDate.now = () => real() + 3600e3\n' +
      'globalThis.Date = class extends Date { constructor(...all) { super(...(all.length ? all : [Date.now()])) } }\n',
  )
  const env = { NODE_OPTIONS: `--require ${join(world.folder, 'reloj.cjs')}` }
  const before = Date.now()
  expect(await world.cli(args, { input, env })).toMatchObject({ code: 0, stderr: '' })
  const entries = await waiting(world)
  for (const entry of entries) {
    expect(Date.parse(String(entry.creado)) - before).toBeGreaterThanOrEqual(3600e3)
    const due = Date.parse(String(entry.no_antes_de))
    expect(due - before).toBeGreaterThanOrEqual(600_000)
    expect(due - Date.now()).toBeLessThanOrEqual(600_001)
  }
  expect(entries).toHaveLength(input === '' ? 1 : 2)
})

test('--listener sends to that one alone', async ({ world }) => {
  const one = await world.listener(() => ({ status: 200 }), { nombre: 'uno' })
  const two = await world.listener(() => ({ status: 200 }), { nombre: 'dos' })
  const id = await world.send('x', { n: 1 }, ['--listener', 'dos'])
  await world.settled(id)
  expect([one.requests.length, two.requests.length]).toEqual([0, 1])
})

test('--lote enqueues the good lines, reports the bad ones with their numbers, and exits 1', async ({ world }) => {
  const listener = await world.listener(({ url }) => ({ status: url === '/x' ? 200 : 404 }))
  const lines = [
    '{"evento":"a","datos":{"z":12345678901234567890,"a":1}}',
    'esto no es JSON',
    '{"datos":{"n":3}}',
    '{"evento":"b","cuerpo":"texto","tipo_contenido":"text/plain","ruta":"x"}',
    '{"evento":"b","datos":1,"cuerpo":"dos cuerpos"}',
  ]
  const run = await world.cli(['send', 'por.defecto', '--lote'], { input: `${lines.join('\n')}\n` })
  expect(run.code).toBe(1)
  const ids = run.stdout.split('\n')
  expect(ids).toHaveLength(6)
  expect(ids.map((id) => id.length)).toEqual([26, 0, 26, 26, 0, 0])
  expect(run.stderr).toMatch(/\b2\b/)
  expect(run.stderr).toMatch(/\b5\b/)
  await world.settled([ids[0]!, ids[2]!, ids[3]!])
  const byEvent = new Map(listener.requests.map((request) => [request.headers['x-resthooks-evento'], request]))
  expect(byEvent.get('a')!.body.toString()).toBe('{"z":12345678901234567890,"a":1}')
  expect(byEvent.get('por.defecto')!.body.toString()).toBe('{"n":3}')
  expect(byEvent.get('b')).toMatchObject({ url: '/x', body: Buffer.from('texto') })
})

test('--lote without a bad line exits 0, one id a line in the same order', async ({ world }) => {
  await world.set(...ANYBODY)
  const input = Array.from({ length: 500 }, (_, n) => `{"evento":"x","datos":{"n":${n}}}`).join('\n')
  const run = await world.cli(['send', '--lote'], { input })
  expect(run).toMatchObject({ code: 0, stderr: '' })
  const entries = await waiting(world)
  expect(run.stdout.trimEnd().split('\n')).toEqual(entries.map(({ id }) => id))
  expect(entries.map(({ datos }) => datos)).toEqual(Array.from({ length: 500 }, (_, n) => ({ n })))
})

/** Starts `send` with its streams in our hands. */
function sending(world: World, ...args: string[]) {
  const child = spawn(process.execPath, [BIN, 'send', ...args], {
    cwd: world.folder,
    env: cleanEnvironment(world.environment),
    stdio: 'pipe',
  })
  const run = { child, stdout: '', stderr: '', ended: new Promise((resolve) => child.once('close', resolve)) }
  for (const stream of ['stdout', 'stderr'] as const) child[stream].on('data', (chunk) => (run[stream] += chunk))
  child.stdin.on('error', () => {})
  return run
}

test('--lote enqueues what has come while its input is open; a signal ends it with what it printed', async ({
  world,
}) => {
  const run = sending(world, '--lote')
  for (let n = 1; n <= 3; n++) {
    run.child.stdin.write(`{"evento":"x","datos":{"n":${n}}}\n`)
    await until(() => run.stdout.split('\n').length === n + 1, { what: `the id of line ${n}` })
    expect(await world.redis.llen(world.keys.inbox)).toBe(n)
  }
  run.child.stdin.write('{"evento":"x","datos":{"n":4}') // Half a line is none.
  run.child.kill('SIGTERM')
  expect(await run.ended).toBe(143)
  expect(run.stdout.trimEnd().split('\n')).toEqual((await waiting(world)).map(({ id }) => id))
  expect(run.stderr).toMatch(/se encolaron 3 mensajes/)
})

test('--lote whose reader goes away stops, says how many are in, and fails', async ({ world }) => {
  const run = sending(world, '--lote')
  run.child.stdout.destroy()
  run.child.stdin.end('{"evento":"x"}\n'.repeat(20_000))
  expect(await run.ended).toBe(1)
  const count = await world.redis.llen(world.keys.inbox)
  expect(count).toBeLessThan(20_000)
  expect(run.stderr).toContain(`se encolaron ${count} mensajes, los de las líneas 1 a ${count};`)
})

test('--lote: a blank line at the end is none, one in between is bad', async ({ world }) => {
  await world.set(...ANYBODY)
  expect(await world.cli(['send', '--lote'], { input: '{"evento":"x"}\n\n\n' })).toMatchObject({
    code: 0,
    stderr: '',
    stdout: expect.stringMatching(ULID),
  })
  const run = await world.cli(['send', '--lote'], { input: '{"evento":"x"}\n \n{"evento":"x"}\n' })
  expect(run).toMatchObject({ code: 1, stdout: expect.stringMatching(/^\w{26}\n\n\w{26}\n$/) })
  expect(run.stderr).toMatch(/línea 2: está vacía/)
})

test('Redis that goes away before it answers: the message may be in, and --clave is the way', async ({ world }) => {
  const { host, port } = world.redis.options
  const proxy = await startProxy({ host: host!, port: port! })
  try {
    await world.setEnv({ REST_HOOKS_REDIS_PORT: String(proxy.port) })
    void proxy.cutOnAnswer(/:[1-9]/)
    const one = await world.cli(['send', 'x', '{}'])
    expect(await world.redis.llen(world.keys.inbox)).toBe(1)
    expect(one).toMatchObject({
      code: 4,
      stdout: '',
      stderr: expect.stringMatching(/pudo haber quedado encolado.*--clave/),
    })
    void proxy.cutOnAnswer(/:[1-9]/)
    const many = await world.cli(['send', '--lote'], { input: '{"evento":"x","clave":"k"}\n{"evento":"x"}\n' })
    expect(many).toMatchObject({ code: 4, stdout: expect.stringMatching(ULID) })
    expect(many.stderr).toMatch(/líneas? 2 .*pudieron.*"clave".*se encolaron 1 mensajes/)
  } finally {
    await proxy.close()
  }
  await world.setEnv({ REST_HOOKS_REDIS_PORT: String(await freePort()) })
  expect((await world.cli(['send', 'x', '{}'])).stderr).not.toContain('pudo haber')
})

test('--esperar exits 0 when every delivery succeeded and 1 when one failed or none was to be made', async ({
  world,
}) => {
  await world.listener(() => ({ status: 200 }), { nombre: 'bien', eventos: 'bueno, malo' })
  await world.listener(() => ({ status: 422 }), { nombre: 'mal', eventos: 'malo' })
  await world.worker()
  const forms = [
    ['send', 'bueno', '{}', '--esperar'],
    ['send', 'bueno', '{}', '--esperar', '20s'],
    ['send', '--esperar', '20s', 'bueno', '{}'],
    ['send', '--esperar', 'bueno', '{}'],
    ['send', 'bueno', '--esperar', '20', '{}'],
    ['send', 'bueno', '{}', '--esperar=20s'],
    ['send', '--esperar', 'bueno', '{}', '--clave', '--esperar'],
  ]
  const done = await Promise.all(forms.map((form) => world.cli(form)))
  for (const run of done) expect(run).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(ULID) })
  const failed = await world.cli(['send', 'malo', '{}', '--esperar=20s'])
  expect(failed).toMatchObject({ code: 1, stdout: expect.stringMatching(ULID) })
  expect(failed.stderr).toContain('mal')
  const nobody = await world.cli(['send', 'nadie', '{}', '--esperar', '20s'])
  expect(nobody).toMatchObject({ code: 1, stderr: expect.stringContaining('ningún listener') })
  const wrong = await world.cli(['send', 'bueno', '{}', '--esperar', '20x'])
  expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('no es una duración') })
})

test('--esperar waits for every delivery after one failed, and at the end of its time tells what failed and what is open', async ({
  world,
}) => {
  const late = await world.listener((_, n) => ({ status: n < 3 ? 500 : 200 }), {
    nombre: 'lento',
    eventos: 'uno',
  })
  await world.listener(() => ({ status: 304 }), { nombre: 'mal', eventos: 'uno, dos' })
  await world.set('reintentos eternos', { estrategia: 'fija', espera_inicial: '1h', intentos: 5 })
  await world.listener(() => ({ status: 500 }), { nombre: 'terco', eventos: 'dos', reintentos: 'eternos' })
  await world.worker()
  const whole = await world.cli(['send', 'uno', '1', '--esperar', '30s'])
  expect(whole).toMatchObject({ code: 1, stderr: expect.stringMatching(/ → mal: fallida/) })
  expect(late.requests).toHaveLength(3)
  expect(whole.stderr).not.toContain('lento')
  expect(whole.stderr).not.toContain('No se sabe')
  const partly = await world.cli(['send', 'dos', '1', '--esperar', '3s'])
  expect(partly.code).toBe(1)
  for (const part of [/ → mal: fallida/, / → terco: reintentando/, /se agotó el plazo.*La entrega continúa/])
    expect(partly.stderr).toMatch(part)
})

test('--esperar whose outcome cannot be known exits 1, and says that the message is in and how to look later', async ({
  world,
}) => {
  const own = await startRedis()
  try {
    await world.createSchema()
    await world.setEnv({ REST_HOOKS_DB_PORT: String(await freePort()) })
    const blind = await world.cli(['send', 'x', '{}', '--esperar=200ms'])
    expect(blind).toMatchObject({ code: 1, stdout: expect.stringMatching(ULID) })
    expect(await waiting(world)).toMatchObject([{ id: blind.stdout.trim() }])
    for (const part of ['está encolado', 'Postgres', 'La entrega continúa', `resthooks ver ${blind.stdout.trim()}`])
      expect(blind.stderr).toContain(part)

    await world.setEnv({ REST_HOOKS_DB_PORT: String(inject('postgres').port), REST_HOOKS_REDIS_PORT: String(own.port) })
    const run = sending(world, 'x', '{}', '--esperar', '1s')
    await until(() => run.stdout !== '', { what: 'the id' })
    await own.kill()
    expect(await run.ended).toBe(1)
    expect(run.stderr).toMatch(new RegExp(`está encolado.*Redis.*sigue cuando Redis vuelva.*ver ${run.stdout.trim()}`))
    expect(run.stderr).not.toContain('continúa')
  } finally {
    await own.stop()
  }
})

test('--esperar without a worker ends after its time with 1, and the message stays enqueued', async ({ world }) => {
  await world.createSchema()
  await world.listener(() => ({ status: 200 }))
  const run = await world.cli(['send', 'x', '{}', '--esperar=1s'])
  expect(run).toMatchObject({ code: 1, stdout: expect.stringMatching(ULID) })
  expect(run.stderr).toMatch(/todavía en la entrada: no hay ningún worker en marcha → resthooks iniciar-workers\n/)
  expect(await waiting(world)).toHaveLength(1)
})

test('--esperar for a listener that is paused says so, long before its time is over', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 200 }), { nombre: 'compras' })
  await world.worker()
  await world.cli(['pausar', 'compras'])
  const run = sending(world, 'x', '{}', '--esperar', '60s')
  await until(() =>
    / → compras: pendiente \(pausado por \S+, sin fin, desde .*\) → resthooks reanudar compras\n/.test(run.stderr),
  )
  await world.cli(['reanudar', 'compras'])
  expect(await run.ended).toBe(0)
  expect(listener.requests).toHaveLength(1)
})

test('with resthooks_activo = 0 nothing is enqueued, it says so and exits 0', async ({ world }) => {
  await world.set('', { resthooks_activo: 0 })
  const run = await world.cli(['send', 'x', '{}'])
  expect(run).toMatchObject({ code: 0, stdout: '' })
  expect(run.stderr).toContain('resthooks_activo')
  expect(await waiting(world)).toHaveLength(0)
  await world.setEnv({ REST_HOOKS_ACTIVO: '1' })
  expect((await world.cli(['send', 'x', '{}'])).stdout).toMatch(ULID)
})

test('what nobody here receives is enqueued, and its sender is told at once', async ({ world }) => {
  await world.set('listener altas', { url: 'http://127.0.0.1:1', eventos: 'proveedor.*, compra.alta' })
  await world.set('listener dormido', { url: 'http://127.0.0.1:1', activo: 0 })
  const cases: [args: string[], told: RegExp | ''][] = [
    [['proveedor.alta'], ''],
    [['compra.alta', '--listener', 'altas'], ''],
    [
      ['provedor.alta'],
      /ningún listener de \S+resthooks\.ini recibe .*¿Quiso decir «proveedor\.alta» \(eventos = proveedor\.\*\)\?/,
    ],
    [['compra.alto'], /¿Quiso decir «compra\.alta»\?/],
    [['prosa.actualizar'], /recibe el evento «prosa\.actualizar»\. El mensaje queda encolado/],
    [['nada.que.ver'], /recibe el evento «nada\.que\.ver»\. El mensaje queda encolado/],
    [['help'], /¿Buscaba la ayuda\? Está en: resthooks send --help/],
    [['proveedor.alta', '--listener', 'dormido'], /el listener «dormido» está inactivo \(activo = 0/],
  ]
  for (const [args, told] of cases) {
    const run = await world.cli(['send', ...args])
    expect(run, args.join(' ')).toMatchObject({ code: 0, stdout: expect.stringMatching(ULID) })
    if (told === '') expect(run.stderr).toBe('')
    else expect(run.stderr).toMatch(told)
  }
  expect(await waiting(world)).toHaveLength(cases.length)
  const unknown = await world.cli(['send', 'x', '--listener', 'alta'])
  expect(unknown).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('¿Quiso decir «altas»?') })
  const batch = await world.cli(['send', '--lote'], { input: '{"evento":"provedor.alta"}\n'.repeat(3) })
  expect(batch.code).toBe(0)
  expect(batch.stderr.match(/ningún listener/g)).toHaveLength(1)
})

test('trouble that only others mind is a warning; Redis and what the options name are not', async ({ world }) => {
  await world.set('listener bueno', { url: 'http://127.0.0.1:1' })
  await world.set('listener malo', { url: 'http://127.0.0.1:1', cert_file: 'no-hay.pem', metodo: 'POSTT' })
  await world.set('workers', { concurrencia: 'muchas' })
  await world.set('auditoria', { max_pendientes: 'x', sslmode: 'quizás' })
  const run = await world.cli(['send', 'x', '{}'])
  expect(run).toMatchObject({ code: 0, stdout: expect.stringMatching(ULID) })
  for (const part of ['aviso: se envía igual', 'no-hay.pem', 'POSTT', 'muchas', 'max_pendientes'])
    expect(run.stderr).toContain(part)
  expect(await world.cli(['send', 'x', '--listener', 'bueno'])).toMatchObject({ code: 0 })
  for (const args of [['--listener', 'malo'], ['--esperar']]) {
    expect(await world.cli(['send', 'x', ...args]), args[0]).toMatchObject({ code: 3, stdout: '' })
  }
  await world.set('redis_config', { prot: 6379 })
  expect(await world.cli(['send', 'x'])).toMatchObject({ code: 3, stdout: '', stderr: expect.stringContaining('prot') })
  expect(await waiting(world)).toHaveLength(2)
})

test('a project without a configuration is refused with the nearest name; a machine that only sends is not', async ({
  world,
}) => {
  await world.set(...ANYBODY)
  const typo = await world.cli(['send', 'x', '-p', 'proyeto'])
  expect(typo).toMatchObject({ code: 3, stdout: '' })
  expect(typo.stderr).toMatch(
    /«proyeto» de la instancia .* no tiene resthooks\.ini; lo tienen: proyecto \(.*¿Quiso decir «-p proyecto»\? Se buscó en: \//,
  )
  expect((await world.cli(['send', 'x', '-i', 'otra'])).stderr).toContain(`¿Quiso decir «-i ${world.instancia}»?`)

  // To look at it is told as well: an empty queue would say that all is well.
  expect((await world.cli(['pausar', '--todos', '-p', 'proyeto'])).stderr).toContain('¿Quiso decir «-p proyecto»?')

  await rm(world.ini)
  // Somewhere else there are workers.
  await world.redis.sadd(world.keys.listeners, 'ajeno')
  expect(await world.cli(['send', 'x', '--listener', 'ajeno'])).toMatchObject({ code: 0, stderr: '' })
  await rm(world.env)
  const nothing = await world.cli(['send', 'x'])
  expect(nothing).toMatchObject({ code: 3, stdout: '' })
  for (const place of [world.ini, world.env]) expect(nothing.stderr).toContain(place)
})
