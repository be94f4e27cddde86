/**
 * How full the queues are and how long what is due has waited: a few short scripts that are sent together, one round trip however
 * many listeners there are. Only reads. `/metrics` and the health checks ask for this, and `depths.ts` for what people look at.
 */
import { decodeTime, isValid } from 'ulid'
import type { Millis } from '../model/message.ts'
import { parts } from '../model/parts.ts'
import { type Memory, readMemory } from './backlog.ts'
import { understood } from './envelope.ts'
import { CALLBACK_LANE } from './keys.ts'
import type { Queue } from './queue.ts'
import { orMistyped } from './redis.ts'
import { scriptsOf } from './scripts.ts'
import { isAlive, readWorkers } from './workers.ts'

/** What waits, and since when it could have gone on; Redis time, ms since epoch. */
export interface Due {
  readonly id: string
  readonly since: number
}

export interface LaneGauge {
  readonly listener: string
  readonly waiting: number
  readonly running: number
  readonly retrying: number
  readonly failed: number
  readonly paused: boolean
  readonly breaker: 'closed' | 'open' | 'half'
  /** A key of it is of another type: nothing of it is worked. */
  readonly broken: boolean
  /** What has been due for longest; null: nothing is, or it is held back on purpose (pause, open breaker, strict order). */
  readonly overdue: Due | null
}

export interface Gauges {
  /** Redis time, ms since epoch. */
  readonly now: number
  /** Messages that wait to be dispatched, or are being dispatched. */
  readonly inbox: number
  /** The first of them, or the first whose `demora` is over. */
  readonly inboxOverdue: Due | null
  readonly invalid: number
  readonly delayed: number
  readonly lanes: readonly LaneGauge[]
  readonly callbacks: LaneGauge
  readonly auditRows: number
  readonly auditOldest: Millis
  readonly workersAlive: number
  /** Null where the user of this connection may not ask. */
  readonly memory: Memory | null
  /** Of the last purge of the audit that ended well, ms since epoch; null: none is known. */
  readonly purgedAt: number | null
}

/** What decides whether that which waits is held back on purpose. */
interface LaneRule {
  readonly name: string
  readonly active: boolean
  readonly order: 'libre' | 'estricto'
}

/** A script is over in a millisecond. */
const LANES_AT_ONCE = 25
const CALLBACKS: LaneRule = { name: CALLBACK_LANE, active: true, order: 'libre' }

/**
 * @param listeners those of the configuration
 * @throws whatever Redis or its client answers
 */
export async function readGauges(queue: Queue, listeners: Iterable<LaneRule>): Promise<Gauges> {
  const { redis, keys } = queue
  const rules = [CALLBACKS, ...listeners]
  const [oldest, dispatching, held, memory, purged, workers, { shared, lanes: found }] = await Promise.all([
    orMistyped(queue.peek(keys.inbox, -1, -1), []),
    orMistyped(queue.peek(keys.dispatching, 0, 0), []),
    orMistyped(redis.hgetall(keys.paused), {} as Record<string, string>),
    readMemory(redis),
    orMistyped(redis.get(keys.purged), null),
    readWorkers(queue),
    measure(
      queue,
      rules.map(({ name }) => name),
    ),
  ])
  const { now } = shared
  const [callbacks, ...lanes] = rules.map((rule) => laneGauge(rule, found.get(rule.name)!, held, now)) as [
    LaneGauge,
    ...LaneGauge[],
  ]
  const waiting = [...oldest, ...dispatching].map(({ raw }) => sinceOf(raw))
  return {
    now,
    inbox: shared.inbox + shared.dispatching,
    inboxOverdue: earliest([...waiting, dueNow('', shared.delayedDue, now)]),
    invalid: shared.invalid,
    delayed: shared.delayed,
    lanes,
    callbacks: { ...callbacks, waiting: callbacks.waiting + shared.aside },
    auditRows: shared.auditRows,
    auditOldest: shared.auditDelay ?? 0,
    workersAlive: workers.filter((worker) => isAlive(worker, now)).length,
    memory,
    purgedAt: purged === null ? null : Number(purged),
  }
}

/** What one look at the queues tells. */
interface Measured {
  readonly shared: {
    /** Redis time, ms since epoch. */
    readonly now: number
    readonly inbox: number
    readonly invalid: number
    readonly dispatching: number
    readonly delayed: number
    /** Of the first with `demora`, ms since epoch. */
    readonly delayedDue: number | null
    readonly auditRows: number
    /** Of the oldest event that Postgres has not taken. */
    readonly auditDelay: Millis | null
    /** Callbacks put aside. */
    readonly aside: number
  }
  readonly lanes: Map<string, MeasuredLane>
}

/** Instants in ms since epoch; an id is '' where there is none. */
export interface MeasuredLane {
  readonly waiting: number
  readonly running: number
  readonly retrying: number
  readonly failed: number
  readonly breaker: string
  readonly breakerUntil: number | null
  readonly firstRetry: string
  readonly firstDue: number | null
  readonly firstLease: string
  readonly leaseEnds: number | null
  /** The message that is first in line; its version is 0 where it was never claimed. */
  readonly head: string
  readonly headVersion: number
  readonly notBefore: string
  readonly created: string
  /** A key of it is of another type. */
  readonly broken: boolean
}

type Answer = readonly (number | Buffer)[]

/** @param names at least one */
export async function measure(queue: Queue, names: readonly string[]): Promise<Measured> {
  const { inbox, inboxInvalid, dispatching, fanOut, delayed, audit, auditBefore, callbacksAside } = queue.keys
  const shared = [inbox, inboxInvalid, dispatching, fanOut, delayed, audit, auditBefore, callbacksAside]
  const answers = await Promise.all(
    [...parts(names, LANES_AT_ONCE)].map((part) => {
      const keys = [...shared, ...part.flatMap((name) => Object.values(queue.lane(name)))]
      return scriptsOf(queue.redis).gauge(keys.length, ...keys, queue.keys.messagePrefix) as Promise<
        [Answer, ...Answer[]]
      >
    }),
  )
  const found = answers.flatMap(([, ...lanes]) => lanes)
  return { shared: sharedOf(answers[0]![0]), lanes: new Map(names.map((name, at) => [name, laneOf(found[at]!)])) }
}

function sharedOf(answer: Answer): Measured['shared'] {
  const [now, inbox, invalid, dispatching, fanOut, delayed] = answer as number[]
  const [delayedDue, auditRows, auditFirst, aside] = answer.slice(6).map(String) as [string, string, string, string]
  return {
    now: now!,
    inbox: inbox!,
    invalid: invalid!,
    dispatching: dispatching! + fanOut!,
    delayed: delayed!,
    delayedDue: instant(delayedDue),
    auditRows: Number(auditRows),
    auditDelay: auditFirst === '' ? null : Math.max(0, now! - Number.parseInt(auditFirst, 10)),
    aside: Number(aside),
  }
}

const NOTHING: Answer = [0, 0, 0, 0, ...Array<Buffer>(11).fill(Buffer.alloc(0))]

function laneOf(found: Answer): MeasuredLane {
  const answer = (found.length === 0 ? NOTHING : found).map(String)
  const [waiting, running, retrying, failed, breaker, until, retry, due, lease, ends, ...first] = answer
  const [head, version, notBefore, created, wrong] = first
  return {
    waiting: Number(waiting),
    running: Number(running),
    retrying: Number(retrying),
    failed: Number(failed),
    breaker: breaker!,
    breakerUntil: instant(until!),
    firstRetry: retry!,
    firstDue: instant(due!),
    firstLease: lease!,
    leaseEnds: instant(ends!),
    head: head!,
    headVersion: Number(version),
    notBefore: notBefore!,
    created: created!,
    broken: wrong !== '',
  }
}

function instant(text: string): number | null {
  return text === '' ? null : Number(text)
}

function laneGauge(
  { name, active, order }: LaneRule,
  lane: MeasuredLane,
  held: Readonly<Record<string, string>>,
  now: number,
): LaneGauge {
  const { waiting, running, retrying, failed, head, broken } = lane
  const pause = held[name] ?? ''
  const until = Number.parseInt(pause, 10)
  // A pause that this version does not understand is one all the same.
  const paused = pause !== '' && !(until > 0 && until <= now)
  const breaker = lane.breaker === 'open' || lane.breaker === 'half' ? lane.breaker : 'closed'
  const isHeld = paused || breaker !== 'closed' || !active
  // In strict order a retry holds those behind it.
  const isBehind = order === 'estricto' && retrying + running > 0
  return {
    listener: name,
    waiting,
    running,
    retrying,
    failed,
    paused,
    breaker,
    broken,
    overdue: isHeld
      ? null
      : earliest([
          head === '' || isBehind ? null : { id: head, since: waitingSince(lane, now) },
          dueNow(lane.firstRetry, lane.firstDue, now),
          dueNow(lane.firstLease, lane.leaseEnds, now),
        ]),
  }
}

function dueNow(id: string, at: number | null, now: number): Due | null {
  return at !== null && at <= now ? { id, since: at } : null
}

function earliest(some: readonly (Due | null)[]): Due | null {
  let first: Due | null = null
  for (const each of some) if (each !== null && (first === null || each.since < first.since)) first = each
  return first
}

/** A version is the Redis time of a delivery's last change; without one it waits since its message came, or was due. */
function waitingSince({ head: id, headVersion, notBefore, created }: MeasuredLane, now: number): number {
  if (headVersion > 0) return headVersion
  const callback = /^callback .*~(\d+)$/.exec(id)
  if (callback) return Number(callback[1])
  const born = isValid(id) ? decodeTime(id) : Date.parse(created)
  const due = Date.parse(notBefore)
  const since = Math.max(Number.isNaN(born) ? 0 : born, Number.isNaN(due) ? 0 : due)
  return since === 0 ? now : Math.min(since, now)
}

/** Of an entry of the inbox; null where it does not tell when it was made. */
function sinceOf(raw: Buffer): Due | null {
  const entry = understood(raw)
  const since = entry?.receivedAt ?? entry?.message.createdAt.getTime()
  return entry && since ? { id: entry.message.id, since } : null
}

/** Asks as a write does, and changes nothing: a replica answers everything else. @throws what would keep a worker from working */
export async function tryRedisWrite({ redis, keys }: Queue): Promise<void> {
  await redis.hdel(keys.workers, '')
}
