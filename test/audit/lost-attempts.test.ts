import { afterEach, beforeEach, expect, test } from 'vitest'
import type { AuditBackend } from '../../src/audit/backend.ts'
import type { AttemptEvent } from '../../src/audit/event.ts'
import { migrate } from '../../src/audit/migrate.ts'
import { createPostgresBackend } from '../../src/audit/postgres.ts'
import { attempt, attemptEvent, auditConfig, connect, SCOPE, type Sql } from './scenery.ts'

const config = auditConfig()
let sql: Sql
let backends: AuditBackend[]

beforeEach(async () => {
  await migrate(config)
  sql = connect(config)
  backends = [createPostgresBackend(config, SCOPE), createPostgresBackend(config, SCOPE)]
})
afterEach(async () => {
  await Promise.all(backends.map((backend) => backend.close()))
  await sql.unsafe(`DROP SCHEMA "${config.schema}" CASCADE`)
  await sql.end({ timeout: 1 })
})

/** The row that stands for an attempt, and the outcome that came after all. */
function pair(id: string): [AttemptEvent, AttemptEvent] {
  const standing = attempt(id, 'a', { id: `${id}~a~1`, error: 'sin_resultado', worker: '' })
  return [attemptEvent(standing, null), { ...attemptEvent(attempt(id, 'a'), null), replaces: standing.id }]
}

const rows = () => sql`SELECT mensaje_id, error FROM intento ORDER BY mensaje_id`

test.each(['first', 'second', 'together', 'together, turned'])(
  'one row is left: the outcome comes %s',
  async (when) => {
    const [backend] = backends as [AuditBackend]
    const [standing, told] = pair('m')
    const batches: Record<string, AttemptEvent[][]> = {
      first: [[told], [standing]],
      second: [[standing], [told]],
      together: [[standing, told]],
      'together, turned': [[told, standing]],
    }
    for (const batch of batches[when]!) await backend.write(batch)
    expect(await rows()).toMatchObject([{ mensaje_id: 'm', error: null }])
    // Read again after a failure.
    await backend.write([standing])
    expect(await rows()).toMatchObject([{ mensaje_id: 'm', error: null }])
  },
)

test('one row is left when two writers have one half each, at the same time', async () => {
  const [one, other] = backends as [AuditBackend, AuditBackend]
  for (let i = 0; i < 40; i++) {
    const [standing, told] = pair(`m${i}`)
    await Promise.all([one.write([standing]), other.write([told])])
  }
  const found = await rows()
  expect(found.map(({ error }) => error)).toEqual(Array.from({ length: 40 }, () => null))
})

test('an attempt whose outcome never comes keeps its row', async () => {
  const [standing] = pair('m')
  await backends[0]!.write([standing])
  expect(await rows()).toMatchObject([{ mensaje_id: 'm', error: 'sin_resultado' }])
})
