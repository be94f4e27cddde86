/** Redis that goes away in the middle of a command: exit 4 and a sentence, not a stack. */
import type { Config } from '../config/config.ts'

/** @throws what `work` throws; Redis's trouble as `redisTrouble` tells it */
export async function withRedisExplained<T>({ redis }: Config, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const { isRedisOutage, redisTrouble } = await import('../queue/redis.ts')
    throw isRedisOutage(error) ? redisTrouble(error, redis) : error
  }
}
