/** The audit thread itself: connections of its own to Redis and Postgres, the writer's loop, the partitions. */
import { hostname } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import { createPostgresBackend } from '../audit/postgres.ts'
import { type ResthooksError, Unavailable } from '../errors.ts'
import { Secrets } from '../model/secrets.ts'
import { keepInHints } from '../model/typed.ts'
import { auditReaders } from '../queue/audit-stream.ts'
import { Queue } from '../queue/queue.ts'
import { connectForever, isRedisOutage, reconnectWith, redisTrouble } from '../queue/redis.ts'
import type { FromThread, ThreadData, ToThread } from './audit-thread.ts'
import { type AuditTaker, AuditWriter } from './audit-writer.ts'
import { untilReady } from './connections.ts'
import { createLog } from './log.ts'
import { Outage } from './outage.ts'
import { atMost } from './waiting.ts'

/** Partitions are made months ahead: a look now and then is enough, and soon again after a failure. */
const PARTITIONS_EVERY_MS = 6 * 3_600_000
const PARTITIONS_RETRY_MS = 60_000
/** What began in time may still end. */
const LAST_PASS_MS = 1_500

let inForce = workerData as ThreadData
const { instancia, proyecto, worker, level } = inForce
keepInHints(inForce.given)
const secrets = new Secrets(inForce.secrets)
const log = createLog({ host: hostname(), pid: process.pid, proyecto: `${instancia}:${proyecto}` }, secrets, level)
const queue = new Queue(connectForever(inForce.redis, 'auditoria'), instancia, proyecto)
let backend = createPostgresBackend(inForce.audit, { instancia, proyecto })
/** The writes under way: their backend is closed when they have ended. */
let writing: Promise<void> = Promise.resolve()
const outage = new Outage(log, 'Postgres')
/** What only making partitions needs. */
const partitionsOutage = new Outage(log, 'la creación de particiones de la auditoría')
function underWay(work: Promise<void>): Promise<void> {
  writing = work.catch(() => {})
  return work
}
const current: AuditTaker = {
  write: (events) => underWay(backend.write(events)),
  setAside: (entries) => underWay(backend.setAside(entries)),
}
const writer = new AuditWriter(auditReaders(queue, worker), current, {
  log,
  redis: () => inForce.redis,
  outage,
  // The deliveries' own connection may do well while this one does not.
  redisOutage: new Outage(log, 'Redis (para la auditoría)'),
  tell,
})

function tell(message: FromThread): void {
  parentPort?.postMessage(message)
}

/** What was said of a schema of before: once, not each time. */
let toldOlder: string | null = null

/** Also the first contact with Postgres: a wrong password or a missing schema is told at the start, not with the first row. */
async function keepPartitions(): Promise<void> {
  clearTimeout(partitionsTimer)
  let next = PARTITIONS_EVERY_MS
  try {
    await backend.ensurePartitions()
    partitionsOutage.worked()
    writer.worked()
    const older = await backend.olderSchema()
    if (older !== null && older !== toldOlder) log.warn(older)
    toldOlder = older
  } catch (error) {
    next = PARTITIONS_RETRY_MS
    // A row without a partition goes to the default one: where rows are written all the same, only this is the trouble.
    if (writer.wrote) partitionsOutage.failed(error as ResthooksError)
    else writer.failed(error as ResthooksError)
  }
  partitionsTimer = setTimeout(keepPartitions, next)
  partitionsTimer.unref()
}

function configure(data: ThreadData): void {
  const before = inForce
  inForce = data
  log.level = data.level
  secrets.include(new Secrets(data.secrets))
  reconnectWith(queue.redis, before.redis, data.redis)
  if (JSON.stringify(before.audit) === JSON.stringify(data.audit)) return
  const old = backend
  backend = createPostgresBackend(data.audit, { instancia, proyecto })
  void writing.finally(() => old.close().catch(() => {}))
  void keepPartitions()
  writer.wake()
}

async function finish(patience: number): Promise<void> {
  const end = performance.now() + patience
  writer.stop()
  await atMost(patience, running)
  // One patience for both: whoever waits for this thread would else give it up before it has said what stood in its way.
  const left = Math.max(0, end - performance.now())
  const late = (): never => {
    throw writer.trouble ?? new Unavailable(`Postgres no tomó la auditoría en ${Math.round(patience / 1000)} s`)
  }
  let failure: ResthooksError | null = null
  try {
    await atMost(left + LAST_PASS_MS, writer.drain(left), late)
  } catch (error) {
    failure = isRedisOutage(error) ? redisTrouble(error, inForce.redis) : (error as ResthooksError)
  }
  await backend.close().catch(() => {})
  queue.redis.disconnect()
  tell({ kind: 'finished', failure: failure && { message: failure.message, code: failure.code } })
}

parentPort?.on('message', (message: ToThread) => {
  switch (message.kind) {
    case 'wake':
      return writer.wake()
    case 'configure':
      return configure(message.data)
    case 'finish':
      return void finish(message.patience)
  }
})
let partitionsTimer: NodeJS.Timeout | undefined
void keepPartitions()
const running = untilReady(queue.redis).then(() => writer.run())
