/**
 * graphile-worker with undici and a batched audit, set as its page on performance says: a local queue that fetches many
 * jobs at once, and completions in batches.
 */
import { Logger, run } from 'graphile-worker'
import { configuration, serve } from '../program.ts'
import { createDelivery, type Database, type Job, openPeerAudit } from './delivery.ts'

export interface GraphileConfiguration {
  readonly database: Database
  readonly jobSchema: string
  readonly auditSchema: string
  readonly concurrency: number
  readonly timeout: number
}

const { database, jobSchema, auditSchema, concurrency, timeout } = configuration<GraphileConfiguration>()
const deliver = createDelivery(concurrency, timeout, openPeerAudit(database, auditSchema, 'batched'))
const { host, port, username, password, database: name } = database

await run({
  noHandleSignals: true,
  taskList: { entrega: (payload) => deliver(payload as Job) },
  preset: {
    worker: {
      connectionString: `postgres://${username}:${password}@${host}:${port}/${name}`,
      schema: jobSchema,
      concurrentJobs: concurrency,
      maxPoolSize: 12,
      localQueue: { size: 500 },
      completeJobBatchDelay: 0,
      failJobBatchDelay: 0,
      logger: new Logger(() => () => {}),
    },
  },
})
serve({})
