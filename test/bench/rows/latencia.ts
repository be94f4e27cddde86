/** From `send` (the enqueueing, not the start of a process) to the listener: on an idle system, and at 500 a second. */
import { setTimeout as pause } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { ulid } from 'ulid'
import { Queue } from '../../../src/queue/queue.ts'
import { until } from '../../support/until.ts'
import { bullmqContender, ownContender } from '../contenders.ts'
import { body, envelope } from '../payload.ts'
import { jobOf } from '../peers/bullmq.ts'
import { type Program, startProgram } from '../program.ts'
import { type Contender, percentile, type Readings, type Row } from '../row.ts'
import type { Bench } from '../scene.ts'

const OWN = 'resthooks'
const PEER = 'BullMQ + undici, un INSERT por trabajo'
const BUSY_RATE = 500
/** Between two messages to an idle system: this and up to as much again. */
const IDLE_GAP_MS = 25
const WARM_UP = 300

type Enqueue = (id: string, number: number) => Promise<unknown>

export const latencia: Row = {
  name: 'latencia',
  title: 'Del encolado a la llegada al listener, cuerpo de 1 KB',
  lines: [
    { key: 'idle50', label: 'sistema ocioso, p50', unit: 'ms' },
    { key: 'idle99', label: 'sistema ocioso, p99', unit: 'ms' },
    { key: 'busy50', label: 'a 500/s, p50', unit: 'ms' },
    { key: 'busy99', label: 'a 500/s, p99', unit: 'ms' },
  ],
  goals: () => [
    ...(['idle', 'busy'] as const).flatMap(
      (load) =>
        [
          { kind: 'at most', line: `${load}50`, who: OWN, value: 3 },
          { kind: 'ratio', line: `${load}50`, who: OWN, to: PEER, most: 1 },
          { kind: 'at most', line: `${load}99`, who: OWN, value: load === 'idle' ? 20 : 10 },
          { kind: 'ratio', line: `${load}99`, who: OWN, to: PEER, most: 1 },
        ] as const,
    ),
  ],
  contenders: async (bench) => {
    const listener = await startProgram('clock-listener', null)
    bench.defer(() => listener.stop())
    const url = `http://127.0.0.1:${await listener.ask<number>('port')}`
    return [await own(bench, listener, url), await bullmq(bench, listener, url)]
  },
}

function own(bench: Bench, listener: Program, url: string): Promise<Contender> {
  const listeners = { 'listener uno': { url: `${url}/uno` } }
  return ownContender(bench, { who: OWN, listeners }, async (installation) => {
    const redis = new Redis({ host: bench.redis.host, port: bench.redis.port })
    const queue = new Queue(redis, 'banco', installation.proyecto)
    try {
      return await latencies(bench, listener, (id, number) =>
        queue.enqueue([envelope('compra.alta', body(number), id)]),
      )
    } finally {
      redis.disconnect()
    }
  })
}

function bullmq(bench: Bench, listener: Program, url: string): Promise<Contender> {
  const setting = { who: PEER, name: 'latencia', mode: 'one by one', concurrency: 10 } as const
  return bullmqContender(bench, setting, async ({ queue, worker }) => {
    await worker.ask('go')
    return latencies(bench, listener, (id, number) => queue.add('entrega', { ...jobOf(number, 'uno', url), id }))
  })
}

async function latencies({ options }: Bench, listener: Program, enqueue: Enqueue): Promise<Readings> {
  await sendPaced(listener, enqueue, WARM_UP, () => 1000 / BUSY_RATE)
  const idleGap = () => IDLE_GAP_MS * (1 + Math.random())
  const idle = await sendPaced(listener, enqueue, Math.round((options.seconds * 3000) / (1.5 * IDLE_GAP_MS)), idleGap)
  const busy = await sendPaced(listener, enqueue, Math.round(options.seconds * BUSY_RATE), () => 1000 / BUSY_RATE)
  return {
    idle50: percentile(idle, 0.5),
    idle99: percentile(idle, 0.99),
    busy50: percentile(busy, 0.5),
    busy99: percentile(busy, 0.99),
  }
}

/**
 * Sends at a pace that does not depend on how fast the system is.
 * @param gap ms to the next one
 * @returns ms from just before each enqueueing to its arrival
 */
async function sendPaced(
  listener: Program,
  enqueue: Enqueue,
  count: number,
  gap: () => number,
): Promise<readonly number[]> {
  await listener.ask('collect')
  const sent = new Map<string, bigint>()
  const pending: Promise<unknown>[] = []
  let due = performance.now()
  for (let number = 0; number < count; number++) {
    due += gap()
    const early = due - performance.now()
    if (early > 0) await pause(early)
    const id = ulid()
    sent.set(id, process.hrtime.bigint())
    pending.push(enqueue(id, number))
  }
  await Promise.all(pending)
  await until(async () => (await listener.ask<number>('count')) >= count, { what: `${count} arrivals` })
  const arrivals = await listener.ask<[string, string][]>('collect')
  return arrivals.map(([id, at]) => Number(BigInt(at) - sent.get(id)!) / 1e6)
}
