/** A world whose audit is written by the test itself, without queue or workers. */

import type { AuditEvent } from '../../src/audit/event.ts'
import { createPostgresBackend } from '../../src/audit/postgres.ts'
import { auditConfig } from '../audit/scenery.ts'
import type { World } from '../support/world.ts'

/** Creates the schema where missing, and writes the events. */
export async function writeAudit(world: World, events: readonly AuditEvent[]): Promise<void> {
  await world.createSchema()
  const { instancia, proyecto, schema } = world
  const backend = createPostgresBackend(auditConfig({ schema }), { instancia, proyecto })
  try {
    await backend.write(events)
  } finally {
    await backend.close()
  }
}
