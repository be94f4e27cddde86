/** New rows are copied in; what COPY refuses is inserted; both leave the same rows. */
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { AuditBackend } from '../../src/audit/backend.ts'
import { createPostgresBackend } from '../../src/audit/postgres.ts'
import { Unavailable } from '../../src/errors.ts'
import { until } from '../support/until.ts'
import {
  attempt,
  attemptEvent,
  message,
  messageEvent,
  NOON,
  SCOPE,
  sharedSchema,
  state,
  stateEvent,
  withSql,
} from './scenery.ts'

const { config, sql, truncate } = sharedSchema()
let backend: AuditBackend

beforeAll(async () => {
  // Each statement that inserts leaves a mark.
  await sql`CREATE TABLE marca (tabla text, copiada boolean, conexion integer)`
  await sql.unsafe(`
    CREATE FUNCTION marcar() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO "${config.schema}".marca VALUES (TG_TABLE_NAME, current_query() LIKE 'COPY %', pg_backend_pid());
      RETURN NULL;
    END $$`)
  for (const table of ['mensaje', 'entrega', 'intento']) {
    await sql.unsafe(
      `CREATE TRIGGER marca AFTER INSERT ON ${table} FOR EACH STATEMENT EXECUTE FUNCTION "${config.schema}".marcar()`,
    )
  }
})
beforeEach(() => {
  backend = createPostgresBackend(config, SCOPE)
})
afterEach(async () => {
  await backend.close()
  await truncate()
  await sql`TRUNCATE marca`
})

const inserted = async () => (await sql`SELECT tabla FROM marca WHERE NOT copiada ORDER BY 1`).map(({ tabla }) => tabla)

test('what happened for the first time is copied, the state of an older delivery is inserted', async () => {
  const [quick, slow] = [message(), message()]
  await backend.write([
    messageEvent(quick, ['a']),
    messageEvent(slow, ['a']),
    attemptEvent(attempt(quick.id, 'a'), state(quick.id, 'a', 1)),
  ])
  expect(await inserted()).toEqual([])
  await backend.write([attemptEvent(attempt(slow.id, 'a'), state(slow.id, 'a', 1))])
  expect(await inserted()).toEqual(['entrega'])
  expect(await sql`SELECT estado, version::int FROM entrega`).toMatchObject([
    { estado: 'exitosa', version: 1 },
    { estado: 'exitosa', version: 1 },
  ])
})

test('what is there already is inserted by the same connection, and new rows are copied again after that', async () => {
  const first = messageEvent(message(), ['a'])
  await backend.write([first])
  await backend.write([first, messageEvent(message(), ['a'])])
  expect(await inserted()).toEqual(['entrega', 'mensaje'])
  await backend.write([messageEvent(message(), ['a'])])
  expect(await inserted()).toEqual(['entrega', 'mensaje'])
  expect(await sql`SELECT FROM mensaje`).toHaveLength(3)
  expect(await sql`SELECT DISTINCT conexion FROM marca`).toHaveLength(1)
})

test('whose deliveries another writer ended before they began here, still copies the rest', async () => {
  const [ended, next] = [message(), message()]
  await backend.write([stateEvent(state(ended.id, 'a', 1))])
  await sql`TRUNCATE marca`
  await backend.write([messageEvent(ended, ['a']), attemptEvent(attempt(ended.id, 'a'), null)])
  await backend.write([messageEvent(next, ['a'])])
  expect(await sql`SELECT tabla, copiada FROM marca ORDER BY 1, 2`).toMatchObject([
    { tabla: 'entrega', copiada: false },
    { tabla: 'entrega', copiada: false },
    { tabla: 'intento', copiada: true },
    { tabla: 'mensaje', copiada: true },
    { tabla: 'mensaje', copiada: true },
  ])
  expect(await sql`SELECT estado, creado FROM entrega ORDER BY mensaje_id = ${next.id}`).toMatchObject([
    { estado: 'exitosa', creado: new Date(NOON) },
    { estado: 'pendiente', creado: new Date(NOON) },
  ])
})

test('text, numbers, instants and bytes are the same either way', async () => {
  const events = [
    messageEvent(
      message({ origin: 'ñandú €', event: 'a'.repeat(40), key: 'ñ'.repeat(41), headers: { 'X-Ñ': '\u0001"\\' } }),
      ['a'],
    ),
    messageEvent(message({ createdAt: new Date('1970-01-01T00:00:00.001Z'), depth: -1 }), ['a'], {
      receivedAt: NOON - 1,
    }),
    messageEvent(message({ createdAt: new Date('1999-12-31T23:59:59.999Z') }), ['a'], { receivedAt: NOON - 2 }),
    messageEvent(message({ body: Buffer.alloc(700_001, 'ab\0\xff') }), ['a']),
    messageEvent(message({ body: Buffer.alloc(0) }), ['a']),
    messageEvent(message({ body: Buffer.from('NULL', 'base64') }), ['a']),
    stateEvent(state('s', 'a', 5e12, { attempts: 1, nextAttemptAt: NOON + 0.25 })),
  ]
  // Bytes as text, which is compared at once and not one by one.
  const written = async () => [
    ...(await sql`SELECT *, encode(cuerpo, 'hex') AS cuerpo FROM mensaje ORDER BY id`),
    ...(await sql`SELECT * FROM entrega ORDER BY mensaje_id`),
  ]
  await backend.write(
    events.map((event) =>
      event.type === 'state' ? event : { ...event, message: { ...event.message, notBefore: new Date(NOON) } },
    ),
  )
  expect(await inserted()).toContain('mensaje')
  const expected = (await written()).map((row) => ({ ...row, no_antes_de: null }))
  await sql`TRUNCATE mensaje, entrega, marca`

  await backend.write(events)
  expect(await inserted()).toEqual(['entrega'])
  expect((await written()).map((row) => ({ ...row, no_antes_de: null }))).toEqual(expected)
})

test('an instant that a number cannot hold to the microsecond is left to the server', async () => {
  const { id } = message()
  const far = Date.parse('9999-01-01T00:00:00Z')
  await backend.write([messageEvent(message({ id, createdAt: new Date(far) }), ['a'])])
  expect(await inserted()).toEqual(['entrega', 'mensaje'])
  expect(await sql`SELECT creado FROM mensaje`).toMatchObject([{ creado: new Date(far) }])
})

test('a connection that the server ends in the middle of a copy is told, and the next write has another', async () => {
  const event = messageEvent(message({ body: Buffer.alloc(3_000_000, 1) }), ['a'])
  let failure: Promise<unknown> = Promise.resolve()
  await sql.begin(async (holder) => {
    await holder.unsafe('LOCK TABLE mensaje IN ACCESS EXCLUSIVE MODE')
    failure = backend.write([event]).catch((error) => error)
    await withSql(config, async (other) => {
      const ended = () => other`
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE application_name = 'resthooks' AND query LIKE ${`COPY "${config.schema}"%`} AND wait_event_type = 'Lock'`
      await until(async () => (await ended()).length === 1, { what: 'a copy that waits for the lock' })
    })
    expect(await failure).toBeInstanceOf(Unavailable)
  })
  await backend.write([event])
  expect(await sql`SELECT length(cuerpo) FROM mensaje`).toMatchObject([{ length: 3_000_000 }])
})

test('two writers, of which the second has the outcomes of what the first one is writing, both finish', async () => {
  const other = createPostgresBackend(config, SCOPE)
  const messages = Array.from({ length: 300 }, () => message())
  await Promise.all([
    backend.write(messages.map((each) => messageEvent(each, ['a']))),
    other.write(messages.map(({ id }) => attemptEvent(attempt(id, 'a'), state(id, 'a', 1)))),
  ])
  await other.close()
  expect(await sql`SELECT estado, count(*)::int FROM entrega GROUP BY 1`).toMatchObject([
    { estado: 'exitosa', count: 300 },
  ])
  expect(await sql`SELECT count(DISTINCT creado)::int FROM entrega`).toMatchObject([{ count: 1 }])
  expect(await sql`SELECT count(*)::int FROM intento`).toMatchObject([{ count: 300 }])
})
