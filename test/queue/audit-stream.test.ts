/** Whatever was ever written into the audit stream is read, and what is not understood is kept whole. */
import { afterAll, beforeEach, describe, expect, inject } from 'vitest'
import { createPostgresBackend } from '../../src/audit/postgres.ts'
import type { RedisConfig } from '../../src/config/config.ts'
import { Secrets } from '../../src/model/secrets.ts'
import { writeAttempt } from '../../src/queue/audit-format.ts'
import { AuditReader, auditReaders, entryOf } from '../../src/queue/audit-stream.ts'
import { QueueAdmin, takeMaintenanceLock } from '../../src/queue/maintenance.ts'
import type { Queue } from '../../src/queue/queue.ts'
import { AuditWriter } from '../../src/worker/audit-writer.ts'
import { createLog } from '../../src/worker/log.ts'
import { Outage } from '../../src/worker/outage.ts'
import { NOON, SCOPE, sharedSchema } from '../audit/scenery.ts'
import { test } from './scene.ts'

const { config, sql, truncate } = sharedSchema()
const backend = createPostgresBackend(config, SCOPE)
afterAll(() => backend.close())
beforeEach(truncate)

const lines: string[] = []
const log = createLog({}, new Secrets(), 'info', { isTTY: true, write: (line: string) => lines.push(line) } as never)

function writerOf(queue: Queue, to = backend): AuditWriter {
  const redis = inject('redis') as unknown as RedisConfig
  const outage = new Outage(log, 'Postgres')
  const scene = {
    log,
    redis: () => redis,
    redisOutage: new Outage(log, 'Redis'),
    outage,
    tell: () => {},
  }
  return new AuditWriter(auditReaders(queue, 'w'), to, scene)
}

const envelope = '{"id":"m1","evento":"pedido.alta","creado":"2026-11-15T11:00:00.000Z","largo":7,"datos":{"n":1}}'
const attempt = {
  ...{ id: 'i1', messageId: 'm1', listener: 'a', number: 1, request: 1, startedAt: NOON + 5, durationMs: 4.2 },
  ...{ phases: { dns: 1 }, method: 'POST', url: 'http://a/', ip: null, requestHeaders: { 'X-A': 'b' }, status: 503 },
  ...{ responseHeaders: { h: 'v' }, responseTruncated: false, error: 'respuesta', errorDetail: null },
  ...{ result: 'reintento', worker: 'w1', body: 'ñ' },
}
const late = { ...attempt, id: 'i2', number: 2, result: 'exito', status: 200, body: undefined, body64: '/w==' }
const called = {
  ...{ id: 'm1~a~3', messageId: 'm1', listener: 'a', type: 'on_failure', target: 'exec:/x', attempt: 1 },
  ...{ result: 'exito', detail: null },
}
/** Type, time, JSON, what was decided, envelope: one message from its dispatch to its end. */
const STORY: readonly Told[] = [
  ['m', NOON, { i: 'm1', l: ['a', 'b'], k: 1, r: NOON }, '', envelope],
  ['a', NOON + 10, attempt, `reintentando|1|1|${NOON + 60_000}|HTTP 503`],
  ['a', NOON + 20, late, '-m1~a~2'],
  ['s', NOON + 30, { m: 'm1', l: 'a' }, 'fallida|2|2||se|acabó'],
  ['c', NOON + 40, called, ''],
]

type Told = readonly [kind: string, at: number, json: object, decided: string, envelope?: string]

const numbered = ([kind, at, json, decided, body]: Told, v: number | null) => [
  ...[kind, `${at} ${JSON.stringify(v === null ? json : { v, ...json })}\n${decided}`],
  ...(body ? ['e', body] : []),
]
/** Every form that a released version wrote. */
const FORMATS: Record<string, (told: Told) => string[]> = {
  'one field, without a number': (told) => numbered(told, null),
  'one field, format 2': (told) => numbered(told, 2),
  'an attempt as an array, format 3': (told) => {
    if (told[0] !== 'a') return numbered(told, 2)
    const [kind, at, json, decided] = told
    return [kind, `${at} ${arrayOf(json as typeof attempt)}\n${decided}`]
  },
}

/** The array of an attempt, and the lines after it. */
function arrayOf(json: typeof attempt & { body64?: string }, format: unknown = 3): string {
  const { id, messageId, listener, number, request, startedAt, durationMs, method, url, ip } = json
  const told = [
    ...[format, id, messageId, 'pedido.alta', listener, number, request, startedAt, durationMs, method, url, ip],
    ...[json.status, json.body ?? [json.body64], json.responseTruncated ? 1 : 0, json.error, json.errorDetail],
    ...[json.result, json.worker, 4],
  ]
  return [told, json.phases, json.requestHeaders, json.responseHeaders].map((part) => JSON.stringify(part)).join('\n')
}

async function tables() {
  return {
    mensaje: await sql`SELECT id, evento, listeners, cuerpo, recibido FROM mensaje`,
    entrega: await sql`SELECT listener, estado, version, intentos, proximo_intento, motivo FROM entrega ORDER BY 1`,
    intento: await sql`SELECT id, numero, http_estado, respuesta_cuerpo, resultado, error FROM intento ORDER BY 1`,
    callback: await sql`SELECT id, tipo, resultado FROM callback`,
    aside: await sql`SELECT * FROM auditoria_rechazada`,
  }
}

describe.each(Object.keys(FORMATS))('entries of the format "%s"', (format) => {
  test('are written as they were meant', async ({ queue }) => {
    // As two versions at once write them: into the stream of each.
    const streams = [queue.keys.auditBefore, queue.keys.audit]
    for (const [i, told] of STORY.entries()) await queue.redis.xadd(streams[i % 2]!, '*', ...FORMATS[format]!(told))
    await writerOf(queue).drain(0)
    expect(await Promise.all(streams.map((stream) => queue.redis.xlen(stream)))).toEqual([0, 0])
    expect(await tables()).toMatchObject({
      mensaje: [{ id: 'm1', evento: 'pedido.alta', listeners: 2, cuerpo: Buffer.from('{"n":1}') }],
      entrega: [
        { listener: 'a', estado: 'fallida', version: '2', intentos: 2, motivo: 'se|acabó' },
        { listener: 'b', estado: 'pendiente', version: '0' },
      ],
      intento: [
        { id: 'i1', numero: 1, http_estado: 503, respuesta_cuerpo: Buffer.from('ñ'), error: 'respuesta' },
        { id: 'i2', numero: 2, http_estado: 200, respuesta_cuerpo: Buffer.from([0xff]), resultado: 'exito' },
      ],
      callback: [{ id: 'm1~a~3', tipo: 'on_failure', resultado: 'exito' }],
      aside: [],
    })
  })
})

const good = numbered(STORY[3]!, 2)
/** What another version, or anybody, may have put there. */
const STRANGE: Record<string, (string | Buffer)[]> = {
  'a later number': numbered(STORY[3]!, 3),
  'an array of a later number': ['a', `${NOON} ${arrayOf(attempt, 4)}\n`],
  'an array that is no attempt': ['s', `${NOON} ${arrayOf(attempt)}\nfallida|1|1||`],
  'an array without its lines': ['a', `${NOON} ${arrayOf(attempt).split('\n')[0]}\nfallida|1|1||`],
  'an array that is too short': ['a', `${NOON} [3,"i1","m1"]\n`],
  'a number that is none': ['s', good[1]!.replace('"v":2', '"v":"x"')],
  'a field of a later version': ['x', good[1]!],
  'fields of somebody else': ['usuario', 'ana', 'bytes', Buffer.from([0xff, 0])],
  'a message whose envelope is of a later version': [...numbered(STORY[0]!, 2).slice(0, 3), '{"v":2,"evento":"x"}'],
  'no JSON': ['s', `${NOON} {"m"\nfallida|1|1||`],
  'a member of another type': numbered(['a', NOON, { ...attempt, listener: 5 }, ''], 2),
  'a status that is text': numbered(['a', NOON, { ...attempt, status: 'ok' }, ''], 2),
  'listeners that are no list': numbered(['m', NOON, { i: 'm', l: 'a', r: 1 }, '', envelope], 2),
  'a state without its version': ['s', good[1]!.replace('|2|2|', '||2|')],
}

test('what this version does not understand is kept whole, in order beside the rest, and told', async ({ queue }) => {
  const ids: string[] = []
  for (const fields of Object.values(STRANGE)) ids.push((await queue.redis.xadd(queue.keys.audit, '*', ...fields))!)
  await queue.redis.xadd(queue.keys.audit, '*', ...good)
  const away = { ...backend, setAside: () => Promise.reject(new Error('Postgres se fue')) }
  await expect(writerOf(queue, away).drain(0)).rejects.toThrow('se fue')
  expect(await queue.redis.xlen(queue.keys.audit)).toBe(ids.length + 1)

  await writerOf(queue).drain(0)
  // Read once more, as after a crash: nothing is there twice.
  for (const fields of [STRANGE['no JSON']!]) await queue.redis.xadd(queue.keys.audit, '*', ...fields)
  expect(await queue.redis.xlen(queue.keys.audit)).toBe(1)
  await writerOf(queue).drain(0)
  expect(await queue.redis.xlen(queue.keys.audit)).toBe(0)
  const { entrega, aside } = await tables()
  expect(entrega).toMatchObject([{ estado: 'fallida' }])
  const kept = new Map(aside.map((row) => [JSON.parse(row.evento_json).entrada, row]))
  expect(aside).toHaveLength(ids.length + 1)
  Object.entries(STRANGE).forEach(([what, fields], i) => {
    const campos = fields.map((field) => (Buffer.isBuffer(field) ? { base64: field.toString('base64') } : field))
    expect(JSON.parse(kept.get(ids[i]!)!.evento_json), what).toEqual({ entrada: ids[i], campos })
  })
  expect(kept.get(ids[0]!)!.motivo).toBe(
    'esta versión no entiende esta entrada del flujo de auditoría: formato 3: esta versión entiende hasta el 3',
  )
  expect(lines.filter((line) => line.includes('auditoria_rechazada'))).not.toEqual([])
})

test('what a person did is told twice, and which deliveries it touched', async ({ queue }) => {
  const lock = await takeMaintenanceLock(queue, 'descartar', 0, () => {})
  const admin = new QueueAdmin(queue, lock)
  const action = { id: 'A1', who: 'ana', host: 'servidor1', order: 'descartar m1', filter: 'm1', count: 0 }
  const item = { id: 'm1', listener: 'a', number: 1, version: 1, kind: 'ended' } as const
  await admin.began(action)
  await admin.discard([item], 'a mano')
  await writerOf(queue).drain(0)
  const kept = await sql`SELECT id, quien, equipo, orden, filtro, cantidad::int FROM accion`
  expect(kept).toEqual([
    { id: 'A1', quien: 'ana', equipo: 'servidor1', orden: 'descartar m1', filtro: 'm1', cantidad: 0 },
  ])
  await admin.counted(1)
  await lock.release()
  await writerOf(queue).drain(0)
  expect(await sql`SELECT cantidad::int FROM accion`).toEqual([{ cantidad: 1 }])
  expect(await sql`SELECT estado, accion FROM entrega`).toEqual([{ estado: 'descartada', accion: 'A1' }])
})

test('an attempt is told without what only concerned its connection, and to the millisecond', () => {
  const request = {
    ...{ id: 'i1', request: 2, startedAt: NOON, durationMs: 12.345, method: 'POST', url: 'http://a/', ip: '10.0.0.1' },
    ...{ phases: { dns: 0.6, primer_byte: 10.4, total: 12.345 }, requestHeaders: { 'X-A': 'b' }, status: 200 },
    responseHeaders: { Connection: 'keep-alive', 'keep-alive': 'timeout=5', server: 'x', 'set-cookie': ['a', 'b'] },
    ...{ responseBody: Buffer.from([0xff]), responseTruncated: true, error: null, errorDetail: null },
  }
  const context = {
    ...({ messageId: 'm1', event: 'e', listener: 'a', number: 3, result: 'exito', worker: 'w' } as const),
    ...{ attemptMs: 20.5, keepResponse: true, toRedisTime: 100 },
  } as const
  const { event } = entryOf('1-1', [Buffer.from('a'), Buffer.from(`${NOON} ${writeAttempt(request, context)}\n-x`)])
  expect(event).toEqual({
    ...{ type: 'attempt', at: NOON, state: null, replaces: 'x', attemptMs: 21 },
    attempt: {
      ...request,
      ...{ messageId: 'm1', event: 'e', listener: 'a', number: 3, result: 'exito', worker: 'w', nextAttemptAt: null },
      ...{ startedAt: NOON + 100, durationMs: 12, phases: '{"dns":1,"primer_byte":10}' },
      ...{ requestHeaders: '{"X-A":"b"}', responseHeaders: '{"server":"x","set-cookie":["a","b"]}' },
    },
  })
  const closed = { ...request, responseHeaders: { connection: 'close' } }
  expect(writeAttempt(closed, { ...context, keepResponse: false })).toMatch(/,200,null,1,.*\n{"connection":"close"}$/s)
})

describe('the reader of the audit', () => {
  test('reads no more large entries at once than a few megabytes of them', async ({ queue }) => {
    const sizes = [...Array(8).fill(1), ...Array(20).fill(1024 * 1024), ...Array(60).fill(1)]
    for (const size of sizes) await queue.redis.xadd(queue.keys.audit, '*', 's', 'x'.repeat(size))
    const reader = new AuditReader(queue, 'w')
    const batches: number[] = []
    for (let from = '-'; ; ) {
      const entries = await reader.range(from, '+')
      if (entries.length === 0) break
      batches.push(entries.length)
      from = `(${entries.at(-1)!.streamId}`
    }
    expect(batches.reduce((sum, count) => sum + count)).toBe(sizes.length)
    // What comes after small ones may be large: at most twice as many, and some. From then on their size is known.
    expect(batches.slice(0, 2)).toEqual([8, 32])
    expect(batches[2]).toBeLessThan(20)
  })
})
