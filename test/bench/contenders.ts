/** The contenders of the rows that measure deliveries a second, each made the same way: warm up, load, go, count. */

import type { IniSections } from '../support/config-files.ts'
import { allCpu, type Drained, drain, measureWarm, ownCpu } from './drain.ts'
import { Installation } from './installation.ts'
import type { BareConfiguration } from './peers/bare-undici.ts'
import { addJobs, jobsOf, openQueue } from './peers/bullmq.ts'
import type { BullmqWorkerConfiguration } from './peers/bullmq-worker.ts'
import { type AuditMode, createPeerAudit, type Database } from './peers/delivery.ts'
import type { GraphileConfiguration } from './peers/graphile-worker.ts'
import { type Program, startProgram } from './program.ts'
import type { Contender, Readings } from './row.ts'
import type { Bench } from './scene.ts'

const REQUEST_TIMEOUT_MS = 30_000

/** What every delivery rate gives: `rate` per second, and the CPU of one delivery in µs, in all and by where it was spent. */
function readingsOf(count: number, { seconds, cpu }: Drained): Readings {
  return { rate: count / seconds, ownCpu: ownCpu(cpu), allCpu: allCpu(cpu), ...cpu }
}

export interface OwnSetting {
  readonly who: string
  readonly processes?: number
  readonly listeners: IniSections
}

/** resthooks itself: in every round a fresh worker on empty servers, whose pid `measure` is given. */
export async function ownContender(
  bench: Bench,
  { who, processes = 1, listeners }: OwnSetting,
  measure: (installation: Installation, pid: number) => Promise<Readings>,
): Promise<Contender> {
  const installation = await Installation.create(bench, listeners)
  return {
    who,
    role: 'own',
    measure: async () => {
      await bench.fresh()
      await installation.truncate()
      const worker = await installation.startWorker(processes)
      try {
        return await measure(installation, worker.child.pid!)
      } finally {
        await installation.stopWorker(worker)
      }
    },
    end: () => installation.end(),
  }
}

export interface RateSetting extends OwnSetting {
  readonly eventOf?: (number: number) => string
  /** Deliveries of one message. */
  readonly fanOut?: number
}

/** resthooks itself: deliveries a second with this configuration. */
export function ownRate(bench: Bench, { eventOf, fanOut = 1, ...setting }: RateSetting): Promise<Contender> {
  return ownContender(bench, setting, async (installation, pid) => {
    const work = async (count: number) => {
      await installation.stage(count / fanOut, eventOf)
      const go = () => installation.release()
      return drain(bench, { count, pid, go, audited: () => installation.finalAttempts() })
    }
    const count = Math.ceil(bench.options.messages / fanOut) * fanOut
    const measured = await measureWarm(count, setting.processes ?? 1, work, () => installation.audited())
    await installation.audited()
    return readingsOf(count, measured)
  })
}

/** The listener that every row starts from: nginx, as many requests at once as a worker may make. */
export function oneListener({ nginx, options }: Bench): IniSections {
  return { 'listener uno': { url: `${nginx.url}/uno`, concurrencia: options.concurrency } }
}

function databaseOf({ postgres }: Bench): Database {
  const { host, port, username, password } = postgres
  return { host, port, username, password, database: 'postgres' }
}

export interface BullmqSetting {
  readonly who: string
  /** Of its queue and, after `par_bullmq_`, of the schema of its audit. */
  readonly name: string
  readonly mode: AuditMode
  readonly concurrency?: number
  readonly timeout?: number
}

export interface BullmqPeer {
  readonly queue: ReturnType<typeof openQueue>
  /** Begins to work when it is told `go`. */
  readonly worker: Program
  /** Rows that it put on record. */
  audited(): Promise<number>
}

/** BullMQ + undici + an audit: in every round a fresh worker on empty servers. */
export async function bullmqContender(
  bench: Bench,
  { who, name, mode, concurrency = bench.options.concurrency, timeout = REQUEST_TIMEOUT_MS }: BullmqSetting,
  measure: (peer: BullmqPeer) => Promise<Readings>,
): Promise<Contender> {
  const schema = `par_bullmq_${name}`
  await createPeerAudit(bench.sql, schema)
  return {
    who,
    role: 'peer',
    measure: async () => {
      await bench.fresh()
      await bench.sql`TRUNCATE ${bench.sql(schema)}.intento`
      const configuration: BullmqWorkerConfiguration = {
        redis: { host: bench.redis.host, port: bench.redis.port },
        queue: name,
        concurrency,
        timeout,
        audit: { database: databaseOf(bench), schema, mode },
      }
      const queue = openQueue(bench, name)
      const worker = await startProgram('bullmq-worker', configuration)
      try {
        return await measure({ queue, worker, audited: () => peerRows(bench, schema) })
      } finally {
        await worker.stop()
        await queue.close()
      }
    },
    end: async () => {
      await bench.sql`DROP SCHEMA IF EXISTS ${bench.sql(schema)} CASCADE`
    },
  }
}

/** BullMQ + undici + an audit: deliveries a second. */
export function bullmqRate(bench: Bench, mode: AuditMode, who: string): Promise<Contender> {
  const { messages } = bench.options
  const name = `entregas_${mode.replaceAll(' ', '_')}`
  return bullmqContender(bench, { who, name, mode }, async ({ queue, worker, audited }) => {
    const work = async (count: number) => {
      await addJobs(queue, jobsOf(count, bench.nginx.url))
      return drain(bench, { count, pid: worker.pid, go: () => worker.ask('go'), audited })
    }
    return readingsOf(messages, await measureWarm(messages, 1, work, () => worker.ask('hold')))
  })
}

/** graphile-worker + undici + a batched audit. */
export async function graphileRate(bench: Bench, who: string): Promise<Contender> {
  const [jobSchema, auditSchema] = ['par_graphile_trabajos', 'par_graphile']
  await createPeerAudit(bench.sql, auditSchema)
  const { messages } = bench.options
  /** Loads jobs in a transaction that stays open; the function returned commits it, and all become visible at once. */
  const load = async (count: number) => {
    const jobs = jobsOf(count, bench.nginx.url)
    const connection = await bench.sql.reserve()
    // As autovacuum would in time: the jobs of the warm-up are still there, dead, and taking one reads them all.
    await connection`VACUUM ${connection(jobSchema)}._private_jobs`
    await connection`BEGIN`
    // All at once: one after the other they touch the same row of the task, and each goes through all its versions of this transaction.
    await connection`
      SELECT count(*) FROM ${connection(jobSchema)}.add_jobs((
        SELECT array_agg(json_populate_record(NULL::${connection(jobSchema)}.job_spec,
                 json_build_object('identifier', 'entrega', 'payload', payload, 'max_attempts', 10)))
          FROM json_array_elements(${JSON.stringify(jobs)}::text::json) AS payload))`
    // Likewise, of those that were planned without statistics.
    await connection`ANALYZE ${connection(jobSchema)}._private_jobs`
    return async () => {
      await connection`COMMIT`
      connection.release()
    }
  }
  return {
    who,
    role: 'peer',
    measure: async () => {
      await bench.fresh()
      await bench.sql`TRUNCATE ${bench.sql(auditSchema)}.intento`
      const configuration: GraphileConfiguration = {
        database: databaseOf(bench),
        jobSchema,
        auditSchema,
        concurrency: bench.options.concurrency,
        timeout: REQUEST_TIMEOUT_MS,
      }
      const worker = await startProgram('graphile-worker', configuration)
      try {
        const measured = async (count: number) => {
          const go = await load(count)
          return drain(bench, { count, pid: worker.pid, go, audited: () => peerRows(bench, auditSchema) })
        }
        return readingsOf(messages, await measureWarm(messages, 1, measured))
      } finally {
        await worker.stop()
      }
    },
    end: async () => {
      await bench.sql`DROP SCHEMA IF EXISTS ${bench.sql(auditSchema)}, ${bench.sql(jobSchema)} CASCADE`
    },
  }
}

/** Bare undici to the same nginx. */
export function bareRate(bench: Bench, who: string): Contender {
  const { messages } = bench.options
  return bareContender(bench, who, async (program) => {
    const measured = (count: number) =>
      drain(bench, { count, pid: program.pid, go: () => program.ask('post', count), audited: null })
    return readingsOf(messages, await measureWarm(messages, 1, measured))
  })
}

/** A program with nothing but undici, which `measure` asks to `post` so many; in every round a fresh one. */
export function bareContender(
  bench: Bench,
  who: string,
  measure: (program: Program) => Promise<Readings>,
  end: () => Promise<void> = async () => {},
): Contender {
  return {
    who,
    role: 'limit',
    measure: async () => {
      await bench.fresh()
      const configuration: BareConfiguration = { origin: bench.nginx.url, connections: bench.options.concurrency }
      const program = await startProgram('bare-undici', configuration)
      try {
        return await measure(program)
      } finally {
        await program.stop()
      }
    },
    end,
  }
}

/** Rows that a peer put on record. */
async function peerRows({ sql }: Bench, schema: string): Promise<number> {
  const [row] = await sql`SELECT count(*)::int AS count FROM ${sql(schema)}.intento`
  return row!.count
}
