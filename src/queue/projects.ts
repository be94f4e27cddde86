/** Of which projects this Redis tells. Only reads. */
import type { Project } from '../model/project.ts'
import { parseContinuity } from './continuity.ts'
import { projectOfWake, WAKE_CHANNELS } from './keys.ts'
import type { Queue } from './queue.ts'
import { orForbidden, orMistyped } from './redis.ts'

/** Whether a worker ever worked for this project; null: this user may not ask. */
export async function wasServed({ redis, keys }: Queue): Promise<boolean | null> {
  const [left, mark] = await Promise.all([
    orForbidden(redis.exists(keys.fence, keys.listeners, keys.workers)),
    orForbidden(orMistyped(redis.get(keys.continuity), null)),
  ])
  if (left === null) return null
  // `recuperar` makes a mark that tells no time, whoever named the project.
  const continuity = parseContinuity(mark, false)
  return left > 0 || (continuity.kind === 'lost' && continuity.since !== null)
}

/** Those whose workers listen at this moment; none where this user may not ask. */
export async function servedProjects({ redis }: Queue): Promise<Project[]> {
  const channels = (await orForbidden(redis.pubsub('CHANNELS', WAKE_CHANNELS))) as string[] | null
  return (channels ?? []).flatMap((channel) => projectOfWake(channel) ?? [])
}

/** Whether anything lies in its inbox. */
export async function hasMessages({ redis, keys }: Queue): Promise<boolean> {
  return (await orMistyped(redis.llen(keys.inbox), 0)) > 0
}
