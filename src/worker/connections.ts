/**
 * A worker's connections to Redis: the queue's, which also announces what was dispatched, and one that listens for such news.
 *
 * At the start a wrong password is told at once; later a worker waits for Redis, under whatever credentials are in force by then.
 */
import type { Config, RedisConfig } from '../config/config.ts'
import type { Millis } from '../model/message.ts'
import { Queue, WAKE } from '../queue/queue.ts'
import { connectForever, connectOnce, listen, ping, reconnectWith } from '../queue/redis.ts'
import { HEARTBEAT_MS } from './heartbeat.ts'
import type { Logger } from './log.ts'
import { atMost } from './waiting.ts'

/** For the worker's own connection, after a probe that worked. */
const CONNECT_PATIENCE: Millis = 5_000

interface News {
  /** There may be something to dispatch. */
  inbox(): void
  /** There may be something to claim. */
  claims(): void
  /** Redis is back. */
  back(): void
}

export class Connections {
  readonly queue: Queue
  readonly #subscriber: ReturnType<typeof connectForever>
  #asking: NodeJS.Timeout | undefined

  constructor({ redis, instancia, proyecto }: Config) {
    const connect = (name: string) => connectForever(redis, name)
    this.queue = new Queue(connect('worker'), instancia, proyecto)
    this.#subscriber = connect('aviso')
  }

  /**
   * Whether Redis lets this worker in.
   * @throws whatever Redis or its client answers
   */
  async firstContact(config: RedisConfig): Promise<void> {
    const probe = await connectOnce(config)
    try {
      await ping(probe)
    } finally {
      probe.disconnect()
    }
    await untilReady(this.queue.redis)
  }

  listen(news: News): void {
    const heard = (text: string) => (text === WAKE.claim ? news.claims() : news.inbox())
    listen(this.#subscriber, this.queue.keys.wake, heard, () => news.inbox())
    // It asks for nothing by itself, and would never find out that nobody answers any more.
    this.#asking = setInterval(() => void ping(this.#subscriber).catch(() => {}), HEARTBEAT_MS)
    this.#asking.unref()
    this.queue.redis.on('ready', () => news.back())
  }

  /** Other credentials or another place, without dropping anything. */
  change(before: RedisConfig, redis: RedisConfig, log: Logger): void {
    const done = [this.queue.redis, this.#subscriber].map((each) => reconnectWith(each, before, redis))
    if (done.every(Boolean)) log.info({}, 'cambió el acceso a Redis o a Postgres: se usa desde ahora')
    else log.warn({}, 'se pasó a Sentinel, o de Sentinel a un servidor: vale desde el próximo inicio')
  }

  close(): void {
    clearInterval(this.#asking)
    this.#subscriber.disconnect()
    this.queue.redis.disconnect()
  }
}

/** A connection is made in a moment; whatever fails until then, or later, is for the loops to report. */
export async function untilReady(redis: Queue['redis']): Promise<void> {
  if (redis.status === 'ready') return
  await atMost(CONNECT_PATIENCE, new Promise((resolve) => redis.once('ready', resolve)))
}
