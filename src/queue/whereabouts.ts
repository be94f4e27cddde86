/**
 * Where one message lies in Redis at this moment, and what stands before it: for the person who asks why it waits. Only reads,
 * each of them short, however long the lists are.
 */
import { decodeTime, isValid } from 'ulid'
import { type ActionEvent, type AuditEvent, idsOf } from '../audit/event.ts'
import type { Message } from '../model/message.ts'
import { entryOf } from './audit-stream.ts'
import { decodeEnvelope, type Envelope, understood } from './envelope.ts'
import { FIELD_END, type Queue } from './queue.ts'

/** Of a delivery. `before`: how many of its listener's queue come first. `unknown`: Redis does not hold it. */
export type DeliveryPlace =
  | { readonly kind: 'queued'; readonly before: number }
  | { readonly kind: 'running' }
  | { readonly kind: 'retry'; readonly dueAt: Date }
  /** It has ended: the audit is about to be told. */
  | { readonly kind: 'failed' }
  | { readonly kind: 'unknown' }

/** Of a message that is not a listener's yet. `before` null: it may be in the inbox, which is too long to be looked through. */
export type MessagePlace =
  | { readonly kind: 'inbox'; readonly before: number | null }
  | { readonly kind: 'dispatching' }
  | { readonly kind: 'delayed'; readonly dueAt: Date }
  | { readonly kind: 'unknown' }

/** Redis holds others up for about two milliseconds with so many. */
const LOOKED_AT_ONCE = 100_000
const PAGE = 5_000

export async function deliveryPlace(queue: Queue, id: string, listener: string): Promise<DeliveryPlace> {
  const place = await lookForDelivery(queue, id, listener)
  // It may have moved on between two looks; nothing moves that often.
  return place.kind === 'unknown' ? lookForDelivery(queue, id, listener) : place
}

/** In the order in which a delivery moves. */
async function lookForDelivery(queue: Queue, id: string, listener: string): Promise<DeliveryPlace> {
  const { redis } = queue
  const lane = queue.lane(listener)
  const inFront = await redis.lpos(lane.front, id, 'MAXLEN', LOOKED_AT_ONCE)
  if (inFront !== null) return { kind: 'queued', before: inFront }
  const inList = await positionIn(queue, lane.queue, id)
  if (inList !== null) return { kind: 'queued', before: inList + (await redis.llen(lane.front)) }
  const [lease, due, failed] = await Promise.all([
    redis.zscore(lane.inFlight, id),
    redis.zscore(lane.retries, id),
    redis.zscore(lane.failed, id),
  ])
  if (lease !== null) return { kind: 'running' }
  if (due !== null) return { kind: 'retry', dueAt: new Date(Number(due)) }
  return { kind: failed === null ? 'unknown' : 'failed' }
}

/** From both ends at once, then page by page in between. */
async function positionIn({ redis }: Queue, list: string, id: string): Promise<number | null> {
  const atFront = await redis.lpos(list, id, 'MAXLEN', LOOKED_AT_ONCE)
  if (atFront !== null) return atFront
  const length = await redis.llen(list)
  if (length <= LOOKED_AT_ONCE) return null
  const atBack = await redis.lpos(list, id, 'RANK', -1, 'MAXLEN', LOOKED_AT_ONCE)
  if (atBack !== null) return atBack
  // From the back, as they move to the front meanwhile.
  for (let end = length - LOOKED_AT_ONCE; end > 0; end -= PAGE) {
    const start = Math.max(0, end - PAGE)
    const at = (await redis.lrange(list, start, end)).indexOf(id)
    if (at >= 0) return start + at
  }
  return null
}

export async function messagePlace(queue: Queue, id: string): Promise<MessagePlace> {
  const { redis, keys } = queue
  const before = await positionInInbox(queue, id)
  if (typeof before === 'number') return { kind: 'inbox', before }
  for (const raw of await redis.lrangeBuffer(keys.dispatching, 0, -1)) {
    if (understood(raw)?.message.id === id) return { kind: 'dispatching' }
  }
  for (const part of await redis.lrange(keys.fanOut, 0, -1)) {
    if (part.startsWith(`${id}${FIELD_END}`)) return { kind: 'dispatching' }
  }
  const due = await redis.zscore(keys.delayed, id)
  if (due !== null) return { kind: 'delayed', dueAt: new Date(Number(due)) }
  return before === 'uncertain' ? { kind: 'inbox', before: null } : { kind: 'unknown' }
}

/** A message that is still to be delivered to somebody, as it was sent; null: Redis does not hold it, or does not understand it. */
export async function heldMessage(queue: Queue, id: string): Promise<Message | null> {
  return (await heldEnvelope(queue, id))?.message ?? null
}

/** The same with when it was taken. */
export async function heldEnvelope({ redis, keys }: Queue, id: string): Promise<Envelope | null> {
  const raw = await redis.getBuffer(keys.messagePrefix + id)
  try {
    return raw === null ? null : decodeEnvelope(raw, () => id, new Date())
  } catch {
    return null
  }
}

/** A delivery that has not ended. */
export interface HeldDelivery {
  readonly listener: string
  /** The last number given out. */
  readonly attempts: number
  /** Null: it does not wait for a retry. */
  readonly dueAt: Date | null
}

/** Those of a message that Redis holds. @param among listeners that may have one */
export async function heldDeliveries(queue: Queue, id: string, among: Iterable<string>): Promise<HeldDelivery[]> {
  const found = [...among].map(async (listener): Promise<HeldDelivery[]> => {
    const place = await deliveryPlace(queue, id, listener)
    if (place.kind === 'unknown' || place.kind === 'failed') return []
    const [, number] = (await queue.redis.hget(queue.lane(listener).deliveries, id))?.split(':') ?? []
    return [{ listener, attempts: Number(number ?? 0), dueAt: place.kind === 'retry' ? place.dueAt : null }]
  })
  return (await Promise.all(found)).flat()
}

/** How many entries around the place where one of its age should lie; senders' clocks differ. */
const NEIGHBOURS = 500

/** How many older ones there are; the newest is the first of the list. Null: it is not there. */
async function positionInInbox({ redis, keys }: Queue, id: string): Promise<number | 'uncertain' | null> {
  const length = await redis.llen(keys.inbox)
  if (length === 0) return null
  const at = isValid(id) ? await bisect(redis, keys.inbox, length, decodeTime(id)) : length
  const isWhole = length <= 2 * NEIGHBOURS
  const from = isWhole ? 0 : Math.max(0, at - NEIGHBOURS)
  const to = isWhole ? length : Math.min(length, at + NEIGHBOURS)
  for (let start = from; start < to; start += ENTRIES) {
    const found = await redis.lrangeBuffer(keys.inbox, start, Math.min(to, start + ENTRIES) - 1)
    const index = found.findIndex((raw) => understood(raw)?.message.id === id)
    if (index >= 0) return Math.max(0, length - 1 - (start + index))
  }
  // A foreign id tells no time.
  return isWhole || isValid(id) ? null : 'uncertain'
}

/** Entries are read whole. */
const ENTRIES = 50

/** Where an entry of that time should lie. */
async function bisect(redis: Queue['redis'], list: string, length: number, time: number): Promise<number> {
  let [low, high] = [0, length]
  while (low < high) {
    const middle = (low + high) >> 1
    const raw = await redis.lindexBuffer(list, middle)
    const entry = raw && understood(raw)
    // One that does not tell its time is passed over towards the older ones.
    if (entry && timeOf(entry.message) <= time) high = middle
    else low = middle + 1
  }
  return low
}

/** When it was sent; not a number where it does not tell. */
function timeOf({ id, createdAt }: Message): number {
  return isValid(id) ? decodeTime(id) : createdAt.getTime()
}

/** Of the clocks of whoever sends. */
const CLOCKS_DIFFER_MS = 600_000
const EVENTS_A_PAGE = 1_000
/** A week without Postgres may have left millions: what happened last is looked for among so many. */
const MOST_EVENTS = 300_000

/** What is not in Postgres yet of what happened to a message, in order, after who did it where a person did. `isWhole` false: there was more than is looked through. */
export async function pendingEvents(
  { redis, keys }: Queue,
  id: string,
): Promise<{ events: readonly AuditEvent[]; isWhole: boolean }> {
  const events: AuditEvent[] = []
  const actions: ActionEvent[] = []
  const start = isValid(id) ? String(Math.max(0, decodeTime(id) - CLOCKS_DIFFER_MS)) : '-'
  let left = MOST_EVENTS
  for (const stream of [keys.auditBefore, keys.audit]) {
    for (let from = start; left > 0; ) {
      const found: unknown = await redis.xrangeBuffer(stream, from, '+', 'COUNT', EVENTS_A_PAGE)
      const page = found as [Buffer, Buffer[]][]
      for (const [streamId, fields] of page) {
        const isAction = fields[0]?.toString('latin1') === 'o'
        if (!isAction && !fields.some((field) => field.includes(id))) continue
        const { event } = entryOf(streamId.toString('latin1'), fields)
        if (event?.type === 'action') actions.push(event)
        else if (event !== null && idsOf(event).messageId === id) events.push(event)
      }
      if (page.length < EVENTS_A_PAGE) break
      left -= page.length
      from = `(${page.at(-1)![0].toString('latin1')}`
    }
  }
  const by = new Set(events.map((event) => (event.type === 'state' ? event.state.action : null)))
  return { events: [...actions.filter(({ action }) => by.has(action.id)), ...events], isWhole: left > 0 }
}
