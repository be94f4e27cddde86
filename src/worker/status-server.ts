/**
 * The worker's own small HTTP server, where `metricas` says: /metrics for Prometheus; /salud (alive) and /listo (can work) for
 * containers, load balancers and people. It serves nothing but figures, with connections of its own to Redis and Postgres, and
 * its trouble never touches a delivery.
 */
import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { isIP } from 'node:net'
import { hostname } from 'node:os'
import { openAuditQueries } from '../audit/queries.ts'
import type { Config } from '../config/config.ts'
import { NEIGHBOUR_PORTS } from '../config/settings.ts'
import { systemReason } from '../errors.ts'
import type { Millis } from '../model/message.ts'
import { tryRedisWrite } from '../queue/gauges.ts'
import { Queue } from '../queue/queue.ts'
import { connectForever, redisTrouble } from '../queue/redis.ts'
import { untilReady } from './connections.ts'
import type { WorkerContext } from './context.ts'
import type { Metrics } from './metrics.ts'
import { atMost } from './waiting.ts'
import type { Watchdog } from './watchdog.ts'

/** Of /salud: whether it is alive. Restarting the worker helps one that is not, and nothing else. */
interface Health {
  readonly estado: 'ok' | 'mal'
  readonly worker: string
  readonly version: string
  /** Whose it is: workers of several projects share a machine, and each takes the next free port. */
  readonly instancia: string
  readonly proyecto: string
  /** The worker's own loops, and its watchdog; `hace_ms`: since the slowest one last turned. */
  readonly ciclo: Part & { readonly hace_ms: number }
}

/** Of /listo: whether it can work. */
interface Readiness extends Health {
  readonly redis: Part
  readonly configuracion: Part
  /** Only told: without Postgres deliveries go on, and their audit waits. */
  readonly postgres: Part
}

interface Part {
  readonly ok: boolean
  /** Null where all is well. */
  readonly detalle: string | null
}

/** Whoever holds more than these open, or sends and reads slower than this, is no monitor; and what it takes, deliveries lack. */
const CONNECTIONS = 64
const SLOW_MS: Millis = 10_000
const LIMITS = {
  headersTimeout: 5_000,
  requestTimeout: SLOW_MS,
  connectionsCheckingInterval: 1_000,
}
const FOREIGN = `Ese nombre no es de este servidor: pregunte por su dirección IP, por ${hostname()} o por el de «metricas».\n`
/** Of Redis and of Postgres, when they are asked for /listo. */
const PATIENCE_MS: Millis = 3_000
const PATHS = 'Hay /metrics, /salud (vive) y /listo (puede trabajar).\n'

/** What is told of the worker besides its configuration. */
interface Observed {
  readonly watchdog: Watchdog
  /** ms since each of its loops last turned. */
  loops(): Readonly<Record<string, Millis>>
  isStopping(): boolean
}

export class StatusServer {
  readonly #context: WorkerContext
  readonly #observed: Observed
  /** What counts the attempts, once something is published. */
  metrics: Metrics | undefined
  #close: (() => Promise<void>) | undefined
  #closed = false
  /** One change at a time. */
  #changing: Promise<void> = Promise.resolve()

  constructor(context: WorkerContext, observed: Observed) {
    this.#context = context
    this.#observed = observed
  }

  /** Where the configuration in force says, and nowhere when it says nothing. A port that is taken stops no delivery. */
  open(): Promise<void> {
    this.#changing = this.#changing.then(async () => {
      try {
        await this.#close?.()
        this.#close = undefined
        const { metrics } = this.#context.config().workers
        if (metrics && !this.#closed) await this.#serve(metrics)
      } catch (error) {
        this.#context.log.error(
          { detalle: systemReason(error) ?? (error as Error).message },
          'no se pudieron publicar las métricas',
        )
      }
    })
    return this.#changing
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#changing
    await this.#close?.().catch(() => {})
  }

  /** @throws when no port can be had */
  async #serve(where: Where): Promise<void> {
    const { redis, audit, instancia, proyecto } = this.#context.config()
    const build = { version: this.#context.version, commit: __COMMIT__ }
    this.metrics ??= (await import('./metrics.ts')).createMetrics(build, () => this.#context.config().listeners)
    const queries = openAuditQueries(audit, { instancia, proyecto })
    const queue = new Queue(connectForever(redis, 'metricas'), instancia, proyecto)
    const connected = untilReady(queue.redis)
    const asked: Asked = { queue, connected, tryPostgres: () => queries.tryWrite() }
    const server = createServer(LIMITS, (request, response) => {
      const path = request.url?.split('?')[0]
      if (!isOurName(request.headers.host, where.host))
        return answer(response, 421, 'text/plain; charset=utf-8', FOREIGN)
      if (request.method !== 'GET' && request.method !== 'HEAD') answer(response, 405, 'text/plain', '')
      else if (path === '/metrics') void this.#showMetrics(response, asked)
      else if (path === '/salud') show(response, this.#health())
      else if (path === '/listo') void this.#readiness(asked).then((readiness) => show(response, readiness))
      else answer(response, 404, 'text/plain; charset=utf-8', PATHS)
    })
    server.maxConnections = CONNECTIONS
    // A monitor asks every few seconds: connections that it keeps in between would keep others out.
    server.maxRequestsPerSocket = 1
    server.timeout = SLOW_MS
    const close = async () => {
      queue.redis.disconnect()
      await queries.close()
    }
    try {
      const port = await listen(server, where)
      this.#context.log.info({ servidor: `${where.host}:${port}` }, 'métricas en /metrics, salud en /salud y /listo')
    } catch (error) {
      await close()
      throw error
    }
    this.#observed.watchdog.start()
    this.#close = async () => {
      server.close()
      server.closeAllConnections()
      await close()
    }
  }

  async #showMetrics(response: ServerResponse, { queue, connected, tryPostgres }: Asked): Promise<void> {
    const metrics = this.metrics!
    try {
      await connected
      const text = await metrics.render({
        queue,
        config: this.#context.config(),
        configHash: this.#context.loaded().configuracion ?? '',
        inFlight: this.#context.inFlight(),
        loops: this.#observed.loops(),
        askPostgres: tryPostgres,
      })
      answer(response, 200, metrics.contentType, text)
    } catch (error) {
      answer(response, 500, 'text/plain; charset=utf-8', `${(error as Error).message}\n`)
    }
  }

  #health(): Health {
    const { worker, version } = this.#context
    const { instancia, proyecto } = this.#context.config()
    const { age, trouble } = this.#observed.watchdog.state
    const estado = trouble === null ? 'ok' : 'mal'
    return { estado, worker, version, instancia, proyecto, ciclo: { ...partOf(trouble), hace_ms: age } }
  }

  async #readiness({ queue, connected, tryPostgres }: Asked): Promise<Readiness> {
    const health = this.#health()
    const { redis: place } = this.#context.config()
    const writable = connected.then(() => tryRedisWrite(queue))
    const [redis, postgres] = await Promise.all([
      partAsked(writable, (error) => redisTrouble(error, place).message),
      // A server that only reads answers everything else.
      partAsked(tryPostgres(), (error) => error.message),
    ])
    const rejected = this.#context.loaded().configuracion_rechazada ?? null
    const configuracion = partOf(
      rejected && `no se pudo usar la nueva y sigue en vigor la anterior: ${rejected.motivo}`,
    )
    const ciclo = this.#observed.isStopping() ? { ...partOf('se está deteniendo'), hace_ms: 0 } : health.ciclo
    const estado = redis.ok && configuracion.ok && ciclo.ok ? 'ok' : 'mal'
    return { ...health, estado, ciclo, redis, configuracion, postgres }
  }
}

/** The server's own connections. */
interface Asked {
  readonly queue: Queue
  /** The first of them was made, or took too long. */
  readonly connected: Promise<void>
  tryPostgres(): Promise<void>
}

function show(response: ServerResponse, health: Health): void {
  answer(response, health.estado === 'ok' ? 200 : 503, 'application/json', `${JSON.stringify(health)}\n`)
}

/** @param trouble null: all is well */
function partOf(trouble: string | null): Part {
  return { ok: trouble === null, detalle: trouble }
}

async function partAsked(work: Promise<unknown>, say: (error: Error) => string): Promise<Part> {
  try {
    await atMost(PATIENCE_MS, work, () => {
      throw new Error(`no respondió en ${PATIENCE_MS} ms`)
    })
    return partOf(null)
  } catch (error) {
    return partOf(say(error as Error))
  }
}

/**
 * A page that somebody's browser has open may point a name of its own at this address, and read what is answered. A public
 * name has a dot; an address, the machine's own name, the configured one and those of a container network cannot be such.
 * @param asked      the Host header
 * @param configured host of `metricas`
 */
export function isOurName(asked: string | undefined, configured: string): boolean {
  const name = (asked ?? '')
    .replace(/:\d*$/, '')
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '')
    .toLowerCase()
  if (isIP(name) !== 0 || !name.includes('.')) return true
  const short = (full: string) => full.toLowerCase().split('.')[0]
  return name === configured.toLowerCase() || short(name) === short(hostname()) || name.endsWith('.localhost')
}

function answer(response: ServerResponse, status: number, type: string, body: string) {
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body)
}

type Where = NonNullable<Config['workers']['metrics']>

/** @returns the port that it listens on */
async function listen(server: Server, { host, port }: Where): Promise<number> {
  const last = Math.min(port + NEIGHBOUR_PORTS, 65_535)
  for (let chosen = port; ; chosen++) {
    try {
      await once(server.listen(chosen, host), 'listening')
      server.on('error', () => {})
      server.unref()
      return chosen
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || chosen >= last) throw error
    }
  }
}
