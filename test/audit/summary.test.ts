/** Attempts by hour: each is counted once, whoever wrote it and however often it came, and what is read from that. */
import fc from 'fast-check'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openDatabase } from '../../src/audit/database.ts'
import type { AuditEvent } from '../../src/audit/event.ts'
import { migrate, migrationScript, migrations } from '../../src/audit/migrate.ts'
import { createPostgresBackend } from '../../src/audit/postgres.ts'
import {
  DURATION_BOUNDS,
  type Rates,
  readRates,
  readRatesByHour,
  readRatesByMinute,
  readRecentRates,
} from '../../src/audit/summary.ts'
import {
  attempt,
  attemptEvent,
  auditConfig,
  message,
  messageEvent,
  NOON,
  SCOPE,
  type Sql,
  sharedSchema,
  state,
  withSql,
} from './scenery.ts'

const HOUR = 3_600_000

const { config, sql, truncate } = sharedSchema()
const backend = createPostgresBackend(config, SCOPE)
const database = openDatabase(config, SCOPE, { connections: 1, readOnly: true })
afterAll(() => Promise.all([backend.close(), database.close()]))
beforeEach(truncate)

/** What `resumen_hora` says, and what the attempts themselves say. */
async function bothCounts(connection: Sql) {
  const kept = await connection`
    SELECT hora, listener, nullif(evento, '') AS evento, sum(enviados)::int AS enviados, sum(exitosos)::int AS exitosos,
           sum(fallidos)::int AS fallidos, sum(reintentos)::int AS reintentos,
           percentil(0.5, ARRAY(SELECT sum(h2.duraciones[n]) FROM resumen_hora h2, generate_series(1, 35) n
                                 WHERE (h2.hora, h2.listener, h2.evento) = (h.hora, h.listener, h.evento)
                                 GROUP BY n ORDER BY n)) AS p50
      FROM resumen_hora h GROUP BY h.hora, h.listener, h.evento HAVING sum(enviados) <> 0 ORDER BY 1, 2, 3`
  const told = await connection`
    SELECT date_trunc('hour', inicio) AS hora, listener, evento, count(*)::int AS enviados,
           count(*) FILTER (WHERE resultado = 'exito')::int AS exitosos,
           count(*) FILTER (WHERE resultado = 'fallo')::int AS fallidos, count(*) FILTER (WHERE numero > 1)::int AS reintentos,
           (limites_ms())[tramo(percentile_disc(0.5) WITHIN GROUP (ORDER BY ms))] AS p50
      FROM (SELECT max(i.inicio) AS inicio, i.listener, e.evento, i.numero, sum(i.duracion_ms) AS ms,
                   (array_agg(i.resultado ORDER BY i.pedido DESC))[1] AS resultado
              FROM intento i LEFT JOIN entrega e USING (mensaje_id, listener)
             GROUP BY i.mensaje_id, i.listener, e.evento, i.numero) a
     GROUP BY 1, 2, 3 ORDER BY 1, 2, 3`
  return { kept: [...kept], told: [...told] }
}

/** A message, and two attempts of it for each listener: a refused one, then a challenge and its answer. */
function story(id: string, at: number): AuditEvent[] {
  const event = `evento${at % 3}`
  const made = (listener: string, startedAt: number, more: object) => ({
    ...attempt(id, listener, { event }),
    id: `${id}${listener}${startedAt}`,
    startedAt,
    ...more,
  })
  return [
    messageEvent(message({ id, event }), ['a', 'b'], { at, receivedAt: at }),
    ...['a', 'b'].flatMap((listener) => [
      attemptEvent(
        made(listener, at + 1, { number: 1, result: 'reintento', durationMs: 12 }),
        state(id, listener, 1, { state: 'reintentando' }),
      ),
      attemptEvent(made(listener, at + 2, { number: 2, status: 401, result: 'reintento', durationMs: 30 }), null),
      attemptEvent(made(listener, at + 3, { number: 2, request: 2, durationMs: 80 }), state(id, listener, 2)),
    ]),
  ]
}

test('an attempt counts once, in the hour of its last request, however its batch is cut, repeated or halved', async () => {
  const events = [...story('m1', NOON), ...story('m2', NOON + 1), ...story('m3', NOON + HOUR - 2)]
  const bad = attemptEvent(attempt('m1', 'a', { number: 3, status: 3e9 }), null)
  const other = createPostgresBackend(config, SCOPE)
  await Promise.all([backend.write([...events.slice(0, 9), bad]), other.write(events.slice(5, 16))])
  await Promise.all([other.write(events), backend.write([...events.slice(3), bad])])
  await other.close()
  const { kept, told } = await bothCounts(sql)
  expect(kept).toEqual(told)
  expect(kept.map(({ enviados }) => enviados).reduce((a, b) => a + b)).toBe(12)
  // The answer of the third message begins in the hour after its challenge.
  expect(kept).toContainEqual(
    expect.objectContaining({ hora: new Date(NOON + HOUR), enviados: 1, exitosos: 1, p50: 150 }),
  )
})

describe('an attempt of which 0.1.0 tells each request by itself', () => {
  const events = story('m1', NOON)
  /** Places of the first listener's challenge (30 ms) and of its answer (80 ms). */
  const [challenge, answer] = [2, 3]
  const other = createPostgresBackend(config, SCOPE)
  afterAll(() => other.close())
  /** The refused attempt, and the one with a challenge, of two listeners. */
  const whole = [
    { hasta: 15, cuantos: 2 },
    { hasta: 150, cuantos: 2 },
  ]

  /** How many attempts took up to so many ms, once these batches are written, by two writers in turn. */
  async function durationsOf(...batches: readonly AuditEvent[][]) {
    await truncate()
    for (const [n, batch] of batches.entries()) await [backend, other][n % 2]!.write(batch)
    return [
      ...(await sql`
        SELECT (limites_ms())[n] AS hasta, sum(duraciones[n])::int AS cuantos FROM resumen_hora, generate_series(1, 35) n
         WHERE duraciones[n] <> 0 GROUP BY 1 ORDER BY 1`),
    ]
  }

  test('counts with the time of all of them, wherever the batch is cut', async () => {
    for (let cut = 1; cut < events.length; cut++) {
      expect(await durationsOf(events.slice(0, cut), events.slice(cut)), `cut at ${cut}`).toEqual(whole)
    }
    expect(await durationsOf(...events.map((event) => [event]))).toEqual(whole)
    expect(await durationsOf(events.slice(0, answer), events.slice(answer), events.slice(challenge))).toEqual(whole)
  })

  test('counts with the time of all of them, wherever the batch is halved', async () => {
    const refused = attemptEvent(attempt('m1', 'a', { number: 3, status: 3e9 }), null)
    for (let place = 0; place <= events.length; place++) {
      const batch = [...events.slice(0, place), refused, ...events.slice(place)]
      expect(await durationsOf(batch), `refused at ${place}`).toEqual(whole)
    }
  })

  test('counts without the time of the same id before', async () => {
    const again = story('m1', NOON + 60_000)
    expect(await durationsOf(events, again.slice(0, answer), again.slice(answer))).toEqual(
      whole.map(({ hasta, cuantos }) => ({ hasta, cuantos: cuantos * 2 })),
    )
  })

  test('counts with the time of those that are there, when another writer is quicker with the last one', async () => {
    const late = events[challenge]!
    const others = events.filter((event) => event !== late)
    const short = [whole[0], { hasta: 100, cuantos: 1 }, { hasta: 150, cuantos: 1 }]
    expect(await durationsOf(others, [late])).toEqual(short)
    expect(await durationsOf(others, events)).toEqual(short)
  })
})

test('the row that stood for an outcome counts until the outcome is there', async () => {
  const lost = attempt('m1', 'a', { id: 'perdido', error: 'sin_resultado', result: 'reintento', durationMs: 5_000 })
  const told = { ...attemptEvent(attempt('m1', 'a'), null), replaces: 'perdido' }
  const standing = attemptEvent(lost, state('m1', 'a', 1, { state: 'pendiente' }))
  const sent = messageEvent(message({ id: 'm1' }), ['a'])
  for (const batches of [[[sent, standing], [told]], [[sent, told], [standing], [told]], [[sent, told, standing]]]) {
    await truncate()
    await backend.write(batches[0]!)
    if (batches.length > 1) expect(await sql`SELECT sum(enviados)::int AS n FROM resumen_hora`).toEqual([{ n: 1 }])
    for (const batch of batches.slice(1)) await backend.write(batch)
    const { kept, told } = await bothCounts(sql)
    expect(kept).toEqual(told)
    expect(kept).toMatchObject([{ enviados: 1, exitosos: 1, p50: 50 }])
  }
})

const read = <T>(work: Parameters<typeof database.transaction<T>>[0]) => database.transaction(work)

test('rates, of all and by listener, and hour by hour', async () => {
  await backend.write([...story('m1', NOON), ...story('m2', NOON + 2 * HOUR)])
  const counts = { enviados: 4, exitosos: 2, fallidos: 0, reintentos: 2, p95: 150 }
  const half = { ...counts, enviados: 2, exitosos: 1, reintentos: 1 }
  expect(await read((session) => readRates(session, new Date(NOON), new Date(NOON + HOUR)))).toEqual([
    { listener: null, ...counts },
    { listener: 'a', ...half },
    { listener: 'b', ...half },
  ])
  expect(await read((session) => readRecentRates(session, new Date(NOON + HOUR)))).toEqual([
    { listener: null, ...counts, p95: 110 },
    { listener: 'a', ...half, p95: 110 },
    { listener: 'b', ...half, p95: 110 },
  ])
  expect(await read((session) => readRatesByHour(session, { since: new Date(NOON) }))).toEqual([
    { hora: new Date(NOON), ...counts },
    { hora: new Date(NOON + 2 * HOUR), ...counts },
  ])
  expect(await read((session) => readRatesByHour(session, { since: new Date(NOON + HOUR), listener: 'a' }))).toEqual([
    { hora: new Date(NOON + 2 * HOUR), ...half },
  ])
  expect(await read((session) => readRates(session, new Date(NOON + 5 * HOUR)))).toEqual([])
  expect(await sql`SELECT limites_ms() AS limites`).toEqual([{ limites: [...DURATION_BOUNDS] }])
})

test('minute by minute and of late an attempt counts as by hour: once, in the minute of its last request, with the time of all', async () => {
  const MINUTE = 60_000
  const edge = NOON + 10 * MINUTE
  // Of the second message the challenge lies in one minute and its answer in the next; then its id comes again.
  await backend.write([...story('m1', NOON), ...story('m2', edge - 3), ...story('m2', edge + 5 * MINUTE)])
  const four = { enviados: 4, exitosos: 2, fallidos: 0, reintentos: 2, p95: 110 }
  expect(await read((session) => readRatesByMinute(session, new Date(NOON)))).toEqual([
    { hora: new Date(NOON), ...four },
    { hora: new Date(edge - MINUTE), enviados: 2, exitosos: 0, fallidos: 0, reintentos: 0, p95: 12 },
    { hora: new Date(edge), enviados: 2, exitosos: 2, fallidos: 0, reintentos: 2, p95: 110 },
    { hora: new Date(edge + 5 * MINUTE), ...four },
  ])
  const whole = { enviados: 12, exitosos: 6, fallidos: 0, reintentos: 6 }
  expect(await read((session) => readRecentRates(session, new Date(NOON)))).toMatchObject([
    { listener: null, ...whole, p95: 110 },
    { listener: 'a' },
    { listener: 'b' },
  ])
  expect(await read((session) => readRatesByHour(session, { since: new Date(NOON) }))).toMatchObject([whole])
})

describe('any attempts around a change of month', () => {
  const MINUTE = 60_000
  const now = new Date()
  /** There is a part for each of the two months, whenever this runs. */
  const edge = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1, 1)
  const LISTENERS = ['a', 'b', 'ñ']

  interface Made {
    readonly messageId: string
    readonly listener: string
    readonly number: number
    readonly requests: readonly { readonly startedAt: number; readonly durationMs: number }[]
    readonly result: 'exito' | 'fallo' | 'reintento'
    readonly end: End
  }

  /** As 0.1.0 tells the outcome, or as this version; the same of one that a worker's end cut off; and of a delivery that was lost to another. */
  type End = 'older' | 'told' | 'interrupted' | 'lost'

  const duration = fc.oneof(fc.nat(1), fc.nat(90), fc.nat(90_000))
  const oneAttempt = fc.record({
    durations: fc.array(duration, { minLength: 1, maxLength: 3 }),
    succeeds: fc.boolean(),
    end: fc.constantFrom<End[]>('older', 'told', 'told', 'interrupted', 'lost'),
    pause: fc.oneof(fc.nat(20), fc.nat(MINUTE)),
  })
  /** Of a message to a listener; each time that its id comes again it begins anew, with the number 1. */
  const delivery = fc.record({
    begins: fc.nat(5 * MINUTE),
    rounds: fc.array(fc.array(oneAttempt, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 3 }),
  })
  const anyAttempts = fc.array(delivery, { minLength: 1, maxLength: 12 }).map((deliveries) =>
    deliveries.flatMap(({ begins, rounds }, n) => {
      let at = edge - 3 * MINUTE + begins
      return rounds.flatMap((round) =>
        round.map(({ durations, succeeds, end, pause }, i): Made => {
          const requests = durations.map((durationMs) => {
            const startedAt = at
            at += durationMs
            return { startedAt, durationMs }
          })
          at += 1 + pause
          const isFinal = i === round.length - 1 && end !== 'interrupted'
          const result = isFinal ? (succeeds ? 'exito' : 'fallo') : 'reintento'
          const [messageId, listener] = [`m${Math.floor(n / LISTENERS.length)}`, LISTENERS[n % LISTENERS.length]!]
          return { messageId, listener, number: i + 1, requests, result, end }
        }),
      )
    }),
  )

  function eventsOf({ messageId, listener, number, requests, result, end }: Made): AuditEvent[] {
    const attemptMs = requests.reduce((sum, { durationMs }) => sum + durationMs, 0)
    const goesOn = result === 'reintento' && (end === 'told' || end === 'older')
    return requests.map(({ startedAt, durationMs }, i) => {
      const isLast = i === requests.length - 1
      const record = attempt(messageId, listener, {
        ...{ event: 'alta', number, request: i + 1, startedAt, durationMs },
        result: isLast ? result : 'reintento',
        nextAttemptAt: isLast && goesOn ? startedAt + 5_000 : null,
      })
      const then = isLast && end !== 'lost' ? state(messageId, listener, startedAt, { attempts: number }) : null
      return { ...attemptEvent(record, then), attemptMs: isLast && end !== 'older' ? attemptMs : null }
    })
  }

  /** The plainest way to count them: what is seen of each since then. */
  function ratesOf<Key>(made: readonly Made[], since: number, keysOf: (startedAt: number, listener: string) => Key[]) {
    const seen = new Map<Key, { attempt: Made; ms: number }[]>()
    for (const each of made) {
      const requests = each.requests.filter(({ startedAt }) => startedAt >= since)
      const ms = requests.reduce((sum, { durationMs }) => sum + durationMs, 0)
      for (const key of requests.length === 0 ? [] : keysOf(requests.at(-1)!.startedAt, each.listener))
        seen.set(key, [...(seen.get(key) ?? []), { attempt: each, ms }])
    }
    return [...seen].map(([key, attempts]): [Key, Rates] => {
      const count = (is: (attempt: Made) => boolean) => attempts.filter((each) => is(each.attempt)).length
      const durations = attempts.map(({ ms }) => ms).sort((a, b) => a - b)
      return [
        key,
        {
          enviados: attempts.length,
          exitosos: count(({ result }) => result === 'exito'),
          fallidos: count(({ result }) => result === 'fallo'),
          reintentos: count(({ number }) => number > 1),
          p95: durations[Math.ceil(0.95 * attempts.length) - 1]!,
        },
      ]
    })
  }

  test('are counted alike by minute, by listener and by hour: each once, with the time of all its requests', async () => {
    await fc.assert(
      fc.asyncProperty(
        anyAttempts,
        fc.integer({ min: -3 * MINUTE, max: 5 * MINUTE }),
        fc.integer({ min: 1, max: 60 }),
        async (made, after, size) => {
          await truncate()
          const events = made.flatMap(eventsOf)
          for (let from = 0; from < events.length; from += size) await backend.write(events.slice(from, from + size))
          const since = edge + after

          const minutes = ratesOf(made, since, (at) => [Math.floor(at / MINUTE) * MINUTE])
          expect(await read((session) => readRatesByMinute(session, new Date(since)))).toEqual(
            minutes.sort(([a], [b]) => a - b).map(([at, rates]) => ({ hora: new Date(at), ...rates })),
          )
          const listeners = ratesOf(made, since, (_, listener) => ['', listener])
          expect(await read((session) => readRecentRates(session, new Date(since)))).toEqual(
            listeners
              .sort(([a], [b]) => (a < b ? -1 : 1))
              .map(([name, rates]) => ({ listener: name || null, ...rates })),
          )
          const hours = ratesOf(made, 0, (at) => [Math.floor(at / HOUR) * HOUR])
          expect(await read((session) => readRatesByHour(session, { since: new Date(0) }))).toEqual(
            hours
              .sort(([a], [b]) => a - b)
              .map(([at, rates]) => ({
                hora: new Date(at),
                ...rates,
                p95: DURATION_BOUNDS.find((bound) => bound >= rates.p95!),
              })),
          )
        },
      ),
      { numRuns: 30 },
    )
  })
})

describe('an upgrade', () => {
  const older = auditConfig()
  afterEach(() => withSql(older, (own) => own.unsafe(`DROP SCHEMA IF EXISTS "${older.schema}" CASCADE`)))

  test('counts what was there, and what workers of both versions write meanwhile, once', async () => {
    const DAY = 24 * HOUR
    const at = (days: number) => Date.now() - days * DAY
    const writer = createPostgresBackend(older, SCOPE)
    await withSql(older, async (own) => {
      const scripts = [8, migrations().length].map((n) => migrationScript(older.schema, {}, migrations().slice(0, n)))
      const completed = scripts[1]!.replace(/SELECT [^;]*\.completar_(resumen|indices)\(\);/g, '')
      await own.unsafe(scripts[0]!)
      // Everything before the table is there, in the way of then; a page's end is within the attempts of one message.
      for (const [n, days] of [0, 0.5, 1, 1.5, 3, 70].entries()) await writer.write(story(`antes${n}`, at(days)))
      await own.unsafe(completed)
      expect(await own`SELECT count(*)::int AS n FROM resumen_hora`).toEqual([{ n: 0 }])

      let n = 0
      const both = async () => {
        for (const days of [0, 2, 40]) {
          await writer.write(story(`nuevo${n}`, at(days)))
          await own.begin((tx) => asBefore(tx as unknown as Sql, `viejo${n}`, at(days)))
          n++
        }
      }
      await both()
      for (let pages = 0, more = true; more; pages++) {
        const [row] = await own<{ last: Date | null }[]>`SELECT completar_resumen('1 day') AS last`
        more = row!.last !== null
        if (pages < 4) await both()
      }
      await both()
      const { kept, told } = await bothCounts(own)
      expect(kept).toEqual(told)
      expect(kept.reduce((sum, { enviados }) => sum + enviados, 0)).toBe(6 * 4 + n * 2 * 4)
      expect(await own`SELECT completar_resumen() AS last`).toEqual([{ last: null }])
    })
    await writer.close()
    await migrate(older)
  })

  /** As the version before writes: nothing is counted by it. The challenge and the answer in one command, or in two. */
  async function asBefore(tx: Sql, id: string, at: number) {
    const { instancia, proyecto } = SCOPE
    await tx`INSERT INTO mensaje (id, instancia, proyecto, evento, cabeceras, creado, recibido)
             VALUES (${id}, ${instancia}, ${proyecto}, 'viejo', '{}', ${new Date(at)}, ${new Date(at)})`
    for (const listener of ['a', 'b']) {
      await tx`INSERT INTO entrega (mensaje_id, listener, instancia, proyecto, estado, intentos, creado, actualizado, version)
               VALUES (${id}, ${listener}, ${instancia}, ${proyecto}, 'exitosa', 2, ${new Date(at)}, ${new Date(at)}, 1)`
      const row = (numero: number, pedido: number, resultado: string, duracion_ms: number) => ({
        ...{ id: `${id}${listener}${numero}${pedido}`, mensaje_id: id, listener, instancia, proyecto, numero, pedido },
        ...{ inicio: new Date(at + numero * 10 + pedido), duracion_ms, metodo: 'POST', url: 'http://x/' },
        ...{ pedido_cabeceras: '{}', resultado, worker: 'w' },
      })
      const rows = [row(1, 1, 'fallo', 12), row(2, 1, 'reintento', 30), row(2, 2, 'exito', 80)]
      if (listener === 'a') await tx`INSERT INTO intento ${tx(rows)}`
      else for (const one of rows) await tx`INSERT INTO intento ${tx([one])}`
      await tx`INSERT INTO intento ${tx(rows)} ON CONFLICT DO NOTHING`
    }
    // A row that stood for an outcome, and goes.
    const lost = {
      ...{ id: `${id}~`, mensaje_id: id, listener: 'a', instancia, proyecto, numero: 2, pedido: 1, worker: '' },
    }
    await tx`INSERT INTO intento ${tx({ ...lost, inicio: new Date(at), duracion_ms: 9, metodo: '', url: '', pedido_cabeceras: '{}', error: 'sin_resultado', resultado: 'reintento' })}`
    await tx`DELETE FROM intento WHERE id = ${lost.id}`
  }
})
