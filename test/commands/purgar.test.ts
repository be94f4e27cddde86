/** `purgar`: what is old goes, whole months at once; what has not ended, what is new and what is another project's stays. */
import { until } from '../support/until.ts'
import { expect, test, type World } from '../support/world.ts'

const DAY = 86_400_000

/** Rows as they would have been written `days` ago: one message with one delivery, one attempt and one callback. */
async function past(world: World, id: string, days: number, estado: string, proyecto = world.proyecto) {
  const { sql, schema, instancia } = world
  const at = new Date(Date.now() - days * DAY)
  await sql`INSERT INTO ${sql(schema)}.mensaje (id, instancia, proyecto, evento, cabeceras, cuerpo, listeners, creado, recibido)
    VALUES (${id}, ${instancia}, ${proyecto}, 'viejo', '{}', 'x', 1, ${at}, ${at})`
  await sql`INSERT INTO ${sql(schema)}.entrega
      (mensaje_id, listener, instancia, proyecto, estado, intentos, creado, actualizado, version)
    VALUES (${id}, 'a', ${instancia}, ${proyecto}, ${estado}, 1, ${at}, ${at}, 1)`
  await sql`INSERT INTO ${sql(schema)}.intento (id, mensaje_id, listener, instancia, proyecto, numero, pedido, inicio,
      duracion_ms, metodo, url, pedido_cabeceras, resultado, worker)
    VALUES (${`i-${id}`}, ${id}, 'a', ${instancia}, ${proyecto}, 1, 1, ${at}, 1, 'POST', 'http://x', '{}', 'exito', 'w')`
  await sql`INSERT INTO ${sql(schema)}.callback
      (id, mensaje_id, listener, instancia, proyecto, tipo, destino, intento, resultado, fecha)
    VALUES (${`c-${id}`}, ${id}, 'a', ${instancia}, ${proyecto}, 'on_success', 'x', 1, 'exito', ${at})`
}

/** A month's own partition, as there would be if the program had run then. */
async function month(world: World, days: number): Promise<string> {
  const { sql, schema } = world
  const at = new Date(Date.now() - days * DAY)
  const from = new Date(Date.UTC(at.getUTCFullYear(), at.getUTCMonth(), 1))
  const to = new Date(Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + 1, 1))
  const name = from.toISOString().slice(0, 7).replace('-', '_')
  for (const table of ['mensaje', 'intento']) {
    await sql.unsafe(`CREATE TABLE ${schema}.${table}_${name} PARTITION OF ${schema}.${table}
      FOR VALUES FROM ('${from.toISOString()}') TO ('${to.toISOString()}')`)
  }
  return name
}

async function left(world: World) {
  const { sql, schema } = world
  const of = async (table: string, column: string) =>
    (await sql.unsafe(`SELECT ${column} AS id FROM ${schema}.${table} ORDER BY 1`)).map(({ id }) => id)
  return {
    mensaje: await of('mensaje', 'id'),
    entrega: await of('entrega', 'mensaje_id'),
    intento: await of('intento', 'mensaje_id'),
    callback: await of('callback', 'mensaje_id'),
  }
}

const all = (ids: readonly string[]) => ({ mensaje: ids, entrega: ids, intento: ids, callback: ids })

async function purge(world: World, args: readonly string[]) {
  const { stdout, stderr, code } = await world.cli(['purgar', '--json', ...args])
  expect(stderr).toMatch(args.includes('--antes-de') ? /^Antes de [\d:. -]+ -03:00\.\n$/ : /^$/)
  expect(code).toBe(0)
  return JSON.parse(stdout)
}

test('rows older than the date go, with everything of theirs; what has not ended stays, however old', async ({
  world,
}) => {
  await world.createSchema()
  for (const estado of ['exitosa', 'fallida', 'descartada', 'pendiente', 'reintentando']) {
    await past(world, `viejo-${estado}`, 100, estado)
    await past(world, `nuevo-${estado}`, 5, estado)
  }
  await past(world, 'ajeno', 100, 'exitosa', 'otro')
  for (const days of [100, 5]) {
    await world.sql`INSERT INTO ${world.sql(world.schema)}.accion
      SELECT ${`hace ${days}`}, instancia, proyecto, now() - ${days} * interval '1 day', 'ana', 'pc', 'descartar', NULL, 1
        FROM ${world.sql(world.schema)}.mensaje WHERE id = 'nuevo-exitosa'`
  }
  const failed = world.keys.lane('a').failed
  await world.redis.sadd(world.keys.listeners, 'a')
  await world.redis.zadd(failed, Date.now() - 100 * DAY, 'viejo-fallida', Date.now() - 5 * DAY, 'nuevo-fallida')
  const before = await left(world)
  const counts = {
    ...{ mensaje: 3, entrega: 3, intento: 3, callback: 3, accion: 1 },
    ...{ auditoria_rechazada: 0, fallidas_en_redis: 1 },
  }
  expect(await purge(world, ['--antes-de', '30d', '--simulacro'])).toMatchObject({ simulacro: true, ...counts })
  expect(await left(world)).toEqual(before)
  expect(await purge(world, ['--antes-de', '30d'])).toMatchObject({ simulacro: false, particiones: [], ...counts })
  const kept = before.mensaje.filter((id) => !/^viejo-(exitosa|fallida|descartada)$/.test(id))
  expect(kept).toHaveLength(8)
  expect(await left(world)).toEqual(all(kept))
  expect(await world.redis.zrange(failed, '0', '-1')).toEqual(['nuevo-fallida'])
  const hours = await world.sql`
    SELECT proyecto = 'otro' AS ajeno, hora < now() - interval '30 days' AS vieja, sum(enviados)::int AS enviados
      FROM ${world.sql(world.schema)}.resumen_hora GROUP BY 1, 2 ORDER BY 1, 2`
  expect(hours).toEqual([
    { ajeno: false, vieja: false, enviados: 5 },
    { ajeno: true, vieja: true, enviados: 1 },
  ])
  expect(await purge(world, ['--antes-de', '30d'])).toMatchObject({ mensaje: 0, entrega: 0, intento: 0, callback: 0 })
})

test('a month that is wholly older is dropped, and what has not ended in it moves out first', async ({ world }) => {
  await world.createSchema()
  const name = await month(world, 100)
  const shared = await month(world, 150)
  await past(world, 'terminado', 100, 'exitosa')
  await past(world, 'debido', 100, 'reintentando')
  await past(world, 'compartido', 150, 'exitosa')
  await past(world, 'ajeno', 150, 'exitosa', 'otro')
  expect((await purge(world, ['--antes-de', '30d'])).particiones).toEqual([`intento_${name}`, `mensaje_${name}`])
  const rows = await left(world)
  expect(rows).toEqual(all(['ajeno', 'debido']))
  const tables = await world.sql`SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE nspname = ${world.schema} AND relkind = 'r' AND relname LIKE 'mensaje_2%' ORDER BY 1`
  expect(tables.map(({ relname }) => relname)).toContain(`mensaje_${shared}`)
  expect(tables.map(({ relname }) => relname)).not.toContain(`mensaje_${name}`)
  // The last project to purge drops the month that both had.
  const other = await world.cli(['purgar', '--json', '--antes-de', '30d', '-p', 'otro', '--config', world.ini])
  expect(JSON.parse(other.stdout).particiones).toEqual([`intento_${shared}`, `mensaje_${shared}`])
  expect(await left(world)).toEqual(all(['debido']))
})

test('a date that keeps nothing is wrong usage, as is none at all with retencion = 0', async ({ world }) => {
  await world.set('auditoria', { retencion: '0' })
  expect(await world.cli(['purgar'])).toMatchObject({ code: 2, stderr: expect.stringContaining('--antes-de') })
  expect(await world.cli(['purgar', '--antes-de', 'anteayer'])).toMatchObject({ code: 2 })
  expect(await world.cli(['purgar', '--antes-de', '2999-01-01'])).toMatchObject({ code: 2 })
})

test('the night’s purge is done by one of the workers, once', async ({ world }) => {
  await world.createSchema()
  await past(world, 'viejo', 100, 'exitosa')
  await past(world, 'nuevo', 5, 'exitosa')
  await world.set('auditoria', { retencion: '30d' })
  await world.listener(() => ({ status: 200 }))
  // The workers' night is between 2 and 5: wherever it is that hour right now.
  const zone = (3 - new Date().getUTCHours() + 24) % 24
  const TZ = zone > 12 ? `Etc/GMT+${24 - zone}` : `Etc/GMT-${zone}`
  const { spawnWorker } = await import('../support/cli.ts')
  const workers = [1, 2].map(() => spawnWorker([], { cwd: world.folder, env: { ...world.environment, TZ } }))
  try {
    await until(async () => (await left(world)).entrega.length === 1)
    expect(await left(world)).toEqual(all(['nuevo']))
    await until(() => workers.some(({ log }) => log.some(({ mensaje }) => String(mensaje).includes('purga'))))
    expect(await world.redis.ttl(world.keys.purge)).toBeGreaterThan(3600)
  } finally {
    for (const worker of workers) worker.kill('SIGTERM')
    await Promise.all(workers.map((worker) => worker.waitExit()))
  }
  const told = workers.flatMap(({ log }) => log.filter(({ mensaje }) => String(mensaje).includes('purga')))
  expect(told).toHaveLength(1)
})
