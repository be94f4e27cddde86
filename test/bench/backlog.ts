/**
 * Many messages that wait in a listener's queue, made by the program's own dispatcher but without its audit events: these
 * would take Postgres minutes for a million messages, and have nothing to do with waiting.
 */
import { Redis } from 'ioredis'
import pino from 'pino'
import { loadConfig } from '../../src/config/load.ts'
import { Subscriptions } from '../../src/config/subscriptions.ts'
import { Queue } from '../../src/queue/queue.ts'
import type { WorkerContext } from '../../src/worker/context.ts'
import { Dispatcher } from '../../src/worker/dispatcher.ts'
import { BrokenLanes, Outage } from '../../src/worker/outage.ts'
import type { Installation } from './installation.ts'
import type { Bench } from './scene.ts'

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
    metrics: () => undefined,
    now: () => Date.now(),
  }
  const queue = new Queue(redis, config.instancia, config.proyecto)
  const dispatcher = new Dispatcher(queue, context, new Subscriptions(config.listeners.values()), {
    open: () => true,
    sent: () => {},
    passed: () => {},
    active: () => {},
    failed: () => 0,
  })
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
