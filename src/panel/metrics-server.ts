/**
 * The worker's own small HTTP server: /metrics for Prometheus, /salud for everybody else.
 *
 * It serves nothing but figures, and its trouble never touches a delivery.
 */
import { createServer, type Server, type ServerResponse } from 'node:http'
import { openAuditReader } from '../audit/queries.ts'
import type { Config } from '../config/config.ts'
import type { Queue } from '../queue/queue.ts'
import type { WorkerScene } from '../worker/scene.ts'
import { type HealthSubject, readHealth } from './health.ts'
import { createMetrics, type Metrics } from './metrics.ts'

export interface MetricsServer extends Pick<Metrics, 'attempt'> {
  close(): Promise<void>
}

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
  const server = createServer((request, response) => {
    const path = request.url?.split('?')[0]
    if (request.method !== 'GET' && request.method !== 'HEAD') answer(response, 405, 'text/plain', '')
    else if (path === '/metrics') void showMetrics(response, metrics, queue, scene)
    else if (path === '/salud') void showHealth(response, subject)
    else answer(response, 404, 'text/plain; charset=utf-8', 'Hay /metrics y /salud.\n')
  })
  server.requestTimeout = 10_000
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
