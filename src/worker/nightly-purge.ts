/**
 * Every night one of the workers deletes what is older than `retencion`. Whoever takes the night's lock does it; a night that
 * fails is left to the next one. Apart from the worker, whose loops know nothing of it.
 */
import { purge } from '../audit/purge.ts'
import type { Millis } from '../model/message.ts'
import { forgetOldFailures, notePurge, takePurge } from '../queue/purge.ts'
import type { Queue } from '../queue/queue.ts'
import type { WorkerContext } from './context.ts'

/** Local time: after the day's work and most nightly backups' start. */
const FROM_HOUR = 2
const TO_HOUR = 5
const LOOK_EVERY: Millis = 10 * 60_000
/** Longer than a night, shorter than a day. */
const LOCK_SECONDS = 20 * 3600

interface NightlyPurge {
  stop(): void
}

export function startNightlyPurge(queue: Queue, context: WorkerContext): NightlyPurge {
  const abort = new AbortController()
  const look = () => void purgeIfNight(queue, context, abort.signal, new Date())
  const timer = setInterval(look, LOOK_EVERY)
  timer.unref()
  look()
  return {
    stop: () => {
      clearInterval(timer)
      abort.abort()
    },
  }
}

/** Never rejects. */
async function purgeIfNight(queue: Queue, context: WorkerContext, signal: AbortSignal, now: Date): Promise<void> {
  const { audit, instancia, proyecto, listeners } = context.config()
  if (audit.retention === 0 || now.getHours() < FROM_HOUR || now.getHours() >= TO_HOUR) return
  try {
    if (!(await takePurge(queue, context.worker, LOCK_SECONDS))) return
  } catch {
    // The loops report that Redis is away.
    return
  }
  try {
    const before = new Date(now.getTime() - audit.retention)
    const purged = await purge(audit, { instancia, proyecto }, { before, simulate: false, signal })
    const failures = await forgetOldFailures(queue, listeners.keys(), before, false)
    await notePurge(queue)
    context.log.info({ antes_de: before, ...purged, fallidas_en_redis: failures }, 'purga nocturna hecha')
  } catch (error) {
    if (signal.aborted) return
    context.log.warn({ detalle: (error as Error).message }, 'la purga nocturna falló: se intenta la noche próxima')
  }
}
