/** BullMQ with undici and an audit, as its guide for production recommends: one Worker, finished jobs removed. */
import { Worker } from 'bullmq'
import { configuration, serve } from '../program.ts'
import { type AuditMode, createDelivery, type Database, type Job, openPeerAudit } from './delivery.ts'

export interface BullmqWorkerConfiguration {
  readonly redis: { readonly host: string; readonly port: number }
  readonly queue: string
  readonly concurrency: number
  /** ms until a request is given up. */
  readonly timeout: number
  readonly audit: { readonly database: Database; readonly schema: string; readonly mode: AuditMode } | null
}

const { redis, queue, concurrency, timeout, audit } = configuration<BullmqWorkerConfiguration>()
const write = audit ? openPeerAudit(audit.database, audit.schema, audit.mode) : null
const deliver = createDelivery(concurrency, timeout, write)
const worker = new Worker<Job>(queue, ({ data }) => deliver(data), {
  connection: { ...redis, maxRetriesPerRequest: null },
  concurrency,
  autorun: false,
  removeOnComplete: { count: 0 },
})
worker.on('error', (error) => process.stderr.write(`${error.stack}\n`))
await worker.waitUntilReady()

let running: Promise<void> | null = null
serve({
  go: () => {
    if (running) worker.resume()
    else running = worker.run()
    return null
  },
  hold: async () => {
    await worker.pause()
    return null
  },
})
