import { expect, test } from 'vitest'
import type { AuditBackend } from '../../src/audit/backend.ts'
import type { AuditEvent } from '../../src/audit/event.ts'
import { Unavailable } from '../../src/errors.ts'
import { Secrets } from '../../src/model/secrets.ts'
import type { AuditEntry, AuditReader } from '../../src/queue/audit-stream.ts'
import { AuditWriter, type AuditWriterOptions } from '../../src/worker/audit-writer.ts'
import { createLog } from '../../src/worker/log.ts'
import { Outage } from '../../src/worker/outage.ts'

const log = createLog({}, new Secrets())
log.level = 'silent'
const options = { log, outage: new Outage(log, 'Postgres'), tell: () => {} } as unknown as AuditWriterOptions
const entryOf = (size: number): AuditEntry => ({
  streamId: '1-1',
  event: { type: 'state' } as AuditEvent,
  fields: [],
  why: '',
  size,
})

test('what is read for the first time at the end, and refused, is not taken for written', async () => {
  let free = true
  const reader = {
    take: async () => {
      if (!free) return null
      free = false
      return { entries: [entryOf(1)], last: '1-1', inherited: false }
    },
    giveBack: async () => {
      free = true
    },
  } as unknown as AuditReader
  const backend = { write: async () => Promise.reject(new Unavailable('Postgres')) } as unknown as AuditBackend
  await expect(new AuditWriter([reader], backend, options).drain(300)).rejects.toThrow('Postgres')
})

test('less than a batch waits for company, and whoever has more to read goes on at once', async () => {
  const taken: number[] = []
  const reader = {
    hasMore: false,
    take: async () => {
      taken.push(performance.now())
      if (taken.length === 4) writer.stop()
      reader.hasMore = taken.length === 1
      return { entries: [entryOf(1)], last: '1-1', inherited: false }
    },
    acknowledge: async () => {},
  }
  const backend = { write: async () => {} } as unknown as AuditBackend
  const writer = new AuditWriter([reader as unknown as AuditReader], backend, options)
  await writer.run()
  const waits = taken.slice(1).map((at, index) => at - taken[index]!)
  expect(waits[0]).toBeLessThan(50)
  expect(Math.min(...waits.slice(1))).toBeGreaterThan(90)
})
