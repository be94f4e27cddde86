/**
 * What a worker does every few seconds besides its work: it gives a sign of life, reads Redis's clock, takes over the audit
 * entries of dead workers, and watches how much audit waits for Postgres.
 */
import { AuditReader } from '../queue/audit-reader.ts'
import type { Queue } from '../queue/queue.ts'
import { redisTrouble } from '../queue/redis.ts'
import { BEAT_MS, beat, type WorkerInfo } from './heartbeat.ts'
import type { WorkerScene } from './scene.ts'

export interface PulseEvents {
  /** Redis time, ms since epoch. */
  clock(now: number): void
  /** Audit entries of a dead worker are this one's now. */
  inherited(): void
  /** `backlogged` changed. */
  backlog(): void
}

export class Pulse {
  readonly #queue: Queue
  readonly #scene: WorkerScene
  readonly #events: PulseEvents
  readonly #startedAt = Date.now()
  /** Workers with another configuration, as of the last beat, and those that were told of. */
  #differing = ''
  #toldDiffering = ''
  #timer: NodeJS.Timeout | undefined
  #stopped = false
  /** More audit waits than `max_pendientes` allows. */
  backlogged = false

  constructor(queue: Queue, scene: WorkerScene, events: PulseEvents) {
    this.#queue = queue
    this.#scene = scene
    this.#events = events
  }

  /** Resolves after the first beat. */
  async start(): Promise<void> {
    try {
      const { now, alive, deadReaders, differing, audit } = await beat(this.#queue, this.#scene, this.#startedAt)
      this.#events.clock(now)
      if (deadReaders) await this.#inherit(alive)
      this.#watchBacklog(audit)
      this.#watchConfigurations(differing)
      this.#scene.redisOutage.worked(this)
    } catch (error) {
      this.#scene.redisOutage.failed(redisTrouble(error, this.#scene.config().redis), this)
    }
    if (!this.#stopped) this.#timer = setTimeout(() => void this.start(), BEAT_MS)
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  async #inherit(alive: ReadonlySet<string>): Promise<void> {
    const taken = await new AuditReader(this.#queue, this.#scene.worker).inherit(alive).catch((error) => {
      // Broken off half-way: what was taken over until then is this worker's, and nobody else will read it.
      this.#events.inherited()
      throw error
    })
    if (taken > 0) this.#events.inherited()
  }

  /** One that was seen at two beats: while a new configuration is put in force everywhere, workers differ for a moment. */
  #watchConfigurations(workers: readonly WorkerInfo[]): void {
    const differing = workers
      .map(({ worker }) => worker)
      .sort()
      .join(', ')
    const lasts = differing === this.#differing
    this.#differing = differing
    if (!lasts || differing === this.#toldDiffering) return
    this.#toldDiffering = differing
    const { log } = this.#scene
    if (differing === '') log.info({}, 'todos los workers tienen otra vez la misma configuración')
    else
      log.warn(
        { workers: differing },
        'otros workers tienen otra configuración: un mismo mensaje puede ir a otros listeners; compare sus resthooks.ini',
      )
  }

  /** Above `max_pendientes` the audit stream may fill Redis: stop delivering, and say so, until it is down again. */
  #watchBacklog(depth: number): void {
    const { maxPending } = this.#scene.config().audit
    const backlogged = maxPending > 0 && depth > (this.backlogged ? maxPending * 0.9 : maxPending)
    if (backlogged === this.backlogged) return
    this.backlogged = backlogged
    const told = { pendientes: depth, max_pendientes: maxPending }
    if (backlogged)
      this.#scene.log.error(
        told,
        'la auditoría pendiente superó max_pendientes: se dejan de tomar mensajes hasta que Postgres se ponga al día',
      )
    else this.#scene.log.info(told, 'la auditoría está al día otra vez: se siguen tomando mensajes')
    this.#events.backlog()
  }
}
