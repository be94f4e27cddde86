/**
 * The worker's own small HTTP server: /metrics for Prometheus, /salud for everybody else.
 *
 * It serves nothing but figures, and its trouble never touches a delivery.
 */
import { createServer, type Server, type ServerResponse } from 'node:http'
import { isIP } from 'node:net'
import { hostname } from 'node:os'
import { openAuditReader } from '../audit/queries.ts'
import type { Config } from '../config/config.ts'
import type { Queue } from '../queue/queue.ts'
import type { WorkerScene } from '../worker/scene.ts'
import { type HealthSubject, readHealth } from './health.ts'
import { createMetrics, type Metrics } from './metrics.ts'

export interface MetricsServer extends Pick<Metrics, 'attempt'> {
  close(): Promise<void>
}

/** Whoever holds more than these open, or sends and reads slower than this, is no monitor; and what it takes, deliveries lack. */
const CONNECTIONS = 64
const SLOW_MS = 10_000
const LIMITS = {
  headersTimeout: 5_000,
  requestTimeout: SLOW_MS,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
}
const FOREIGN = `Ese nombre no es de este servidor: pregunte por su dirección IP, por ${hostname()} o por el de «metricas».\n`

/** Several workers on one machine (`procesos`, supervisord's `numprocs`) have one setting: each takes the next free port. */
const NEIGHBOURS = 63

/** @throws when no port can be had; deliveries go on without */
export async function startMetricsServer(
  queue: Queue,
  scene: WorkerScene,
  loopAge: () => number,
): Promise<MetricsServer> {
  const { audit, instancia, proyecto, workers } = scene.config()
  const reader = openAuditReader(audit, { instancia, proyecto })
  const metrics = createMetrics(scene.version)
  const subject: HealthSubject = {
    worker: scene.worker,
    version: scene.version,
    queue,
    audit: reader,
    loopAge,
    poll: () => scene.config().workers.poll,
  }
  const { host } = workers.metrics!
  const server = createServer(LIMITS, (request, response) => {
    const path = request.url?.split('?')[0]
    if (!isOurName(request.headers.host, host)) return answer(response, 421, 'text/plain; charset=utf-8', FOREIGN)
    if (request.method !== 'GET' && request.method !== 'HEAD') answer(response, 405, 'text/plain', '')
    else if (path === '/metrics') void showMetrics(response, metrics, queue, scene)
    else if (path === '/salud') void showHealth(response, subject)
    else answer(response, 404, 'text/plain; charset=utf-8', 'Hay /metrics y /salud.\n')
  })
  server.maxConnections = CONNECTIONS
  server.timeout = SLOW_MS
  try {
    const port = await listen(server, workers.metrics!)
    scene.log.info({ servidor: `${workers.metrics!.host}:${port}` }, 'métricas en /metrics, salud en /salud')
  } catch (error) {
    await reader.close()
    throw error
  }
  return {
    attempt: metrics.attempt,
    close: async () => {
      server.close()
      server.closeAllConnections()
      await reader.close()
    },
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

async function showMetrics(response: ServerResponse, metrics: Metrics, queue: Queue, scene: WorkerScene) {
  try {
    const text = await metrics.render(queue, scene.config().listeners.keys(), scene.inFlight())
    answer(response, 200, metrics.contentType, text)
  } catch (error) {
    answer(response, 500, 'text/plain; charset=utf-8', `${(error as Error).message}\n`)
  }
}

async function showHealth(response: ServerResponse, subject: HealthSubject) {
  const health = await readHealth(subject)
  answer(response, health.estado === 'ok' ? 200 : 503, 'application/json', `${JSON.stringify(health)}\n`)
}

function answer(response: ServerResponse, status: number, type: string, body: string) {
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body)
}

/** @returns the port that it listens on */
async function listen(server: Server, { host, port }: NonNullable<Config['workers']['metrics']>) {
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
