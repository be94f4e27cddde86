/**
 * One worker process: dispatches, claims, delivers, settles and writes the audit, until it is told to stop.
 *
 * The parts run as loops of their own and wake each other; that is a hint, the poller's `sondeo` the guarantee.
 * This file puts them together, and hands them a new configuration.
 */
import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import type { Config, ListenerConfig } from '../config/config.ts'
import { Subscriptions } from '../config/subscriptions.ts'
import { Deliverer } from '../delivery/attempt.ts'
import { ConfigError, OperationFailed } from '../errors.ts'
import type { Millis } from '../model/message.ts'
import { CALLBACK_LANE } from '../queue/keys.ts'
import type { Seen } from '../queue/queue.ts'
import { causeOf, redisTrouble } from '../queue/redis.ts'
import type { Settlement } from '../queue/settle.ts'
import { configurationHash, type LoadedConfig } from '../queue/workers.ts'
import { AuditThread } from './audit-thread.ts'
import { CallbackExecutor } from './callbacks.ts'
import { Claimer } from './claimer.ts'
import { Connections } from './connections.ts'
import type { WorkerContext } from './context.ts'
import { DeliveryExecutor } from './deliveries.ts'
import { Dispatcher, type DispatchPass } from './dispatcher.ts'
import { Heartbeat } from './heartbeat.ts'
import { Lane } from './lane.ts'
import { type Lease, Leases } from './leases.ts'
import { type Logger, logOutcome } from './log.ts'
import { type Loop, Poller } from './loop.ts'
import { startNightlyPurge } from './nightly-purge.ts'
import { BrokenLanes, EXHAUSTED, Outage } from './outage.ts'
import { Settler } from './settler.ts'
import { shutDown, untilQuiet, type WorkerParts } from './shutdown.ts'
import { Sightings } from './sightings.ts'
import { StatusServer } from './status-server.ts'
import { Watchdog } from './watchdog.ts'

interface WorkerOptions {
  readonly config: Config
  readonly version: string
  readonly log: Logger
  /** Work until nothing is due, then end. */
  readonly once: boolean
  /** Redis or Postgres refuses the credentials: there may be others by now. */
  readonly refused: () => void
}

/** An answer that was long on its way is no step of a clock. */
const CLOCK_STEP_MS: Millis = 3_000
/** Descriptors ran out no more when nothing asked for one in vain for so long. */
const CALM_MS: Millis = 10_000

export class Worker {
  readonly #options: WorkerOptions
  readonly #context: WorkerContext
  readonly #connections: Connections
  readonly #parts: WorkerParts
  readonly #poller: Poller
  readonly #watchdog: Watchdog
  readonly #status: StatusServer
  #config: Config
  #loaded: LoadedConfig
  #clockOffset: Millis = 0
  /** Redis's clock before the monotonic one of this process. */
  #ahead: Millis = Number.POSITIVE_INFINITY
  #stopping = false
  #failure: Error | undefined

  constructor(options: WorkerOptions) {
    this.#options = options
    this.#config = options.config
    this.#loaded = { configuracion: configurationHash(options.config), configuracion_rechazada: null }
    const { log } = options
    const context: WorkerContext = {
      worker: `${hostname()}:${process.pid}:${randomBytes(3).toString('hex')}`,
      version: options.version,
      log,
      redisOutage: new Outage(log, 'Redis'),
      descriptors: new Outage(log, 'el cupo de archivos y conexiones abiertas (ulimit -n)', EXHAUSTED, CALM_MS),
      brokenLanes: new BrokenLanes(log),
      config: () => this.#config,
      loaded: () => this.#loaded,
      inFlight: () => this.#parts.leases.size,
      inFlightBy: () => this.#parts.claimer.runningBy(),
      sightings: new Sightings(
        () => context.now(),
        (text) => this.#config.secrets.hide(text),
      ),
      metrics: () => this.#status.metrics,
      now: () => Date.now() + this.#clockOffset,
    }
    this.#context = context
    this.#connections = new Connections(options.config)
    const { queue } = this.#connections
    const events = {
      active: () => this.#active(),
      failed: (error: unknown, who: object) => this.#redisFailed(error, who),
    }
    const leases = new Leases(queue, context)
    const settler = new Settler(queue, context, (settlement, applied, lease) =>
      this.#settled(settlement, applied, lease),
    )
    const claimer = new Claimer(queue, context, leases, settler, {
      ...events,
      clock: (now) => this.#setClock(now),
      freed: () => dispatcher.freed(),
    })
    const dispatcher = new Dispatcher(queue, context, new Subscriptions(this.#config.listeners.values()), claimer, {
      ...events,
      passed: (pass) => this.#dispatched(pass),
    })
    const audit = new AuditThread(context, {
      backendChanged: () => heartbeat.wake(),
      refused: options.refused,
      inherited: (rows) => heartbeat.inherited(rows),
    })
    const heartbeat = new Heartbeat(queue, context, {
      clock: (now) => this.#setClock(now),
      away: () => audit.away,
      backlog: () => {
        this.#setOpen()
        this.#lookEverywhere()
      },
    })
    this.#parts = { context, queue, dispatcher, claimer, leases, settler, heartbeat, audit }
    this.#poller = new Poller(queue, context, () => claimer.lanes.keys(), {
      ...events,
      seen: (what) => this.#seen(what),
    })
    const loops = () => {
      const now = performance.now()
      return { dispatch: now - dispatcher.turnedAt, claim: now - claimer.turnedAt, poll: now - this.#poller.turnedAt }
    }
    const able = () => ({
      open: claimer.open,
      freeSlots: this.#config.workers.concurrency - claimer.running,
      lanes: claimer.lanes,
    })
    this.#watchdog = new Watchdog(queue, context, able, loops)
    const observed = { watchdog: this.#watchdog, loops, isStopping: () => this.#stopping }
    this.#status = new StatusServer(context, observed)
    claimer.lanes.set(CALLBACK_LANE, new Lane(new CallbackExecutor(context)))
    for (const listener of this.#config.listeners.values()) this.#openLane(listener)
  }

  /**
   * Works until `stop` was called and everything running has ended, or, with `once`, until nothing is due.
   * @param working called once it has begun
   * @throws ConfigError when Redis refuses the credentials at the start; with `once` also Unavailable
   */
  async run(working: () => void = () => {}): Promise<void> {
    const { log, once } = this.#options
    const { queue, dispatcher, claimer, leases, heartbeat, audit } = this.#parts
    await this.#firstContact()
    log.info(
      { listeners: this.#config.listeners.size, activo: this.#config.active, configuracion: this.#shortHash() },
      'worker en marcha',
    )
    working()
    leases.start()
    this.#connections.listen({
      inbox: () => dispatcher.wake(),
      claims: () => claimer.hint(),
      back: () => {
        this.#renewFirst()
        // The wait of the outage is over at once.
        for (const loop of this.#loops) loop.resume()
        this.#lookEverywhere()
      },
    })
    await heartbeat.start()
    audit.start()
    const nightlyPurge = once ? null : startNightlyPurge(queue, this.#context)
    if (!once) await this.#status.open()
    try {
      const loops = Promise.all(this.#loops.map((loop) => loop.run()))
      if (once) {
        await untilQuiet(this.#parts, () => this.#stopping || !this.#config.active || this.#failure !== undefined)
        this.stop()
        const broken = this.#context.brokenLanes.first
        if (broken !== null) this.#failure ??= new OperationFailed(`Una cola no se pudo trabajar: ${broken}`)
      }
      await loops
      if (this.#failure) throw this.#failure
    } finally {
      this.#stopping = true
      nightlyPurge?.stop()
      try {
        await shutDown(this.#parts, once)
      } finally {
        this.#watchdog.stop()
        await this.#status.close()
        await this.#disconnect()
        log.info({}, 'worker detenido')
      }
    }
  }

  /** First signal: running requests may end until `drenaje`. */
  stop(): void {
    if (this.#stopping) return
    this.#stopping = true
    this.#parts.claimer.open = false
    for (const loop of this.#loops) loop.stop()
  }

  /** Asked for the first time, it begins to look for what is left lying. */
  isAlive(): boolean {
    this.#watchdog.start()
    return this.#watchdog.state.trouble === null
  }

  /** What is in force. */
  get config(): Config {
    return this.#config
  }

  /** A new configuration cannot be put in force: the old one stays, and others are to see that. */
  refuse(reason: string): void {
    const motivo = reason.length > 500 ? `${reason.slice(0, 500)}…` : reason
    const desde = this.#loaded.configuracion_rechazada?.desde ?? this.#context.now()
    this.#loaded = { ...this.#loaded, configuracion_rechazada: { motivo, desde } }
  }

  /** Puts a new configuration in force; deliveries under way end under the old one. */
  reload(config: Config): void {
    const { dispatcher, claimer, audit } = this.#parts
    const before = this.#config
    const connectsOtherwise = this.connectsOtherwise(config)
    const hashBefore = this.#shortHash()
    // One for the whole life: what is rotated away may still come back, and running deliveries must know what is new.
    before.secrets.include(config.secrets)
    this.#config = { ...config, secrets: before.secrets }
    this.#loaded = { configuracion: configurationHash(config), configuracion_rechazada: null }
    dispatcher.subscriptions = new Subscriptions(config.listeners.values())
    for (const [name, lane] of claimer.lanes) {
      if (name === CALLBACK_LANE || config.listeners.get(name)?.active) continue
      claimer.lanes.delete(name)
      void lane.executor.close()
    }
    for (const listener of config.listeners.values()) {
      if (!sameSettings(before.listeners.get(listener.name), listener)) this.#openLane(listener)
    }
    if (connectsOtherwise) this.#connections.change(before.redis, config.redis, this.#options.log)
    // The server asks Redis and Postgres with connections of its own.
    const served = ({ workers, redis, audit }: Config) => [workers.metrics, workers.metrics && [redis, audit]]
    if (!this.#options.once && !sameSettings(served(before), served(config))) void this.#status.open()
    audit.configure()
    this.#setOpen()
    const hash = this.#shortHash()
    const changed = hash === hashBefore ? {} : { anterior: hashBefore }
    this.#options.log.info(
      { listeners: config.listeners.size, activo: config.active, configuracion: hash, ...changed },
      'configuración recargada',
    )
    this.#lookEverywhere()
  }

  /** Whether this configuration has other servers or credentials than those in use. */
  connectsOtherwise(config: Config): boolean {
    const { redis, audit } = this.#config
    return !sameSettings([redis, audit], [config.redis, config.audit])
  }

  /** As `estado` shows it, and some more. */
  #shortHash(): string {
    return this.#loaded.configuracion?.slice(0, 8) ?? ''
  }

  get #loops(): readonly Loop[] {
    return [this.#parts.dispatcher, this.#parts.claimer, this.#poller]
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
      this.#context.redisOutage.failed(trouble, this.#parts.dispatcher)
    }
  }

  #openLane(listener: ListenerConfig): void {
    if (!listener.active) return
    const { lanes } = this.#parts.claimer
    const deliverer = new Deliverer(listener, { version: this.#options.version, secrets: this.#config.secrets })
    const executor = new DeliveryExecutor(listener, deliverer, this.#context)
    const lane = lanes.get(listener.name)
    if (lane) {
      void lane.executor.close()
      lane.executor = executor
    } else lanes.set(listener.name, new Lane(executor))
  }

  #setOpen(): void {
    const { claimer, heartbeat } = this.#parts
    claimer.open = this.#config.active && !heartbeat.backlogged && !this.#stopping
  }

  /** @param now Redis time, ms since epoch */
  #setClock(now: number): void {
    this.#clockOffset = now - Date.now()
    const ahead = now - performance.now()
    // Redis's clock was put forward, or this machine had stood still.
    if (ahead - this.#ahead > CLOCK_STEP_MS) this.#renewFirst()
    this.#ahead = ahead
  }

  /** Leases may have run out that nobody could renew: before anybody asks for those, all of them are; where that fails, before the next claim. */
  #renewFirst(): void {
    const { leases, claimer } = this.#parts
    void leases.catchUp(true).catch(() => {})
    claimer.wasAway()
  }

  /** Whatever was known about where work waits no longer holds. */
  #lookEverywhere(): void {
    this.#parts.dispatcher.wake()
    this.#parts.claimer.hint()
  }

  #active(): void {
    this.#parts.dispatcher.emptyPasses = 0
    this.#parts.claimer.emptyPasses = 0
  }

  #dispatched({ now, moved, queued }: DispatchPass): void {
    this.#setClock(now)
    if (moved === 0) return
    this.#parts.audit.wake()
    this.#parts.heartbeat.wake()
    if (queued) void this.#parts.queue.wake('claim')
  }

  #seen({ now, inbox, lanes, audit }: Seen): void {
    this.#setClock(now)
    if (inbox) this.#parts.dispatcher.wake()
    if (lanes.length > 0) this.#parts.claimer.hint(lanes)
    if (audit > 0) this.#parts.audit.wake()
  }

  /** An outcome is in Redis. @param applied false: the lease was lost, and only the audit took it */
  #settled(settlement: Settlement, applied: boolean, lease: Lease): void {
    const { dispatcher, claimer, leases, audit } = this.#parts
    const { verdict, delay, callback, message } = settlement
    const { name } = settlement.lane
    leases.drop(lease)
    const hinted: string[] = []
    if (applied) {
      logOutcome(this.#options.log, settlement)
      if (callback !== null) hinted.push(CALLBACK_LANE)
      if (callback !== null || verdict === 'requeue') hinted.push(name)
      if (message !== null) dispatcher.wake()
      if (verdict === 'retry' || verdict === 'wait') claimer.dueAt(name, this.#context.now() + delay)
    }
    // What a strict order or a recovering breaker held back may go on now.
    if ((claimer.lanes.get(name)?.left ?? 0) > 0) hinted.push(name)
    this.#active()
    claimer.hint(hinted)
    audit.wake()
  }

  /** @returns ms to wait; with `once` nobody waits for Redis to come back */
  #redisFailed(error: unknown, who: object): Millis {
    const trouble = redisTrouble(causeOf(error, this.#connections.queue.redis), this.#config.redis)
    if (trouble instanceof ConfigError) this.#options.refused()
    if (this.#options.once) {
      this.#failure = trouble
      this.stop()
    }
    return this.#context.redisOutage.failed(trouble, who)
  }

  async #disconnect(): Promise<void> {
    this.#connections.close()
    await Promise.allSettled([...this.#parts.claimer.lanes.values()].map(({ executor }) => executor.close()))
  }
}

function sameSettings(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
