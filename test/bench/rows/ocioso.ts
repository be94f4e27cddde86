/** What a worker costs that has nothing to do. */
import { databaseOf, oneListener, peerRows, REQUEST_TIMEOUT_MS } from '../contenders.ts'
import { drain } from '../drain.ts'
import { Installation } from '../installation.ts'
import { createPeerAudit } from '../peers/audit.ts'
import { addJobs, jobOf, openQueue } from '../peers/bullmq.ts'
import type { BullmqWorkerConfiguration } from '../peers/bullmq-worker.ts'
import { hasProc, readProcess } from '../proc.ts'
import { startProgram } from '../program.ts'
import type { Contender, Readings, Row } from '../row.ts'
import type { Bench } from '../scene.ts'

const OWN = 'resthooks'
/** Deliveries before it falls idle: connections are open and the code was used. */
const WORK = 300
/** Until timers and garbage of the work are gone: V8 goes on collecting, a few times, for most of a minute. */
const SETTLE_MS = 45_000
/** How long it is watched, at least: several polls and heartbeats. */
const LEAST_WINDOW_MS = 6_000

export const ocioso: Row = {
  name: 'ocioso',
  title: 'Un worker sin nada que hacer (un proceso)',
  lines: [
    { key: 'cpu', label: 'CPU, de un núcleo', unit: 'percent' },
    { key: 'wakeUps', label: 'despertares por segundo', unit: 'count' },
    { key: 'commands', label: 'comandos por segundo en Redis, con los de sus scripts', unit: 'count' },
    { key: 'rss', label: 'memoria residente', unit: 'MB' },
  ],
  goals: () => [
    { kind: 'at most', line: 'cpu', who: OWN, value: 0.5 },
    { kind: 'at most', line: 'rss', who: OWN, value: 90 },
  ],
  contenders: async (bench) => {
    if (!hasProc) throw new Error('La fila «ocioso» lee /proc: hace falta Linux')
    return [await own(bench), await bullmq(bench)]
  },
}

async function own(bench: Bench): Promise<Contender> {
  const installation = await Installation.create(bench, oneListener(bench))
  return {
    who: OWN,
    role: 'own',
    measure: async () => {
      await bench.fresh()
      await installation.truncate()
      const worker = await installation.startWorker()
      try {
        await installation.stage(WORK)
        const go = () => installation.release()
        await drain(bench, { count: WORK, pid: worker.child.pid!, go, audited: () => installation.attempts() })
        return await watch(bench, worker.child.pid!)
      } finally {
        await installation.stopWorker(worker)
      }
    },
    end: () => installation.end(),
  }
}

async function bullmq(bench: Bench): Promise<Contender> {
  const schema = 'par_bullmq_ocioso'
  await createPeerAudit(bench.sql, schema)
  return {
    who: 'BullMQ + undici, un INSERT por trabajo',
    role: 'peer',
    measure: async () => {
      await bench.fresh()
      const configuration: BullmqWorkerConfiguration = {
        redis: { host: bench.redis.host, port: bench.redis.port },
        queue: 'ocioso',
        concurrency: bench.options.concurrency,
        timeout: REQUEST_TIMEOUT_MS,
        audit: { database: databaseOf(bench), schema, mode: 'one by one' },
      }
      const queue = openQueue(bench, 'ocioso')
      await addJobs(
        queue,
        Array.from({ length: WORK }, (_, number) => jobOf(number, 'uno', bench.nginx.url)),
      )
      await queue.close()
      const worker = await startProgram('bullmq-worker', configuration)
      try {
        const go = () => worker.ask('go')
        await drain(bench, { count: WORK, pid: worker.pid, go, audited: () => peerRows(bench, schema) })
        return await watch(bench, worker.pid)
      } finally {
        await worker.stop()
      }
    },
    end: async () => {
      await bench.sql`DROP SCHEMA IF EXISTS ${bench.sql(schema)} CASCADE`
    },
  }
}

async function watch({ client, options }: Bench, pid: number): Promise<Readings> {
  const commandsSoFar = async () => Number(/total_commands_processed:(\d+)/.exec(await client.info('stats'))?.[1])
  await pause(SETTLE_MS)
  const commandsBefore = await commandsSoFar()
  const before = readProcess(pid)
  const begun = performance.now()
  await pause(Math.max(LEAST_WINDOW_MS, options.seconds * 1000))
  const after = readProcess(pid)
  const seconds = (performance.now() - begun) / 1000
  // The first question counts itself before it answers only when it is over: one of the two is in between.
  const commands = (await commandsSoFar()) - commandsBefore - 1
  return {
    cpu: (after.cpuMs - before.cpuMs) / 10 / seconds,
    wakeUps: (after.wakeUps - before.wakeUps) / seconds,
    commands: commands / seconds,
    rss: after.rss / 2 ** 20,
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
