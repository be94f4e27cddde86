/** /metrics, /salud and /listo of a worker, as Prometheus, a container and a load balancer see them. */
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { Agent, createServer, get as httpGet } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { isOurName } from '../../src/worker/status-server.ts'
import { BIN, spawnProgram } from '../support/cli.ts'
import { freePort } from '../support/ports.ts'
import { startRedis } from '../support/redis-server.ts'
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

test('attempts, durations and depths are told by listener; a removed listener takes its series along', async ({
  world,
}) => {
  const port = await freePort()
  await world.set('workers', { metricas: `127.0.0.1:${port}` })
  await world.set('reintentos', { esperas: '1h' })
  await world.listener(() => ({ status: 200 }), { nombre: 'bien' })
  await world.listener(() => ({ status: 503 }), { nombre: 'mal' })
  await world.listener(() => ({ status: 422 }), { nombre: 'nunca' })
  await world.set('listener quieto', { url: 'http://127.0.0.1:1', eventos: 'otro' })
  const worker = await world.worker()
  await worker.logged('métricas')
  await world.push('esto no es JSON')
  await world.push({ id: 'ajeno', evento: 'x{listener="inventado"}', datos: 1 })
  await world.send('x', { n: 1 })
  await world.send('x', { n: 2 }, ['--demora', '1s', '--listener', 'bien'])
  const told = async (series: Record<string, number>) => {
    const { text } = await get(port, '/metrics')
    return Object.entries(series).every(([name, wanted]) => value(text, `resthooks_${name}`) === wanted)
  }
  await until(() =>
    told({
      'attempts_total{listener="bien",outcome="success",class="2xx"}': 3,
      'attempts_total{listener="mal",outcome="retry",class="5xx"}': 2,
      'attempts_total{listener="nunca",outcome="failure",class="4xx"}': 2,
      'attempts_total{listener="quieto",outcome="failure",class="timeout"}': 0,
      'attempt_duration_seconds_count{listener="mal"}': 2,
      'delivery_latency_seconds_count{listener="bien"}': 3,
      'delivery_latency_seconds_count{listener="quieto"}': 0,
      // One with a `demora` is taken once, though it lies there twice.
      messages_accepted_total: 3,
      'queue_deliveries{listener="mal",state="retrying"}': 2,
      'queue_deliveries{listener="nunca",state="failed"}': 2,
      'queue_oldest_overdue_seconds{listener="quieto"}': 0,
      'listener_paused{listener="quieto"}': 0,
      'breaker_open{listener="quieto"}': 0,
      inbox_messages: 0,
      delayed_messages: 0,
      invalid_entries: 1,
      audit_backlog_rows: 0,
      workers_alive: 1,
      redis_up: 1,
      postgres_up: 1,
    }),
  )
  const { text, type } = await get(port, '/metrics')
  expect(type).toContain('text/plain')
  expect(text).not.toContain('inventado')
  expect(text).toMatch(/^resthooks_build_info\{version="[\d.]+",commit="[\w-]*",config_hash="[0-9a-f]{16}"\} 1$/m)
  expect(value(text, 'resthooks_audit_rows_written_total')).toBeGreaterThan(8)
  expect(value(text, 'resthooks_loop_last_turn_timestamp_seconds{loop="claim"}')! * 1000).toBeGreaterThan(
    Date.now() - 60_000,
  )
  expect(await get(port, '/otra')).toMatchObject({ status: 404 })

  expect((await world.cli(['purgar', '--antes-de', '30d'])).code).toBe(0)
  await world.cli(['pausar', 'nunca'])
  await world.set('listener mal', { url: 'http://127.0.0.1:1', activo: 0 })
  await world.unset('listener quieto')
  await until(async () => !(await get(port, '/metrics')).text.includes('"quieto"'))
  const after = (await get(port, '/metrics')).text
  expect(value(after, 'resthooks_listener_paused{listener="nunca"}')).toBe(1)
  expect(value(after, 'resthooks_last_purge_timestamp_seconds')! * 1000).toBeGreaterThan(Date.now() - 60_000)
  expect(value(after, 'resthooks_attempts_total{listener="bien",outcome="success",class="2xx"}')).toBe(3)
  expect(after.match(/^resthooks_build_info/gm)).toHaveLength(1)
  worker.kill('SIGTERM')
  expect(await worker.waitExit()).toEqual({ code: 0, signal: null })
})

test('a database that is read-only for a while is told, and once it is not, every row arrives and all is well', async ({
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
    const postgres = async () => JSON.parse((await get(port, '/listo')).text).postgres
    expect(await postgres()).toEqual({ ok: true, detalle: null })

    await world.sql.unsafe(`ALTER ROLE ${role} SET default_transaction_read_only = on`)
    await world.sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ${role}`
    await until(async () => (await postgres()).detalle?.includes('solo lectura'))
    expect(value((await get(port, '/metrics')).text, 'resthooks_postgres_up')).toBe(0)
    const id = await world.send('x', { n: 2 })
    await world.sql.unsafe(`ALTER ROLE ${role} RESET default_transaction_read_only`)
    await world.settled(id)
    await until(async () => (await postgres()).ok)
  } finally {
    await world.sql.unsafe(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  }
})

test('`salud` asks the workers of its own project, on whichever of the ports they are', async ({ world }) => {
  const port = await freePort()
  await world.set('workers', { metricas: `127.0.0.1:${port}` })
  await world.listener(() => ({ status: 200 }))
  const another = ['-p', 'ajeno', '--config', world.ini]
  const foreign = await world.worker(another)
  await foreign.logged('métricas')
  const salud = async (...args: string[]) => world.cli(['salud', ...args])
  const refused = await salud()
  expect(refused).toMatchObject({ code: 1, stdout: expect.stringContaining('contesta un worker de prueba_') })
  expect(await salud(...another)).toMatchObject({ code: 0 })

  const own = await world.worker()
  const line = await own.logged('métricas')
  const { servidor } = line as { servidor: string }
  expect(servidor).not.toBe(`127.0.0.1:${port}`)
  expect(await salud()).toEqual({ code: 0, stdout: `bien: http://${servidor}/salud\n`, stderr: '' })
  // The port before is free again.
  foreign.kill('SIGTERM')
  await foreign.waitExit()
  expect(await salud('--listo')).toEqual({ code: 0, stdout: `bien: http://${servidor}/listo\n`, stderr: '' })
  expect(await salud(...another)).toMatchObject({ code: 1, stdout: expect.stringContaining('nadie atiende ahí') })
})

test('a worker of the version before does not say whose it is, and is taken for one of ours', async ({ world }) => {
  const old = createServer((_, response) => response.end('{"estado":"ok","worker":"vm:1:a","version":"0.1.0"}'))
  await once(old.listen(0, '127.0.0.1'), 'listening')
  try {
    const { port } = old.address() as AddressInfo
    await world.set('workers', { metricas: `127.0.0.1:${port}` })
    expect(await world.cli(['salud'])).toMatchObject({ code: 0 })
  } finally {
    old.close()
  }
})

test('/salud says that it lives, /listo that it can work; what a person should know besides is told', async ({
  world,
}) => {
  const port = await freePort()
  const server = await startRedis()
  try {
    await world.setEnv({ REST_HOOKS_REDIS_PORT: String(server.port), REST_HOOKS_DB_PORT: '1' })
    await world.set('workers', { metricas: `127.0.0.1:${port}` })
    const worker = await world.worker()
    await worker.logged('métricas')
    const salud = async () => {
      const { status, text } = await get(port, '/salud')
      return { status, ...JSON.parse(text) }
    }
    const listo = async () => {
      const { status, text } = await get(port, '/listo')
      return { status, ...JSON.parse(text) }
    }
    expect(await get(port, '/salud')).toMatchObject({ type: 'application/json' })
    const lives = { status: 200, estado: 'ok', ciclo: { ok: true, hace_ms: expect.any(Number) } }
    expect(await salud()).toMatchObject(lives)
    const asked = (...args: string[]) => world.cli(['salud', ...args])
    expect(await asked()).toEqual({ code: 0, stdout: `bien: http://127.0.0.1:${port}/salud\n`, stderr: '' })
    expect(await asked('--url', `http://127.0.0.1:${port}`, '--listo', '--json')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('/listo'),
    })
    // Deliveries go on without Postgres.
    expect(await listo()).toMatchObject({
      ...lives,
      redis: { ok: true },
      configuracion: { ok: true },
      postgres: { ok: false, detalle: expect.stringContaining('Postgres') },
    })

    const good = await readFile(world.ini, 'utf8')
    await writeFile(world.ini, `${good}\n[nada]\n`)
    await until(async () => (await listo()).status === 503)
    expect(await listo()).toMatchObject({
      estado: 'mal',
      redis: { ok: true },
      configuracion: { ok: false, detalle: expect.stringContaining('nada') },
    })
    expect(await salud()).toMatchObject(lives)
    await writeFile(world.ini, good)
    await until(async () => (await listo()).status === 200)

    expect((await get(port, '/metrics')).text).toContain('resthooks_workers_alive 1')
    await server.kill('SIGKILL')
    expect(await listo()).toMatchObject({
      status: 503,
      redis: { ok: false, detalle: expect.stringContaining('Redis (') },
      configuracion: { ok: true },
    })
    expect(await asked('--listo')).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/^mal: .*\/listo: redis: Redis \(/),
      stderr: 'resthooks: no está bien\n',
    })
    // A restart of the worker would bring no Redis back.
    expect(await salud()).toMatchObject(lives)
    const { text } = await get(port, '/metrics')
    expect(value(text, 'resthooks_redis_up')).toBe(0)
    expect(text).not.toMatch(/^resthooks_(workers_alive|queue_deliveries|inbox_messages|breaker_open)/m)
    await server.start()
    await until(async () => (await listo()).status === 200)
    expect((await get(port, '/metrics')).text).toMatch(/^resthooks_workers_alive /m)
    worker.kill('SIGKILL')
    await worker.waitExit()
    await world.set('workers', { procesos: 2 })
    const two = await asked()
    expect(two).toMatchObject({ code: 1, stderr: expect.stringContaining('2 de 2') })
    expect(two.stdout).toContain(`:${port + 1}/salud: nadie atiende ahí: ¿hay un worker en marcha`)
    const page = await freePort()
    await world.set('panel', { direccion: `127.0.0.1:${page}` })
    expect(await asked('--panel')).toMatchObject({
      code: 1,
      stdout: expect.stringContaining(`:${page}/salud: nadie atiende ahí: ¿está en marcha`),
    })
    await world.set('workers', { metricas: '' })
    expect(await asked()).toMatchObject({ code: 3, stderr: expect.stringContaining('metricas') })
    expect(await asked('--url', '127.0.0.1:9464')).toMatchObject({ code: 2 })
  } finally {
    await server.stop()
  }
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

  // Whoever asked, and keeps the connection, keeps out nobody who asks after him.
  const keeper = new Agent({ keepAlive: true })
  const statusBy = (agent: Agent | false) =>
    new Promise<unknown>((resolve) => {
      const asked = httpGet({ port, path: '/salud', agent }, (answer) => {
        answer.on('end', () => resolve(answer.statusCode)).resume()
      })
      asked.on('error', (error) => resolve(error.message))
    })
  await Promise.all(Array.from({ length: 64 }, () => statusBy(keeper)))
  // Within moments: whoever has his answer may still have a connection that is being closed.
  await until(async () => (await statusBy(false)) === 200, { timeout: 5_000 })
  keeper.destroy()
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
