/** The audit thread itself: connections of its own to Redis and Postgres, the writer's loop, the partitions. */
import { hostname } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import { createPostgresBackend } from '../audit/postgres.ts'
import type { ResthooksError } from '../errors.ts'
import { Secrets } from '../model/secrets.ts'
import { AuditReader } from '../queue/audit-reader.ts'
import { Queue } from '../queue/queue.ts'
import { connectForever, isRedisOutage, redisTrouble } from '../queue/redis.ts'
import type { FromThread, ThreadData, ToThread } from './audit-thread.ts'
import { AuditWriter } from './audit-writer.ts'
import { untilReady } from './first-contact.ts'
import { createLog } from './log.ts'
import { Outage } from './outage.ts'
import { within } from './timing.ts'

/** Partitions are made months ahead: a look now and then is enough, and soon again after a failure. */
const PARTITIONS_EVERY_MS = 6 * 3_600_000
const PARTITIONS_RETRY_MS = 60_000

const { instancia, proyecto, redis, audit, worker, secrets } = workerData as ThreadData
const log = createLog(
  { host: hostname(), pid: process.pid, proyecto: `${instancia}:${proyecto}` },
  new Secrets(secrets),
)
const queue = new Queue(
  connectForever(redis, () => {}, 'auditoria'),
  instancia,
  proyecto,
)
const backend = createPostgresBackend(audit, { instancia, proyecto })
const writer = new AuditWriter(new AuditReader(queue, worker), backend, {
  log,
  redis,
  // The deliveries' own connection may do well while this one does not.
  redisOutage: new Outage(log, 'Redis (para la auditoría)'),
  asleep: () => tell({ kind: 'asleep' }),
  away: (away) => tell({ kind: 'backend', away }),
})

function tell(message: FromThread): void {
  parentPort?.postMessage(message)
}

async function keepPartitions(): Promise<void> {
  const next = await backend.ensurePartitions().then(
    () => PARTITIONS_EVERY_MS,
    // The writer reports that Postgres is away; a row without a partition goes to the default one.
    () => PARTITIONS_RETRY_MS,
  )
  setTimeout(keepPartitions, next).unref()
}

async function finish(patience: number): Promise<void> {
  writer.stop()
  await within(patience, running)
  let failure: ResthooksError | null = null
  try {
    await writer.drain(patience)
  } catch (error) {
    failure = isRedisOutage(error) ? redisTrouble(error, redis) : (error as ResthooksError)
  }
  await backend.close().catch(() => {})
  queue.redis.disconnect()
  tell({ kind: 'finished', failure: failure && { message: failure.message, code: failure.code } })
}

parentPort?.on('message', (message: ToThread) => {
  switch (message.kind) {
    case 'ring':
      return writer.bell.ring()
    case 'inherited':
      return writer.inherited()
    case 'finish':
      return void finish(message.patience)
  }
})
void keepPartitions()
const running = untilReady(queue.redis).then(() => writer.run())
