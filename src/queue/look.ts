/** Whether anything waits for a worker that sleeps: one script call, and mostly one command inside it. */
import { CALLBACK_LANE } from './keys.ts'
import type { Queue } from './queue.ts'
import { scriptsOf } from './scripts.ts'

export interface Seen {
  /** Redis time, ms since epoch. */
  readonly now: number
  /** There is something to dispatch, or somebody dispatches it just now. */
  readonly inbox: boolean
  /** Lanes with something that waits, is due, or whose lease ran out. */
  readonly lanes: readonly string[]
  /** Audit events that are not in the backend yet. */
  readonly audit: number
}

/** A script is given no more keys than it may unpack (8,000), and is over in a moment. */
const LANES_AT_ONCE = 500

/** Looks without taking anything. @param lanes to look at */
export async function look(queue: Queue, lanes: readonly string[]): Promise<Seen> {
  const steps = [lookAt(queue, lanes.slice(0, LANES_AT_ONCE))]
  for (let i = LANES_AT_ONCE; i < lanes.length; i += LANES_AT_ONCE) {
    steps.push(lookAt(queue, lanes.slice(i, i + LANES_AT_ONCE)))
  }
  const seen = await Promise.all(steps)
  return { ...seen.at(-1)!, lanes: seen.flatMap((each) => each.lanes) }
}

async function lookAt(queue: Queue, lanes: readonly string[]): Promise<Seen> {
  const { dispatchLease, audit, inbox, dispatching, delayed, fanOut } = queue.keys
  const keys = [dispatchLease, audit, inbox, dispatching, delayed, fanOut]
  for (const name of lanes) {
    const { queue: waiting, front, inFlight, retries } = queue.lane(name)
    keys.push(waiting, front, name === CALLBACK_LANE ? queue.keys.callbacksAside : waiting, inFlight, retries)
  }
  const [now, pending, toDispatch, ...found] = (await scriptsOf(queue.redis).look(keys.length, ...keys)) as number[]
  return { now: now!, inbox: toDispatch === 1, lanes: lanes.filter((_, i) => found[i] === 1), audit: pending! }
}
