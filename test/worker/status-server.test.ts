/** /metrics and /salud of a worker, as Prometheus and a load balancer see them. */
import { once } from 'node:events'
import { get as httpGet } from 'node:http'
import { connect, type Socket } from 'node:net'
import { isOurName } from '../../src/worker/status-server.ts'
import { BIN, spawnProgram } from '../support/cli.ts'
import { freePort } from '../support/ports.ts'
import { until } from '../support/until.ts'
import { expect, test } from '../support/world.ts'

async function get(port: number, path: string) {
  const response = await fetch(`http://127.0.0.1:${port}${path}`)
  return { status: response.status, type: response.headers.get('content-type'), text: await response.text() }
}

/** The value of one line, by its name and labels as Prometheus writes them. */
function value(text: string, series: string): number | null {
  const line = text.split('\n').find((each) => each.startsWith(`${series} `))
  return line === undefined ? null : Number(line.slice(series.length + 1))
}

test('attempts, durations and depths are told by listener', async ({ world }) => {
  const port = await freePort()
  await world.set('workers', { metricas: `127.0.0.1:${port}` })
  await world.set('reintentos', { esperas: '1h' })
  await world.listener(() => ({ status: 200 }), { nombre: 'bien' })
  await world.listener(() => ({ status: 503 }), { nombre: 'mal' })
  await world.listener(() => ({ status: 422 }), { nombre: 'nunca' })
  const worker = await world.worker()
  await worker.logged('métricas')
  await world.push('esto no es JSON')
  await world.send('x', { n: 1 })
  await until(async () => {
    const { text, type, status } = await get(port, '/metrics')
    expect([status, type]).toEqual([200, expect.stringContaining('text/plain')])
    return (
      value(text, 'resthooks_intentos_total{listener="bien",resultado="exito"}') === 1 &&
      value(text, 'resthooks_intentos_total{listener="mal",resultado="reintento"}') === 1 &&
      value(text, 'resthooks_intentos_total{listener="nunca",resultado="fallo"}') === 1 &&
      value(text, 'resthooks_intento_segundos_count{listener="mal"}') === 1 &&
      value(text, 'resthooks_entregas{listener="mal",estado="reintentos"}') === 1 &&
      value(text, 'resthooks_entregas{listener="nunca",estado="fallidas"}') === 1 &&
      value(text, 'resthooks_entrada{lista="entrada_invalida"}') === 1 &&
      value(text, 'resthooks_auditoria_pendiente') === 0 &&
      value(text, 'resthooks_workers_vivos') === 1 &&
      value(text, 'resthooks_redis_disponible') === 1
    )
  })
  expect(await get(port, '/otra')).toMatchObject({ status: 404 })
  worker.kill('SIGTERM')
  expect(await worker.waitExit()).toEqual({ code: 0, signal: null })
})

test('a database that is read-only for a while is no good, and once it is not, every row arrives and all is well', async ({
  world,
}) => {
  const port = await freePort()
  const role = `rol_${world.schema}`
  await world.sql.unsafe(`CREATE ROLE ${role} LOGIN PASSWORD 'clave'`)
  try {
    expect(await world.cli(['crear-base', '--rol', role])).toMatchObject({ code: 0 })
    await world.setEnv({ REST_HOOKS_DB_USERNAME: role, REST_HOOKS_DB_PASSWORD: 'clave' })
    await world.set('workers', { metricas: `127.0.0.1:${port}` })
    await world.listener(() => ({ status: 200 }))
    await (await world.worker()).logged('métricas')
    await world.settled(await world.send('x', { n: 1 }))
    expect((await get(port, '/salud')).status).toBe(200)

    await world.sql.unsafe(`ALTER ROLE ${role} SET default_transaction_read_only = on`)
    await world.sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ${role}`
    await until(async () => (await get(port, '/salud')).text.includes('solo lectura'))
    const id = await world.send('x', { n: 2 })
    await world.sql.unsafe(`ALTER ROLE ${role} RESET default_transaction_read_only`)
    await world.settled(id)
    await until(async () => (await get(port, '/salud')).status === 200)
  } finally {
    await world.sql.unsafe(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  }
})

test('/salud is 200 while all is well, and 503 with the reason when Postgres cannot be asked', async ({ world }) => {
  const port = await freePort()
  await world.set('workers', { metricas: `127.0.0.1:${port}` })
  const worker = await world.worker()
  await worker.logged('métricas')
  const well = await get(port, '/salud')
  expect(well).toMatchObject({ status: 200, type: 'application/json' })
  expect(JSON.parse(well.text)).toMatchObject({
    estado: 'ok',
    redis: { ok: true },
    postgres: { ok: true },
    ciclo: { ok: true, hace_ms: expect.any(Number) },
  })
  worker.kill('SIGTERM')
  await worker.waitExit()
  await world.setEnv({ REST_HOOKS_DB_PORT: '1' })
  const without = await world.worker()
  await without.logged('métricas')
  const ill = await get(port, '/salud')
  expect(ill.status).toBe(503)
  expect(JSON.parse(ill.text)).toMatchObject({
    estado: 'mal',
    redis: { ok: true },
    postgres: { ok: false, detalle: expect.stringContaining('Postgres') },
  })
})

test('several workers take a port each, and a reload moves them', async ({ world }) => {
  const port = await freePort()
  await world.set('workers', { metricas: `127.0.0.1:${port}` })
  const [first, second] = [await world.worker(), await world.worker()]
  const servers = [await first.logged('métricas en'), await second.logged('métricas en')].map(
    ({ servidor }) => servidor,
  )
  expect(new Set(servers).size).toBe(2)
  const names = await Promise.all(
    servers.map(async (server) => JSON.parse(await (await fetch(`http://${server}/salud`)).text()).worker),
  )
  expect(new Set(names).size).toBe(2)
  const other = await freePort()
  await world.set('workers', { metricas: `127.0.0.1:${other}` })
  await until(async () => (await get(other, '/salud')).status === 200)
  // Each worker notices the changed file in its own time.
  const gone = () =>
    get(port, '/salud').then(
      () => false,
      () => true,
    )
  await until(gone, { what: 'nobody at the old port' })
})

test('an address that cannot be had stops no delivery', async ({ world }) => {
  // TEST-NET-3 (RFC 5737): no machine has it.
  await world.set('workers', { metricas: '203.0.113.1:9464' })
  const listener = await world.listener(() => ({ status: 200 }))
  const worker = await world.worker()
  await worker.logged('no se pudieron publicar las métricas')
  await world.settled(await world.send('x', { n: 1 }))
  expect(listener.requests).toHaveLength(1)
})

test.for([
  [undefined, true],
  ['127.0.0.1:9464', true],
  ['[::1]:9464', true],
  ['localhost:9464', true],
  ['worker:9464', true],
  ['metricas.example.edu.ar:9464', true],
  ['METRICAS.example.edu.ar.', true],
  ['malo.example.com:9464', false],
  ['127.0.0.1.malo.example.com', false],
] as const)('Host %s', ([host, ours]) => {
  expect(isOurName(host, 'metricas.example.edu.ar')).toBe(ours)
})

test('idle connections do not take the descriptors of deliveries, and without descriptors no attempt is counted', {
  timeout: 60_000,
}, async ({ world }) => {
  const port = await freePort()
  await world.set('workers', { metricas: `127.0.0.1:${port}` })
  await world.createSchema()
  const listener = await world.listener(() => ({ status: 200, headers: { connection: 'close' } }))
  const options = { env: world.environment, cwd: world.folder }
  const limited = `ulimit -n 85; exec "${process.execPath}" "${BIN}" iniciar-workers`
  const worker = spawnProgram('sh', ['-c', limited], options)
  const idle: Socket[] = []
  try {
    await worker.logged('métricas')
    await world.settled(await world.send('x', { n: 1 }), { start: false })
    const foreign = await new Promise((resolve) => {
      httpGet({ port, path: '/metrics', headers: { host: 'malo.example.com' } }, (answer) => {
        answer.resume()
        resolve(answer.statusCode)
      })
    })
    expect(foreign).toBe(421)

    for (let i = 0; i < 200; i++) idle.push(connect(port, '127.0.0.1').on('error', () => {}))
    await Promise.all(idle.map((socket) => (socket.readyState === 'open' ? null : once(socket, 'connect'))))
    const ids: string[] = []
    for (let n = 0; n < 20; n++) {
      ids.push(`sin_descriptores_${n}`)
      await world.push({ id: ids[n]!, evento: 'x', datos: n })
    }
    await worker.logged('cupo de archivos y conexiones')
    for (const id of ids) {
      await world.settled(id, { start: false })
      expect(await world.audit(id)).toMatchObject([{ estado: 'exitosa', intentos: [{ numero: 1, http_estado: 200 }] }])
    }
    expect(listener.requests).toHaveLength(21)
    expect(worker.log.filter(({ mensaje }) => /cupo de archivos y conexiones/.test(String(mensaje)))).toHaveLength(1)
    expect((await get(port, '/metrics')).status).toBe(200)
  } finally {
    for (const socket of idle) socket.destroy()
    worker.kill('SIGKILL')
    await worker.waitExit()
  }
})
