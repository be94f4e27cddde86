/**
 * How a worker ends: with `--una-vez` when there is nothing left to do, else in the time that `drenaje` gives. What runs may
 * end, outcomes go to Redis and the audit to Postgres; what is left of either is taken up by the next worker. Apart from the worker
 * for its order, which is all that it is about.
 */
import type { Millis } from '../model/message.ts'
import { auditReaders } from '../queue/audit-stream.ts'
import type { Queue } from '../queue/queue.ts'
import type { AuditThread } from './audit-thread.ts'
import type { Claimer } from './claimer.ts'
import type { WorkerContext } from './context.ts'
import type { Dispatcher } from './dispatcher.ts'
import type { Heartbeat } from './heartbeat.ts'
import type { Leases } from './leases.ts'
import type { Settler } from './settler.ts'
import { atMost, sleep, waitWhile } from './waiting.ts'

const LOOK_MS: Millis = 5
/** After the drain: how long outcomes may take to reach Redis (a dead connection is noticed and replaced within 6 s), and the audit to reach Postgres. */
const LAST_SETTLE_MS: Millis = 8_000
const LAST_AUDIT_MS: Millis = 3_000
/** And for the worker's name to be taken off the list: it goes by itself too. */
const GOODBYE_MS: Millis = 1_000

export interface WorkerParts {
  readonly context: WorkerContext
  readonly queue: Queue
  readonly dispatcher: Dispatcher
  readonly claimer: Claimer
  readonly leases: Leases
  readonly settler: Settler
  readonly heartbeat: Heartbeat
  readonly audit: AuditThread
}

/**
 * Until nothing is in the inbox, nothing due in any queue that may be worked, and nothing runs. Twice without a find, since
 * the first look may have begun before the last outcome came in.
 * @param over nothing more is to be waited for
 */
export async function untilQuiet(
  { dispatcher, claimer, leases, settler }: WorkerParts,
  over: () => boolean,
): Promise<void> {
  const busy = () => Math.max(leases.size, settler.size) > settler.stuck
  const limited = () =>
    [...claimer.lanes.values()].some(({ spec, left, nextAt }) => spec.rateLimit && left > 0 && nextAt !== null)
  while (!over()) {
    await sleep(LOOK_MS)
    if (busy()) continue
    if (dispatcher.emptyPasses >= 2 && claimer.emptyPasses >= 2 && !limited()) return
    dispatcher.wake()
    claimer.hint()
  }
}

/**
 * Nothing is taken any more: what runs ends, and what it came to is written.
 * @param once whoever waits for the end is told what could not be written
 * @throws Unavailable or ConfigError, with `once`, when rows were left in Redis
 */
export async function shutDown(parts: WorkerParts, once: boolean): Promise<void> {
  const { context, leases, settler, heartbeat } = parts
  const { drain } = context.config().workers
  const busy = () => leases.size > settler.size
  if (busy())
    context.log.info({ en_curso: leases.size, drenaje_ms: drain }, 'cerrando: se espera a las entregas en curso')
  await waitWhile(busy, drain)
  leases.abortAll()
  await waitWhile(busy, LAST_SETTLE_MS)
  await atMost(LAST_SETTLE_MS, settler.drain())
  settler.abandon()
  heartbeat.stop()
  leases.stop()
  try {
    await lastAudit(parts, once)
  } finally {
    await atMost(GOODBYE_MS, heartbeat.sayGoodbye()).catch(() => {})
  }
}

async function lastAudit({ context, queue, audit }: WorkerParts, once: boolean): Promise<void> {
  const failure = await audit.finish(once ? LAST_AUDIT_MS * 3 : LAST_AUDIT_MS)
  if (!failure) return
  const depths = auditReaders(queue, context.worker).map((reader) => reader.depth())
  const pending = await Promise.all(depths).then(
    ([ours, before]) => ours! + before!,
    () => null,
  )
  context.log.warn(
    { pendientes: pending, detalle: failure.message },
    'queda auditoría sin escribir en Postgres: está en Redis y la escribe el próximo worker',
  )
  if (once) throw failure
}
