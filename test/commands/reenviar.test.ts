/** `reenviar` and `descartar`: deliveries go back to the queue, or are given up, each exactly once and audited. */
import { hostname } from 'node:os'
import { createPostgresBackend } from '../../src/audit/postgres.ts'
import { openAuditQueries } from '../../src/audit/queries.ts'
import { loadConfig } from '../../src/config/load.ts'
import { openQueue } from '../../src/queue/queue.ts'
import { discard } from '../../src/recovery/discard.ts'
import { planOf } from '../../src/recovery/plan.ts'
import { resend } from '../../src/recovery/resend.ts'
import { closedGate } from '../support/gate.ts'
import { until } from '../support/until.ts'
import { expect, test, type World } from '../support/world.ts'

async function run(world: World, args: readonly string[]) {
  const { stdout, stderr, code } = await world.cli([...args, '--json'])
  return { code, stderr, ...JSON.parse(stdout) }
}

async function state(world: World, id: string, listener: string) {
  return (await world.audit(id)).find((row) => row.listener === listener)
}

async function becomes(world: World, id: string, listener: string, estado: string) {
  await until(async () => (await state(world, id, listener))?.estado === estado, {
    what: `${id} ${listener} ${estado}`,
  })
}

async function clean(world: World) {
  await until(async () => (await world.redis.keys(`${world.keys.messagePrefix}*`)).length === 0, {
    what: 'no bodies left',
  })
  expect(await world.redis.hlen(world.keys.remaining)).toBe(0)
}

test('a failed delivery goes back whole: attempts go on counting, retries start anew, the others are left alone', async ({
  world,
}) => {
  let works = false
  const broken = await world.listener(() => ({ status: works ? 200 : 503 }), { nombre: 'roto' })
  const fine = await world.listener(() => ({ status: 200 }), { nombre: 'bien' })
  const id = await world.send('compra.alta', '{"n":12345678901234567890}', ['--cabecera', 'X-A: b'])
  await world.settled(id)
  expect(broken.requests).toHaveLength(3)
  expect(await run(world, ['reenviar', id, '--simulacro'])).toMatchObject({ code: 0, simulacro: true, reenviadas: 1 })
  expect(broken.requests).toHaveLength(3)

  expect(await run(world, ['reenviar', id])).toMatchObject({
    code: 0,
    reenviadas: 1,
    omitidas: 0,
    listeners: [{ listener: 'roto', cantidad: 1 }],
  })
  await broken.received(6)
  await becomes(world, id, 'roto', 'fallida')
  const other = await run(world, ['reenviar', id, '--estado', 'exitosa', '--listener', 'roto'])
  expect(other).toMatchObject({ code: 1, reenviadas: 0 })
  expect(other.problemas[0].motivo).toMatch(/^está fallida, y se pidió --estado exitosa/)
  expect(await state(world, id, 'roto')).toMatchObject({
    motivo: expect.stringContaining('tras 3 intentos desde que se reenvió (6 en total)'),
    intentos: Array.from({ length: 6 }, (_, n) => ({ numero: n + 1 })),
  })
  works = true
  expect(await run(world, ['reenviar', '--fallidas', '--listener', 'roto'])).toMatchObject({ code: 0, reenviadas: 1 })
  await becomes(world, id, 'roto', 'exitosa')
  // Who asked for it, with what words, and how many it touched; where it was none there is nothing to tell. The last one is the delivery's.
  const actions = () => world.sql`SELECT * FROM ${world.sql(world.schema)}.accion ORDER BY id`
  await until(async () => (await actions()).at(-1)?.cantidad === '1', { what: 'the end of the action' })
  expect((await actions()).map(({ orden, cantidad }) => [orden, cantidad])).toEqual([
    [`resthooks reenviar ${id} --json`, '1'],
    ['resthooks reenviar --fallidas --listener roto --json', '1'],
  ])
  expect((await state(world, id, 'roto'))!.accion).toBe((await actions()).at(-1)!.id)
  expect(broken.requests).toHaveLength(7)
  expect(broken.requests[6]).toMatchObject({ headers: { 'x-a': 'b', 'x-resthooks-intento': '7', 'webhook-id': id } })
  expect(broken.requests[6]!.body.toString()).toBe('{"n":12345678901234567890}')
  expect(fine.requests).toHaveLength(1)
  expect(await world.redis.zcard(world.keys.lane('roto').failed)).toBe(0)
  await clean(world)
})

test('what succeeded goes again only when asked for, and what waits never does', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 200 }), { nombre: 'uno' })
  const id = await world.send('x', { n: 1 })
  await world.settled(id)
  const again = await run(world, ['reenviar', id])
  expect(again).toMatchObject({ code: 1, reenviadas: 0, problemas: [{ mensaje_id: id }] })
  expect(again.problemas[0].motivo).toContain('--estado exitosa')
  expect(await run(world, ['reenviar', id, '--estado', 'exitosa'])).toMatchObject({ code: 0, reenviadas: 1 })
  await listener.received(2)
  await world.cli(['pausar', 'uno'])
  const waiting = await world.send('x', { n: 2 })
  await becomes(world, waiting, 'uno', 'pendiente')
  expect(await run(world, ['reenviar', waiting])).toMatchObject({ code: 1, reenviadas: 0 })
  expect(await run(world, ['reenviar', 'no-existe'])).toMatchObject({
    code: 1,
    problemas: [{ mensaje_id: 'no-existe', motivo: expect.stringContaining('no conoce') }],
  })
  await world.cli(['reanudar', 'uno'])
  await world.settled(waiting)
  expect(listener.requests).toHaveLength(3)
})

test('run twice at once, each delivery goes back once', async ({ world }) => {
  let works = false
  const listener = await world.listener(() => ({ status: works ? 200 : 422 }), { nombre: 'uno' })
  const other = await world.listener(() => ({ status: works ? 200 : 422 }), { nombre: 'dos' })
  const worker = await world.worker()
  const input = Array.from({ length: 25 }, (_, n) => `{"evento":"x","datos":${n}}`).join('\n')
  const ids = (await world.cli(['send', '--lote'], { input })).stdout.trimEnd().split('\n')
  await world.settled(ids)
  works = true
  worker.kill('SIGTERM')
  await worker.waitExit()
  const runs = await Promise.all([run(world, ['reenviar', '--fallidas']), run(world, ['reenviar', '--fallidas'])])
  expect(runs.map(({ reenviadas }) => reenviadas).toSorted((a, b) => a - b)).toEqual([0, 50])
  await world.worker()
  await world.settled(ids)
  for (const { requests } of [listener, other]) {
    expect(requests).toHaveLength(50)
    expect(
      requests
        .slice(25)
        .map(({ headers }) => headers['webhook-id'])
        .toSorted(),
    ).toEqual(ids.toSorted())
  }
  await clean(world)
})

test('what nobody listened to is counted and listed, and goes to those who listen to it later', async ({ world }) => {
  await world.listener(() => ({ status: 200 }), { nombre: 'compras', eventos: 'compra.*' })
  await world.worker()
  const [typo, other] = [await world.send('provedor.alta', { n: 1 }), await world.send('otra.cosa', { n: 2 })]
  const heard = await world.send('compra.alta', { n: 3 })
  await world.settled(heard)
  const unheard = async (args: readonly string[] = []) => {
    const rows = JSON.parse((await world.cli(['auditoria', '--sin-listener', '--json', ...args])).stdout)
    return rows.map(({ mensaje_id }: { mensaje_id: string }) => mensaje_id)
  }
  await until(async () => (await unheard()).length === 2)
  expect(await unheard()).toEqual([other, typo])
  expect(await unheard(['--evento', 'prov*'])).toEqual([typo])
  expect(JSON.parse((await world.cli(['estado', '--json'])).stdout)).toMatchObject({ sin_listener: 2 })
  expect((await world.cli(['estado'])).stdout).toMatch(/eventos +2 mensajes en .*auditoria/)
  expect(await run(world, ['reenviar', typo])).toMatchObject({
    code: 1,
    problemas: [{ mensaje_id: typo, motivo: expect.stringMatching(/ningún listener .*«provedor.alta»/) }],
  })
  expect(await run(world, ['reenviar', '--sin-listener'])).toMatchObject({
    code: 0,
    reenviadas: 0,
    stderr: expect.stringContaining('auditoria --sin-listener'),
  })

  const late = await world.listener(() => ({ status: 200 }), { nombre: 'altas', eventos: '*.alta' })
  const simulated = await run(world, ['reenviar', '--sin-listener', '--simulacro'])
  expect(simulated).toMatchObject({ code: 0, listeners: [{ listener: 'altas', cantidad: 1 }] })
  expect(await run(world, ['reenviar', '--sin-listener'])).toMatchObject({ code: 0, reenviadas: 1 })
  await late.received(1)
  await becomes(world, typo, 'altas', 'exitosa')
  expect(await unheard()).toEqual([other])
  await world.set('listener altas', { eventos: 'otra.*' })
  expect(await run(world, ['reenviar', other])).toMatchObject({ code: 0, reenviadas: 1 })
  await becomes(world, other, 'altas', 'exitosa')
  expect(late.requests.map(({ body }) => body.toString())).toEqual(['{"n":1}', '{"n":2}'])
  expect(JSON.parse((await world.cli(['estado', '--json'])).stdout)).toMatchObject({ sin_listener: 0 })
  await clean(world)
})

test('--faltantes sends what a listener never got, and only what it wants', async ({ world }) => {
  await world.listener(() => ({ status: 200 }), { nombre: 'viejo' })
  const ids = [
    await world.send('a.uno', { n: 1 }),
    await world.send('b.dos', { n: 2 }),
    await world.send('a.tres', { n: 3 }),
  ]
  const other = await world.send('a.otro', { n: 4 }, ['--listener', 'viejo'])
  await world.settled([...ids, other])
  const late = await world.listener(() => ({ status: 200 }), { nombre: 'nuevo', eventos: 'a.*' })
  await until(async () =>
    (await run(world, ['estado'])).listeners.some((row: { listener: string }) => row.listener === 'nuevo'),
  )
  expect(await run(world, ['reenviar', '--faltantes', '--listener', 'nuevo', '--evento', 'a.u*'])).toMatchObject({
    code: 0,
    reenviadas: 1,
  })
  expect(await run(world, ['reenviar', '--faltantes', '--listener', 'nuevo'])).toMatchObject({ code: 0, reenviadas: 1 })
  expect(await run(world, ['reenviar', '--faltantes', '--listener', 'nuevo'])).toMatchObject({ code: 0, reenviadas: 0 })
  await late.received(2)
  await becomes(world, ids[0]!, 'nuevo', 'exitosa')
  await becomes(world, ids[2]!, 'nuevo', 'exitosa')
  expect(late.requests.map(({ headers }) => headers['webhook-id'])).toEqual([ids[0], ids[2]])
  await clean(world)
})

test('waiting, retrying, failed and running deliveries are given up, and stay so', async ({ world }) => {
  const gate = closedGate()
  const slow = await world.listener((_, n) => (n === 1 ? gate.opened.then(() => ({ status: 200 })) : { status: 200 }), {
    nombre: 'lento',
    concurrencia: 1,
    espera_total: '5m',
  })
  const failing = await world.listener(() => ({ status: 503 }), { nombre: 'falla', eventos: 'r.*' })
  const rejecting = await world.listener(() => ({ status: 422 }), { nombre: 'rechaza', eventos: 'f.*' })
  await world.set('reintentos', { esperas: '1h' })
  await world.worker()
  const running = await world.send('x', { n: 1 })
  await until(() => slow.pending === 1)
  const waiting = await world.send('x', { n: 2 })
  const retrying = await world.send('r.x', { n: 3 }, ['--listener', 'falla'])
  const failed = await world.send('f.x', { n: 4 }, ['--listener', 'rechaza'])
  await becomes(world, retrying, 'falla', 'reintentando')
  await becomes(world, failed, 'rechaza', 'fallida')
  const ids = [running, waiting, retrying, failed]
  expect(await run(world, ['descartar', ...ids, '--simulacro'])).toMatchObject({ code: 0, descartadas: 4 })
  const result = await run(world, ['descartar', ...ids])
  expect(result).toMatchObject({ code: 0, descartadas: 4, omitidas: 0, en_curso: 1 })
  for (const [id, listener] of [
    [running, 'lento'],
    [waiting, 'lento'],
    [retrying, 'falla'],
    [failed, 'rechaza'],
  ] as const) {
    await becomes(world, id, listener, 'descartada')
  }
  await clean(world)
  for (const name of ['lento', 'falla', 'rechaza']) {
    const { queue, inFlight, deliveries, retries, failed: gone } = world.keys.lane(name)
    expect(await world.redis.exists(queue, inFlight, deliveries, retries, gone)).toBe(0)
  }
  expect(slow.requests).toHaveLength(1)
  expect(slow.pending).toBe(1)
  gate.open()
  // The request under way ends as a stale one: on record, and the delivery stays given up.
  await until(async () => (await state(world, running, 'lento'))?.intentos.length === 1)
  expect(await state(world, running, 'lento')).toMatchObject({ estado: 'descartada' })
  expect(await state(world, waiting, 'lento')).toMatchObject({ estado: 'descartada', intentos: [] })
  expect([failing.requests.length, rejecting.requests.length]).toEqual([1, 1])
  expect(await run(world, ['descartar', running])).toMatchObject({ code: 1, descartadas: 0 })
  // And what was given up can be sent again.
  expect(await run(world, ['reenviar', waiting])).toMatchObject({ code: 0, reenviadas: 1 })
  await becomes(world, waiting, 'lento', 'exitosa')
})

test('what ended between the audit and Redis is not given up; what Redis lost is', async ({ world }) => {
  await world.listener(() => ({ status: 200 }), { nombre: 'uno' })
  await world.cli(['pausar', 'uno'])
  await world.worker()
  const lost = await world.send('x', { n: 1 })
  await becomes(world, lost, 'uno', 'pendiente')
  await world.redis.del(world.keys.lane('uno').queue)
  expect(await run(world, ['descartar', '--estado', 'pendiente', '--listener', 'uno'])).toMatchObject({
    code: 0,
    descartadas: 1,
  })
  await becomes(world, lost, 'uno', 'descartada')
})

test('a message whose demora runs is given up whole, and can be sent after all', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 200 }), { nombre: 'uno' })
  await world.worker()
  const id = await world.send('x', { n: 1 }, ['--demora', '1h'])
  await until(async () => (await world.redis.zcard(world.keys.delayed)) === 1)
  expect(await run(world, ['reenviar', id])).toMatchObject({
    code: 1,
    problemas: [{ motivo: expect.stringContaining('demora') }],
  })
  expect(await run(world, ['descartar', id, '--simulacro'])).toMatchObject({ code: 0, descartadas: 1 })
  expect(await run(world, ['descartar', id])).toMatchObject({ code: 0, descartadas: 1, omitidas: 0 })
  await becomes(world, id, 'uno', 'descartada')
  expect(await world.redis.zcard(world.keys.delayed)).toBe(0)
  await clean(world)
  expect(await run(world, ['recuperar'])).toMatchObject({ code: 0, demoradas: 0, pendientes: 0 })
  expect(await run(world, ['reenviar', id])).toMatchObject({ code: 0, reenviadas: 1 })
  await becomes(world, id, 'uno', 'exitosa')
  expect(listener.requests).toHaveLength(1)
})

test('who does what is kept; a retry need not be waited for; a simulation shows the first ones; many want a yes', async ({
  world,
}) => {
  let works = false
  await world.set('reintentos', { esperas: '1h' })
  await world.listener(() => ({ status: works ? 200 : 503 }), { nombre: 'roto', corte_porcentaje: 0 })
  await world.listener(() => ({ status: 422 }), { nombre: 'niega' })
  const ids = [await world.send('compra.alta', { n: 1 }), await world.send('compra.baja', { n: 2 })]
  await world.worker()
  for (const id of ids) await becomes(world, id, 'roto', 'reintentando')
  for (const id of ids) await becomes(world, id, 'niega', 'fallida')

  expect(await run(world, ['reenviar', '--fallidas', '--simulacro'])).toMatchObject({
    code: 0,
    reenviadas: 2,
    listeners: [{ listener: 'niega', cantidad: 2 }],
    primeras: ids.map((mensaje_id) => ({
      mensaje_id,
      listener: 'niega',
      estado: 'fallida',
      motivo: expect.any(String),
    })),
  })
  const plain = await world.cli(['descartar', '--fallidas', '--simulacro'])
  expect(plain.stdout).toMatch(
    new RegExp(`serían descartadas: 2\\n[^]*Son:[^]*compra.alta +niega +fallida [^]*${ids[1]}`),
  )

  works = true
  expect(await run(world, ['reenviar', '--ahora', '--evento', 'compra.alta'])).toMatchObject({
    code: 0,
    adelantadas: 1,
  })
  await becomes(world, ids[0]!, 'roto', 'exitosa')
  expect(await state(world, ids[1]!, 'roto')).toMatchObject({ estado: 'reintentando' })
  const gone = await run(world, ['reenviar', '--ahora', ids[0]!])
  expect(gone).toMatchObject({ code: 1, adelantadas: 0, problemas: [{ motivo: expect.stringContaining('exitosa') }] })

  expect(await run(world, ['descartar', '--fallidas', '--listener', 'niega'])).toMatchObject({
    code: 0,
    descartadas: 2,
  })
  await becomes(world, ids[1]!, 'niega', 'descartada')
  // Given up, they are found among those that failed all the same.
  expect(await run(world, ['reenviar', '--fallidas', '--simulacro'])).toMatchObject({ reenviadas: 2 })
  await until(
    async () => (await world.sql`SELECT FROM ${world.sql(world.schema)}.accion WHERE cantidad > 0`).length === 2,
  )
  const actions = await world.sql`SELECT * FROM ${world.sql(world.schema)}.accion ORDER BY id`
  expect(actions).toMatchObject(
    [
      { orden: 'resthooks reenviar --ahora --evento compra.alta --json', cantidad: '1', filtro: /compra.alta/ },
      {
        orden: 'resthooks descartar --fallidas --listener niega --json',
        cantidad: '2',
        filtro: /estado: fallida; listener: niega/,
      },
    ].map((each) => ({
      ...each,
      quien: expect.stringMatching(/./),
      equipo: hostname(),
      filtro: expect.stringMatching(each.filtro),
    })),
  )
  const shown = await world.cli(['auditoria', '--mensaje', ids[1]!, '--listener', 'niega', '--json'])
  expect(JSON.parse(shown.stdout)).toMatchObject([{ accion: { orden: actions[1]!.orden, equipo: hostname() } }])

  await world.sql`
    INSERT INTO ${world.sql(world.schema)}.entrega (mensaje_id, listener, instancia, proyecto, evento, estado, intentos, creado, actualizado, version)
    SELECT 'm' || n, 'niega', ${world.instancia}, ${world.proyecto}, 'compra.alta', 'fallida', 1, now(), now(), 1 FROM generate_series(1, 1001) n`
  const many = await world.cli(['descartar', '--fallidas'])
  expect(many).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(/son 1\.001 entregas: .*--si/) })
  expect(await run(world, ['descartar', '--fallidas', '--si'])).toMatchObject({ code: 0, descartadas: 1001 })
})

test('what a person agreed to is what is done, or nothing is', async ({ world }) => {
  await world.listener(() => ({ status: 422 }), { nombre: 'niega' })
  const id = await world.send('compra.alta', { n: 1 })
  await world.settled(id)
  const { instancia, proyecto } = world
  const config = loadConfig({ instancia, proyecto, config: world.ini, env: world.env })
  const [queue, audit] = [await openQueue(config), openAuditQueries(config.audit, config)]
  const backend = createPostgresBackend(config.audit, config)
  const told: number[] = []
  const action = { who: 'ana', host: 'pagina', order: 'página: reenviar', filter: null }
  const shared = { config, queue, audit, backend, action, simulate: false, note: () => {} }
  const maintenance = { ...shared, progress: (done: number) => told.push(done) }
  const selection = { kind: 'filters', filters: { states: ['fallida'] } } as const
  try {
    const { total } = await planOf(maintenance, 'resend', selection, 100)
    expect(total).toBe(1)
    await expect(resend(maintenance, selection, { limit: 100, expected: 2 })).rejects.toThrow(/eran 2 .* ahora son 1/)
    const tally = await resend(maintenance, selection, { limit: 100, expected: 1 })
    expect([tally.total, told]).toEqual([1, [1]])

    // Interrupted: what was done before is told all the same.
    await world.sql`
      INSERT INTO ${world.sql(world.schema)}.entrega (mensaje_id, listener, instancia, proyecto, evento, estado, intentos, creado, actualizado, version)
      SELECT 'm' || n, 'niega', ${world.instancia}, ${world.proyecto}, 'compra.alta', 'fallida', 1, now(), now(), 1 FROM generate_series(1, 501) n`
    const cut = (done: number) => {
      if (done > 500) throw new Error('cortado')
    }
    const all = { limit: Number.POSITIVE_INFINITY }
    const order = 'cortada'
    await expect(discard({ ...shared, action: { ...action, order }, progress: cut }, selection, all)).rejects.toThrow(
      'cortado',
    )
    const counted = await until(
      async () => {
        const [row] =
          await world.sql`SELECT cantidad::int FROM ${world.sql(world.schema)}.accion WHERE orden = ${order}`
        return row && row.cantidad > 0 ? row.cantidad : undefined
      },
      { what: 'the count of what was done' },
    )
    expect(counted).toBeGreaterThanOrEqual(500)
  } finally {
    await Promise.all([queue.close(), audit.close(), backend.close()])
  }
})

test.each([
  [['reenviar', '--ahora', '--fallidas'], /no se combina/],
  [['reenviar', '--faltantes', '--ahora', '--listener', 'x'], /no se combina/],
  [['reenviar'], /--fallidas/],
  [['reenviar', '--listener', 'uno'], /--fallidas/],
  [['reenviar', '--fallidas', '--estado', 'fallida'], /no ambos/],
  [['reenviar', '--estado', 'pendiente'], /pendiente/],
  [['reenviar', '--faltantes'], /--listener/],
  [['reenviar', '--faltantes', '--listener', 'nadie'], /nadie/],
  [['reenviar', '--sin-listener', '--fallidas'], /no se combina/],
  [['reenviar', 'un-id', '--sin-listener'], /no lleva ID/],
  [['descartar'], /--fallidas/],
  [['descartar', '--estado', 'exitosa'], /exitosa/],
])('%j is wrong usage', async (args, message) => {
  const { runCli } = await import('../support/cli.ts')
  const result = await runCli(args, { env: { RESTHOOKS_INI: '/dev/null', RESTHOOKS_ENV: '/dev/null' } })
  expect(result).toMatchObject({ code: 2, stderr: expect.stringMatching(message) })
})
