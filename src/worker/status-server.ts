/**
 * The worker's own small HTTP server, where `metricas` says: /metrics for Prometheus, /salud for load balancers, Nagios and
 * people. It serves nothing but figures, and its trouble never touches a delivery.
 */
import { createServer, type Server, type ServerResponse } from 'node:http'
import { isIP } from 'node:net'
import { hostname } from 'node:os'
import { openAuditReader } from '../audit/queries.ts'
import type { Config } from '../config/config.ts'
import { systemReason } from '../errors.ts'
import type { Millis } from '../model/message.ts'
import type { Queue } from '../queue/queue.ts'
import { ping } from '../queue/redis.ts'
import type { WorkerContext } from './context.ts'
import type { Metrics } from './metrics.ts'
import { atMost } from './waiting.ts'

interface Health {
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

/** Whoever holds more than these open, or sends and reads slower than this, is no monitor; and what it takes, deliveries lack. */
const CONNECTIONS = 64
const SLOW_MS: Millis = 10_000
const LIMITS = {
  headersTimeout: 5_000,
  requestTimeout: SLOW_MS,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
}
const FOREIGN = `Ese nombre no es de este servidor: pregunte por su dirección IP, por ${hostname()} o por el de «metricas».\n`
/** Several workers on one machine (`procesos`, supervisord's `numprocs`) have one setting: each takes the next free port. */
const NEIGHBOURS = 63
/** Of Redis and of Postgres, when they are asked for /salud. */
const PATIENCE_MS: Millis = 3_000
/** A loop that waits for Redis turns at least this often. */
const STILL_MS: Millis = 30_000

export class StatusServer {
  readonly #queue: Queue
  readonly #context: WorkerContext
  readonly #loopAge: () => Millis
  /** What counts the attempts, once something is published. */
  metrics: Metrics | undefined
  #close: (() => Promise<void>) | undefined
  #closed = false
  /** One change at a time. */
  #changing: Promise<void> = Promise.resolve()

  /** @param loopAge ms since both of the worker's loops have turned */
  constructor(queue: Queue, context: WorkerContext, loopAge: () => Millis) {
    this.#queue = queue
    this.#context = context
    this.#loopAge = loopAge
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
    const { audit, instancia, proyecto } = this.#context.config()
    this.metrics ??= (await import('./metrics.ts')).createMetrics(this.#context.version)
    const queries = openAuditReader(audit, { instancia, proyecto })
    const server = createServer(LIMITS, (request, response) => {
      const path = request.url?.split('?')[0]
      if (!isOurName(request.headers.host, where.host))
        return answer(response, 421, 'text/plain; charset=utf-8', FOREIGN)
      if (request.method !== 'GET' && request.method !== 'HEAD') answer(response, 405, 'text/plain', '')
      else if (path === '/metrics') void this.#showMetrics(response)
      else if (path === '/salud') void this.#showHealth(response, () => queries.tryWrite())
      else answer(response, 404, 'text/plain; charset=utf-8', 'Hay /metrics y /salud.\n')
    })
    server.maxConnections = CONNECTIONS
    server.timeout = SLOW_MS
    try {
      const port = await listen(server, where)
      this.#context.log.info({ servidor: `${where.host}:${port}` }, 'métricas en /metrics, salud en /salud')
    } catch (error) {
      await queries.close()
      throw error
    }
    this.#close = async () => {
      server.close()
      server.closeAllConnections()
      await queries.close()
    }
  }

  async #showMetrics(response: ServerResponse): Promise<void> {
    const metrics = this.metrics!
    try {
      const text = await metrics.render(this.#queue, this.#context.config().listeners.keys(), this.#context.inFlight())
      answer(response, 200, metrics.contentType, text)
    } catch (error) {
      answer(response, 500, 'text/plain; charset=utf-8', `${(error as Error).message}\n`)
    }
  }

  /** @param tryWrite a server that only reads answers everything else */
  async #showHealth(response: ServerResponse, tryWrite: () => Promise<void>): Promise<void> {
    const { worker, version, config } = this.#context
    const [redis, postgres] = await Promise.all([partOf(ping(this.#queue.redis)), partOf(tryWrite())])
    const age = Math.round(this.#loopAge())
    const turns = age <= Math.max(STILL_MS, config().workers.poll * 3)
    const ciclo = { ok: turns, detalle: turns ? null : 'el worker está detenido o sobrecargado', hace_ms: age }
    const estado = redis.ok && postgres.ok && turns ? 'ok' : 'mal'
    const health: Health = { estado, worker, version, redis, postgres, ciclo }
    answer(response, estado === 'ok' ? 200 : 503, 'application/json', `${JSON.stringify(health)}\n`)
  }
}

async function partOf(work: Promise<unknown>): Promise<Part> {
  try {
    await atMost(PATIENCE_MS, work, () => {
      throw new Error(`no respondió en ${PATIENCE_MS} ms`)
    })
    return { ok: true, detalle: null }
  } catch (error) {
    return { ok: false, detalle: (error as Error).message }
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
  const last = Math.min(port + NEIGHBOURS, 65_535)
  for (let chosen = port; ; chosen++) {
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject).listen(chosen, host, () => {
          server.off('error', reject)
          resolve()
        })
      })
      server.on('error', () => {})
      server.unref()
      return chosen
    } catch (error) {
      server.removeAllListeners('error')
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || chosen >= last) throw error
    }
  }
}
