/** /salud: whether this worker can do its work now, for load balancers, Nagios and people. */
import type { AuditReader } from '../audit/queries.ts'
import type { Queue } from '../queue/queue.ts'
import { within } from './metrics.ts'

export interface Health {
  readonly estado: 'ok' | 'mal'
  readonly worker: string
  readonly version: string
  readonly redis: Part
  readonly postgres: Part
  /** The worker's own loops; `hace_ms`: since the slower one last turned. */
  readonly ciclo: Part & { readonly hace_ms: number }
}

interface Part {
  readonly ok: boolean
  /** Null where all is well. */
  readonly detalle: string | null
}

export interface HealthSubject {
  readonly worker: string
  readonly version: string
  readonly queue: Queue
  readonly audit: AuditReader
  /** ms since both of the worker's loops have turned. */
  readonly loopAge: () => number
  /** The longest that a loop may sleep, ms. */
  readonly poll: () => number
}

const PATIENCE_MS = 3_000
/** A loop that waits for Redis turns at least this often. */
const STILL_MS = 30_000

export async function readHealth({ worker, version, queue, audit, loopAge, poll }: HealthSubject): Promise<Health> {
  const [redis, postgres] = await Promise.all([
    part(within(PATIENCE_MS, queue.redis.ping())),
    // With a write: a server that only reads answers everything else.
    part(within(PATIENCE_MS, audit.tryWrite())),
  ])
  const age = Math.round(loopAge())
  const turns = age <= Math.max(STILL_MS, poll() * 3)
  const ciclo = { ok: turns, detalle: turns ? null : 'el worker está detenido o sobrecargado', hace_ms: age }
  const estado = redis.ok && postgres.ok && turns ? 'ok' : 'mal'
  return { estado, worker, version, redis, postgres, ciclo }
}

async function part(work: Promise<unknown>): Promise<Part> {
  try {
    await work
    return { ok: true, detalle: null }
  } catch (error) {
    return { ok: false, detalle: (error as Error).message }
  }
}
