import { expect, test } from 'vitest'
import type { AuditBackend } from '../../src/audit/backend.ts'
import type { AuditEvent } from '../../src/audit/event.ts'
import { Secrets } from '../../src/model/secrets.ts'
import type { AuditEntry, AuditReader } from '../../src/queue/audit-reader.ts'
import { AuditWriter, type AuditWriterScene } from '../../src/worker/audit-writer.ts'
import { createLog } from '../../src/worker/log.ts'
import { Outage } from '../../src/worker/outage.ts'

test('a writer that starts before a gigabyte of large messages reads it in small parts', async () => {
  const size = 1024 * 1024
  let left = 1000
  const bytes: number[] = []
  const read = async (count: number) => {
    const n = Math.min(count, left)
    left -= n
    bytes.push(n * size)
    const event = { type: 'state' } as AuditEvent
    return Array.from({ length: n }, (): AuditEntry => ({ streamId: '1-1', event, fields: [], why: '', size }))
  }
  const reader = { pending: async () => [], fresh: read, acknowledge: async () => {} } as unknown as AuditReader
  const backend = { write: async () => {} } as unknown as AuditBackend
  const log = createLog({}, new Secrets())
  log.level = 'silent'
  const writer = new AuditWriter(reader, backend, {
    log,
    outage: new Outage(log, 'Postgres'),
  } as unknown as AuditWriterScene)
  await writer.drain(1000)
  expect(left).toBe(0)
  expect(Math.max(...bytes)).toBeLessThanOrEqual(64 * size)
})
