/** Listings by event: the rows that their messages say, in every order and page after page. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Database, openDatabase } from '../../src/audit/database.ts'
import {
  type DeliveryFilters,
  type DeliveryListing,
  listDeliveries,
  type Order,
  type Page,
  type Place,
} from '../../src/audit/listing.ts'
import { placeOf } from '../../src/audit/queries.ts'
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

async function allPages(limit: number, order: Order, page: (page: Page) => Promise<DeliveryListing[]>) {
  const all: DeliveryListing[] = []
  for (let after: Place | undefined; ; ) {
    const rows = await page({ order, limit, after })
    all.push(...rows)
    if (rows.length < limit) return keysOf(all)
    after = placeOf(rows.at(-1)!, timeOf(order))
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
