/**
 * What a worker tells Prometheus: how full the queues are (asked of Redis at each scrape) and what this process has done.
 *
 * The queues' figures are the project's, the same from every worker; attempts and durations are this process's own.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Millis } from '../model/message.ts'
import { type Depths, type LaneDepth, readDepths } from '../queue/depths.ts'
import type { Queue, Verdict } from '../queue/queue.ts'
import { isAlive } from '../queue/workers.ts'
import { atMost } from './waiting.ts'

/** `interrumpido`: cut by a shutdown or a lost lease, and made again. */
const OUTCOMES: Readonly<Record<Verdict, string>> = {
  ok: 'exito',
  retry: 'reintento',
  failed: 'fallo',
  gone: 'fallo',
  requeue: 'interrumpido',
  wait: 'interrumpido',
}

export interface Metrics {
  readonly contentType: string
  /** One attempt of this process has ended. */
  attempt(listener: string, verdict: Verdict, duration: Millis): void
  /** The text of one scrape. Without Redis, what this process knows by itself. */
  render(queue: Queue, configured: Iterable<string>, inFlight: number): Promise<string>
}

/** From a fast listener to `espera_total`. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
/** Of one scrape: Prometheus gives up after ten seconds by default. */
const PATIENCE_MS = 5_000

export function createMetrics(version: string): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const gauge = <Label extends string = never>(name: string, help: string, labelNames: readonly Label[] = []) =>
    new Gauge<Label>({ name: `resthooks_${name}`, help, labelNames: [...labelNames], registers })

  const attempts = new Counter({
    name: 'resthooks_intentos_total',
    help: 'Intentos de este proceso',
    labelNames: ['listener', 'resultado'] as const,
    registers,
  })
  const durations = new Histogram({
    name: 'resthooks_intento_segundos',
    help: 'Duración de los intentos de este proceso',
    labelNames: ['listener'] as const,
    buckets: BUCKETS,
    registers,
  })
  gauge('version_info', 'Versión de este proceso', ['version']).set({ version }, 1)
  const running = gauge('proceso_en_curso', 'Entregas y callbacks en curso en este proceso')
  const memory = gauge('proceso_memoria_bytes', 'Memoria residente de este proceso')
  const reached = gauge('redis_disponible', '1 si Redis respondió a esta consulta')
  const workers = gauge('workers_vivos', 'Workers que dan señales de vida')
  const inbox = gauge('entrada', 'Mensajes que esperan su despacho', ['lista'])
  const audit = gauge('auditoria_pendiente', 'Filas que esperan a Postgres')
  const oldest = gauge('entrada_mas_antigua_segundos', 'Edad del primer mensaje sin despachar')
  const deliveries = gauge('entregas', 'Entregas en Redis', ['listener', 'estado'])
  const ages = gauge('entrega_mas_antigua_segundos', 'Edad de la primera entrega en cola', ['listener'])
  const paused = gauge('listener_pausado', '1 si está pausado', ['listener'])
  const broken = gauge('corte_abierto', '1 si su corte está abierto o semiabierto', ['listener'])
  const callbacks = gauge('callbacks', 'Callbacks en Redis', ['estado'])
  const shared = [workers, inbox, audit, oldest, deliveries, ages, paused, broken, callbacks]

  function showLane(lane: LaneDepth) {
    const { listener } = lane
    for (const [estado, count] of counts(lane)) deliveries.set({ listener, estado }, count)
    ages.set({ listener }, (lane.mas_antigua_ms ?? 0) / 1000)
    paused.set({ listener }, lane.pausado === 'no' ? 0 : 1)
    broken.set({ listener }, lane.corte === 'cerrado' ? 0 : 1)
  }

  function show(depths: Depths) {
    inbox.set({ lista: 'entrada' }, depths.entrada)
    inbox.set({ lista: 'en_despacho' }, depths.en_despacho)
    inbox.set({ lista: 'demoradas' }, depths.demoradas)
    inbox.set({ lista: 'entrada_invalida' }, depths.entrada_invalida)
    audit.set(depths.auditoria_pendiente)
    oldest.set((depths.mas_antigua_ms ?? 0) / 1000)
    for (const lane of depths.listeners) showLane(lane)
    for (const [estado, count] of counts(depths.callbacks)) callbacks.set({ estado }, count)
  }

  return {
    contentType: registry.contentType,
    attempt: (listener, verdict, duration) => {
      attempts.inc({ listener, resultado: OUTCOMES[verdict] })
      durations.observe({ listener }, duration / 1000)
    },
    render: async (queue, configured, inFlight) => {
      running.set(inFlight)
      memory.set(process.memoryUsage.rss())
      // A listener that is gone, or a Redis that is away, must not leave its last figures standing.
      for (const each of shared) each.reset()
      try {
        const depths = await atMost(PATIENCE_MS, readDepths(queue, configured), () => {
          throw new Error('Redis no respondió')
        })
        show(depths)
        workers.set(depths.workers.filter((worker) => isAlive(worker, depths.fecha.getTime())).length)
        reached.set(1)
      } catch {
        reached.set(0)
      }
      return registry.metrics()
    },
  }
}

function counts({ en_cola, en_curso, reintentos, fallidas }: LaneDepth): [string, number][] {
  return Object.entries({ en_cola, en_curso, reintentos, fallidas })
}
