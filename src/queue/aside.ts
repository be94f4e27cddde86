/**
 * What lies aside in Redis and waits for a person, or for its time: entries that nobody understood, messages whose `demora` runs,
 * callbacks that were given up. Read a few at a time, whatever there is; each goes back, or goes, by itself and in one step.
 */
import { createHash } from 'node:crypto'
import type { Bytes } from '../model/message.ts'
import { decodeEnvelope, stampEnvelope } from './envelope.ts'
import { CALLBACK_LANE, callbackName } from './keys.ts'
import type { Queue } from './queue.ts'
import { scriptsOf } from './scripts.ts'

const AT_ONCE = 50
const BYTES: Bytes = 4 * 1024 * 1024

interface InvalidEntry {
  /** Of its bytes: what a person names it by. */
  readonly id: string
  readonly raw: Buffer
  /** What there is not to understand; null: nothing any more. */
  readonly why: string | null
}

/** The oldest first: from the end of the list, where what is taken out meanwhile moves none of those that come. */
export async function* invalidEntries(queue: Queue): AsyncGenerator<InvalidEntry> {
  const { redis, keys } = queue
  for (let last = (await redis.llen(keys.inboxInvalid)) - 1; last >= 0; ) {
    const sizes = (await queue.peek(keys.inboxInvalid, Math.max(0, last - AT_ONCE + 1), last)).map(({ size }) => size)
    let count = Math.min(1, sizes.length)
    for (let sum = sizes.at(-1) ?? 0; count < sizes.length && sum + sizes.at(-1 - count)! <= BYTES; count++) {
      sum += sizes.at(-1 - count)!
    }
    if (count === 0) return
    const found = await redis.lrangeBuffer(keys.inboxInvalid, last - count + 1, last)
    for (const raw of found.toReversed()) {
      yield { id: createHash('sha256').update(raw).digest('hex').slice(0, 12), raw, why: whyInvalid(raw) }
    }
    last -= count
  }
}

/** Members of a sorted set with their scores, upwards, a few at a time; what moves or goes meanwhile hides none of the others. */
async function* byScore({ redis }: Queue, key: string): AsyncGenerator<{ member: string; at: Date }> {
  let from = '-inf'
  let seen = new Set<string>()
  for (;;) {
    const flat = await redis.zrangebyscore(key, from, '+inf', 'WITHSCORES', 'LIMIT', 0, AT_ONCE + seen.size)
    let found = false
    for (let i = 0; i < flat.length; i += 2) {
      const [member, score] = [flat[i]!, flat[i + 1]!]
      if (score === from && seen.has(member)) continue
      if (score !== from) seen = new Set()
      from = score
      seen.add(member)
      found = true
      yield { member, at: new Date(Number(score)) }
    }
    if (!found) return
  }
}

function whyInvalid(raw: Buffer): string | null {
  try {
    decodeEnvelope(raw, () => 'x', new Date(0))
    return null
  } catch (error) {
    return (error as Error).message
  }
}

/** Back to the inbox, or away. @returns whether it still lay there */
export async function refileInvalid({ redis, keys }: Queue, raw: Buffer, back: boolean): Promise<boolean> {
  return (await scriptsOf(redis).refile(2, keys.inboxInvalid, keys.inbox, raw, back ? 1 : 0)) === 1
}

interface DelayedMessage {
  readonly id: string
  readonly dueAt: Date
  readonly bytes: Bytes
}

/** The next one first. */
export async function* delayedMessages(queue: Queue): AsyncGenerator<DelayedMessage> {
  const { redis, keys } = queue
  for await (const { member: id, at: dueAt } of byScore(queue, keys.delayed)) {
    yield { id, dueAt, bytes: await redis.strlen(keys.messagePrefix + id) }
  }
}

/** The envelope of a message that waits; null: it does not any more. */
export async function delayedEnvelope({ redis, keys }: Queue, id: string): Promise<Buffer | null> {
  return redis.getBuffer(keys.messagePrefix + id)
}

/** Its `demora` ends now. @returns whether it still ran */
export async function endDelay(queue: Queue, id: string): Promise<boolean> {
  const { redis, keys } = queue
  const raw = await delayedEnvelope(queue, id)
  if (raw === null || (await redis.zscore(keys.delayed, id)) === null) return false
  const now = await queue.now()
  const { receivedAt } = decodeEnvelope(raw, () => id, new Date(now))
  // Only over itself: whoever dispatched it meanwhile has the same message.
  await redis.set(keys.messagePrefix + id, stampEnvelope(raw, id, receivedAt ?? now, new Date(now)), 'XX')
  return Number(await redis.zadd(keys.delayed, 'XX', 'CH', '0', id)) === 1
}

interface FailedCallback {
  /** `message~listener~version` */
  readonly id: string
  readonly messageId: string
  readonly listener: string
  readonly at: Date
}

/** The oldest first. */
export async function* failedCallbacks(queue: Queue): AsyncGenerator<FailedCallback> {
  for await (const { member, at } of byScore(queue, queue.lane(CALLBACK_LANE).failed)) {
    const id = callbackName(member)
    const [, messageId = id, listener = ''] = /^(.*)~(.*)~\d+$/s.exec(id) ?? []
    yield { id, messageId, listener, at }
  }
}

/** @param lastRun number of its last run. @returns whether it still was among those given up */
export async function recallCallback(queue: Queue, id: string, job: string, lastRun: number): Promise<boolean> {
  const { failed, queue: waiting, retries, deliveries } = queue.lane(CALLBACK_LANE)
  const keys = [failed, waiting, retries, deliveries]
  return (
    (await scriptsOf(queue.redis).recall(4, ...keys, queue.keys.messagePrefix, `callback ${id}`, job, lastRun)) === 1
  )
}

/** @returns whether it still was there */
export async function forgetCallback(queue: Queue, id: string): Promise<boolean> {
  return (await queue.redis.zrem(queue.lane(CALLBACK_LANE).failed, `callback ${id}`)) === 1
}

/** An entry of the audit stream, as it was: the workers read it again. */
export async function returnAuditEntry({ redis, keys }: Queue, fields: readonly Buffer[]): Promise<void> {
  await redis.xadd(keys.audit, '*', ...fields)
}
