/**
 * From the inbox to the listeners' queues, or straight to work: envelopes are leased where they lie, and dispatched in steps none
 * of which holds Redis for more than a few milliseconds, however many messages and listeners there are.
 *
 * What the steps mean is written at the head of `lua/take.lua` and `lua/dispatch.lua`.
 */
import type { Bytes, Message, Millis } from '../model/message.ts'
import { parts } from '../model/parts.ts'
import { pack } from './pack.ts'
import { type Claimed, FIELD_END, LaneNumbers, type Queue } from './queue.ts'
import { scriptsOf } from './scripts.ts'

export interface Taken {
  readonly fence: number
  /** Redis time, ms since epoch. */
  readonly now: number
  /** When there may be something again, ms since epoch. */
  readonly nextAt: number | null
  /** Entries of the inbox besides those that were leased. */
  readonly left: number
  /** Entries set aside because they killed their worker. */
  readonly setAside: number
  /** Entries set aside because they are too large. */
  readonly tooLarge: number
  readonly envelopes: readonly Buffer[]
}

export type DispatchItem =
  | {
      readonly kind: 'dispatch'
      readonly id: string
      readonly event: string
      readonly listeners: readonly string[]
      /** What begins at once need not be read again. */
      readonly message?: Message
    }
  | {
      readonly kind: 'wait'
      readonly id: string
      readonly event: string
      readonly dueAt: number
      readonly envelope: Buffer
    }
  | { readonly kind: 'invalid' }

interface Dispatched {
  readonly now: number
  /** Envelopes that left the inbox. One whose listeners are handed out is the last one: what comes after it is to be taken anew. */
  readonly moved: number
  /** Copies of a message that is still being delivered. */
  readonly duplicates: number
  /** Entries set aside: not understood, or with the id of another message. */
  readonly refused: number
  /** Parts of a message with very many listeners that were handed out, into queues of which `stepped` does not tell. */
  readonly parts: number
}

/** Deliveries that go straight to work. */
interface Straight {
  /** How many of each listener may begin; and whether it has a breaker that may hold them back. */
  readonly slots: ReadonlyMap<string, { readonly n: number; readonly hasBreaker: boolean }>
  readonly lease: Millis
  /** From when on nothing begins, Redis time: its answer would be no longer waited for. */
  readonly until: number
  /** After each step. @param waiting of each listener that got any into its queue */
  stepped(begun: readonly Claimed[], waiting: ReadonlyMap<string, Waiting>): void
}

/** What lies in the queue of a listener. */
export interface Waiting {
  readonly deliveries: number
  /** Nothing lay there before: nobody knows of it yet. */
  readonly news: boolean
}

const NO_SLOTS = { n: 0, hasBreaker: false }
const NOTHING_STRAIGHT: Straight = { slots: new Map(), lease: 0, until: 0, stepped: () => {} }

/** Envelopes a `take` may lease at once: bounds the time of one script. One that is larger than these bytes comes alone. */
export const TAKE_AT_MOST = 500
const TAKE_BYTES: Bytes = 384 * 1024
const STAMP_BYTES: Bytes = 4096
/** A step needs milliseconds; a dead dispatcher holds the others up for this long. */
const LEASE: Millis = 5_000

/** How much one call of `dispatch` does, in µs of Redis's time. */
interface StepLimits {
  readonly step: number
  /** A message with more listeners than these is handed out to as many of them a call. */
  readonly fanOut: number
}

const LIMITS: StepLimits = { step: 2_400, fanOut: 300 }
/** Listeners of a step that may get something straight to work; those beyond get it into their queues. */
const STRAIGHT_AT_ONCE = 40
/**
 * Measured, µs: each envelope, its bytes (per KB: read, stored, audited), each listener that gets anything, each delivery; the two
 * where some may begin, which is found out and leased.
 */
const COST = {
  envelope: 16,
  kilobyte: 6,
  queued: { listener: 6, delivery: 1.5 },
  straight: { listener: 35, delivery: 9 },
}

/**
 * @param largest bytes of one entry; some more for what this program adds to one that waits for its `demora`
 * @param most    envelopes at most
 */
export async function take(
  queue: Queue,
  largest: Bytes = Number.MAX_SAFE_INTEGER - STAMP_BYTES,
  most = TAKE_AT_MOST,
): Promise<Taken> {
  const { inbox, dispatching, dispatchLease, delayed, fence, inboxInvalid, fanOut, messagePrefix } = queue.keys
  const answer = (await scriptsOf(queue.redis).take(
    7,
    ...[inbox, dispatching, dispatchLease, delayed, fence, inboxInvalid, fanOut],
    ...[Math.min(most, TAKE_AT_MOST), TAKE_BYTES, LEASE, messagePrefix, largest + STAMP_BYTES],
  )) as [number, number, number, number, number, number, ...Buffer[]]
  const [taken, now, next, left, setAside, tooLarge, ...envelopes] = answer
  return { fence: taken, now, nextAt: next < 0 ? null : next, left, setAside, tooLarge, envelopes }
}

/**
 * Dispatches what was taken; or, where that is nothing, hands out what a dispatcher that died has left of its last message. One
 * call after another is awaited: Redis serves others in between.
 * @param items one for each envelope taken, in order
 * @returns null when the lease was lost: another worker dispatches the rest
 */
export async function dispatch(
  queue: Queue,
  taken: Pick<Taken, 'fence' | 'envelopes'>,
  items: readonly DispatchItem[],
  straight: Straight = NOTHING_STRAIGHT,
  limits: StepLimits = LIMITS,
): Promise<Dispatched | null> {
  const done = { now: 0, moved: 0, duplicates: 0, refused: 0, parts: 0 }
  const slots = new Map(straight.slots)
  for (let handingOut = false, ended = false; !ended || handingOut; ) {
    const end = handingOut ? done.moved : stepEnd(items, taken.envelopes, done.moved, limits, slots)
    const step = items.slice(done.moved, end)
    ended ||= end === items.length || isHandedOut(step.at(-1), limits)
    const envelopes = taken.envelopes.slice(done.moved, end)
    const { keys, args, lanes } = stepArguments(queue, taken.fence, { items: step, envelopes }, slots, {
      stay: ended ? 0 : items.length - end,
      lease: straight.lease,
      until: straight.until,
      fanOut: limits.fanOut,
    })
    const answer = (await scriptsOf(queue.redis).dispatch(keys.length, ...keys, ...args)) as StepAnswer
    const [now, left, refused, moved, fence, repeated, ...told] = answer
    if (now < 0) return null
    done.now = now
    done.moved += moved
    // Those with another message's bytes are counted among the refused ones.
    const invalid = step.filter(({ kind }) => kind === 'invalid').length
    done.duplicates += moved === 0 ? 0 : repeated.length - (refused - invalid)
    done.refused += refused
    // A call that moves nothing handed one out.
    if (moved === 0) done.parts += 1
    handingOut = left > 0
    const begun = new Map(lanes.map((name, i) => [name, told[i * 3] ?? 0]))
    for (const [name, count] of begun) {
      const { n, hasBreaker } = slots.get(name) ?? NO_SLOTS
      if (count > 0) slots.set(name, { n: n - count, hasBreaker })
    }
    const waiting = new Map<string, Waiting>()
    lanes.forEach((name, i) => {
      const deliveries = told[i * 3 + 1] ?? 0
      if (deliveries > 0) waiting.set(name, { deliveries, news: told[i * 3 + 2] === 1 })
    })
    straight.stepped(fence === 0 ? [] : claimsOf(step, envelopes, fence, new Set(repeated), begun), waiting)
  }
  return done
}

type StepAnswer = [number, number, number, number, number, number[], ...number[]]

/** Those that begin: of each listener the first ones of what was new. */
function claimsOf(
  items: readonly DispatchItem[],
  envelopes: readonly Buffer[],
  fence: number,
  repeated: ReadonlySet<number>,
  begun: Map<string, number>,
): Claimed[] {
  const claims: Claimed[] = []
  items.forEach((item, i) => {
    if (item.kind !== 'dispatch' || repeated.has(i + 1)) return
    for (const lane of item.listeners) {
      const left = begun.get(lane) ?? 0
      if (left === 0) continue
      begun.set(lane, left - 1)
      const { id, message } = item
      claims.push({ lane, id, fence, made: 0, number: 0, version: 0, raw: envelopes[i]!, message })
    }
  })
  return claims
}

/** A message with more listeners than one call reaches. */
function isHandedOut(item: DispatchItem | undefined, { fanOut }: StepLimits): boolean {
  return item?.kind === 'dispatch' && item.listeners.length > fanOut
}

/** Where a step that begins at `from` ends: at least one item, and one that is handed out stands alone. */
export function stepEnd(
  items: readonly DispatchItem[],
  envelopes: readonly { readonly length: Bytes }[],
  from: number,
  { step, fanOut }: StepLimits = LIMITS,
  slots: Straight['slots'] = NOTHING_STRAIGHT.slots,
): number {
  const reached = new Map<string, (typeof COST)['queued']>()
  const slotOf = slotsOfStep(slots)
  let cost = 0
  for (let at = from; at < items.length; at++) {
    const item = items[at]!
    const listeners = item.kind === 'dispatch' ? item.listeners : []
    if (listeners.length > fanOut) return Math.max(at, from + 1)
    cost += COST.envelope + (COST.kilobyte * (envelopes[at]?.length ?? 0)) / 1024
    for (const name of listeners) {
      let each = reached.get(name)
      if (each === undefined) {
        each = slotOf(name).n > 0 ? COST.straight : COST.queued
        reached.set(name, each)
        cost += each.listener
      }
      cost += each.delivery
    }
    if (cost > step) return Math.max(at, from + 1)
  }
  return items.length
}

function stepArguments(
  queue: Queue,
  fence: number,
  { items, envelopes }: { readonly items: readonly DispatchItem[]; readonly envelopes: readonly Buffer[] },
  slots: Straight['slots'],
  {
    stay,
    lease,
    until,
    fanOut,
  }: { readonly stay: number; readonly lease: Millis; readonly until: number; readonly fanOut: number },
) {
  const { inbox, dispatchLease, inboxInvalid, audit, remaining, delayed, listeners, messagePrefix } = queue.keys
  const keys = [inbox, dispatchLease, inboxInvalid, audit, remaining, delayed, listeners, queue.keys.fanOut]
  keys.push(queue.keys.fence, queue.keys.paused, queue.keys.notBegun)
  const lanes = new LaneNumbers()
  const packed: (string | number)[] = []
  const stamped: Buffer[] = []
  for (const item of items) {
    if (item.kind === 'invalid') packed.push('x')
    else if (item.kind === 'wait') {
      stamped.push(item.envelope)
      packed.push('w', item.id, item.event, item.dueAt, stamped.length + 1)
    } else if (item.listeners.length <= fanOut) {
      packed.push('d', item.id, item.event, item.listeners.length)
      for (const name of item.listeners) packed.push(lanes.of(name))
    } else {
      const handedOut = [...parts(item.listeners, fanOut)].map((names) => [item.id, ...names].join(FIELD_END))
      packed.push('f', item.id, item.event, item.listeners.length, handedOut.length, ...handedOut)
    }
  }
  const laneKeys = lanes.keys(queue, (of) => [of.queue, of.front, of.retries, of.inFlight, of.deliveries, of.breaker])
  const slotOf = slotsOfStep(slots)
  const told = lanes.names.flatMap((name) => {
    const { n, hasBreaker } = slotOf(name)
    return [name, n, hasBreaker]
  })
  const bytes = envelopes.reduce((sum, raw) => sum + raw.length, 0)
  const any = queue.lane('')
  const head = [fence, messagePrefix, LEASE, items.length, bytes, stay, any.queue, any.retries, lease, until]
  return { keys: [...keys, ...laneKeys], args: [pack([...head, told, packed]), ...stamped], lanes: lanes.names }
}

/** What each listener of a step has, asked once of each in the order in which they are named: of the first ones alone some may begin. */
function slotsOfStep(slots: Straight['slots']): (name: string) => { readonly n: number; readonly hasBreaker: boolean } {
  let straight = 0
  return (name) => {
    const slot = slots.get(name) ?? NO_SLOTS
    if (slot.n === 0 || straight >= STRAIGHT_AT_ONCE) return NO_SLOTS
    straight += 1
    return slot
  }
}
