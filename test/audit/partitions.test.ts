/** Monthly partitions: made ahead, made late, made by many at once; no row is ever refused or lost. */
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest'
import type { AuditBackend } from '../../src/audit/backend.ts'
import { migrate } from '../../src/audit/migrate.ts'
import { createPostgresBackend } from '../../src/audit/postgres.ts'
import type { AuditConfig } from '../../src/config/config.ts'
import { attempt, attemptEvent, auditConfig, connect, message, messageEvent, SCOPE, type Sql } from './scenery.ts'

let config: AuditConfig
let sql: Sql
let backend: AuditBackend
const made: string[] = []

beforeEach(async () => {
  config = auditConfig()
  made.push(config.schema)
  await migrate(config)
  sql = connect(config)
  backend = createPostgresBackend(config, SCOPE)
})
afterEach(async () => {
  await backend.close()
  await sql.end({ timeout: 1 })
})
afterAll(async () => {
  const last = connect(config)
  for (const schema of made) await last.unsafe(`DROP SCHEMA ${schema} CASCADE`)
  await last.end({ timeout: 1 })
})

/** Rows by partition, empty ones left out. */
async function where(table: 'mensaje' | 'intento') {
  const rows = await sql.unsafe(
    `SELECT tableoid::regclass::text AS part, count(*)::int AS n FROM ${table} GROUP BY 1 ORDER BY 1`,
  )
  return Object.fromEntries(rows.map(({ part, n }) => [part, n]))
}

function both(at: number) {
  const sent = message()
  return [
    messageEvent(sent, ['a'], { at, receivedAt: at }),
    attemptEvent(attempt(sent.id, 'a', { startedAt: at }), null),
  ]
}

const month = (offset: number) => {
  const now = new Date()
  return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + offset, 1))
}
const nameOf = (table: string, offset: number) =>
  `${table}_${month(offset).toISOString().slice(0, 7).replace('-', '_')}`

test('a row of any time finds a place: its month, or the rest', async () => {
  const edge = month(1).getTime()
  await backend.write([
    ...both(Date.now()),
    ...both(edge - 1),
    ...both(edge),
    ...both(Date.parse('1999-05-01')),
    ...both(4e12),
  ])
  for (const table of ['mensaje', 'intento'] as const) {
    expect(await where(table)).toEqual({ [nameOf(table, 0)]: 2, [nameOf(table, 1)]: 1, [`${table}_otros`]: 2 })
  }
})

test('a month made late takes its rows out of the rest, and leaves the others there', async () => {
  await sql.unsafe(`DROP TABLE ${nameOf('mensaje', 1)}, ${nameOf('intento', 1)}`)
  const [start, end] = [month(1).getTime(), month(2).getTime()]
  await backend.write([...both(start), ...both(end - 1), ...both(Date.parse('1999-05-01'))])
  expect(await where('intento')).toEqual({ intento_otros: 3 })
  const before = [...(await sql`SELECT * FROM intento ORDER BY id`)]

  await backend.ensurePartitions()
  for (const table of ['mensaje', 'intento'] as const) {
    expect(await where(table)).toEqual({ [nameOf(table, 1)]: 2, [`${table}_otros`]: 1 })
  }
  expect([...(await sql`SELECT * FROM intento ORDER BY id`)]).toEqual(before)
})

test('many make them at once while others write, and every row is there once', async () => {
  for (let round = 0; round < 3; round++) {
    await sql.unsafe(`DROP TABLE ${nameOf('mensaje', 0)}, ${nameOf('intento', 0)}`)
    const makers = Array.from({ length: 4 }, () => createPostgresBackend(config, SCOPE))
    const writers = Array.from({ length: 3 }, () => createPostgresBackend(config, SCOPE))
    const events = writers.map(() => Array.from({ length: 10 }, () => both(Date.now())))
    await Promise.all([
      ...writers.map(async (writer, index) => {
        for (const batch of events[index]!) await writer.write(batch)
      }),
      ...makers.map((maker) => maker.ensurePartitions()),
    ])
    await Promise.all([...makers, ...writers].map((each) => each.close()))
    expect(await where('mensaje')).toEqual({ [nameOf('mensaje', 0)]: 30 })
    expect(await where('intento')).toEqual({ [nameOf('intento', 0)]: 30 })
  }
})

test('a row written again after its month was made is still the same row', async () => {
  await sql.unsafe(`DROP TABLE ${nameOf('mensaje', 0)}, ${nameOf('intento', 0)}`)
  const events = both(Date.now())
  await backend.write(events)
  await backend.ensurePartitions()
  await backend.write(events)
  expect(await where('mensaje')).toEqual({ [nameOf('mensaje', 0)]: 1 })
  expect(await where('intento')).toEqual({ [nameOf('intento', 0)]: 1 })
})

test('nothing is locked when nothing is missing: it works beside a transaction that holds the rest', async () => {
  const other = connect(config)
  await other.unsafe('BEGIN; LOCK TABLE mensaje_otros, intento_otros IN ACCESS EXCLUSIVE MODE')
  await backend.ensurePartitions()
  await other.unsafe('ROLLBACK')
  await other.end({ timeout: 1 })
})
