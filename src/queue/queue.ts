/**
 * The queue's operations, each one script or one command: the only file that knows a script's arguments and answers.
 *
 * What the operations mean is written at the head of each script in `lua/`.
 */
import type { Redis } from 'ioredis'
import type { Config, ListenerConfig } from '../config/config.ts'
import type { Bytes, Message, Millis } from '../model/message.ts'
import { parts } from '../model/parts.ts'
import { CALLBACK_LANE, type Keys, keysOf, type LaneKeys } from './keys.ts'
import { connectOnce, type Patience } from './redis.ts'
import { type Scripts, scriptsOf } from './scripts.ts'

/** What the scripts must know about a listener. */
export interface LaneSpec {
  readonly name: string
  readonly concurrency: number
  readonly strict: boolean
  readonly rateLimit: ListenerConfig['rateLimit']
  readonly breaker: ListenerConfig['breaker']
  /** The callback for a delivery that a script fails by itself; `{id}` stands for the message's id. */
  readonly failureJob: string | null
}

/** The beginning of an entry. */
export interface Peeked {
  readonly size: Bytes
  readonly raw: Buffer
}

interface Want {
  readonly lane: LaneSpec
  readonly n: number
  /** Bytes of envelopes that it may take of those that are free for all (all of them where it is not said); one may go beyond. */
  readonly room?: Bytes
  /** Bytes that are its own, whatever the others hold; none may go beyond. */
  readonly own?: Bytes
}

/** As in `claim`. */
interface ClaimTerms {
  readonly lease: Millis
  readonly lenient: boolean
  readonly until: number
  readonly bytes: Bytes
  readonly slots: number
}

export interface Claimed {
  readonly lane: string
  readonly id: string
  readonly fence: number
  /** Attempts that count for the strategy. */
  readonly made: number
  /** The last attempt number given out. */
  readonly number: number
  readonly version: number
  /** The envelope, or the callback's job. */
  readonly raw: Buffer
  /** What stands in the envelope, where that was read before. */
  readonly message?: Message | undefined
}

interface ClaimedLane {
  readonly items: readonly Claimed[]
  readonly nextAt: number | null
  readonly left: number
  /** Deliveries failed by the script: lease lost three times, body missing. */
  readonly failed: number
  /** A key of the lane is of another type, and nothing was done: Redis's words. */
  readonly broken: string | null
  /** False: the lanes before it took all there was to take. */
  readonly looked: boolean
}

export interface Held {
  readonly lane: string
  readonly id: string
  readonly fence: number
}

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

/** A script is given no more keys than it may unpack (8,000), and is over in a millisecond or two. */
const LANES_AT_ONCE = 250
const RELEASED_AT_ONCE = 100
/** Between short fields that travel as one argument: in no id, and the last field may hold it. */
export const FIELD_END = '\x1f'
const PEEK_BYTES: Bytes = 1024 * 1024
const DEDUPE_SECONDS = 24 * 3600

/** What is published on `aviso`: there is something to dispatch, something to claim. Foreign programs may publish anything. */
export const WAKE = { dispatch: '', claim: 'c' } as const

export class Queue {
  readonly keys: Keys
  readonly redis: Redis
  readonly #scripts: Scripts
  readonly #lanes = new Map<string, LaneKeys>()

  constructor(redis: Redis, instancia: string, proyecto: string) {
    this.redis = redis
    this.keys = keysOf(instancia, proyecto)
    this.#scripts = scriptsOf(redis)
  }

  lane(name: string): LaneKeys {
    let keys = this.#lanes.get(name)
    if (!keys) {
      keys = this.keys.lane(name)
      this.#lanes.set(name, keys)
    }
    return keys
  }

  /** Tells the workers that there is something: a hint, which may get lost or be forbidden. Never rejects. */
  async wake(what: keyof typeof WAKE): Promise<void> {
    await this.redis.publish(this.keys.wake, WAKE[what]).catch(() => 0)
  }

  /** Redis's clock, whole ms since epoch: the one that decides about due times. */
  async now(): Promise<number> {
    const [seconds, micros] = await this.redis.time()
    return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000)
  }

  /** Puts envelopes into the inbox, in order, and wakes the workers. Safe with Redis when it returns. */
  async enqueue(envelopes: readonly (string | Buffer)[]): Promise<void> {
    if (envelopes.length === 0) return
    const pushed = this.redis.lpush(this.keys.inbox, ...envelopes)
    void this.wake('dispatch')
    await pushed
  }

  /** Like `enqueue` for one message with a key: returns the id that the key stands for. */
  async enqueueOnce(key: string, id: string, envelope: string | Buffer): Promise<string> {
    const args = [this.keys.dedupePrefix + key, this.keys.inbox, id, envelope, DEDUPE_SECONDS]
    const first = await this.#scripts.enqueueOnce(2, ...args)
    void this.wake('dispatch')
    return String(first)
  }

  /**
   * @param wants how many each lane can start now
   * @param lease how long they stay this worker's without a renewal
   * @param bytes of envelopes that are free for all lanes
   * @param slots deliveries at most in all, but for callbacks
   * @param lenient leases that ran out are left alone
   * @param until when the answer is no longer waited for, Redis time; 0: never
   */
  async claim(
    wants: readonly Want[],
    lease: Millis,
    bytes: Bytes,
    slots = Number.POSITIVE_INFINITY,
    lenient = false,
    until = 0,
  ): Promise<{ now: number; lanes: readonly ClaimedLane[] }> {
    const claimed: ClaimedLane[] = []
    for (let fence = 0; ; ) {
      const deliveries = claimed.filter((_, i) => wants[i]!.lane.name !== CALLBACK_LANE)
      const answer = await this.#claimStep(wants.slice(claimed.length), fence, {
        lease,
        lenient,
        until,
        bytes: bytes - claimed.reduce((sum, { items }) => sum + bytesOf(items), 0),
        slots: slots - deliveries.reduce((sum, { items }) => sum + items.length, 0),
      })
      claimed.push(...answer.lanes)
      if (claimed.length >= wants.length) return { now: answer.now, lanes: claimed }
      fence = answer.fence
    }
  }

  /** The first ones of these lanes, as many as a script does in a moment. @param going on with the claim of this fence, 0: a new one */
  async #claimStep(
    wants: readonly Want[],
    goingOn: number,
    { lease, lenient, until, bytes, slots }: ClaimTerms,
  ): Promise<{ now: number; fence: number; lanes: readonly ClaimedLane[] }> {
    const { fence, paused, audit, remaining, callbacksAside, notBegun, messagePrefix } = this.keys
    const callbacks = this.lane(CALLBACK_LANE)
    const keys = [fence, paused, audit, remaining, callbacks.queue, callbacksAside, callbacks.retries, notBegun]
    const args: (string | number)[] = [
      lease,
      messagePrefix,
      bytes,
      Math.min(slots, 1e6),
      goingOn,
      lenient ? 1 : 0,
      Math.ceil(until),
    ]
    for (const { lane, n, room = bytes, own = 0 } of wants) {
      keys.push(...Object.values(this.lane(lane.name)))
      const { rateLimit, breaker } = lane
      args.push(lane.name, n, lane.strict ? 1 : 0, rateLimit?.count ?? 0, rateLimit?.per ?? 0, breaker?.pause ?? 0)
      args.push(lane.concurrency, lane.failureJob ?? '', lane.name === CALLBACK_LANE ? 0 : 1, room, own)
    }
    const answer = (await this.#scripts.claim(keys.length, ...keys, ...args)) as [
      number,
      number,
      ...(LaneAnswer | [] | Buffer)[],
    ]
    const [now, taken, ...lanes] = answer
    return { now, fence: taken, lanes: lanes.map((lane, i) => claimedLane(wants[i]!.lane.name, taken, lane)) }
  }

  /**
   * Tells that the deliveries claimed under this fence arrived: from now on the end of their leases counts as a lost attempt.
   * @returns false: that was told before, as where the answer got lost
   */
  async begin(fence: number): Promise<boolean> {
    return (await this.redis.zrem(this.keys.notBegun, fence)) === 1
  }

  /** Tells that these are still worked on. @returns those whose lease was lost */
  async renew<H extends Held>(held: readonly H[], lease: Millis): Promise<readonly H[]> {
    if (held.length === 0) return []
    const lanes = new LaneNumbers()
    const args = held.flatMap(({ lane, id, fence }) => [lanes.of(lane), id, fence])
    const keys = lanes.keys(this, ({ inFlight, deliveries }) => [inFlight, deliveries])
    const answer = (await this.#scripts.renew(keys.length, ...keys, lease, ...args)) as number[]
    return held.filter((_, i) => answer[i] === 0)
  }

  /** @param held in the order in which they were claimed */
  async release(held: readonly Held[]): Promise<void> {
    // Each goes before those that were given back earlier.
    for (const step of [...parts(held, RELEASED_AT_ONCE)].reverse()) {
      const lanes = new LaneNumbers()
      const args = step.flatMap(({ lane, id, fence }) => [lanes.of(lane), id, fence])
      const keys = lanes.keys(this, ({ queue, inFlight, deliveries, front }) => [queue, inFlight, deliveries, front])
      await this.#scripts.release(keys.length, ...keys, ...args)
    }
  }

  /**
   * Whether anything waits for a worker that sleeps, without taking anything: mostly one command inside one script.
   * @param lanes to look at, at least one
   */
  async look(lanes: readonly string[]): Promise<Seen> {
    const seen = await Promise.all([...parts(lanes, LANES_AT_ONCE)].map((step) => this.#lookAt(step)))
    return { ...seen.at(-1)!, lanes: seen.flatMap((each) => each.lanes) }
  }

  async #lookAt(lanes: readonly string[]): Promise<Seen> {
    const { dispatchLease, audit, inbox, dispatching, delayed, fanOut, callbacksAside } = this.keys
    const keys = [dispatchLease, audit, inbox, dispatching, delayed, fanOut]
    for (const name of lanes) {
      const { queue, front, inFlight, retries } = this.lane(name)
      keys.push(queue, front, name === CALLBACK_LANE ? callbacksAside : queue, inFlight, retries)
    }
    const [now, pending, toDispatch, ...found] = (await this.#scripts.look(keys.length, ...keys)) as number[]
    return { now: now!, inbox: toDispatch === 1, lanes: lanes.filter((_, i) => found[i] === 1), audit: pending! }
  }

  /** The beginning of entries of a list: what another program enqueued may be of any size. */
  async peek(list: string, first: number, last: number): Promise<Peeked[]> {
    const flat = (await this.#scripts.peek(1, list, first, last, PEEK_BYTES)) as (number | Buffer)[]
    return flat.flatMap((raw, i) => (Buffer.isBuffer(raw) ? [{ size: flat[i - 1] as number, raw }] : []))
  }

  async close(): Promise<void> {
    this.redis.disconnect()
  }
}

/** Lanes as the scripts see them: by number, in the order in which they are first named. */
export class LaneNumbers {
  readonly names: string[] = []
  readonly #numbers = new Map<string, number>()

  of(name: string): number {
    let number = this.#numbers.get(name)
    if (number === undefined) {
      number = this.names.push(name)
      this.#numbers.set(name, number)
    }
    return number
  }

  /** @param some of each lane's; all of them where it is not said */
  keys(queue: Queue, some: (keys: LaneKeys) => string[] = Object.values): string[] {
    return this.names.flatMap((name) => some(queue.lane(name)))
  }
}

type LaneAnswer = [number, number, number, (Buffer | number)[]]

/** Of their envelopes. */
export function bytesOf(items: readonly Claimed[]): Bytes {
  return items.reduce((sum, { raw }) => sum + raw.length, 0)
}

function claimedLane(lane: string, fence: number, answer: LaneAnswer | [] | Buffer): ClaimedLane {
  const nothing = { items: [], nextAt: null, left: 0, failed: 0, broken: null, looked: true }
  if (Buffer.isBuffer(answer)) return { ...nothing, broken: String(answer) }
  if (answer.length === 0) return { ...nothing, looked: false }
  const [next, left, failed, flat] = answer
  const items: Claimed[] = []
  for (let i = 0; i < flat.length; i += 5) {
    const [id, made, number, version, raw] = flat.slice(i, i + 5) as [Buffer, number, number, number, Buffer]
    items.push({ lane, id: id.toString('utf8'), fence, made, number, version, raw })
  }
  return { items, nextAt: next < 0 ? null : next, left, failed, broken: null, looked: true }
}

/**
 * The queue for a command line tool.
 * @throws Unavailable when Redis does not answer, ConfigError when it refuses the credentials
 */
export async function openQueue(config: Config, patience?: Patience): Promise<Queue> {
  return new Queue(await connectOnce(config.redis, patience), config.instancia, config.proyecto)
}
