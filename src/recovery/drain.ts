/**
 * Brings the audit up to date with the queue before anything is decided from it.
 *
 * What ended in Redis may still be on its way to Postgres, where it looks unfinished. Everything up to the newest event of
 * this moment is written here, whether workers write it too or not (writing twice changes nothing), so it ends also where
 * no worker runs.
 */
import type { AuditBackend } from '../audit/backend.ts'
import type { AuditEvent } from '../audit/event.ts'
import { AuditReader } from '../queue/audit-reader.ts'
import type { Queue } from '../queue/queue.ts'

const BATCH = 200

/**
 * @returns how many events were written
 * @throws Unavailable or ConfigError when Postgres does not take them
 */
export async function drainAudit(queue: Queue, backend: AuditBackend): Promise<number> {
  const reader = new AuditReader(queue, 'mantenimiento')
  const last = await reader.newest()
  let written = 0
  for (let from = '-'; last !== null; ) {
    const entries = await reader.range(from, last, BATCH)
    if (entries.length === 0) break
    // What is not an event of ours is the workers' to report.
    const ours = entries.filter(({ event }) => event !== null)
    await backend.write(ours.map(({ event }) => event as AuditEvent))
    await reader.acknowledge(ours)
    written += ours.length
    from = `(${entries.at(-1)!.streamId}`
  }
  return written
}
