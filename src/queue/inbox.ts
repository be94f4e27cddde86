/**
 * From the inbox to the listeners' queues: a batch is taken under a lease, and dispatched in steps none of which holds Redis
 * for more than a few milliseconds, however many messages and listeners there are.
 *
 * What the steps mean is written at the head of `lua/take.lua` and `lua/dispatch.lua`.
 */
import type { Bytes, Millis } from '../model/message.ts'
import { FIELD_END, type Queue } from './queue.ts'
import { scriptsOf } from './scripts.ts'

export interface Taken {
  readonly fence: number
  /** Redis time, ms since epoch. */
  readonly now: number
  /** When there may be something again, ms since epoch. */
  readonly nextAt: number | null
  /** Entries still in the inbox. */
  readonly left: number
  /** Entries set aside because they killed their worker. */
  readonly setAside: number
  /** Entries set aside because they are too large. */
  readonly tooLarge: number
  readonly envelopes: readonly Buffer[]
}

export type DispatchItem =
  | { readonly kind: 'dispatch'; readonly id: string; readonly event: string; readonly listeners: readonly string[] }
  | {
      readonly kind: 'wait'
      readonly id: string
      readonly event: string
      readonly dueAt: number
      readonly envelope: Buffer
    }
  | { readonly kind: 'invalid' }

export interface Dispatched {
  readonly now: number
  /** Copies of a message that is still being delivered. */
  readonly duplicates: number
  /** Entries set aside: not understood, or with the id of another message. */
  readonly refused: number
  /** Script calls that it took. */
  readonly steps: number
}

/** Envelopes a `take` may lease at once: bounds the time of one script and the memory of one worker. One may go beyond the bytes. */
const TAKE_AT_MOST = 500
const TAKE_BYTES: Bytes = 1024 * 1024
const STAMP_BYTES: Bytes = 4096
/** A step needs milliseconds; a dead dispatcher holds the others up for this long. */
const LEASE: Millis = 5_000

/** How much one call of `dispatch` does, in µs of Redis's time. */
interface StepLimits {
  readonly step: number
  /** A message with more listeners than these is handed out to as many of them a call. */
  readonly fanOut: number
}

const LIMITS: StepLimits = { step: 5_000, fanOut: 500 }
/** Measured, µs: each envelope, its bytes (per KB: read, stored, audited), each listener that gets anything, each delivery. */
const COST = { envelope: 6, kilobyte: 8, listener: 6, delivery: 1.3 }

/** @param largest bytes of one entry; some more for what this program adds to one that waits for its `demora` */
export async function take(queue: Queue, largest: Bytes = Number.MAX_SAFE_INTEGER - STAMP_BYTES): Promise<Taken> {
  const { inbox, dispatching, dispatchLease, delayed, fence, inboxInvalid, fanOut, messagePrefix } = queue.keys
  const answer = (await scriptsOf(queue.redis).take(
    7,
    ...[inbox, dispatching, dispatchLease, delayed, fence, inboxInvalid, fanOut],
    ...[TAKE_AT_MOST, TAKE_BYTES, LEASE, messagePrefix, largest + STAMP_BYTES],
  )) as [number, number, number, number, number, number, ...Buffer[]]
  const [taken, now, next, left, setAside, tooLarge, ...envelopes] = answer
  return { fence: taken, now, nextAt: next < 0 ? null : next, left, setAside, tooLarge, envelopes }
}

/**
 * Dispatches what was taken, and first hands out what a dispatcher that died has left of its last message. One call after
 * another is awaited: Redis serves others in between.
 * @param items one for each envelope taken, in order
 * @returns null when the lease was lost: another worker dispatches the rest
 */
export async function dispatch(
  queue: Queue,
  { fence, envelopes }: Pick<Taken, 'fence' | 'envelopes'>,
  items: readonly DispatchItem[],
  limits: StepLimits = LIMITS,
): Promise<Dispatched | null> {
  const done = { now: 0, duplicates: 0, refused: 0, steps: 0 }
  for (let at = 0, handingOut = false; at < items.length || handingOut || done.steps === 0; ) {
    const end = handingOut ? at : stepEnd(items, envelopes, at, limits)
    const { keys, args } = stepArguments(queue, items.slice(at, end), limits)
    const head = [fence, queue.keys.messagePrefix, LEASE, end < items.length ? 1 : 0]
    const answer = await scriptsOf(queue.redis).dispatch(keys.length, ...keys, ...head, ...args)
    const [now, duplicates, refused, moved, left] = answer as [number, number, number, number, number]
    if (now < 0) return null
    done.now = now
    done.duplicates += duplicates
    done.refused += refused
    done.steps += 1
    at += moved
    handingOut = left > 0
  }
  return done
}

/** Where a step that begins at `from` ends: at least one item, and one that is handed out stands alone. */
export function stepEnd(
  items: readonly DispatchItem[],
  envelopes: readonly { readonly length: Bytes }[],
  from: number,
  { step, fanOut }: StepLimits = LIMITS,
): number {
  const reached = new Set<string>()
  let cost = 0
  for (let at = from; at < items.length; at++) {
    const item = items[at]!
    const listeners = item.kind === 'dispatch' ? item.listeners : []
    if (listeners.length > fanOut) return Math.max(at, from + 1)
    const before = reached.size
    for (const name of listeners) reached.add(name)
    cost += COST.envelope + (COST.kilobyte * (envelopes[at]?.length ?? 0)) / 1024
    cost += COST.delivery * listeners.length + COST.listener * (reached.size - before)
    if (cost > step) return Math.max(at, from + 1)
  }
  return items.length
}

function stepArguments(queue: Queue, items: readonly DispatchItem[], { fanOut }: StepLimits) {
  const { dispatching, dispatchLease, inboxInvalid, audit, remaining, delayed, listeners } = queue.keys
  const keys = [dispatching, dispatchLease, inboxInvalid, audit, remaining, delayed, listeners, queue.keys.fanOut]
  const numbers = new Map<string, number>()
  const numberOf = (name: string) => {
    let number = numbers.get(name)
    if (number === undefined) {
      number = numbers.size + 1
      numbers.set(name, number)
      keys.push(queue.lane(name).queue, queue.lane(name).retries)
    }
    return number
  }
  const args: (string | number | Buffer)[] = []
  for (const item of items) {
    if (item.kind === 'invalid') args.push('x', '', '', '')
    else if (item.kind === 'wait') args.push('w', item.id, item.event, item.dueAt, item.envelope)
    else if (item.listeners.length <= fanOut) {
      args.push('d', item.id, item.event, item.listeners.map(numberOf).join(','))
    } else {
      const parts: string[] = []
      for (let i = 0; i < item.listeners.length; i += fanOut)
        parts.push([item.id, ...item.listeners.slice(i, i + fanOut)].join(FIELD_END))
      args.push('f', item.id, item.event, item.listeners.length, parts.length, ...parts)
    }
  }
  const any = queue.lane('')
  return { keys, args: [any.queue, any.retries, items.length, numbers.size, ...numbers.keys(), ...args] }
}
