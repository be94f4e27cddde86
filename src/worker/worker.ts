/**
 * One worker process: dispatches, claims, delivers, settles and writes the audit, until it is told to stop.
 *
 * The parts run as loops of their own and wake each other by bells; a bell is a hint, the lookout's `sondeo` the guarantee.
 */
import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import type { Config, ListenerConfig } from '../config/config.ts'
import { Deliverer } from '../delivery/attempt.ts'
import { ConfigError, OperationFailed } from '../errors.ts'
import { AuditReader } from '../queue/audit-reader.ts'
import { CALLBACK_LANE } from '../queue/keys.ts'
import type { Queue } from '../queue/queue.ts'
import { causeOf, redisTrouble } from '../queue/redis.ts'
import { configurationHash, type LoadedConfig } from '../queue/workers.ts'
import { AuditThread } from './audit-thread.ts'
import { CALLBACK_SPEC, CallbackExecutor } from './callback-executor.ts'
import { ClaimLoop } from './claim-loop.ts'
import { Claimer } from './claimer.ts'
import { Connections } from './connections.ts'
import { DeliveryExecutor, laneSpecOf } from './delivery-executor.ts'
import { DispatchLoop } from './dispatch-loop.ts'
import { Dispatcher, type DispatchPass } from './dispatcher.ts'
import { Heartbeat, type HeartbeatEvents } from './heartbeat.ts'
import { Lane } from './lane.ts'
import { Leases } from './leases.ts'
import { type Logger, logOutcome } from './log.ts'
import { Lookout } from './lookout.ts'
import { Subscriptions } from './match.ts'
import { type NightlyPurge, startNightlyPurge } from './nightly-purge.ts'
import { BrokenLanes, EXHAUSTED, Outage } from './outage.ts'
import { untilQuiet } from './quiet.ts'
import type { WorkerScene } from './scene.ts'
import { Settler } from './settler.ts'
import { StatusServer } from './status-server.ts'
import { atMost, Signal, waitWhile } from './waiting.ts'

export interface WorkerOptions {
  readonly config: Config
  readonly version: string
  readonly log: Logger
  /** Work until nothing is due, then end. */
  readonly once: boolean
  /** Redis or Postgres refuses the credentials: there may be others by now. */
  readonly refused: () => void
}

/** After the drain: how long outcomes may take to reach Redis (a dead connection is noticed and replaced within 6 s), and the audit to reach Postgres. */
const LAST_SETTLE_MS = 8_000
const LAST_AUDIT_MS = 3_000
/** And for the worker's name to be taken off the list: it goes by itself too. */
const GOODBYE_MS = 1_000
/** Descriptors ran out no more when nothing asked for one in vain for so long. */
const CALM_MS = 10_000

export function workerName(): string {
  return `${hostname()}:${process.pid}:${randomBytes(3).toString('hex')}`
}

export class Worker {
  readonly #options: WorkerOptions
  readonly #scene: WorkerScene
  readonly #queue: Queue
  readonly #connections: Connections
  readonly #leases: Leases
  readonly #settler: Settler
  readonly #claimer: Claimer
  readonly #dispatching: DispatchLoop
  readonly #claiming: ClaimLoop
  readonly #lookout: Lookout
  readonly #status: StatusServer
  readonly #audit: AuditThread
  readonly #heartbeat: Heartbeat
  #config: Config
  #loaded: LoadedConfig
  #clockOffset = 0
  #stopping = false
  #failure: Error | undefined
  #nightlyPurge: NightlyPurge | undefined

  constructor(options: WorkerOptions) {
    this.#options = options
    this.#config = options.config
    this.#loaded = { configuracion: configurationHash(options.config), configuracion_rechazada: null }
    const { log } = options
    this.#scene = {
      worker: workerName(),
      version: options.version,
      log,
      redisOutage: new Outage(log, 'Redis'),
      descriptors: new Outage(log, 'el cupo de archivos y conexiones abiertas (ulimit -n)', EXHAUSTED, CALM_MS),
      brokenLanes: new BrokenLanes(log),
      config: () => this.#config,
      loaded: () => this.#loaded,
      inFlight: () => this.#leases.size,
      metrics: () => this.#status.metrics,
      now: () => Date.now() + this.#clockOffset,
    }
    this.#connections = new Connections(options.config)
    this.#queue = this.#connections.queue
    this.#leases = new Leases(this.#queue, this.#scene)
    this.#settler = new Settler(this.#queue, this.#scene, (settlement, applied) => {
      this.#leases.drop({ lane: settlement.lane.name, id: settlement.id, fence: settlement.fence })
      if (applied) logOutcome(log, settlement)
      if (applied && (settlement.callback !== null || settlement.verdict === 'requeue'))
        this.#claimer.hint([CALLBACK_LANE, settlement.lane.name])
      if (applied && settlement.message !== null) this.#dispatching.bell.ring()
      if (applied && (settlement.verdict === 'retry' || settlement.verdict === 'wait'))
        this.#dueAt(settlement.lane.name, this.#scene.now() + settlement.delay)
      // What a strict order or a recovering breaker held back may go on now.
      if ((this.#claimer.lanes.get(settlement.lane.name)?.left ?? 0) > 0) this.#claimer.hint([settlement.lane.name])
      this.#active()
      this.#claiming.bell.ring()
      this.#audit.ring()
    })
    const claimBell = new Signal()
    this.#claimer = new Claimer(this.#queue, this.#scene, this.#leases, this.#settler, claimBell)
    const events = {
      active: () => this.#active(),
      failed: (error: unknown, who: object) => this.#redisFailed(error, who),
    }
    const subscriptions = new Subscriptions(this.#config.listeners.values())
    this.#dispatching = new DispatchLoop(new Dispatcher(this.#queue, this.#scene), subscriptions, this.#scene, {
      ...events,
      open: () => this.#claimer.open,
      sent: (listeners) => this.#lookAt(listeners),
      passed: (pass) => this.#dispatched(pass),
    })
    this.#claiming = new ClaimLoop(this.#claimer, claimBell, this.#scene, events)
    this.#lookout = new Lookout(this.#queue, this.#scene, () => this.#claimer.lanes.keys(), {
      ...events,
      seen: ({ now, inbox, lanes, audit }) => {
        this.#setClock(now)
        if (inbox) this.#dispatching.bell.ring()
        if (lanes.length > 0) this.#lookAt(lanes)
        if (audit > 0) this.#audit.ring()
      },
    })
    this.#status = new StatusServer(
      this.#queue,
      this.#scene,
      () => performance.now() - Math.min(this.#dispatching.turnedAt, this.#claiming.turnedAt),
    )
    this.#audit = new AuditThread(this.#scene, () => this.#heartbeat.bell.ring(), options.refused)
    const heartbeatEvents: HeartbeatEvents = {
      clock: (now) => this.#setClock(now),
      inherited: () => this.#audit.inherited(),
      backlog: () => {
        this.#setOpen()
        this.#lookEverywhere()
      },
    }
    this.#heartbeat = new Heartbeat(this.#queue, this.#scene, heartbeatEvents, () => this.#audit.away)
    this.#claimer.lanes.set(CALLBACK_LANE, new Lane(CALLBACK_SPEC, new CallbackExecutor(this.#scene)))
    for (const listener of this.#config.listeners.values()) this.#openLane(listener)
  }

  /**
   * Works until `stop` was called and everything running has ended, or, with `once`, until nothing is due.
   * @param working called once it has begun
   * @throws ConfigError when Redis refuses the credentials at the start; with `once` also Unavailable
   */
  async run(working: () => void = () => {}): Promise<void> {
    const { log, once } = this.#options
    await this.#firstContact()
    log.info({ listeners: this.#config.listeners.size, activo: this.#config.active }, 'worker en marcha')
    working()
    this.#leases.start()
    this.#connections.listen({
      inbox: () => this.#dispatching.bell.ring(),
      claims: () => this.#lookAt(),
      back: () => {
        // The pause of the outage is over at once.
        for (const loop of [this.#dispatching, this.#claiming]) loop.resume.ring()
        this.#lookEverywhere()
      },
    })
    await this.#heartbeat.start()
    this.#audit.start()
    if (!once) {
      this.#nightlyPurge = startNightlyPurge(this.#queue, this.#scene)
      await this.#status.open()
    }
    try {
      const loops = Promise.all([this.#dispatching.run(), this.#claiming.run(), this.#lookout.run()])
      if (once) {
        await untilQuiet({
          dispatch: this.#dispatching,
          claim: this.#claiming,
          claimer: this.#claimer,
          busy: () => Math.max(this.#leases.size, this.#settler.size) > this.#settler.stuck,
          over: () => this.#stopping || !this.#config.active || this.#failure !== undefined,
          lookEverywhere: () => this.#lookEverywhere(),
        })
        this.stop()
        const broken = this.#scene.brokenLanes.first
        if (broken !== null) this.#failure ??= new OperationFailed(`Una cola no se pudo trabajar: ${broken}`)
      }
      await loops
      if (this.#failure) throw this.#failure
    } finally {
      await this.#finish()
    }
  }

  /** First signal: running requests may end until `drenaje`. */
  stop(): void {
    if (this.#stopping) return
    this.#stopping = true
    this.#claimer.open = false
    for (const loop of [this.#dispatching, this.#claiming, this.#lookout]) loop.stop()
  }

  /** What is in force. */
  get config(): Config {
    return this.#config
  }

  /** A new configuration cannot be put in force: the old one stays, and others are to see that. */
  refuse(reason: string): void {
    const motivo = reason.length > 500 ? `${reason.slice(0, 500)}…` : reason
    const desde = this.#loaded.configuracion_rechazada?.desde ?? this.#scene.now()
    this.#loaded = { ...this.#loaded, configuracion_rechazada: { motivo, desde } }
  }

  /** Puts a new configuration in force; deliveries under way end under the old one. */
  reload(config: Config): void {
    const before = this.#config
    const connectsOtherwise = this.connectsOtherwise(config)
    // One for the whole life: what is rotated away may still come back, and running deliveries must know what is new.
    before.secrets.include(config.secrets)
    this.#config = { ...config, secrets: before.secrets }
    this.#loaded = { configuracion: configurationHash(config), configuracion_rechazada: null }
    this.#dispatching.subscriptions = new Subscriptions(config.listeners.values())
    for (const [name, lane] of this.#claimer.lanes) {
      if (name === CALLBACK_LANE || config.listeners.get(name)?.active) continue
      this.#claimer.lanes.delete(name)
      void lane.executor.close()
    }
    for (const listener of config.listeners.values()) {
      if (!sameSettings(before.listeners.get(listener.name), listener)) this.#openLane(listener)
    }
    if (connectsOtherwise) this.#connections.change(before.redis, config.redis, this.#options.log)
    // The server asks Postgres for /salud, with a connection of its own.
    const served = ({ workers, audit }: Config) => [workers.metrics, workers.metrics && audit]
    if (!this.#options.once && !sameSettings(served(before), served(config))) void this.#status.open()
    this.#audit.configure()
    this.#setOpen()
    this.#options.log.info({ listeners: config.listeners.size, activo: config.active }, 'configuración recargada')
    this.#lookEverywhere()
  }

  /** Whether this configuration has other servers or credentials than those in use. */
  connectsOtherwise(config: Config): boolean {
    const { redis, audit } = this.#config
    return !sameSettings([redis, audit], [config.redis, config.audit])
  }

  /** Whatever was known about where work waits no longer holds. */
  #lookEverywhere(): void {
    this.#dispatching.bell.ring()
    this.#lookAt()
  }

  /** There may be something to claim in these lanes; in all of them where none is named. */
  #lookAt(lanes?: Iterable<string>): void {
    this.#claimer.hint(lanes)
    this.#claiming.bell.ring()
  }

  /** @param now Redis time, ms since epoch */
  #setClock(now: number): void {
    this.#clockOffset = now - Date.now()
  }

  async #firstContact(): Promise<void> {
    const { redis } = this.#config
    try {
      await this.#connections.firstContact(redis)
    } catch (error) {
      const trouble = redisTrouble(error, redis)
      if (trouble instanceof ConfigError || this.#options.once) {
        await this.#disconnect()
        throw trouble
      }
      this.#scene.redisOutage.failed(trouble, this.#dispatching)
    }
  }

  #openLane(listener: ListenerConfig): void {
    if (!listener.active) return
    const deliverer = new Deliverer(listener, { version: this.#options.version, secrets: this.#config.secrets })
    const executor = new DeliveryExecutor(listener, deliverer, this.#scene)
    const spec = laneSpecOf(listener)
    const lane = this.#claimer.lanes.get(listener.name)
    if (lane) {
      void lane.executor.close()
      lane.spec = spec
      lane.executor = executor
    } else {
      this.#claimer.lanes.set(listener.name, new Lane(spec, executor))
    }
  }

  #setOpen(): void {
    this.#claimer.open = this.#config.active && !this.#heartbeat.backlogged && !this.#stopping
  }

  #dueAt(name: string, at: number): void {
    const lane = this.#claimer.lanes.get(name)
    if (lane && (lane.nextAt === null || at < lane.nextAt)) lane.nextAt = at
  }

  #dispatched({ now, moved }: DispatchPass): void {
    this.#setClock(now)
    if (moved === 0) return
    this.#audit.ring()
    this.#heartbeat.bell.ring()
    if (moved > 1) this.#connections.announceClaims()
  }

  #active(): void {
    this.#dispatching.emptyPasses = 0
    this.#claiming.emptyPasses = 0
  }

  /** @returns ms to wait; with `once` nobody waits for Redis to come back */
  #redisFailed(error: unknown, who: object): number {
    const trouble = redisTrouble(causeOf(error, this.#queue.redis), this.#config.redis)
    if (trouble instanceof ConfigError) this.#options.refused()
    if (this.#options.once) {
      this.#failure = trouble
      this.stop()
    }
    return this.#scene.redisOutage.failed(trouble, who)
  }

  async #finish(): Promise<void> {
    this.#stopping = true
    this.#nightlyPurge?.stop()
    const { log } = this.#options
    const drain = this.#config.workers.drain
    const busy = () => this.#leases.size > this.#settler.size
    if (busy())
      log.info({ en_curso: this.#leases.size, drenaje_ms: drain }, 'cerrando: se espera a las entregas en curso')
    await waitWhile(busy, drain)
    this.#leases.abortAll()
    await waitWhile(busy, LAST_SETTLE_MS)
    await atMost(LAST_SETTLE_MS, this.#settler.drain())
    this.#settler.abandon()
    this.#heartbeat.stop()
    this.#leases.stop()
    await this.#status.close()
    try {
      await this.#lastAudit()
    } finally {
      await atMost(
        GOODBYE_MS,
        this.#heartbeat.sayGoodbye().catch(() => {}),
      )
      await this.#disconnect()
      log.info({}, 'worker detenido')
    }
  }

  async #lastAudit(): Promise<void> {
    const { once, log } = this.#options
    const failure = await this.#audit.finish(once ? LAST_AUDIT_MS * 3 : LAST_AUDIT_MS)
    if (!failure) return
    const pending = await new AuditReader(this.#queue, this.#scene.worker).depth().catch(() => null)
    log.warn(
      { pendientes: pending, detalle: failure.message },
      'queda auditoría sin escribir en Postgres: está en Redis y la escribe el próximo worker',
    )
    if (once) throw failure
  }

  async #disconnect(): Promise<void> {
    this.#connections.close()
    await Promise.allSettled([...this.#claimer.lanes.values()].map(({ executor }) => executor.close()))
  }
}

function sameSettings(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
