/** `on_success` and `on_failure` through the real binary: told, retried, audited, survived, limited, and in nobody's way. */
import { chmod, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { spawnWorker, type Worker } from '../support/cli.ts'
import { startListener } from '../support/listener.ts'
import { until } from '../support/until.ts'
import { expect, test, type World } from '../support/world.ts'

/** A shell script of this world. @returns its path */
async function script(world: World, name: string, text: string): Promise<string> {
  const file = join(world.folder, name)
  await writeFile(file, `#!/bin/sh\ncd "$(dirname "$0")"\n${text}\n`)
  await chmod(file, 0o755)
  return file
}

async function serve(...args: Parameters<typeof startListener>) {
  const server = await startListener(...args)
  onTestFinished(() => server.close())
  return server
}

const isRunning = async (pid: number) =>
  !/^State:\s+Z/m.test(await readFile(`/proc/${pid}/status`, 'utf8').catch(() => 'State: Z'))

/** The pids that scripts left behind as files `PREFIX.PID`. */
async function pidsOf(world: World, prefix: string): Promise<number[]> {
  return (await readdir(world.folder))
    .filter((name) => name.startsWith(`${prefix}.`))
    .map((name) => Number(name.slice(prefix.length + 1)))
}

/**
 * Workers whose callbacks outlive them: at the end of the block the workers go, and then the programs whose pids lie in the
 * folder as `PREFIX.PID`.
 */
function hangingWorkers(world: World, ...prefixes: string[]) {
  const workers: Worker[] = []
  return {
    start: async () => {
      const worker = await world.worker()
      workers.push(worker)
      return worker
    },
    [Symbol.asyncDispose]: async () => {
      for (const worker of workers) worker.kill('SIGKILL')
      await Promise.all(workers.map((worker) => worker.waitExit()))
      for (const pid of (await Promise.all(prefixes.map((prefix) => pidsOf(world, prefix)))).flat()) {
        if (await isRunning(pid)) process.kill(pid, 'SIGKILL')
      }
    },
  }
}

test('the three forms are told the same outcome, and each is audited', async ({ world }) => {
  const told = await serve(() => ({ status: 204 }))
  const exec = await script(
    world,
    'avisar.sh',
    'printf "%s|" "$@" "$RESTHOOKS_TIPO" "$RESTHOOKS_HTTP_ESTADO"; cat > aviso.json',
  )
  const answer = () => ({ status: 422, body: 'falta el CUIT' })
  await world.listener(answer, { nombre: 'a', eventos: 'alta', on_failure: `exec:${exec} --mal 'dos palabras'` })
  await world.listener(answer, { nombre: 'b', eventos: 'alta', on_failure: `${told.url}/avisos?clave=secreta` })
  await world.listener(answer, { nombre: 'c', eventos: 'alta', on_failure: 'evento:alta.fallida' })
  const event = await world.listener(() => ({ status: 200 }), { nombre: 'd', eventos: 'alta.fallida' })
  const id = await world.send('alta', { n: 1 })
  await world.settled(id)
  await event.received(1)

  const outcome = { tipo: 'on_failure', mensaje: id, evento: 'alta', estado: 'fallida', intentos: 1, http_estado: 422 }
  const inputs = [
    await readFile(join(world.folder, 'aviso.json'), 'utf8'),
    told.requests[0]!.body.toString(),
    event.requests[0]!.body.toString(),
  ].map((text) => JSON.parse(text))
  expect(inputs).toMatchObject(
    ['a', 'b', 'c'].map((listener) => ({ ...outcome, listener, respuesta: 'falta el CUIT' })),
  )
  expect(told.requests[0]).toMatchObject({ method: 'POST', url: '/avisos?clave=secreta' })
  expect(await world.callbacks(id)).toMatchObject([
    {
      listener: 'a',
      tipo: 'on_failure',
      intento: 1,
      resultado: 'exito',
      detalle: '--mal|dos palabras|on_failure|422|',
    },
    { listener: 'b', destino: `${told.url}/avisos?***`, resultado: 'exito', detalle: 'HTTP 204' },
    { listener: 'c', destino: 'evento:alta.fallida', resultado: 'exito' },
  ])
})

test('an exec finds RESTHOOKS_* in its environment and nothing else of ours, and 4 KB of what it says are kept', async ({
  world,
}) => {
  const exec = await script(
    world,
    'entorno.sh',
    'env > entorno; cat > aviso.json; head -c 1000000 /dev/zero | tr "\\0" x',
  )
  await world.listener(() => ({ status: 200 }), {
    auth_tipo: 'bearer',
    auth_token: '$env(LISTENER_CLAVE)$',
    on_success: `exec:${exec}`,
  })
  await world.setEnv({ LISTENER_CLAVE: 'no-se-ve-3' })
  await world.createSchema()
  const secrets = {
    PGPASSWORD: 'no-se-ve-1',
    PROYECTO_DB_PASSWORD: 'no-se-ve-2',
    REST_HOOKS_REDIS_USERNAME: '',
    AWS_SECRET_ACCESS_KEY: 'no-se-ve-4',
    NODE_OPTIONS: '--no-warnings',
  }
  const worker = spawnWorker([], { cwd: world.folder, env: { ...world.environment, ...secrets } })
  onTestFinished(async () => {
    worker.kill('SIGKILL')
    await worker.waitExit()
  })
  const id = await world.send('x', { n: 1 }, [])
  await world.settled(id, { start: false })
  const environment = await readFile(join(world.folder, 'entorno'), 'utf8')
  const names = environment.split('\n').map((line) => line.split('=')[0]!)
  const allowed = /^(|PATH|HOME|LANG|TZ|TMPDIR|PWD|OLDPWD|SHLVL|_|RESTHOOKS_[A-Z_]+)$/
  expect(names.filter((name) => !allowed.test(name))).toEqual([])
  expect(names).toContain('RESTHOOKS_MENSAJE')
  const password = String(world.sql.options.pass ?? '')
  for (const text of [environment, await readFile(join(world.folder, 'aviso.json'), 'utf8')]) {
    for (const secret of [...Object.values(secrets), password, 'no-se-ve-3'])
      if (secret) expect(text).not.toContain(secret)
  }
  const [row] = await world.callbacks(id)
  expect(row).toMatchObject({ resultado: 'exito', detalle: 'x'.repeat(4096) })
})

// These wait most of their time: they do it together.
test.concurrent('a callback that fails is retried by the default strategy; given up, ver and estado say so', async ({
  world,
}) => {
  const moody = await script(world, 'a_la_tercera.sh', 'echo x >> veces; [ "$(wc -l < veces)" -ge 3 ]')
  const broken = await script(world, 'roto.sh', 'echo "no hay correo"; exit 75')
  await world.set('reintentos lento', { estrategia: 'fija', espera_inicial: '1h', intentos: 3 })
  await world.listener(() => ({ status: 200 }), { nombre: 'a', reintentos: 'lento', on_success: `exec:${moody}` })
  await world.listener(() => ({ status: 200 }), { nombre: 'b', reintentos: 'lento', on_success: `exec:${broken}` })
  const worker = await world.worker()
  const id = await world.send('x', { n: 1 })
  await world.settled(id)
  const detail = 'código de salida 75: no hay correo'
  expect(await world.callbacks(id)).toMatchObject([
    { listener: 'a', intento: 1, resultado: 'reintento', detalle: 'código de salida 1' },
    { listener: 'a', intento: 2, resultado: 'reintento' },
    { listener: 'a', intento: 3, resultado: 'exito' },
    { listener: 'b', intento: 1, resultado: 'reintento', detalle: detail },
    { listener: 'b', intento: 2, resultado: 'reintento', detalle: detail },
    { listener: 'b', intento: 3, resultado: 'fallo', detalle: expect.stringContaining(detail) },
  ])
  // What a callback does changes nothing about the delivery.
  expect(await world.audit(id)).toMatchObject([
    { estado: 'exitosa', intentos: [{}] },
    { estado: 'exitosa', intentos: [{}] },
  ])
  const view = (await world.cli(['ver', id], { env: { COLUMNS: '300' } })).stdout
  expect(view).toMatch(/on_success .*éxito \(intento 3\)/)
  expect(view).toContain(detail)
  expect((await world.cli(['estado'])).stdout).toMatch(/callbacks +1 callback falló/)
  await worker.logged('un callback falló definitivamente')
})

test.concurrent('a callback whose worker is killed runs again with the next one', { timeout: 90_000 }, async ({
  world,
}) => {
  const text = 'touch "corrida.$$"; [ "$(ls corrida.* | wc -l)" -ge 2 ] && exit 0\nexec sleep 50'
  const exec = await script(world, 'cortado.sh', text)
  await using workers = hangingWorkers(world, 'corrida')
  await world.listener(() => ({ status: 200 }), { on_success: `exec:${exec}` })
  await world.set('workers', { arriendo: '1s' })
  const doomed = await workers.start()
  const id = await world.send('x', { n: 1 })
  await until(async () => (await pidsOf(world, 'corrida')).length === 1)
  doomed.kill('SIGKILL')
  await doomed.waitExit()
  await workers.start()
  await world.settled(id, { timeout: 40_000 })
  expect(await pidsOf(world, 'corrida')).toHaveLength(2)
  const ran = await world.callbacks(id)
  expect(ran.filter(({ resultado }) => resultado === 'exito')).toHaveLength(1)
  expect(await world.audit(id)).toMatchObject([{ estado: 'exitosa', intentos: [{}] }])
})

test.concurrent('callbacks that hang delay no delivery, ten run at once, and after 30 s they end with all their children', {
  timeout: 90_000,
}, async ({ world }) => {
  const child = `sh -c 'trap "" TERM; touch "nieto.$$"; while :; do sleep 1; done' &`
  const exec = await script(world, 'colgar.sh', `touch "colgado.$$"\n${child}\nwait`)
  await using workers = hangingWorkers(world, 'colgado', 'nieto')
  await world.set('workers', { concurrencia: 1 })
  await world.set('reintentos', { esperas: '1h' })
  await world.listener(() => ({ status: 200 }), { nombre: 'a', on_success: `exec:${exec}` })
  await workers.start()
  const input = Array.from({ length: 12 }, (_, n) => `{"evento":"x","datos":${n}}`).join('\n')
  const ids = (await world.cli(['send', '--lote'], { input })).stdout.trimEnd().split('\n')
  const delivered = () => world.sql`SELECT 1 FROM ${world.sql(world.schema)}.entrega WHERE estado = 'exitosa'`
  await until(async () => (await delivered()).length === ids.length)
  // All of it is delivered while the first callbacks of it still hang.
  await until(async () => (await pidsOf(world, 'nieto')).length === 10)
  await new Promise((resolve) => setTimeout(resolve, 1000))
  expect(await pidsOf(world, 'colgado')).toHaveLength(10)
  expect(await world.callbacks(ids[0]!)).toEqual([])
  const first = [...(await pidsOf(world, 'colgado')), ...(await pidsOf(world, 'nieto'))]
  expect(await Promise.all(first.map(isRunning))).toEqual(first.map(() => true))

  await until(async () => (await pidsOf(world, 'colgado')).length === 12, { timeout: 45_000, every: 200 })
  const row = await until(async () => (await world.callbacks(ids[0]!))[0])
  expect(row).toMatchObject({ resultado: 'reintento', detalle: expect.stringContaining('no terminó en 30 s') })
  await until(async () => (await Promise.all(first.map(isRunning))).every((running) => !running))
})

test.concurrent('an event that calls itself ends after eight rounds', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 200 }), { eventos: 'vuelta', on_success: 'evento:vuelta' })
  await world.worker()
  await world.send('vuelta', { n: 1 })
  await listener.received(9)
  const failures = () => world.sql`SELECT * FROM ${world.sql(world.schema)}.callback WHERE resultado = 'fallo'`
  const failed = await until(async () => (await failures())[0])
  expect(failed.detalle).toContain('ciclo')
  expect(listener.requests).toHaveLength(9)
})
