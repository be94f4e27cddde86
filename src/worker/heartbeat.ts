/**
 * What a worker does every few seconds besides its work: it gives a sign of life, reads Redis's clock, and watches how much
 * audit waits for Postgres.
 */

import { hostname } from 'node:os'
import type { Millis } from '../model/message.ts'
import { typed } from '../model/typed.ts'
import { type Backlog, bytesLimit, readBacklog, type StopReason, whyStopped } from '../queue/backlog.ts'
import { type Continuity, isNewLoss } from '../queue/continuity.ts'
import type { Pause } from '../queue/pauses.ts'
import type { Queue } from '../queue/queue.ts'
import { redisTrouble } from '../queue/redis.ts'
import { forgetWorkers, type HeartbeatAnswer, type WorkerInfo, writeHeartbeat } from '../queue/workers.ts'
import type { WorkerContext } from './context.ts'
import { logPauses } from './log.ts'
import { Signal, sleep } from './waiting.ts'

export const HEARTBEAT_MS: Millis = 3_000
/** The audit that waits is looked at no more often than this, however much is dispatched. */
const LEAST_WATCH_MS: Millis = 100
/** And no less often while deliveries are stopped: Postgres may have caught up. */
const STOPPED_WATCH_MS: Millis = 500

interface HeartbeatEvents {
  /** Redis time, ms since epoch. */
  clock(now: number): void
  /** Whether Postgres takes nothing at present. */
  away(): boolean
  /** `backlogged` changed. */
  backlog(): void
}

export class Heartbeat {
  readonly #queue: Queue
  readonly #context: WorkerContext
  readonly #events: HeartbeatEvents
  readonly #startedAt = Date.now()
  readonly #woken = new Signal()
  /** As of the last heartbeat. */
  #paused: ReadonlyMap<string, Pause> | null = null
  #continuity: Continuity | null = null
  /** A heartbeat of this worker arrived. */
  #beaten = false
  #inherited: WorkerInfo['heredado'] = null
  #toldBlind = false
  /** Workers with another configuration, as of the last heartbeat, and those that were told of. */
  #differing = ''
  #toldDiffering = ''
  #timer: NodeJS.Timeout | undefined
  #stopped = false
  /** More audit waits than `max_pendientes`, `max_pendientes_bytes` or Redis's memory allow. */
  backlogged = false

  constructor(queue: Queue, context: WorkerContext, events: HeartbeatEvents) {
    this.#queue = queue
    this.#context = context
    this.#events = events
    context.sightings.whenUrgent(() => void this.#tellSightings())
  }

  /** Resolves after the first heartbeat and the first look at the audit. */
  async start(): Promise<void> {
    await this.#tick()
    await this.#look()
    void this.#watch()
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    this.wake()
  }

  /** There is more audit, or Postgres came or went: look. */
  wake(): void {
    this.#woken.notify()
  }

  /** So many audit entries were taken over from another worker: told with the next sign of life. */
  inherited(rows: number): void {
    this.#inherited = { filas: (this.#inherited?.filas ?? 0) + rows, cuando: Math.round(this.#context.now()) }
  }

  async #tick(): Promise<void> {
    try {
      const beat = await writeHeartbeat(this.#queue, this.#description(), this.#beaten)
      const { now, differing } = beat
      this.#beaten = true
      this.#events.clock(now)
      this.#watchConfigurations(differing)
      this.#watchRedis(beat)
      await this.#context.sightings.tell(this.#queue)
      this.#context.redisOutage.worked(this)
    } catch (error) {
      this.#context.redisOutage.failed(redisTrouble(error, this.#context.config().redis), this)
    }
    if (!this.#stopped) this.#timer = setTimeout(() => void this.#tick(), HEARTBEAT_MS)
  }

  async #tellSightings(): Promise<void> {
    try {
      await this.#context.sightings.tell(this.#queue)
    } catch {
      // With the next heartbeat, which tells what is wrong with Redis.
    }
  }

  /** Tells what was seen last, and takes this worker off the list. */
  async sayGoodbye(): Promise<void> {
    await this.#tellSightings()
    await forgetWorkers(this.#queue, [this.#context.worker])
  }

  #description(): Omit<WorkerInfo, 'visto'> {
    return {
      worker: this.#context.worker,
      host: hostname(),
      pid: process.pid,
      version: this.#context.version,
      desde: Math.round(this.#startedAt + this.#context.now() - Date.now()),
      en_curso: this.#context.inFlight(),
      en_curso_por: this.#context.inFlightBy(),
      heredado: this.#inherited ?? null,
      ...this.#context.loaded(),
    }
  }

  async #watch(): Promise<void> {
    while (!this.#stopped) {
      await this.#woken.wait(this.backlogged ? STOPPED_WATCH_MS : HEARTBEAT_MS)
      if (!this.#stopped) await this.#look()
      if (!this.#stopped) await sleep(LEAST_WATCH_MS)
    }
  }

  async #look(): Promise<void> {
    try {
      this.#judge(await readBacklog(this.#queue))
      this.#context.redisOutage.worked(this.#woken)
    } catch (error) {
      this.#context.redisOutage.failed(redisTrouble(error, this.#context.config().redis), this.#woken)
    }
  }

  /** Tells of pauses that came and went; those that went with all the rest were ended by nobody. */
  #watchRedis({ continuity, paused }: Pick<HeartbeatAnswer, 'continuity' | 'paused'>): void {
    const { log } = this.#context
    const pausedBefore = this.#paused ?? paused
    const isLost = isNewLoss(this.#continuity, continuity)
    this.#continuity = continuity
    this.#paused = paused
    if (isLost) {
      log.error(
        { pausados: [...pausedBefore.keys()] },
        `Redis perdió sus datos: lo que la auditoría tiene por inconcluso vuelve con «${typed('recuperar')}»; las pausas se repiten a mano`,
      )
    } else logPauses(log, pausedBefore, paused)
  }

  /** One that was seen at two heartbeats: while a new configuration is put in force everywhere, workers differ for a moment. */
  #watchConfigurations(workers: readonly WorkerInfo[]): void {
    const differing = workers
      .map(({ worker }) => worker)
      .sort()
      .join(', ')
    const lasts = differing === this.#differing
    this.#differing = differing
    if (!lasts || differing === this.#toldDiffering) return
    this.#toldDiffering = differing
    const { log } = this.#context
    if (differing === '') log.info({}, 'todos los workers tienen otra vez la misma configuración')
    else
      log.warn(
        { workers: differing },
        'otros workers tienen otra configuración: un mismo mensaje puede ir a otros listeners; compare sus resthooks.ini',
      )
  }

  /** Stops delivering before the audit that waits fills Redis, and says so, until there is less of it again. */
  #judge(backlog: Backlog): void {
    const { log } = this.#context
    const { audit } = this.#context.config()
    if (backlog.events > 0 && backlog.bytes === null && !this.#toldBlind) {
      this.#toldBlind = true
      log.warn({}, 'el usuario de Redis no puede usar MEMORY USAGE: max_pendientes_bytes no se puede vigilar')
    }
    const reason = whyStopped(backlog, audit, { away: this.#events.away(), stopped: this.backlogged })
    if ((reason !== null) === this.backlogged) return
    this.backlogged = reason !== null
    const told = {
      pendientes: backlog.events,
      max_pendientes: audit.maxPending,
      bytes: backlog.bytes,
      max_pendientes_bytes: bytesLimit(audit, backlog.maxMemory),
    }
    if (reason) log.error(told, `${STOPPED[reason]}: se dejan de tomar mensajes hasta que Postgres se ponga al día`)
    else log.info(told, 'la auditoría está al día otra vez: se siguen tomando mensajes')
    this.#events.backlog()
  }
}

const STOPPED: Readonly<Record<StopReason, string>> = {
  max_pendientes: 'la auditoría pendiente superó max_pendientes',
  max_pendientes_bytes: 'la auditoría pendiente superó max_pendientes_bytes (o la mitad de maxmemory)',
  memoria: 'Postgres no está y Redis llegó a su maxmemory',
}
