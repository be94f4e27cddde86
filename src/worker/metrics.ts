/**
 * What a worker tells Prometheus: what this process has done, and how full the project's queues are, asked of Redis at each
 * scrape. The latter are the same from every worker (rules take their `max`).
 *
 * Labels have the configuration's listeners for values, each from its first scrape on, and nobody else's: what a message says
 * makes no series. A listener that is gone takes its series along, and a Redis that is away those that only it knows.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { AttemptRecord } from '../audit/event.ts'
import type { Config } from '../config/config.ts'
import type { Millis } from '../model/message.ts'
import { type Gauges, type LaneGauge, readGauges } from '../queue/gauges.ts'
import type { Queue } from '../queue/queue.ts'
import type { Verdict } from '../queue/settle.ts'
import { atMost } from './waiting.ts'

/** `interrupted`: cut by a shutdown or a lost lease, and made again. */
const OUTCOMES: Readonly<Record<Verdict, string>> = {
  ok: 'success',
  retry: 'retry',
  failed: 'failure',
  gone: 'failure',
  requeue: 'interrupted',
  wait: 'interrupted',
}

const CLASSES = ['2xx', '3xx', '4xx', '5xx', 'timeout', 'dns', 'connect', 'tls', 'cut', 'other'] as const
type Class = (typeof CLASSES)[number]

const TROUBLES: Readonly<Record<string, Class>> = {
  timeout: 'timeout',
  dns: 'dns',
  tls: 'tls',
  respuesta: 'cut',
  interrumpido: 'cut',
}

/** What a request came to, in a word. */
export function classOf({ error, status, phases }: Pick<AttemptRecord, 'error' | 'status' | 'phases'>): Class {
  // A connection that stood, or was used again, broke off; else there was none.
  if (error === 'conexion') return phases && (phases.conexion !== undefined || !('dns' in phases)) ? 'cut' : 'connect'
  const trouble = error === null ? undefined : TROUBLES[error]
  if (trouble) return trouble
  const byStatus = `${Math.floor((status ?? 0) / 100)}xx` as Class
  return CLASSES.includes(byStatus) ? byStatus : 'other'
}

/** An attempt that has ended. */
interface Attempt {
  readonly verdict: Verdict
  readonly duration: Millis
  /** Its last request, undefined: none was made. */
  readonly last: Pick<AttemptRecord, 'error' | 'status' | 'phases'> | undefined
  /** Since the message was accepted, or its `demora` was over. */
  readonly age: Millis
  /** Of the server's certificate, ms since epoch; undefined: none was seen. */
  readonly certificateEndsAt: number | undefined
}

/** What is asked for one scrape. */
interface Scraped {
  /** With a connection of its own. */
  readonly queue: Queue
  readonly config: Config
  /** Of the configuration in force. */
  readonly configHash: string
  readonly inFlight: number
  /** ms since each of the worker's loops last turned. */
  readonly loops: Readonly<Record<string, Millis>>
  /** Rejects where Postgres takes nothing. */
  askPostgres(): Promise<void>
}

export interface Metrics {
  readonly contentType: string
  /** One attempt of this process has ended. */
  attempted(listener: string, attempt: Attempt): void
  /** Messages were taken from the inbox. */
  accepted(count: number): void
  /** The audit thread has written. */
  audited(rows: number): void
  /** The text of one scrape. Without Redis, what this process knows by itself. */
  render(scraped: Scraped): Promise<string>
}

/** From a fast listener to `espera_total`, and from one that is at hand to one that waited for its retries. */
const DURATIONS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
const LATENCIES = [0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 1_800, 7_200, 43_200, 172_800]
/** Of one scrape: Prometheus gives up after ten seconds by default. */
const PATIENCE_MS: Millis = 4_000

/** What is taken of what prom-client knows about a process, in our words. */
const PROCESS: Readonly<Record<string, string>> = {
  process_cpu_seconds_total: 'Tiempo de CPU de este proceso',
  process_start_time_seconds: 'Cuándo arrancó este proceso',
  process_resident_memory_bytes: 'Memoria residente de este proceso',
  process_open_fds: 'Archivos y conexiones abiertos',
  process_max_fds: 'Máximo de archivos y conexiones abiertos (ulimit -n)',
  nodejs_heap_size_used_bytes: 'Memoria de JavaScript en uso',
  nodejs_eventloop_lag_seconds: 'Demora del ciclo de eventos en este momento',
  nodejs_eventloop_lag_p99_seconds: 'Demora del ciclo de eventos desde la consulta anterior, percentil 99',
  nodejs_eventloop_lag_max_seconds: 'Demora del ciclo de eventos desde la consulta anterior, máxima',
}

/**
 * @param build      what this program was made of
 * @param configured those of the configuration in force
 */
export function createMetrics(
  build: { readonly version: string; readonly commit: string },
  configured: () => Config['listeners'],
): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const gauge = <Label extends string = never>(name: string, help: string, labelNames: readonly Label[] = []) =>
    new Gauge<Label>({ name: `resthooks_${name}`, help, labelNames: [...labelNames], registers })
  const counter = <Label extends string = never>(name: string, help: string, labelNames: readonly Label[] = []) =>
    new Counter<Label>({ name: `resthooks_${name}`, help, labelNames: [...labelNames], registers })
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name: `resthooks_${name}`, help, labelNames: ['listener'] as const, buckets, registers })

  const info = gauge('build_info', 'Versión y configuración de este proceso', ['version', 'commit', 'config_hash'])
  const attempts = counter('attempts_total', 'Intentos de este proceso', ['listener', 'outcome', 'class'])
  const durations = histogram('attempt_duration_seconds', 'Duración de los intentos de este proceso', DURATIONS)
  const latencies = histogram('delivery_latency_seconds', 'Desde que se aceptó el mensaje hasta su entrega', LATENCIES)
  const accepted = counter('messages_accepted_total', 'Mensajes que este proceso tomó de la entrada')
  const audited = counter('audit_rows_written_total', 'Filas de auditoría que este proceso escribió en Postgres')
  const running = gauge('inflight', 'Entregas y callbacks en curso en este proceso')
  const turns = gauge('loop_last_turn_timestamp_seconds', 'Última vuelta de cada ciclo de este proceso', ['loop'])
  const certificates = gauge(
    'listener_certificate_expiry_timestamp_seconds',
    'Cuándo vence el certificado del servidor, visto en la última conexión de este proceso',
    ['listener'],
  )
  const retention = gauge('audit_retention_seconds', 'Lo que conserva la purga nocturna; 0 = todo')
  const redisUp = gauge('redis_up', '1 si Redis respondió a esta consulta')
  const postgresUp = gauge('postgres_up', '1 si Postgres admite escrituras en esta consulta')

  const deliveries = gauge('queue_deliveries', 'Entregas en Redis', ['listener', 'state'])
  const overdue = gauge(
    'queue_oldest_overdue_seconds',
    'Atraso de lo que más tiempo lleva pudiendo entregarse, sin contar pausas ni cortes',
    ['listener'],
  )
  const paused = gauge('listener_paused', '1 si el listener está pausado', ['listener'])
  const broken = gauge('breaker_open', '1 si el corte del listener está abierto o a prueba', ['listener'])
  const callbacks = gauge('callbacks', 'Callbacks en Redis', ['state'])
  const inbox = gauge('inbox_messages', 'Mensajes que esperan su despacho')
  const inboxOldest = gauge('inbox_oldest_seconds', 'Espera del primero de ellos')
  const delayed = gauge('delayed_messages', 'Mensajes cuya demora todavía corre')
  const invalid = gauge('invalid_entries', 'Entradas de la cola que no se entienden, apartadas')
  const backlog = gauge('audit_backlog_rows', 'Filas de auditoría que esperan a Postgres')
  const backlogOldest = gauge('audit_backlog_oldest_seconds', 'Espera de la primera de ellas')
  const workers = gauge('workers_alive', 'Workers que dan señales de vida')
  const memory = gauge('redis_memory_used_bytes', 'Memoria en uso de Redis')
  const memoryLimit = gauge('redis_memory_limit_bytes', 'maxmemory de Redis; 0 = sin límite')
  const purged = gauge('last_purge_timestamp_seconds', 'Cuándo terminó bien la última purga de la auditoría')
  const shared = [
    ...[deliveries, overdue, paused, broken, callbacks, inbox, inboxOldest, delayed, invalid, backlog, backlogOldest],
    ...[workers, memory, memoryLimit, purged],
  ]

  // Its timer wakes an idle process: rarely is enough to see a loop that is held up.
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 50 })
  for (const { name } of registry.getMetricsAsArray()) {
    if (name.startsWith('resthooks_')) continue
    if (PROCESS[name] === undefined) registry.removeSingleMetric(name)
    else (registry.getSingleMetric(name) as unknown as { help: string }).help = PROCESS[name]
  }

  /** Those that have series, and until when the certificate is good that each was last seen with. */
  const listeners = new Map<string, number | null>()

  /** From zero on: the first failure of a series that was not there is no increase. @returns false: it is not configured */
  function begin(listener: string): boolean {
    if (listeners.has(listener)) return true
    if (!configured().has(listener)) return false
    listeners.set(listener, null)
    for (const [outcome, each] of EXPECTED) attempts.inc({ listener, outcome, class: each }, 0)
    for (const each of [durations, latencies]) each.zero({ listener })
    return true
  }

  function forget(listener: string) {
    listeners.delete(listener)
    for (const outcome of new Set(Object.values(OUTCOMES)))
      for (const each of CLASSES) attempts.remove(listener, outcome, each)
    for (const each of [durations, latencies, certificates]) each.remove(listener)
  }

  function showLane({ listener, ...lane }: LaneGauge, now: number) {
    for (const state of STATES) deliveries.set({ listener, state }, lane[state])
    overdue.set({ listener }, lane.overdue === null ? 0 : (now - lane.overdue.since) / 1000)
    paused.set({ listener }, Number(lane.paused))
    broken.set({ listener }, Number(lane.breaker !== 'closed'))
  }

  function show({ now, lanes, ...gauges }: Gauges) {
    for (const lane of lanes) showLane(lane, now)
    for (const state of STATES) callbacks.set({ state }, gauges.callbacks[state])
    inbox.set(gauges.inbox)
    inboxOldest.set(gauges.inboxOverdue === null ? 0 : Math.max(0, now - gauges.inboxOverdue.since) / 1000)
    delayed.set(gauges.delayed)
    invalid.set(gauges.invalid)
    backlog.set(gauges.auditRows)
    backlogOldest.set(gauges.auditOldest / 1000)
    workers.set(gauges.workersAlive)
    if (gauges.memory) {
      memory.set(gauges.memory.used)
      memoryLimit.set(gauges.memory.limit)
    }
    if (gauges.purgedAt !== null) purged.set(gauges.purgedAt / 1000)
  }

  async function ask({ queue, config, askPostgres }: Scraped) {
    const late = () => {
      throw new Error('no respondió a tiempo')
    }
    const [redis, postgres] = await Promise.allSettled([
      atMost(PATIENCE_MS, readGauges(queue, config.listeners.values()), late),
      atMost(PATIENCE_MS, askPostgres(), late),
    ])
    // What is not known any more must not stand as it was.
    for (const each of shared) clear(each)
    redisUp.set(Number(redis.status === 'fulfilled'))
    postgresUp.set(Number(postgres.status === 'fulfilled'))
    if (redis.status === 'fulfilled') show(redis.value)
  }

  return {
    contentType: registry.contentType,
    attempted: (listener, { verdict, duration, last, age, certificateEndsAt }) => {
      // Of a listener that a reload took away while its request was under way, nothing is told any more.
      if (!begin(listener)) return
      attempts.inc({ listener, outcome: OUTCOMES[verdict], class: last === undefined ? 'other' : classOf(last) })
      durations.observe({ listener }, duration / 1000)
      if (verdict === 'ok') latencies.observe({ listener }, Math.max(0, age) / 1000)
      if (certificateEndsAt !== undefined) listeners.set(listener, certificateEndsAt)
    },
    accepted: (count) => accepted.inc(count),
    audited: (rows) => audited.inc(rows),
    render: async (scraped) => {
      const { config, configHash, inFlight, loops } = scraped
      for (const name of listeners.keys()) if (!config.listeners.has(name)) forget(name)
      for (const name of config.listeners.keys()) begin(name)
      info.reset()
      info.set({ ...build, config_hash: configHash }, 1)
      running.set(inFlight)
      retention.set(config.audit.retention / 1000)
      for (const [loop, age] of Object.entries(loops)) turns.set({ loop }, (Date.now() - age) / 1000)
      for (const [listener, endsAt] of listeners) if (endsAt !== null) certificates.set({ listener }, endsAt / 1000)
      await ask(scraped)
      return registry.metrics()
    },
  }
}

/** Of what lies in Redis. */
const STATES = ['waiting', 'running', 'retrying', 'failed'] as const

/** What may come any day; an attempt that was interrupted has its series from then on. */
const EXPECTED: readonly (readonly [string, Class])[] = [
  ['success', '2xx'],
  ...CLASSES.slice(1).flatMap((each) => [['retry', each] as const, ['failure', each] as const]),
]

/** `reset` alone would leave a gauge without labels at 0. */
function clear(gauge: Gauge<string>): void {
  gauge.reset()
  gauge.remove({})
}
