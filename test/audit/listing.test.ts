/** Listings by event: the rows that their messages say, in every order and page after page. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { COUNTED_BY, type Count, type CountedBy, countDeliveries } from '../../src/audit/counts.ts'
import { type Database, openDatabase } from '../../src/audit/database.ts'
import { type DeliveryFilters, searchPattern } from '../../src/audit/filters.ts'
import {
  type DeliveryListing,
  knownNames,
  listDeliveries,
  listStretches,
  type Order,
  type Page,
  type Place,
  type Placed,
  placeOf,
  readCursor,
  writeCursor,
} from '../../src/audit/listing.ts'
import { stretches } from '../../src/audit/stretches.ts'
import { SCOPE, sharedSchema } from './scenery.ts'

const { config, sql } = sharedSchema()
let database: Database

/**
 * 6,000 messages over four days around a change of month, two deliveries each. `comun` is every third one of the older half
 * and none of the newer, `raro` comes seven times; every tenth waited for two days, so that its message is of an earlier
 * month; several share an instant; every hundredth has lost its message. Nobody says
 * the deliveries' events: the database looks them up.
 */
beforeAll(async () => {
  database = openDatabase(config, SCOPE, { connections: 1, readOnly: true })
  await sql.unsafe(`
    CREATE TEMPORARY TABLE m AS
      SELECT 'm' || lpad((n * 7919 % 6000)::text, 4, '0') AS id, n, timestamptz '2026-10-30 00:00Z' + (n / 3) * interval '3 min' AS creado,
             CASE WHEN n % 857 = 5 THEN 'raro' WHEN n % 3 = 0 AND n < 3000 THEN 'comun' ELSE 'otro' END AS evento
        FROM generate_series(1, 6000) AS n;
    INSERT INTO mensaje (id, instancia, proyecto, evento, cabeceras, creado, recibido)
      SELECT id, '${SCOPE.instancia}', '${SCOPE.proyecto}', evento, '{}', creado,
             creado - CASE WHEN n % 10 = 0 THEN interval '2 days' ELSE interval '4 ms' END FROM m WHERE n % 100 <> 50;
    INSERT INTO entrega (mensaje_id, listener, instancia, proyecto, estado, intentos, creado, actualizado, version)
      SELECT id, listener, '${SCOPE.instancia}', '${SCOPE.proyecto}', CASE WHEN n % 40 < 2 THEN 'fallida' ELSE 'exitosa' END, 1,
             creado, creado + (n % 17) * interval '1 min', 1
        FROM m, (VALUES ('a'), ('b')) AS l (listener);
    ANALYZE mensaje; ANALYZE entrega`)
})
afterAll(async () => {
  await database.close()
})

const keysOf = (rows: readonly DeliveryListing[]) =>
  rows.map((row) => `${row.mensaje_id} ${row.listener} ${row.evento}`)
const timeOf = (order: Order) => (order === 'changes' ? 'actualizado' : 'creado')

/** The same in the plainest SQL. */
async function expected(filters: DeliveryFilters, order: Order): Promise<string[]> {
  const way = order === 'newest' ? 'DESC' : 'ASC'
  const like = filters.event!.replaceAll('*', '%')
  const rows = await sql<DeliveryListing[]>`
    SELECT e.*, m.evento FROM entrega e JOIN mensaje m ON m.id = e.mensaje_id
     WHERE m.evento LIKE ${like} AND (${filters.listener ?? null}::text IS NULL OR e.listener = ${filters.listener ?? null})
       AND (${filters.states === undefined} OR e.estado = ANY (${filters.states ?? []}))
       AND (${filters.until ?? null}::timestamptz IS NULL OR e.creado < ${filters.until ?? null})
     ORDER BY ${sql.unsafe([`e.${timeOf(order)}`, 'e.mensaje_id', 'e.listener'].map((each) => `${each} ${way}`).join(', '))}`
  return keysOf(rows)
}

async function allPages(limit: number, order: Order, page: (page: Page) => Promise<Placed[]>) {
  const all: DeliveryListing[] = []
  for (let after: Place | undefined; ; ) {
    const rows = await page({ order, limit, after })
    all.push(...rows)
    if (rows.length < limit) return keysOf(all)
    after = placeOf(rows.at(-1)!)
  }
}

const CASES: readonly [string, DeliveryFilters, number][] = [
  ['a common event that stopped', { event: 'comun' }, 1_976],
  ['a rare one', { event: 'raro' }, 14],
  ['an absent one', { event: 'nunca' }, 0],
  ['a pattern', { event: '*r*o' }, 9_904],
  ['a listener', { event: 'comun', listener: 'b' }, 988],
  ['a listener that gets nothing', { event: 'comun', listener: 'c' }, 0],
  ['a state', { event: 'comun', states: ['fallida'] }, 98],
  ['two states of a pattern', { event: '*o', states: ['fallida', 'descartada'] }, 502],
  ['a state and a time', { event: 'raro', states: ['exitosa'], until: new Date('2026-11-01T00:00:00Z') }, 8],
]

describe.each<Order>(['newest', 'oldest', 'changes'])('in the order «%s»', (order) => {
  test.each(CASES)('%s', async (_, filters) => {
    const wanted = await expected(filters, order)
    const list = (page: Page) => database.transaction((session) => listDeliveries(session, filters, page))
    const limit = wanted.length < 1_000 ? 97 : 1_900
    expect(await allPages(limit, order, list)).toEqual(wanted)
  })
})

test('the cases are what they are meant to be', async () => {
  const counts = await Promise.all(CASES.map(async ([, filters]) => (await expected(filters, 'newest')).length))
  expect(counts).toEqual(CASES.map(([, , count]) => count))
})

const ask = <T>(work: Parameters<Database['transaction']>[0]) => database.transaction(work) as Promise<T>

/** An attempt an hour after each delivery; of `b` a second one the day after, of a challenge and an answer, which failed. */
async function writeAttempts() {
  await sql.unsafe(`
    INSERT INTO intento (id, mensaje_id, listener, instancia, proyecto, numero, pedido, inicio, duracion_ms, metodo, url,
                         pedido_cabeceras, http_estado, error, resultado, worker)
    SELECT e.mensaje_id || e.listener || n, e.mensaje_id, e.listener, e.instancia, e.proyecto, n, request,
           e.creado + CASE n WHEN 1 THEN interval '1 hour' ELSE interval '1 day' END + request * interval '1 ms', 5, 'POST',
           'http://x', '{}', CASE WHEN request < n THEN 401 WHEN n = 2 THEN 503 WHEN e.estado = 'fallida' THEN NULL ELSE 200 END,
           CASE WHEN n = 1 AND e.estado = 'fallida' THEN 'timeout' END,
           CASE WHEN request < n THEN 'reintento' WHEN n = 2 OR e.estado = 'fallida' THEN 'fallo' ELSE 'exito' END, 'w'
      FROM entrega e, generate_series(1, CASE e.listener WHEN 'b' THEN 2 ELSE 1 END) AS n, generate_series(1, n) AS request;
    ANALYZE intento`)
}

describe('by when attempts were made', () => {
  beforeAll(writeAttempts)
  const [triedSince, triedUntil] = [new Date('2026-10-31T06:00:00Z'), new Date('2026-10-31T18:00:00Z')]

  test.each<[Order, DeliveryFilters]>([
    ['newest', { triedSince, triedUntil }],
    ['oldest', { triedSince, triedUntil, listener: 'b', states: ['fallida'] }],
    ['newest', { triedSince, event: 'raro' }],
    ['oldest', { triedUntil, messageId: 'm0042' }],
  ])('%s first, each delivery once: %j', async (order, filters) => {
    const rows = await sql<{ key: string }[]>`
      SELECT DISTINCT e.mensaje_id || ' ' || e.listener || ' ' || coalesce(e.evento, 'null') AS key
        FROM entrega e JOIN intento i ON i.mensaje_id = e.mensaje_id AND i.listener = e.listener
       WHERE i.inicio >= ${filters.triedSince ?? null}::timestamptz IS NOT FALSE
         AND i.inicio < ${filters.triedUntil ?? null}::timestamptz IS NOT FALSE
         AND coalesce(e.evento, '') LIKE ${filters.event ?? '%'} AND e.listener LIKE ${filters.listener ?? '%'}
         AND e.estado LIKE ${filters.states?.[0] ?? '%'} AND e.mensaje_id LIKE ${filters.messageId ?? '%'}`
    const told: number[] = []
    const found = await allPages(40, order, (page) =>
      listStretches(ask, filters, page, (done, total) => told.push(done / total)),
    )
    expect(found.toSorted()).toEqual(rows.map(({ key }) => key).toSorted())
    expect(told.every((share) => share > 0 && share < 1)).toBe(true)
  })

  test.each<[CountedBy, DeliveryFilters]>([
    ['error', {}],
    ['estado', {}],
    ['estado', { event: 'raro', listener: 'b' }],
  ])('counted by %s %j, they are read in the month that is asked for', async (by, filters) => {
    const now = new Date()
    const months = [0, 1, 2].map((ahead) => Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + ahead, 1))
    const names = months.map((month) => `intento_${new Date(month).toISOString().slice(0, 7).replace('-', '_')}`)
    const plans: string[] = []
    await countDeliveries(
      (work) =>
        database.transaction((session) =>
          work({
            ...session,
            query: async (text, parameters) => {
              const plan = await session.query(`EXPLAIN ${text.replace(/^EXPLAIN \S+ \S+/, '')}`, parameters)
              plans.push(JSON.stringify(plan))
              return session.query(text, parameters)
            },
          }),
        ),
      { ...filters, triedSince: new Date(months[1]!), triedUntil: new Date(months[1]! + 3_600_000) },
      by,
    )
    const counting = plans.filter((plan) => plan.includes('intento_'))
    expect(counting).not.toEqual([])
    for (const plan of counting) expect(names.filter((name) => plan.includes(name))).toEqual([names[1]])
  })

  test.each([{}, { since: new Date(0), until: new Date('2027-01-01T00:00:00Z') }])(
    'what went wrong is counted by its kind, and a challenge that was answered is none: %j',
    async (times) => {
      const counts = await countDeliveries(ask, { listener: 'b', event: 'comun', ...times }, 'error')
      expect(counts).toMatchObject([
        { de: 'HTTP 503', intentos: 988 },
        { de: 'timeout', intentos: 49 },
      ])
    },
  )
})

describe('counts', () => {
  const plainly = async (by: string, filters: DeliveryFilters) => {
    const key = by === 'hora' ? `date_trunc('hour', creado)` : by
    const rows = await sql.unsafe<{ de: string | Date; estado: string; n: number }[]>(
      `SELECT ${key} AS de, estado, count(*)::int AS n FROM entrega
        WHERE coalesce(evento, '') LIKE '${(filters.event ?? '%').replaceAll('*', '%')}' AND listener LIKE '${filters.listener ?? '%'}'
          AND estado LIKE '${filters.states?.[0] ?? '%'}' GROUP BY 1, 2`,
    )
    const sums = new Map<string, Record<string, number>>()
    for (const { de, estado, n } of rows) {
      const sum = sums.get(String(de)) ?? { exitosas: 0, fallidas: 0, entregas: 0 }
      sums.set(String(de), sum)
      sum[`${estado}s`]! += n
      sum.entregas! += n
    }
    return sums
  }

  test.each(
    COUNTED_BY.filter((by) => by !== 'error').flatMap((by) =>
      ([{}, { event: 'r*' }, { listener: 'a', states: ['fallida'] }] as DeliveryFilters[]).map(
        (filters) => [by, filters] as const,
      ),
    ),
  )('by %s of %j', async (by, filters) => {
    const counts = await countDeliveries(ask, filters, by)
    const shape = ({ exitosas, fallidas, entregas }: Count) => ({ exitosas, fallidas, entregas })
    expect(new Map(counts.map((count) => [String(count.de), shape(count)]))).toEqual(await plainly(by, filters))
  })
})

test('the names in use are found without reading the rows', async () => {
  const known = (column: 'evento' | 'listener') => database.transaction((session) => knownNames(session, column))
  expect(await known('evento')).toEqual(['comun', 'otro', 'raro'])
  expect(await known('listener')).toEqual(['a', 'b'])
})

test('a cursor comes back as it went, and anything else is none', () => {
  const place = { at: new Date(), messageId: 'm1', listener: 'diaguita' }
  const text = writeCursor('newest', place)
  expect(readCursor('newest', text)).toEqual(place)
  expect(() => readCursor('oldest', text)).toThrow(/otro orden/)
  for (const other of ['', 'x', 'W10', Buffer.from('[0,"x",3,4]').toString('base64url')]) {
    expect(() => readCursor('newest', other), other).toThrow(/--despues-de/)
  }
})

test('a range is gone through whole, in stretches that grow while they are quick', async () => {
  const range = { since: new Date('2026-01-01T00:00:00Z'), until: new Date('2027-01-01T00:00:00Z') }
  for (const way of ['up', 'down'] as const) {
    const parts: [number, number][] = []
    for await (const { since, until, read } of stretches(range, way)) {
      read()
      parts.push([since.getTime(), until.getTime()])
    }
    const ordered = way === 'up' ? parts : parts.toReversed()
    expect(ordered[0]![0]).toBe(range.since.getTime())
    expect(ordered.at(-1)![1]).toBe(range.until.getTime())
    expect(ordered.every(([, until], i) => i === ordered.length - 1 || until === ordered[i + 1]![0])).toBe(true)
    expect(parts.length).toBeLessThan(12)
  }
})

test('a text is found in a body however it is written there', async () => {
  const bodies: readonly [string, Buffer][] = [
    ['Señor/Ñandú "a"', Buffer.from('{"x":"Señor/Ñandú \\"a\\""}')],
    ['señor/ñandú "A"', Buffer.from('{"x":"Se\\u00f1or\\/\\u00D1and\\u00fa \\"a\\""}')],
    ['SEÑOR', Buffer.from('señor', 'latin1')],
    ['😀 [x]*', Buffer.from('é 😀 [X]*')],
    ['😀', Buffer.from('"\\ud83d\\ude00"')],
    ['a\\b', Buffer.from('{"x":"A\\\\b"}')],
  ]
  for (const [text, body] of bodies) {
    const [row] = await sql`SELECT encode(${body}::bytea, 'escape') ~* ${searchPattern(text)} AS found`
    expect([text, row!.found]).toEqual([text, true])
  }
  const [other] =
    await sql`SELECT encode(${Buffer.from('senor.x')}::bytea, 'escape') ~* ${searchPattern('señor*x')} AS found`
  expect(other!.found).toBe(false)
})
