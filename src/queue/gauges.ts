/**
 * How full the queues are and how long what is due has waited, for `/metrics` and the health checks: a few short scripts that
 * are sent together, one round trip however many listeners there are. Only reads.
 */
import { decodeTime, isValid } from 'ulid'
import type { Bytes, Millis } from '../model/message.ts'
import { decodeEnvelope } from './envelope.ts'
import { CALLBACK_LANE } from './keys.ts'
import type { Queue } from './queue.ts'
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
  /** Null where the user of this connection may not ask; a limit of 0: none. */
  readonly memory: { readonly used: Bytes; readonly limit: Bytes } | null
  /** Of the last purge of the audit that ended well, ms since epoch; null: none is known. */
  readonly purgedAt: number | null
}

/** What decides whether that which waits is held back on purpose. */
interface LaneRule {
  readonly name: string
  readonly active: boolean
  readonly order: 'libre' | 'estricto'
}

/** A script is over in a fraction of a millisecond. */
const LANES_AT_ONCE = 50
const CALLBACKS: LaneRule = { name: CALLBACK_LANE, active: true, order: 'libre' }

/**
 * @param listeners those of the configuration
 * @throws whatever Redis or its client answers
 */
export async function readGauges(queue: Queue, listeners: Iterable<LaneRule>): Promise<Gauges> {
  const { redis, keys } = queue
  const rules = [CALLBACKS, ...listeners]
  const chunks = Array.from({ length: Math.ceil(rules.length / LANES_AT_ONCE) }, (_, i) =>
    rules.slice(i * LANES_AT_ONCE, (i + 1) * LANES_AT_ONCE),
  )
  const [oldest, dispatching, held, memory, purged, workers, ...answers] = await Promise.all([
    orMistyped(queue.peek(keys.inbox, -1, -1), []),
    orMistyped(queue.peek(keys.dispatching, 0, 0), []),
    orMistyped(redis.hgetall(keys.paused), {} as Record<string, string>),
    unlessForbidden(redis.info('memory')),
    orMistyped(redis.get(keys.purged), null),
    readWorkers(queue),
    ...chunks.map((chunk) => gauge(queue, chunk)),
  ])
  const [shared] = answers[0]!
  const [now, inbox, invalid, inDispatch, fanOut, delayed] = shared.map(Number) as number[]
  const [delayedDue, auditRows, auditFirst, aside] = shared.slice(6).map(String) as [string, string, string, string]
  const lanes = answers.flatMap(([, ...found]) => found).map((found, i) => laneGauge(rules[i]!, found, held, now!))
  const [callbacks, ...rest] = lanes as [LaneGauge, ...LaneGauge[]]
  const waiting = [...oldest, ...dispatching].map(({ raw }) => sinceOf(raw))
  return {
    now: now!,
    inbox: inbox! + inDispatch! + fanOut!,
    inboxOverdue: earliest([...waiting, dueNow('', delayedDue, now!)]),
    invalid: invalid!,
    delayed: delayed!,
    lanes: rest,
    callbacks: { ...callbacks, waiting: callbacks.waiting + Number(aside) },
    auditRows: Number(auditRows),
    auditOldest: auditFirst === '' ? 0 : Math.max(0, now! - Number.parseInt(auditFirst, 10)),
    workersAlive: workers.filter((worker) => isAlive(worker, now!)).length,
    memory: memory === null ? null : { used: field(memory, 'used_memory'), limit: field(memory, 'maxmemory') },
    purgedAt: purged === null ? null : Number(purged),
  }
}

type Answer = readonly (number | Buffer)[]

function gauge(queue: Queue, rules: readonly LaneRule[]): Promise<[Answer, ...Answer[]]> {
  const { inbox, inboxInvalid, dispatching, fanOut, delayed, audit, auditBefore, callbacksAside } = queue.keys
  const keys = [inbox, inboxInvalid, dispatching, fanOut, delayed, audit, auditBefore, callbacksAside]
  for (const { name } of rules) {
    const { queue: list, front, inFlight, retries, failed, breaker, deliveries } = queue.lane(name)
    keys.push(list, front, inFlight, retries, failed, breaker, deliveries)
  }
  return scriptsOf(queue.redis).gauge(keys.length, ...keys, queue.keys.messagePrefix) as Promise<[Answer, ...Answer[]]>
}

const NOTHING: Answer = [0, 0, 0, 0, ...Array<Buffer>(9).fill(Buffer.alloc(0)), 0]

function laneGauge(
  { name, active, order }: LaneRule,
  found: Answer,
  held: Readonly<Record<string, string>>,
  now: number,
): LaneGauge {
  const answer = found.length === 0 ? NOTHING : found
  const [waiting, running, retrying, failed] = answer.map(Number) as [number, number, number, number]
  const [state, retry, due, lease, ends, first, version, notBefore, created, broken] = answer
    .slice(4)
    .map(String) as string[] as [string, string, string, string, string, string, string, string, string, string]
  const pause = held[name] ?? ''
  const until = Number.parseInt(pause, 10)
  // A pause that this version does not understand is one all the same.
  const paused = pause !== '' && !(until > 0 && until <= now)
  const breaker = state === 'open' || state === 'half' ? state : 'closed'
  const isHeld = paused || breaker !== 'closed' || !active
  // In strict order a retry holds those behind it.
  const head = first === '' || (order === 'estricto' && retrying + running > 0) ? null : first
  return {
    listener: name,
    waiting,
    running,
    retrying,
    failed,
    paused,
    breaker,
    broken: broken === '1',
    overdue: isHeld
      ? null
      : earliest([
          head === null ? null : { id: head, since: waitingSince(head, Number(version), notBefore, created, now) },
          dueNow(retry, due, now),
          dueNow(lease, ends, now),
        ]),
  }
}

function dueNow(id: string, at: string, now: number): Due | null {
  return at !== '' && Number(at) <= now ? { id, since: Number(at) } : null
}

function earliest(some: readonly (Due | null)[]): Due | null {
  let first: Due | null = null
  for (const each of some) if (each !== null && (first === null || each.since < first.since)) first = each
  return first
}

/** A version is the Redis time of a delivery's last change; without one it waits since its message came, or was due. */
function waitingSince(id: string, version: number, notBefore: string, created: string, now: number): number {
  if (version > 0) return version
  const callback = /^callback .*~(\d+)$/.exec(id)
  if (callback) return Number(callback[1])
  const born = isValid(id) ? decodeTime(id) : Date.parse(created)
  const due = Date.parse(notBefore)
  const since = Math.max(Number.isNaN(born) ? 0 : born, Number.isNaN(due) ? 0 : due)
  return since === 0 ? now : Math.min(since, now)
}

/** Of an entry of the inbox; null where it does not tell when it was made. */
function sinceOf(raw: Buffer): Due | null {
  try {
    const { message, receivedAt } = decodeEnvelope(raw, () => '', UNKNOWN)
    const { id, createdAt } = message
    const since = receivedAt ?? createdAt.getTime()
    return Number.isNaN(since) ? null : { id, since }
  } catch {
    // The dispatcher tells what is wrong with it.
    return null
  }
}

const UNKNOWN = new Date(Number.NaN)

/** What a key of another type holds is nobody's: `estado` and `verificar` tell of it. */
function orMistyped<T>(answer: Promise<T>, nothing: T): Promise<T> {
  return answer.catch((error: Error) => {
    if (/^WRONGTYPE/.test(error.message)) return nothing
    throw error
  })
}

function unlessForbidden(answer: Promise<string>): Promise<string | null> {
  return answer.catch((error: Error) => {
    if (/^NOPERM|unknown command/.test(error.message)) return null
    throw error
  })
}

function field(info: string, name: string): Bytes {
  return Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(info)?.[1] ?? 0)
}

/** Asks as a write does, and changes nothing: a replica answers everything else. @throws what would keep a worker from working */
export async function tryRedisWrite({ redis, keys }: Queue): Promise<void> {
  await redis.hdel(keys.workers, '')
}
