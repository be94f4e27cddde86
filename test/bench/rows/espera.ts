/** What one delivery costs while few, many and very many messages wait in the same queue. */
import { Redis } from 'ioredis'
import pino from 'pino'
import { loadConfig } from '../../../src/config/load.ts'
import { Subscriptions } from '../../../src/config/subscriptions.ts'
import { Queue } from '../../../src/queue/queue.ts'
import { Claimer } from '../../../src/worker/claimer.ts'
import type { WorkerContext } from '../../../src/worker/context.ts'
import { Dispatcher } from '../../../src/worker/dispatcher.ts'
import { Leases } from '../../../src/worker/leases.ts'
import { BrokenLanes, Outage } from '../../../src/worker/outage.ts'
import { Settler } from '../../../src/worker/settler.ts'
import { Sightings } from '../../../src/worker/sightings.ts'
import { until } from '../../support/until.ts'
import { oneListener } from '../contenders.ts'
import { Installation } from '../installation.ts'
import { cpuOfTree, hasProc } from '../processes.ts'
import type { Contender, Readings, Row } from '../row.ts'
import type { Bench } from '../scene.ts'

/** Deliveries before the measured ones. */
const WARM_UP = 1_000
const GUESS = 3_000
/** Of what is measured: a worker goes on for a moment after it. */
const SLACK = 1.5

const named = (waiting: number) => `con ${new Intl.NumberFormat('es-AR').format(waiting)} en espera`

export const espera: Row = {
  name: 'espera',
  title: 'Costo de una entrega según cuántos mensajes esperan en la cola (meta: plano, 10 %)',
  lines: [
    { key: 'cost', label: 'tiempo por entrega', unit: 'us' },
    { key: 'allCpu', label: 'CPU total por entrega', unit: 'us' },
  ],
  goals: ({ waiting }) =>
    waiting
      .slice(1)
      .map((each) => ({ kind: 'ratio', line: 'cost', who: named(each), to: named(waiting[0]!), most: 1.1 }) as const),
  contenders: async (bench) => {
    await bench.fresh()
    const contenders: Contender[] = []
    for (const waiting of bench.options.waiting) contenders.push(await withWaiting(bench, waiting))
    return contenders
  },
}

async function withWaiting(bench: Bench, waiting: number): Promise<Contender> {
  const installation = await Installation.create(bench, oneListener(bench))
  const queue = installation.keys.lane('uno').queue
  const measured = Math.round(GUESS * bench.options.seconds)
  const enough = Math.round((WARM_UP + measured) * SLACK)
  return {
    who: named(waiting),
    role: 'own',
    measure: async () => {
      // The others' backlogs stay: each has a project of its own on the same Redis.
      await bench.sql`CHECKPOINT`
      await installation.truncate()
      await addWaiting(bench, installation, waiting + enough - (await bench.client.llen(queue)))
      const worker = await installation.startWorker()
      try {
        const readings = await watch(bench, installation, worker.child.pid!, measured)
        const left = await bench.client.llen(queue)
        if (left < waiting * 0.9) throw new Error(`only ${left} of ${waiting} still waited at the end`)
        return readings
      } finally {
        await installation.stopWorker(worker)
      }
    },
    end: async () => {
      await installation.end()
      const left = await bench.client.keys(`${installation.keys.inbox.replace(/[^:]*$/, '')}*`)
      if (left.length > 0) await bench.client.unlink(left)
    },
  }
}

/** Looks at the rows of `intento` at the beginning and at the end of the measured part. */
async function watch(
  { redis, postgres, nginx }: Bench,
  installation: Installation,
  pid: number,
  measured: number,
): Promise<Readings> {
  const pids = [pid, redis.process.pid!, await postgres.pid(), nginx.pid]
  const look = async (least: number) => {
    const count = await until(
      async () => {
        const attempts = await installation.attempts()
        return attempts >= least ? attempts : null
      },
      { timeout: 120_000, every: 5, what: `${least} rows in intento` },
    )
    return { count, at: performance.now(), cpuMs: hasProc ? pids.reduce((sum, each) => sum + cpuOfTree(each), 0) : 0 }
  }
  const from = await look(WARM_UP)
  const to = await look(from.count + measured)
  const count = to.count - from.count
  return {
    cost: ((to.at - from.at) * 1000) / count,
    ...(hasProc ? { allCpu: ((to.cpuMs - from.cpuMs) * 1000) / count } : {}),
  }
}

/**
 * Many messages that wait in a listener's queue, made by the program's own dispatcher but without its audit events: these
 * would take Postgres minutes for a million messages, and have nothing to do with waiting.
 */
/** Staged at once: bounds what lies in Redis besides the backlog. */
const PART = 10_000

/** Makes `count` messages wait for the installation's listeners; no worker may run meanwhile. */
export async function addWaiting(bench: Bench, installation: Installation, count: number): Promise<void> {
  const redis = new Redis({ host: bench.redis.host, port: bench.redis.port })
  const config = loadConfig({ environment: installation.environment })
  const log = pino({ level: 'silent' })
  const context: WorkerContext = {
    worker: 'banco',
    version: 'banco',
    log,
    descriptors: new Outage(log, 'archivos'),
    brokenLanes: new BrokenLanes(log),
    redisOutage: new Outage(log, 'Redis'),
    config: () => config,
    loaded: () => ({}),
    inFlight: () => 0,
    inFlightBy: () => ({}),
    sightings: new Sightings(Date.now, String),
    metrics: () => undefined,
    now: () => Date.now(),
  }
  const queue = new Queue(redis, config.instancia, config.proyecto)
  const events = { passed: () => {}, freed: () => {}, active: () => {}, failed: () => 0, clock: () => {} }
  const leases = new Leases(queue, context)
  // A claimer without lanes: nothing goes straight to work.
  const claimer = new Claimer(queue, context, leases, new Settler(queue, context, () => {}), events)
  const dispatcher = new Dispatcher(queue, context, new Subscriptions(config.listeners.values()), claimer, events)
  try {
    for (let left = count; left > 0; left -= PART) {
      const part = Math.min(PART, left)
      await installation.stage(part)
      await installation.release()
      for (let moved = 0; moved < part; ) {
        const pass = await dispatcher.pass()
        if (pass.moved === 0) throw new Error('the dispatcher stopped before the inbox was empty')
        moved += pass.moved
      }
      await redis.del(installation.keys.audit)
    }
  } finally {
    redis.disconnect()
  }
}
