/**
 * What became of deliveries, told to Redis: several in one script call. What it means is written at the head of `lua/settle.lua`.
 */
import type { Millis } from '../model/message.ts'
import { CALLBACK_LANE } from './keys.ts'
import { type Packable, pack } from './pack.ts'
import type { LaneSpec, Queue } from './queue.ts'
import { scriptsOf } from './scripts.ts'

export type Verdict = 'ok' | 'retry' | 'failed' | 'gone' | 'requeue' | 'wait'

export interface Settlement {
  readonly lane: LaneSpec
  readonly id: string
  readonly fence: number
  readonly verdict: Verdict
  readonly number: number
  /** For `retry` and `wait`. */
  readonly delay: Millis
  readonly reason: string
  /** What the breaker learns. */
  readonly health: 'ok' | 'ko' | null
  /** The job of the callback that tells of this end. */
  readonly callback: string | null
  /** An envelope that goes into the inbox in the same step (`evento:` callbacks): repeated or lost, neither can happen. */
  readonly message: string | null
  readonly events: readonly { readonly type: 'a' | 'c'; readonly json: string }[]
}

/** As `settle` numbers them; the trial of an open breaker failed: `reopened`. */
const BREAKER_CHANGES = [null, 'opened', 'reopened', 'closed'] as const
export type BreakerChange = NonNullable<(typeof BREAKER_CHANGES)[number]>

/**
 * @param told what this call did to the circuit breaker of a lane
 * @returns for each, whether it was applied; false: the lease was lost, and only the audit took it; null: a key of its lane
 *   is of another type, and it is to be told again
 */
export async function settle(
  queue: Queue,
  settlements: readonly Settlement[],
  told: (lane: string, change: BreakerChange) => void = () => {},
): Promise<readonly (boolean | null)[]> {
  const { audit, remaining, paused, inbox, messagePrefix } = queue.keys
  const callbacks = queue.lane(CALLBACK_LANE)
  const keys = [audit, remaining, callbacks.queue, callbacks.retries, paused, inbox]
  const lanes = new Map<string, { ids: string[]; attempts: Packable[]; places: number[]; events: string[] }>()
  const packed: Packable[] = [messagePrefix]
  settlements.forEach((settlement, place) => {
    const { lane, id } = settlement
    let of = lanes.get(lane.name)
    if (of === undefined) {
      of = { ids: [], attempts: [], places: [], events: [] }
      lanes.set(lane.name, of)
      keys.push(...Object.values(queue.lane(lane.name)))
      const { breaker } = lane
      packed.push(lane.name, breaker?.threshold ?? 0, breaker?.minimum ?? 0, breaker?.window ?? 1, breaker?.pause ?? 0)
      packed.push(lane.concurrency, of.ids, of.attempts)
    }
    of.ids.push(id)
    of.places.push(place)
    const { fence, verdict, number, delay, health, reason, callback, message, events } = settlement
    of.attempts.push(String(fence), verdict, number, Math.round(delay), health ?? '', reason)
    of.attempts.push(callback ?? false, message ?? false, events.map(({ type }) => type).join(''))
    for (const { json } of events) of.events.push(json)
  })
  const events = [...lanes.values()].flatMap((of) => of.events)
  const answer = (await scriptsOf(queue.redis).settle(keys.length, ...keys, pack(packed), ...events)) as number[][]
  const results: (boolean | null)[] = []
  let next = 0
  for (const [name, { places }] of lanes) {
    const [breaker = 0, ...codes] = answer[next++]!
    const change = BREAKER_CHANGES[breaker]
    if (change) told(name, change)
    codes.forEach((code, i) => {
      results[places[i]!] = code === 2 ? null : code === 1
    })
  }
  return results
}
