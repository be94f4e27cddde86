/** One worker, several workers, and their ends: asked for, sudden, and by themselves. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inject } from 'vitest'
import { migrationScript, migrations } from '../../src/audit/migrate.ts'
import type { Worker } from '../support/cli.ts'
import { closedGate } from '../support/gate.ts'
import { startProxy } from '../support/proxy.ts'
import { until } from '../support/until.ts'
import { expect, test } from '../support/world.ts'

test('SIGTERM lets the request in the middle finish, settles and audits it, and exits 0', async ({ world }) => {
  const gate = closedGate()
  const listener = await world.listener(() => gate.opened.then(() => ({ status: 200 })), { concurrencia: 1 })
  const worker = await world.worker()
  const [first, second] = [await world.send('x', { n: 1 }), await world.send('x', { n: 2 })]
  await until(() => listener.requests.length === 1)
  worker.kill('SIGTERM')
  await worker.logged('SIGTERM')
  gate.open()
  expect(await worker.waitExit()).toEqual({ code: 0, signal: null })

  expect(listener.requests).toHaveLength(1)
  expect(await world.audit(first)).toMatchObject([{ estado: 'exitosa', intentos: [{ http_estado: 200 }] }])
  // The other one was not begun: it waits, without an attempt to its name, for the next worker.
  await world.worker()
  await world.settled(second)
  expect(await world.audit(second)).toMatchObject([{ estado: 'exitosa', intentos: [{ numero: 1 }] }])
  expect(listener.requests).toHaveLength(2)
})

test('a request that outlasts drenaje is cut and comes back to the next worker', async ({ world }) => {
  const listener = await world.listener((_, n) => (n === 1 ? 'silence' : { status: 200 }))
  await world.set('workers', { drenaje: '500ms' })
  const worker = await world.worker()
  const id = await world.send('x', { n: 1 })
  await until(() => listener.pending === 1)
  worker.kill('SIGTERM')
  expect(await worker.waitExit()).toEqual({ code: 0, signal: null })
  await world.worker()
  await world.settled(id)
  expect(await world.audit(id)).toMatchObject([{ estado: 'exitosa' }])
  expect(listener.requests).toHaveLength(2)
})

test('a second signal ends it at once', async ({ world }) => {
  const listener = await world.listener(() => 'silence')
  const worker = await world.worker()
  await world.send('x', { n: 1 })
  await until(() => listener.pending === 1)
  worker.kill('SIGINT')
  await worker.logged('SIGINT')
  worker.kill('SIGINT')
  const { code, signal } = await worker.waitExit()
  expect(signal === 'SIGINT' || code === 130).toBe(true)
})

test('two workers share the work, and nothing is delivered twice', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 200, delay: 20 }), { concurrencia: 4 })
  await Promise.all([world.worker(), world.worker()])
  const input = Array.from({ length: 200 }, (_, n) => `{"evento":"x","datos":${n}}`).join('\n')
  const ids = (await world.cli(['send', '--lote'], { input })).stdout.trimEnd().split('\n')
  await world.settled(ids, { timeout: 40_000 })
  expect(listener.requests).toHaveLength(200)
  expect(new Set(listener.requests.map(({ headers }) => headers['webhook-id']))).toEqual(new Set(ids))
  const workers = await world.sql`SELECT DISTINCT worker FROM ${world.sql(world.schema)}.intento`
  expect(workers).toHaveLength(2)
})

// Those that are concurrent wait most of their time: for a lease, a time-out, a worker.
test.concurrent.for([
  // One envelope moved, under a fence, nothing repeated; one begins and none waits: what `dispatch` answers.
  ['goes straight to work', 'libre', /:1\r\n:\d+\r\n\*0\r\n:1\r\n:0\r\n/],
  // The id, three numbers, and the envelope: what `claim` answers.
  ['comes from the queue', 'estricto', /\$26\r\n[0-9A-Z]{26}\r\n(:\d+\r\n){3}\$/],
] as const)(
  'a claim whose answer is lost is made again, and is no attempt: it %s',
  async ([, orden, answer], { world }) => {
    const listener = await world.listener(() => ({ status: 200 }), { orden })
    await world.set('workers', { arriendo: '1s' })
    const proxy = await startProxy(inject('redis'))
    try {
      await world.setEnv({ REST_HOOKS_REDIS_PORT: String(proxy.port) })
      await world.worker()
      let isCut = false
      void proxy.cutOnAnswer(answer).then(() => {
        isCut = true
      })
      // The first one may find all slots spoken for by a claim under way, and wait in the queue.
      for (let sent = 1; !isCut; sent++) {
        const id = await world.send('x', sent)
        await world.settled(id)
        expect(await world.audit(id)).toMatchObject([{ estado: 'exitosa', intentos: [{ numero: 1, error: null }] }])
        expect(listener.requests).toHaveLength(sent)
      }
    } finally {
      await proxy.close()
    }
  },
)

test.concurrent('Redis connections that pass nothing any more: the work goes on over new ones, and so does the end', async ({
  world,
}) => {
  const gate = closedGate()
  const listener = await world.listener((_, n) =>
    n === 1 ? { status: 200 } : gate.opened.then(() => ({ status: 200 })),
  )
  const proxy = await startProxy(inject('redis'))
  try {
    await world.setEnv({ REST_HOOKS_REDIS_PORT: String(proxy.port) })
    const worker = await world.worker()
    proxy.swallow()
    const first = await world.send('x', 1)
    await listener.received(1)
    const second = await world.send('x', 2)
    await listener.received(2)
    proxy.swallow()
    gate.open()
    worker.kill('SIGTERM')
    expect(await worker.waitExit(25_000)).toEqual({ code: 0, signal: null })
    await world.worker()
    for (const id of [first, second]) {
      await world.settled(id)
      expect(await world.audit(id)).toMatchObject([{ estado: 'exitosa', intentos: [{ numero: 1, error: null }] }])
    }
    expect(listener.requests).toHaveLength(2)
  } finally {
    await proxy.close()
  }
})

test.concurrent('Redis away for longer than a lease: what two workers have in hand is told when it is back, and nothing made again', async ({
  world,
}) => {
  const gate = closedGate()
  const answer = () => gate.opened.then(() => ({ status: 200 }))
  const listener = await world.listener(answer, { nombre: 'lento', concurrencia: 10 })
  const proxy = await startProxy(inject('redis'))
  await world.set('workers', { arriendo: '1s' })
  await world.setEnv({ REST_HOOKS_REDIS_PORT: String(proxy.port) })
  await world.worker()
  await world.worker()
  const ids = await Promise.all(Array.from({ length: 12 }, (_, n) => world.send('x', n)))
  await listener.received(ids.length)
  await proxy.close()
  gate.open()
  const { inFlight } = world.keys.lane('lento')
  await until(async () => {
    const [[seconds], leases] = await Promise.all([
      world.redis.time(),
      world.redis.zrange(inFlight, '0', '-1', 'WITHSCORES'),
    ])
    expect(leases).toHaveLength(ids.length * 2)
    return leases.every((end, i) => i % 2 === 0 || Number(end) < Number(seconds) * 1000)
  })
  const back = await startProxy(inject('redis'), proxy.port)
  try {
    await world.settled(ids)
    for (const id of ids) {
      expect(await world.audit(id)).toMatchObject([{ estado: 'exitosa', intentos: [{ numero: 1, error: null }] }])
    }
    expect(listener.requests).toHaveLength(ids.length)
  } finally {
    await back.close()
  }
})

test.concurrent('what a worker held when it was killed comes back, with the same id, and is audited', {
  timeout: 60_000,
}, async ({ world }) => {
  let doomed: Worker | undefined
  // Killed as soon as its second request is here: whatever it had still to tell Redis goes with it.
  const listener = await world.listener((_, n) => {
    if (n === 2) doomed?.kill('SIGKILL')
    return n <= 2 ? 'silence' : { status: 200 }
  })
  await world.set('workers', { arriendo: '1s' })
  doomed = await world.worker()
  const ids = [await world.send('x', { n: 1 }), await world.send('x', { n: 2 })]
  expect(await doomed.waitExit()).toMatchObject({ signal: 'SIGKILL' })
  await world.worker()
  // The deliveries are back after their second, not after the usual half minute; what the dead one had read of the audit
  // stream, once it counts as dead (15 s).
  await until(() => listener.requests.length === 4, { timeout: 12_000 })
  await world.settled(ids, { timeout: 40_000 })
  for (const id of ids) {
    const attempts = [
      { numero: 1, error: 'sin_resultado' },
      { numero: 2, error: null },
    ]
    expect(await world.audit(id)).toMatchObject([{ estado: 'exitosa', intentos: attempts }])
  }
  expect(listener.requests.map(({ headers }) => headers['webhook-id']).toSorted()).toEqual([...ids, ...ids].toSorted())
})

test.concurrent('--una-vez works until nothing is due and exits 0, leaving the retries for later', async ({
  world,
}) => {
  const listener = await world.listener((_, n) => ({ status: n === 1 ? 503 : 200 }), { concurrencia: 1 })
  await world.set('reintentos', { esperas: '1h' })
  const [failing, fine] = [await world.send('x', { n: 1 }), await world.send('x', { n: 2 })]
  const worker = await world.worker(['--una-vez'])
  expect(await worker.waitExit()).toEqual({ code: 0, signal: null })
  expect(listener.requests).toHaveLength(2)
  expect(await world.audit(failing)).toMatchObject([{ estado: 'reintentando', intentos: [{ http_estado: 503 }] }])
  expect(await world.audit(fine)).toMatchObject([{ estado: 'exitosa' }])
})

test('--procesos 2 starts two processes that end together', async ({ world }) => {
  await world.listener(() => ({ status: 200, delay: 30 }), { concurrencia: 2 })
  const worker = await world.worker(['--procesos', '2'])
  const input = Array.from({ length: 60 }, (_, n) => `{"evento":"x","datos":${n}}`).join('\n')
  const ids = (await world.cli(['send', '--lote'], { input })).stdout.trimEnd().split('\n')
  await world.settled(ids)
  const workers = await world.sql`SELECT DISTINCT worker FROM ${world.sql(world.schema)}.intento`
  expect(workers).toHaveLength(2)
  worker.kill('SIGTERM')
  expect(await worker.waitExit()).toEqual({ code: 0, signal: null })
  const pids = workers.map(({ worker: name }) => Number(name.split(':')[1]))
  for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow('ESRCH')
})

/** The `worker` names in the audit end in the process ids of those that delivered. */
const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

const startedBy = (worker: Worker) =>
  new Set(worker.log.filter(({ mensaje }) => mensaje === 'worker en marcha').map(({ pid }) => Number(pid)))

test('--procesos 2: when the process that started them is killed, the workers finish what they do and end', async ({
  world,
}) => {
  const gate = closedGate()
  const listener = await world.listener(() => gate.opened.then(() => ({ status: 200 })))
  const parent = await world.worker(['--procesos', '2'])
  await until(() => startedBy(parent).size === 2)
  const id = await world.send('x', { n: 1 })
  await listener.received(1)
  parent.kill('SIGKILL')
  await until(
    () => parent.log.filter(({ mensaje }) => /terminó el proceso que lo inició/.test(String(mensaje))).length === 2,
  )
  gate.open()
  await until(() => [...startedBy(parent)].every((pid) => !isAlive(pid)))
  await world.settled(id, { start: false })
  expect(listener.requests).toHaveLength(1)
})

test('--procesos 2: a worker that dies is replaced, also when the folder it was started from is gone', async ({
  world,
}) => {
  const gone = await mkdtemp(join(tmpdir(), 'resthooks-borrada-'))
  await world.listener(() => ({ status: 200 }))
  const parent = await world.worker(['--procesos', '2'], { cwd: gone })
  await until(() => startedBy(parent).size === 2)
  await rm(gone, { recursive: true })
  const [doomed] = startedBy(parent)
  process.kill(doomed!, 'SIGKILL')
  expect(await parent.logged('un worker terminó por su cuenta')).toMatchObject({ worker: doomed, senal: 'SIGKILL' })
  await until(() => startedBy(parent).size === 3)
  await world.settled(await world.send('x', { n: 1 }))
  // While it waits to replace another one it still ends when it is told to.
  const pids = [...startedBy(parent)].filter(isAlive)
  process.kill(pids[0]!, 'SIGKILL')
  await until(() => parent.log.filter(({ mensaje }) => /por su cuenta/.test(String(mensaje))).length === 2)
  parent.kill('SIGTERM')
  expect(await parent.waitExit()).toEqual({ code: 0, signal: null })
})

test('the daemon logs one JSON object a line, and never a secret', async ({ world }) => {
  await world.listener(() => ({ status: 401 }), { auth_tipo: 'bearer', auth_token: 'no-se-debe-ver-77' })
  const worker = await world.worker()
  await world.settled(await world.send('x', { n: 1 }))
  worker.kill('SIGTERM')
  await worker.waitExit()
  expect(worker.log.length).toBeGreaterThan(0)
  expect(worker.output.split('\n').filter((line) => line !== '' && !line.startsWith('{'))).toEqual([])
  expect(worker.output).not.toContain('no-se-debe-ver-77')
})

test('the log tells each final failure, the breaker and failing callbacks, and more where nivel says so', async ({
  world,
}) => {
  let status = 503
  await world.listener(() => ({ status }), {
    nombre: 'cae',
    on_failure: 'exec:/no/existe',
    corte_minimo: 3,
    corte_pausa: '1s',
    concurrencia: 1,
  })
  const worker = await world.worker()
  const id = await world.send('x', { n: 1 })
  expect(await worker.logged('se abrió el corte')).toMatchObject({
    nivel: 'warn',
    listener: 'cae',
    motivo: expect.stringContaining('HTTP 503'),
  })
  expect(await worker.logged('entrega fallida')).toMatchObject({ nivel: 'error', id, listener: 'cae', intento: 3 })
  expect(await worker.logged('un callback falló')).toMatchObject({ nivel: 'warn', id, destino: 'exec:/no/existe' })
  expect(worker.log.filter(({ nivel }) => nivel === 'debug')).toEqual([])

  status = 200
  await world.set('workers', { nivel: 'debug' })
  worker.kill('SIGHUP')
  await worker.logged('configuración recargada')
  const second = await world.send('x', { n: 2 })
  expect(await worker.logged('entrega hecha')).toMatchObject({
    nivel: 'debug',
    id: second,
    listener: 'cae',
    intento: 1,
  })
  const third = await world.send('x', { n: 3 })
  await until(() => worker.log.some(({ id: told }) => told === third))
  expect(await worker.logged('se cerró el corte')).toMatchObject({ nivel: 'info', listener: 'cae' })
})

test('every line of the daemon is JSON, from the first: also why it does not start, or cannot write the audit', async ({
  world,
}) => {
  await world.listener(() => ({ status: 200 }))
  await world.setEnv({ REST_HOOKS_REDIS_PORT: '1' })
  const away = await world.cli(['iniciar-workers', '--una-vez'])
  expect(away).toMatchObject({ code: 4, stderr: '' })
  expect(JSON.parse(away.stdout)).toMatchObject({
    nivel: 'error',
    codigo: 4,
    mensaje: expect.stringContaining('Redis'),
  })
  await world.set('workers', { nivel: 'todo' })
  const broken = await world.cli(['iniciar-workers', '--procesos', '2'])
  expect(broken).toMatchObject({ code: 3, stderr: '' })
  expect(JSON.parse(broken.stdout)).toMatchObject({
    codigo: 3,
    mensaje: expect.stringContaining('error | warn | info'),
  })

  await world.set('workers', { nivel: 'info' })
  const { port } = world.redis.options
  await world.setEnv({ REST_HOOKS_REDIS_PORT: String(port), REST_HOOKS_DB_SCHEMA: 'no_existe' })
  const worker = await world.worker()
  expect(await worker.logged('Postgres no admite lo configurado')).toMatchObject({
    nivel: 'error',
    detalle: expect.stringContaining('crear-base'),
  })
  // Nothing was sent: what cannot be written is known before there is anything to write.
  await world.setEnv({ REST_HOOKS_DB_SCHEMA: world.schema })
  await worker.logged('Postgres está disponible otra vez')
})

test('a schema of the version before is written to, and told once at the start', async ({ world }) => {
  const before = `${world.schema}_antes`
  const latest = migrations().length
  const own = await world.sql.reserve()
  await own.unsafe(migrationScript(before, {}, migrations().slice(0, -1)))
  own.release()
  try {
    await world.setEnv({ REST_HOOKS_DB_SCHEMA: before })
    await world.listener(() => ({ status: 200 }))
    const worker = await world.worker()
    const told = new RegExp(
      `es de la versión ${latest - 1} y este programa usa la ${latest}: ejecute «resthooks crear-base»`,
    )
    expect(await worker.logged(told)).toMatchObject({ nivel: 'warn' })
    await world.send('x', 1)
    await until(async () => (await world.sql`SELECT 1 FROM ${world.sql(before)}.intento`).length === 1)
    worker.kill()
    await worker.waitExit()
    expect(worker.log.filter(({ mensaje }) => told.test(String(mensaje)))).toHaveLength(1)
  } finally {
    await world.sql.unsafe(`DROP SCHEMA "${before}" CASCADE`)
  }
})
