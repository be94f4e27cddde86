/** What the audit answers: one message's story, lists, changes and counts. */
import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { AuditBackend } from '../../src/audit/backend.ts'
import type { AuditEvent } from '../../src/audit/event.ts'
import { createPostgresBackend } from '../../src/audit/postgres.ts'
import { type AuditQueries, type DeliveryFilters, openAuditQueries } from '../../src/audit/queries.ts'
import {
  attempt,
  attemptEvent,
  auditConfig,
  callbackEvent,
  message,
  messageEvent,
  NOON,
  SCOPE,
  sharedSchema,
  state,
  stateEvent,
} from './scenery.ts'

const { config, sql, truncate } = sharedSchema()
let backend: AuditBackend
let reader: AuditQueries

beforeAll(async () => {
  backend = createPostgresBackend(config, SCOPE)
  reader = openAuditQueries(config, SCOPE)
})
afterAll(async () => {
  await Promise.all([backend.close(), reader.close()])
})
afterEach(truncate)

/** A message of an event with one delivery in a state, `minutes` after noon. */
function delivered(id: string, event: string, listener: string, name: string, minutes: number): AuditEvent[] {
  const at = NOON + minutes * 60_000
  const first = messageEvent(message({ id, event }), [listener], { at, receivedAt: at })
  const then = state(id, listener, 1, { state: name as never })
  return name === 'pendiente' ? [first] : [first, stateEvent(then, at + 1)]
}

describe('one message', () => {
  test('that nobody knows is null', async () => {
    expect(await reader.message('no-está')).toBeNull()
  })

  test('has everything in order of time', async () => {
    const sent = message()
    const at = (listener: string, number: number, request: number, startedAt: number) =>
      attemptEvent(attempt(sent.id, listener, { number, request, startedAt }), null)
    await backend.write([
      at('b', 1, 1, NOON + 30),
      at('a', 2, 1, NOON + 20),
      at('a', 1, 2, NOON + 10),
      at('a', 1, 1, NOON + 10),
      callbackEvent(sent.id, 'a', 2),
      callbackEvent(sent.id, 'a', 1),
      messageEvent(sent, ['b', 'a']),
    ])
    const timeline = (await reader.message(sent.id))!
    expect(timeline.message).toMatchObject({ id: sent.id, listeners: 2, recibido: new Date(NOON) })
    expect(timeline.deliveries.map(({ listener }) => listener)).toEqual(['a', 'b'])
    expect(timeline.attempts.map(({ listener, numero, pedido }) => [listener, numero, pedido])).toEqual([
      ['a', 1, 1],
      ['a', 1, 2],
      ['a', 2, 1],
      ['b', 1, 1],
    ])
    expect(timeline.callbacks.map(({ intento }) => intento)).toEqual([1, 2])
  })

  test('is known by its deliveries before its own row is written', async () => {
    await backend.write([stateEvent(state('temprano', 'a', 1))])
    expect(await reader.message('temprano')).toMatchObject({ message: null, deliveries: [{ estado: 'exitosa' }] })
  })

  test('of another project is none of ours', async () => {
    await backend.write(delivered('x', 'e', 'a', 'exitosa', 0))
    const other = openAuditQueries(config, { ...SCOPE, instancia: 'otra' })
    expect(await other.message('x')).toBeNull()
    expect(await other.deliveries({}, { limit: 10 })).toEqual({ rows: [], next: null })
    expect(await other.pendingCounts()).toEqual([])
    await other.close()
  })
})

describe('the list of deliveries', () => {
  const write = () =>
    backend.write([
      ...delivered('m1', 'compra.alta', 'a', 'exitosa', 1),
      ...delivered('m2', 'compra.baja', 'b', 'fallida', 2),
      ...delivered('m3', 'proveedor.alta', 'a', 'pendiente', 3),
      ...delivered('m4', 'compra_alta', 'c', 'reintentando', 4),
      ...delivered('m5', '100%.alta', 'a', 'descartada', 5),
      ...delivered('m6', 'a\\b', 'b', 'exitosa', 6),
    ])
  const minute = (n: number) => new Date(NOON + n * 60_000)

  test.each<[string, DeliveryFilters, string[]]>([
    ['nothing', {}, ['m6', 'm5', 'm4', 'm3', 'm2', 'm1']],
    ['an event', { event: 'compra.alta' }, ['m1']],
    ['an event that never was', { event: 'nada' }, []],
    ['a pattern of the beginning', { event: 'compra.*' }, ['m2', 'm1']],
    ['a pattern of the end', { event: '*.alta' }, ['m5', 'm3', 'm1']],
    ['a pattern of the middle', { event: '*a*a*' }, ['m5', 'm4', 'm3', 'm2', 'm1']],
    ['every event', { event: '*' }, ['m6', 'm5', 'm4', 'm3', 'm2', 'm1']],
    ['a pattern with an underscore, which is no wildcard', { event: 'compra_*' }, ['m4']],
    ['a pattern with a percent sign, which is no wildcard', { event: '100%*' }, ['m5']],
    ['a pattern with a percent sign that matches nothing', { event: '%*' }, []],
    ['a pattern with a backslash', { event: 'a\\*' }, ['m6']],
    ['a listener', { listener: 'a' }, ['m5', 'm3', 'm1']],
    ['a state', { states: ['fallida'] }, ['m2']],
    ['several states', { states: ['fallida', 'exitosa'] }, ['m6', 'm2', 'm1']],
    ['unfinished states', { states: ['pendiente', 'reintentando'] }, ['m4', 'm3']],
    ['no state at all', { states: [] }, []],
    ['a message', { messageId: 'm4' }, ['m4']],
    ['a time, its beginning included', { since: minute(5) }, ['m6', 'm5']],
    ['a time, its end excluded', { until: minute(2) }, ['m1']],
    ['all of it', { event: '*.alta', listener: 'a', states: ['exitosa'], since: minute(0), until: minute(9) }, ['m1']],
  ])('chooses by %s', async (_, filters, ids) => {
    await write()
    const { rows } = await reader.deliveries(filters, { limit: 50 })
    expect(rows.map(({ mensaje_id }) => mensaje_id)).toEqual(ids)
  })

  test('has the columns of the table and the event', async () => {
    await write()
    expect((await reader.deliveries({ messageId: 'm2' }, { limit: 1 })).rows).toEqual([
      {
        mensaje_id: 'm2',
        evento: 'compra.baja',
        listener: 'b',
        estado: 'fallida',
        intentos: 1,
        proximo_intento: null,
        motivo: null,
        creado: minute(2),
        actualizado: new Date(minute(2).getTime() + 1),
        accion: null,
      },
    ])
  })

  test('goes on where the page before ended, also among deliveries of the same instant', async () => {
    const listeners = Array.from({ length: 25 }, (_, n) => `l${n}`)
    await backend.write([messageEvent(message({ id: 'x' }), listeners), messageEvent(message({ id: 'y' }), listeners)])
    const seen: string[] = []
    for (let cursor: string | undefined | null; cursor !== null; ) {
      const { rows, next } = await reader.deliveries({}, { limit: 7, cursor })
      seen.push(...rows.map((row) => row.mensaje_id + row.listener))
      cursor = next
    }
    expect(seen).toHaveLength(50)
    expect(new Set(seen).size).toBe(50)
  })

  test('can be gone through whole, beyond a page', async () => {
    const events = Array.from({ length: 2_300 }, (_, n) => messageEvent(message(), ['a'], { at: NOON + (n % 10) }))
    await backend.write(events)
    const seen = new Set<string>()
    for await (const { mensaje_id } of reader.eachDelivery({ states: ['pendiente'] })) seen.add(mensaje_id)
    expect(seen.size).toBe(2_300)
  })
})

test('rows that somebody changed by hand, to the microsecond, do not make a page come again', async () => {
  const events = Array.from({ length: 1_500 }, () => messageEvent(message(), ['a']))
  await backend.write(events)
  const feed = await reader.changes({})
  await sql`UPDATE entrega SET creado = now(), actualizado = now() + interval '1.000777 s'`
  expect(await feed.next()).toHaveLength(1_500)
  const seen: string[] = []
  for await (const { mensaje_id } of reader.eachDelivery({})) seen.push(mensaje_id)
  expect(seen).toHaveLength(1_500)
  let owed = 0
  for await (const _ of reader.owed(() => true)) owed++
  expect(owed).toBe(1_500)
})

describe('the changes', () => {
  const soon = (seconds: number) => Date.now() + seconds * 1_000

  test('are what happens from now on, once each, in its newest state', async () => {
    await backend.write(delivered('viejo', 'e', 'a', 'exitosa', 0))
    const feed = await reader.changes({})
    expect(await feed.next()).toEqual([])
    await backend.write([messageEvent(message({ id: 'm', event: 'e' }), ['a'], { at: soon(1), receivedAt: NOON })])
    expect(await feed.next()).toMatchObject([{ mensaje_id: 'm', evento: 'e', estado: 'pendiente' }])
    expect(await feed.next()).toEqual([])
    await backend.write([stateEvent(state('m', 'a', 1, { state: 'reintentando' }), soon(2))])
    await backend.write([stateEvent(state('m', 'a', 2, { state: 'exitosa' }), soon(3))])
    expect(await feed.next()).toMatchObject([{ mensaje_id: 'm', estado: 'exitosa' }])
    expect(await feed.next()).toEqual([])
  })

  test('of a Redis whose clock is behind are seen, and what was before is not', async () => {
    await backend.write([stateEvent(state('antes', 'a', 1), soon(-10))])
    const feed = await reader.changes({})
    expect(await feed.next()).toEqual([])
    await backend.write([stateEvent(state('después', 'a', 1), soon(-9))])
    expect(await feed.next()).toMatchObject([{ mensaje_id: 'después' }])
  })

  test('that a slower writer commits late are not missed', async () => {
    const feed = await reader.changes({})
    await backend.write([stateEvent(state('rápido', 'a', 1), soon(5))])
    expect(await feed.next()).toHaveLength(1)
    await backend.write([stateEvent(state('lento', 'a', 1), soon(3))])
    expect(await feed.next()).toMatchObject([{ mensaje_id: 'lento' }])
  })

  test('obey the filters, and may be many', async () => {
    const feed = await reader.changes({ listener: 'a', event: 'proveedor.*' })
    const events = Array.from({ length: 2_200 }, () =>
      messageEvent(message(), ['a', 'b'], { at: soon(1), receivedAt: NOON }),
    )
    await backend.write(events)
    const rows = await feed.next()
    expect(rows).toHaveLength(2_200)
    expect(new Set(rows.map(({ listener }) => listener))).toEqual(new Set(['a']))
    expect(await feed.next()).toEqual([])
  })
})

test('counts what did not succeed, by listener and state, and what was set aside', async () => {
  await backend.write([
    ...delivered('1', 'e', 'a', 'exitosa', 0),
    ...delivered('2', 'e', 'a', 'fallida', 0),
    ...delivered('3', 'e', 'a', 'fallida', 0),
    ...delivered('4', 'e', 'b', 'pendiente', 0),
    stateEvent(state('5', 'b', 1, { attempts: 3e9 })),
  ])
  expect(await reader.pendingCounts()).toEqual([
    { listener: 'a', estado: 'fallida', cantidad: 2 },
    { listener: 'b', estado: 'pendiente', cantidad: 1 },
  ])
  expect(await reader.rejectedCount()).toBe(1)
})

test('knows the server and the schema; a missing one is version 0', async () => {
  expect(await reader.schemaVersion()).toBeGreaterThanOrEqual(3)
  expect(await reader.health()).toMatchObject({ encoding: 'UTF8', readOnly: false, version: expect.any(String) })
  const nowhere = openAuditQueries(auditConfig(), SCOPE)
  expect(await nowhere.schemaVersion()).toBe(0)
  await nowhere.close()
})

describe('the views', () => {
  test('trazabilidad has one row a request, with event and state', async () => {
    await backend.write([
      messageEvent(message({ id: 'm', event: 'compra.alta' }), ['a']),
      attemptEvent(attempt('m', 'a', { number: 1, result: 'reintento', status: 503 }), null),
      attemptEvent(attempt('m', 'a', { number: 2 }), state('m', 'a', 2)),
    ])
    expect(
      await sql`SELECT evento, numero, http_estado, estado, cuerpo, respuesta_cuerpo FROM trazabilidad ORDER BY numero`,
    ).toMatchObject([
      {
        evento: 'compra.alta',
        numero: 1,
        http_estado: 503,
        estado: 'exitosa',
        cuerpo: '{"id":7}',
        respuesta_cuerpo: 'hecho',
      },
      {
        evento: 'compra.alta',
        numero: 2,
        http_estado: 200,
        estado: 'exitosa',
        cuerpo: '{"id":7}',
        respuesta_cuerpo: 'hecho',
      },
    ])
  })

  test('an attempt belongs to one message, though its id came again', async () => {
    const day = 86_400_000
    const again = (event: string, receivedAt: number) =>
      messageEvent(message({ id: 'm', event }), ['a'], { at: receivedAt, receivedAt })
    const made = (number: number, startedAt: number, event: string) =>
      attemptEvent(attempt('m', 'a', { number, startedAt, event }), state('m', 'a', startedAt, { attempts: 1 }))
    await backend.write([
      again('primera', NOON),
      again('segunda', NOON + 2_000),
      again('tercera', NOON + 40 * day),
      // Begun before any was received, by its machine's clock.
      made(1, NOON - 500, 'primera'),
      made(2, NOON + 1_000, 'primera'),
      made(1, NOON + 3_000, 'segunda'),
      made(1, NOON + 41 * day, 'tercera'),
      attemptEvent(attempt('huérfano', 'a'), state('huérfano', 'a', 1)),
    ])
    expect(await sql`SELECT evento, inicio FROM trazabilidad WHERE mensaje_id = 'm' ORDER BY inicio`).toMatchObject([
      { evento: 'primera', inicio: new Date(NOON - 500) },
      { evento: 'primera' },
      { evento: 'segunda' },
      { evento: 'tercera' },
    ])
    expect(await sql`SELECT count(*)::int FROM trazabilidad`).toEqual([{ count: 5 }])
    expect(
      await sql`SELECT dia::text, evento, enviados::int, reintentos::int FROM resumen_diario ORDER BY dia, evento`,
    ).toEqual([
      { dia: '2026-11-15', evento: 'primera', enviados: 2, reintentos: 1 },
      { dia: '2026-11-15', evento: 'segunda', enviados: 1, reintentos: 0 },
      { dia: '2026-11-15', evento: null, enviados: 1, reintentos: 0 },
      { dia: '2026-12-26', evento: 'tercera', enviados: 1, reintentos: 0 },
    ])
  })

  test('of one id, hour or event do not read all of mensaje, and can be asked where Postgres runs queries in parallel', async () => {
    const ids = Array.from({ length: 3_000 }, (_, n) => `m${n}`)
    // So large that reading all of them is the slower way.
    const body = Buffer.from(randomBytes(1_100).toString('base64'))
    await backend.write(
      ids.flatMap((id, n) => {
        const at = NOON + n * 600_000
        return [
          messageEvent(message({ id, body, event: n % 100 === 7 ? 'rara' : 'frecuente' }), ['a'], {
            at,
            receivedAt: at,
          }),
          attemptEvent(attempt(id, 'a', { startedAt: at + 1 }), state(id, 'a', 1)),
        ]
      }),
    )
    await sql`ANALYZE`
    // Of months gone by no partitions are made: what is of those lies in mensaje_otros.
    const partitions = await sql`SELECT DISTINCT tableoid::regclass::text AS name FROM mensaje`
    const holding = partitions.map(({ name }) => name.split('.').at(-1)).join('|')
    const hour = `inicio >= '2026-11-16 10:00' AND inicio < '2026-11-16 11:00'`
    for (const [view, which] of [
      ['trazabilidad', `mensaje_id = 'm7'`],
      ['trazabilidad', hour],
      ['trazabilidad', `evento = 'rara'`],
    ]) {
      const plan = await sql.unsafe(`EXPLAIN SELECT * FROM ${view} WHERE ${which}`)
      const text = plan.map((row) => row['QUERY PLAN']).join('\n')
      expect(text, `${view} ${which}`).toMatch(new RegExp(`Index.* on (${holding})`))
      expect(text, `${view} ${which}`).not.toMatch(new RegExp(`Seq Scan on (${holding})`))
    }
    const [server] = await sql`SELECT current_setting('server_version_num')::int AS number`
    const forced = server!.number >= 160_000 ? 'debug_parallel_query' : 'force_parallel_mode'
    await sql.begin(async (own) => {
      await own.unsafe(`SET LOCAL ${forced} = on; SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0`)
      expect(await own`SELECT cuerpo, respuesta_cuerpo FROM trazabilidad WHERE mensaje_id = 'm7'`).toEqual([
        { cuerpo: String(body), respuesta_cuerpo: 'hecho' },
      ])
      expect(await own`SELECT sum(enviados)::int AS n FROM resumen_diario`).toEqual([{ n: ids.length }])
    })
  })

  test('resumen_diario counts an attempt of several requests once', async () => {
    const day = 86_400_000
    await backend.write([
      messageEvent(message({ id: 'm', event: 'compra.alta' }), ['a']),
      attemptEvent(attempt('m', 'a', { number: 1, request: 1, status: 401, result: 'exito', durationMs: 10 }), null),
      attemptEvent(
        attempt('m', 'a', { number: 1, request: 2, status: 503, result: 'reintento', durationMs: 20 }),
        state('m', 'a', 1),
      ),
      attemptEvent(attempt('m', 'a', { number: 2, durationMs: 50 }), state('m', 'a', 2)),
      attemptEvent(
        attempt('m', 'a', { number: 3, durationMs: 70, startedAt: NOON + day, result: 'fallo' }),
        state('m', 'a', 3),
      ),
    ])
    expect(
      await sql`SELECT dia::text, evento, listener, enviados::int, exitosos::int, fallidos::int, reintentos::int,
                            p50_ms::int, p95_ms::int FROM resumen_diario ORDER BY dia`,
    ).toMatchObject([
      {
        dia: '2026-11-15',
        evento: 'compra.alta',
        listener: 'a',
        enviados: 2,
        exitosos: 1,
        fallidos: 0,
        reintentos: 1,
        p50_ms: 30,
        p95_ms: 50,
      },
      {
        dia: '2026-11-16',
        evento: 'compra.alta',
        listener: 'a',
        enviados: 1,
        exitosos: 0,
        fallidos: 1,
        reintentos: 1,
        p50_ms: 70,
        p95_ms: 70,
      },
    ])
  })
})
