/** Before a worker begins: whether Redis lets it in. Later it waits for Redis; at the start a wrong password is to be told. */
import type { RedisConfig } from '../config/config.ts'
import type { Millis } from '../message.ts'
import type { Queue } from '../queue/queue.ts'
import { connectOnce } from '../queue/redis.ts'

/** For the worker's own connection, after a probe that worked. */
const CONNECT_PATIENCE: Millis = 5_000

/** @throws whatever Redis or its client answers */
export async function firstContact(queue: Queue, redis: RedisConfig): Promise<void> {
  const probe = await connectOnce(redis)
  try {
    await probe.ping()
  } finally {
    probe.disconnect()
  }
  await untilReady(queue.redis)
}

/** A connection is made in a moment; whatever fails until then, or later, is for the loops to report. */
export function untilReady(redis: Queue['redis']): Promise<void> {
  if (redis.status === 'ready') return Promise.resolve()
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, CONNECT_PATIENCE)
    redis.once('ready', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}
