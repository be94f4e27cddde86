/** BullMQ seen from the benchmark: its queue and its jobs. */
import { Queue } from 'bullmq'
import { ulid } from 'ulid'
import { body } from '../payload.ts'
import type { Bench } from '../scene.ts'
import type { Job } from './delivery.ts'

/** What a delivery wants: to be tried again as ours would, and to be gone when it is done. */
export const JOB_OPTIONS = {
  attempts: 10,
  backoff: { type: 'exponential', delay: 5_000 },
  removeOnComplete: true,
} as const

const CHUNK = 1_000

export function openQueue({ redis }: Pick<Bench, 'redis'>, name: string): Queue<Job> {
  return new Queue<Job>(name, { connection: { host: redis.host, port: redis.port }, defaultJobOptions: JOB_OPTIONS })
}

/** The job of one delivery. */
export function jobOf(number: number, listener: string, origin: string): Job {
  return { id: ulid(), listener, origin, path: `/${listener}`, body: body(number) }
}

/** So many of them, for one listener. */
export function jobsOf(count: number, origin: string, listener = 'uno'): Job[] {
  return Array.from({ length: count }, (_, number) => jobOf(number, listener, origin))
}

export async function addJobs(queue: Queue<Job>, jobs: readonly Job[]): Promise<void> {
  for (let done = 0; done < jobs.length; done += CHUNK) {
    await queue.addBulk(jobs.slice(done, done + CHUNK).map((data) => ({ name: 'entrega', data })))
  }
}
