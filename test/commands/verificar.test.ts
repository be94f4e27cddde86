/** `verificar`: the doctor finds what is wrong, says what to do, and ends with the right code. */
import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { startRedis } from '../support/redis-server.ts'
import { until } from '../support/until.ts'
import { expect, test, type World } from '../support/world.ts'

interface GroupedFinding {
  readonly grupo: string
  readonly verificacion: string
  readonly resultado: string
  readonly detalle: string
  readonly que_hacer: string | null
}

async function diagnose(world: World, args: readonly string[] = []) {
  const { stdout, stderr, code } = await world.cli(['verificar', '--json', ...args])
  const document = JSON.parse(stdout)
  const findings: GroupedFinding[] = document.verificaciones
  return {
    code,
    stderr,
    document,
    findings,
    of: (grupo: string, verificacion: string) =>
      findings.filter((each) => each.grupo === grupo && each.verificacion === verificacion),
    wrong: findings.filter(({ resultado }) => resultado !== 'ok'),
  }
}

test('a sound installation has no errors, shows where values come from and never a secret', async ({ world }) => {
  await world.createSchema()
  await world.listener(() => ({ status: 200 }), { nombre: 'bien', auth_tipo: 'bearer', auth_token: 'secreto-77' })
  await chmod(world.ini, 0o600)
  const worker = await world.worker()
  await until(async () => (await world.redis.hlen(world.keys.workers)) === 1)
  const { code, document, findings, wrong } = await diagnose(world)
  expect(wrong).toEqual([])
  expect(code).toBe(0)
  expect(document).toMatchObject({ errores: 0, avisos: 0 })
  expect(findings.map(({ grupo, verificacion }) => `${grupo}/${verificacion}`)).toEqual(
    expect.arrayContaining([
      'configuración/archivos leídos',
      'Redis/versión',
      'Redis/persistencia',
      'Redis/maxmemory-policy',
      'Redis/papel',
      'Redis/reloj de Redis',
      'Postgres/esquema',
      'Postgres/permisos',
      'Postgres/particiones',
      'cola/workers',
      'cola/entrada_invalida',
      'listener bien/DNS',
      'listener bien/TCP',
      'supervisord/stopwaitsecs',
    ]),
  )
  expect(document.ajustes).toContainEqual({
    ajuste: 'auditoria.schema',
    valor: world.schema,
    origen: `${world.env}, REST_HOOKS_DB_SCHEMA`,
  })
  expect(document.ajustes).toContainEqual({
    ajuste: 'workers.sondeo',
    valor: '100ms',
    origen: expect.stringMatching(/resthooks\.ini:\d+$/),
  })
  expect(document.ajustes).toContainEqual({ ajuste: 'workers.drenaje', valor: '30s', origen: 'por omisión' })
  expect(JSON.stringify(document)).not.toContain('secreto-77')
  const text = await world.cli(['verificar'])
  expect(text.code).toBe(0)
  expect(text.stdout).toContain('0 errores, 0 avisos')
  expect(text.stdout).not.toContain('secreto-77')
  worker.kill('SIGTERM')
})

test('--configuracion judges the files alone, whatever is away', async ({ world }) => {
  await world.setEnv({ REST_HOOKS_REDIS_PORT: '1', REST_HOOKS_DB_PORT: '1' })
  await world.listener(() => ({ status: 200 }), { url: 'http://127.0.0.1:1', eventos: 'a' })
  expect(await diagnose(world, ['--configuracion'])).toMatchObject({ code: 0, stderr: '' })
  const named = await diagnose(world, ['--configuracion', '--supervisord', '/no/existe.conf'])
  expect(named.wrong).toMatchObject([{ grupo: 'supervisord', detalle: expect.stringContaining('/no/existe.conf') }])
  await world.set('workers', { concurrencia: 'muchas', procesos: 'dos' })
  const wrong = await diagnose(world, ['--configuracion'])
  expect(wrong.code).toBe(3)
  expect(wrong.document).toMatchObject({ errores: 2 })
})

test('a callback that names what is not there is told before it fails, and what is wrong comes first', async ({
  world,
}) => {
  const unreadable = join(world.folder, 'sin-permiso.sh')
  await writeFile(unreadable, '#!/bin/sh\n', { mode: 0o644 })
  await chmod(world.ini, 0o600)
  const callbacks = { eventos: 'a', on_success: 'evento:nadie', on_failure: 'exec:/no/existe --x' }
  await world.listener(() => ({ status: 200 }), { nombre: 'uno', ...callbacks })
  await world.listener(() => ({ status: 200 }), {
    nombre: 'dos',
    on_success: 'exec:sh -c true',
    on_failure: `exec:${unreadable}`,
  })
  await chmod(world.ini, 0o600)
  // The second one hears everything.
  await world.set('listener dos', { eventos: 'b' })
  const { code, wrong } = await diagnose(world, ['--configuracion'])
  expect(code).toBe(1)
  expect(wrong.map(({ verificacion, resultado, detalle }) => [verificacion, resultado, detalle])).toEqual([
    ['[listener uno] on_success', 'aviso', 'ningún listener activo escucha «nadie»'],
    ['[listener uno] on_failure', 'error', '/no/existe: no existe'],
    ['[listener dos] on_failure', 'error', `${unreadable}: no hay permiso`],
  ])
  const { stdout } = await world.cli(['verificar', '--configuracion'])
  expect(stdout).toMatch(
    /^ERROR .*\n.*→.*\nERROR .*\n.*→.*\nAVISO .*\n.*→.*\nok .*configuración \(\d+\).*\n\n2 errores, 1 aviso\.\n$/,
  )
})

test('every setting of Redis under which messages can be lost is an error', async ({ world }) => {
  const server = await startRedis(['--appendonly', 'no', '--maxmemory', '50mb', '--maxmemory-policy', 'allkeys-lru'])
  try {
    await world.createSchema()
    await world.listener(() => ({ status: 200 }))
    await world.setEnv({ REST_HOOKS_REDIS_PORT: String(server.port) })
    const { code, of } = await diagnose(world)
    expect(code).toBe(1)
    expect(of('Redis', 'persistencia')).toMatchObject([
      { resultado: 'error', que_hacer: expect.stringContaining('appendonly yes') },
    ])
    expect(of('Redis', 'maxmemory-policy')).toMatchObject([{ resultado: 'error' }])
    expect((await world.cli(['verificar'])).stderr).toContain('2 errores')
  } finally {
    await server.stop()
  }
})

test('a missing schema is an error; the rest is told all the same when Postgres or Redis is away, and the code is 4', async ({
  world,
}) => {
  await world.listener(() => ({ status: 200 }), { nombre: 'bien' })
  const missing = await diagnose(world)
  expect(missing.code).toBe(1)
  expect(missing.of('Postgres', 'esquema')).toMatchObject([
    { resultado: 'error', que_hacer: expect.stringContaining('crear-base') },
  ])
  await world.setEnv({ REST_HOOKS_DB_PORT: '1' })
  const noPostgres = await diagnose(world)
  expect(noPostgres.code).toBe(4)
  expect(noPostgres.of('Postgres', 'conexión')).toMatchObject([{ resultado: 'error' }])
  expect(noPostgres.of('Redis', 'versión')).toHaveLength(1)
  expect(noPostgres.of('listener bien', 'TCP')).toMatchObject([{ resultado: 'ok' }])
  await world.setEnv({ REST_HOOKS_REDIS_PORT: '1' })
  const neither = await diagnose(world)
  expect(neither.code).toBe(4)
  expect(neither.of('Redis', 'conexión')).toMatchObject([{ resultado: 'error' }])
  expect(neither.of('listener bien', 'TCP')).toMatchObject([{ resultado: 'ok' }])
})

test('a broken configuration is told whole, with the places that were looked at, and exits 3', async ({ world }) => {
  await world.set('workers', { concurrencia: 'muchos', drenajes: '3s' })
  const { code, findings } = await diagnose(world)
  expect(code).toBe(3)
  const wrong = findings.filter(({ grupo, resultado }) => grupo === 'configuración' && resultado === 'error')
  expect(wrong.map(({ detalle }) => detalle)).toEqual([
    expect.stringContaining('muchos'),
    expect.stringContaining('drenajes'),
  ])
  expect(findings[0]!.detalle).toContain(world.ini)
})

test('a listener that nobody answers for, or whose name does not exist, is an error', async ({ world }) => {
  await world.createSchema()
  const gone = await world.listener(() => ({ status: 200 }), { nombre: 'cerrado' })
  await gone.close()
  await world.set('listener sinnombre', { url: 'https://no-existe.invalid/' })
  await world.set('listener inactivo', { url: 'https://no-existe.invalid/', activo: 0 })
  const { code, of, findings } = await diagnose(world)
  expect(code).toBe(1)
  expect(of('listener cerrado', 'TCP')).toMatchObject([
    { resultado: 'error', que_hacer: expect.stringContaining('resthooks probar cerrado') },
  ])
  expect(of('listener sinnombre', 'DNS')).toMatchObject([{ resultado: 'error' }])
  expect(findings.filter(({ grupo }) => grupo === 'listener inactivo')).toEqual([])
})

test('what is stuck in the queue is told: entries that nobody understands with their reason, listeners that are gone', async ({
  world,
}) => {
  await world.listener(() => ({ status: 200 }), { nombre: 'viejo', eventos: 'x' })
  await world.listener(() => ({ status: 200 }), { nombre: 'tipeo', eventos: 'pagos.emitido' })
  await world.cli(['pausar', 'viejo'])
  await world.worker()
  await world.push('esto no es JSON')
  await world.push({ v: 1, datos: 1 })
  await world.send('x', { n: 1 })
  await world.send('pago.emitido', { n: 1 })
  await until(async () => (await world.redis.llen(world.keys.inboxInvalid)) === 2)
  await until(async () => (await world.redis.llen(world.keys.lane('viejo').queue)) === 1)
  await world.set('listener viejo', { activo: 0 })
  // The audit tells it.
  await until(async () => (await diagnose(world)).of('Postgres', 'eventos').length > 0)
  const { code, of } = await diagnose(world)
  expect(code).toBe(0)
  expect(of('Postgres', 'eventos')).toMatchObject([
    { resultado: 'aviso', detalle: expect.stringMatching(/«pagos.emitido» de «tipeo» .*«pago.emitido»/) },
  ])
  expect(of('cola', 'mensajes sin listener')).toMatchObject([
    { detalle: expect.stringMatching(/^1 mensaje .*«pago.emitido»; ¿«pagos.emitido» de tipeo\?/) },
  ])
  expect(of('cola', 'entrada_invalida')).toMatchObject([
    { resultado: 'aviso', detalle: expect.stringMatching(/tomar: 2; .*falta "evento".*no es JSON/) },
  ])
  expect(of('cola', 'entregas sin listener')).toMatchObject([
    { resultado: 'aviso', detalle: expect.stringContaining('viejo'), que_hacer: expect.stringContaining('descartar') },
  ])
})

test('supervisord must be more patient than drenaje', async ({ world }) => {
  await world.createSchema()
  const file = join(world.folder, 'supervisord.conf')
  const program = '[program:rh]\ncommand=/opt/resthooks/bin/resthooks iniciar-workers ; los workers\n'
  await writeFile(file, program)
  const short = await diagnose(world, ['--supervisord', file])
  expect(short.of('supervisord', 'stopwaitsecs')).toMatchObject([
    {
      resultado: 'aviso',
      detalle: expect.stringContaining('10 (por omisión)'),
      que_hacer: expect.stringContaining('38'),
    },
  ])
  await writeFile(file, `${program}stopwaitsecs=45\nstopasgroup=true\n`)
  const long = await diagnose(world, ['--supervisord', file])
  expect(long.of('supervisord', 'stopwaitsecs')).toMatchObject([{ resultado: 'ok' }])
  expect(long.of('supervisord', 'stopasgroup')).toMatchObject([{ resultado: 'aviso' }])
  const missing = await diagnose(world, ['--supervisord', join(world.folder, 'no-esta.conf')])
  expect(missing.code).toBe(1)
})
