/** What the audit says is still owed, and what it tells of deliveries that are to be put back. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { AuditBackend } from '../../src/audit/backend.ts'
import { createPostgresBackend } from '../../src/audit/postgres.ts'
import { type AuditQueries, type Owed, openAuditQueries, type Wanted } from '../../src/audit/queries.ts'
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
} from './scenery.ts'

const { config, truncate } = sharedSchema()
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

async function owed(wanted: Wanted = () => true): Promise<Owed[]> {
  const found: Owed[] = []
  for await (const each of reader.owed(wanted)) found.push(each)
  return found
}

test('every message with a waiting delivery, whole and with all its deliveries, and every one whose delay runs', async () => {
  const waiting = message({
    body: Buffer.from([0, 255]),
    key: 'k',
    onlyListener: 'a',
    depth: 1,
    notBefore: new Date(NOON),
  })
  const delayed = message({ id: 'demorado' })
  const without = message({ id: 'sin-cuerpo' })
  await backend.write([
    messageEvent(waiting, ['a', 'b', 'c'], { at: NOON + 1 }),
    stateEvent(state(waiting.id, 'b', 3, { state: 'exitosa' })),
    messageEvent(without, ['a'], { at: NOON + 2, keepBody: false }),
    messageEvent(delayed, null),
    stateEvent(state('sin-fila', 'a', 1, { state: 'pendiente' }), NOON + 3),
    messageEvent(message({ id: 'listo' }), ['a']),
    stateEvent(state('listo', 'a', 1, { state: 'exitosa' })),
  ])
  expect(await owed()).toMatchObject([
    {
      kind: 'deliveries',
      id: waiting.id,
      message: { message: waiting, receivedAt: NOON, bodyKept: true },
      deliveries: [
        { listener: 'a', state: 'pendiente' },
        { listener: 'b', state: 'exitosa' },
        { listener: 'c', state: 'pendiente' },
      ],
    },
    { id: 'sin-cuerpo', message: { bodyKept: false }, deliveries: [{ listener: 'a' }] },
    { id: 'sin-fila', message: null, deliveries: [{ listener: 'a', version: 1 }] },
    { kind: 'delayed', id: 'demorado', message: { message: delayed } },
  ])
  const asked: [string, string | null][] = []
  const some = await owed((id, listener) => {
    asked.push([id, listener])
    return id === 'demorado' || listener === 'c'
  })
  expect(some.map(({ id }) => id)).toEqual([waiting.id, 'demorado'])
  expect(asked).toHaveLength(5)
})

test('many pages come whole, each message once a state, and bodies larger than a part one by one', async () => {
  const events = Array.from({ length: 2_250 }, (_, n) => messageEvent(message(), n % 9 ? ['a', 'b'] : null))
  const large = message({ id: 'grande', body: Buffer.alloc(9 * 1024 * 1024, 'x') })
  await backend.write([...events, messageEvent(large, ['a'], { at: NOON - 1 })])
  const found = await owed()
  const ids = found.map(({ id }) => id)
  expect(new Set(ids).size).toBe(2_251)
  expect(found[0]).toMatchObject({ id: 'grande' })
  expect(found[0]!.message?.message.body.length).toBe(large.body.length)
})

test('what attempts say beyond the delivery: the last number, what counts since it last ended, a lost success', async () => {
  await backend.write([
    messageEvent(message({ id: 'm' }), ['a', 'b', 'c', 'd']),
    // Failed for good at 2, sent again, tried twice since.
    attemptEvent(attempt('m', 'a', { number: 1, result: 'reintento' }), null),
    attemptEvent(attempt('m', 'a', { number: 2, result: 'fallo' }), null),
    attemptEvent(attempt('m', 'a', { number: 3, result: 'reintento' }), null),
    attemptEvent(
      attempt('m', 'a', { number: 4, result: 'reintento' }),
      state('m', 'a', 5, { state: 'reintentando', attempts: 4 }),
    ),
    // Accepted, and the outcome never reached the delivery.
    attemptEvent(attempt('m', 'b', { number: 1, result: 'exito' }), null),
    // Accepted long ago, sent again since: the old success does not count.
    attemptEvent(attempt('m', 'c', { number: 1, result: 'exito' }), null),
    stateEvent(state('m', 'c', 2, { state: 'pendiente', attempts: 1 })),
    // Redis forgot its first attempt and made it again, and its outcome was of an older version than what is known.
    attemptEvent(
      attempt('m', 'd', { number: 1, result: 'reintento' }),
      state('m', 'd', 9, { state: 'reintentando', attempts: 1 }),
    ),
    attemptEvent(attempt('m', 'd', { number: 1, result: 'exito' }), state('m', 'd', 1)),
    // The same id again: what was accepted before it came is another round.
    messageEvent(message({ id: 'n' }), ['a']),
    attemptEvent(attempt('n', 'a', { number: 1, result: 'exito' }), state('n', 'a', NOON + 600, { attempts: 1 })),
    messageEvent(message({ id: 'n', body: Buffer.from('{"id":8}') }), ['a', 'b'], {
      at: NOON + 9_000,
      receivedAt: NOON + 9_000,
    }),
    attemptEvent(attempt('n', 'b', { number: 1, startedAt: NOON + 9_001 }), null),
    // Redis forgot that it was dispatched, and accepted.
    messageEvent(message({ id: 'o' }), ['a']),
    attemptEvent(attempt('o', 'a', { number: 1, result: 'exito' }), state('o', 'a', NOON + 600, { attempts: 1 })),
    messageEvent(message({ id: 'o' }), ['a'], { at: NOON + 9_000, receivedAt: NOON + 9_000 }),
  ])
  expect(await reader.storedDeliveries(['m', 'n', 'o', 'nadie'])).toMatchObject([
    { listener: 'a', attempts: 4, lastNumber: 4, made: 2, accepted: false, version: 5 },
    { listener: 'b', attempts: 0, lastNumber: 1, made: 0, accepted: true },
    { listener: 'c', attempts: 1, lastNumber: 1, made: 0, accepted: false },
    { listener: 'd', state: 'reintentando', lastNumber: 1, accepted: true },
    { messageId: 'n', listener: 'a', state: 'pendiente', attempts: 0, lastNumber: 0, accepted: false },
    { messageId: 'o', listener: 'a', state: 'pendiente', attempts: 0, accepted: true },
    { messageId: 'n', listener: 'b', lastNumber: 1, accepted: true },
  ])
})

test('messages that a listener never got, between two dates', async () => {
  const at = (minutes: number) => ({ at: NOON + minutes * 60_000, receivedAt: NOON + minutes * 60_000 })
  await backend.write([
    messageEvent(message({ id: 'uno', event: 'a' }), ['x'], at(0)),
    messageEvent(message({ id: 'dos', event: 'b' }), [], at(1)),
    messageEvent(message({ id: 'tres' }), ['x', 'y'], at(2)),
    messageEvent(message({ id: 'demorado' }), null, at(3)),
    messageEvent(message({ id: 'ajeno', onlyListener: 'x' }), ['x'], at(4)),
    messageEvent(message({ id: 'seis', event: 'c', onlyListener: 'y' }), [], at(5)),
  ])
  const missed = async (filters: object = {}) => {
    const found: string[] = []
    for await (const { id } of reader.missed({ listener: 'y', ...filters })) found.push(id)
    return found
  }
  expect(await missed()).toEqual(['uno', 'dos', 'seis'])
  expect(await missed({ since: new Date(NOON + 60_000), until: new Date(NOON + 300_000) })).toEqual(['dos'])
  expect(await missed({ messageId: 'seis' })).toEqual(['seis'])
})

test('deliveries whose newest state the database refused', async () => {
  await backend.write([
    messageEvent(message({ id: 'm' }), ['a']),
    attemptEvent(attempt('m', 'a', { number: 3e9 }), state('m', 'a', 1)),
    stateEvent(state('n', 'b', 1, { attempts: 3e9 })),
    attemptEvent(attempt('o', 'c', { number: 3e9 }), null),
  ])
  const refused = await reader.rejectedDeliveries()
  expect(refused.toSorted((a, b) => (a.messageId < b.messageId ? -1 : 1))).toEqual([
    { messageId: 'm', listener: 'a' },
    { messageId: 'n', listener: 'b' },
  ])
})
