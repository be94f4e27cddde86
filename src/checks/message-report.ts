/**
 * All there is to know of one message: what the audit has of it, what of that still waits in Redis, and why its deliveries wait.
 * Apart, as `ver` and the page ask the same.
 */

import type { AuditQueries, Timeline } from '../audit/queries.ts'
import { timelineOfHeld, withPending } from '../audit/timeline.ts'
import type { Config } from '../config/config.ts'
import { OperationFailed, type ResthooksError } from '../errors.ts'
import type { Message } from '../model/message.ts'
import { typed } from '../model/typed.ts'
import { knownListeners } from '../queue/depths.ts'
import type { Queue } from '../queue/queue.ts'
import { heldDeliveries, heldEnvelope, heldMessage, pendingEvents } from '../queue/whereabouts.ts'
import { type Waiting, whyDeliveriesWait, whyMessageWaits } from './waiting.ts'

export interface MessageReport {
  /** Null: neither the audit nor its stream knows anything of it. */
  readonly timeline: Timeline | null
  /** By listener, of the deliveries that have not ended; those that are missing could not be asked about. */
  readonly waiting: ReadonlyMap<string, Waiting>
  /** Of a message that is in nobody's queue yet. */
  readonly undispatched: Waiting | null
  /** Events that Postgres does not have yet. */
  readonly pending: number
  /** Of Redis and Postgres, when they could not be asked. */
  readonly troubles: readonly ResthooksError[]
}

interface Sources {
  readonly config: Config
  readonly audit: () => Promise<AuditQueries>
  readonly queue: () => Promise<Queue>
  /** What was thrown, for a person; null: it is a bug. */
  readonly explain: (error: unknown) => Promise<ResthooksError | null>
}

/** Redis is asked only where the audit does not tell the end. */
export async function messageReport(id: string, { config, audit, queue, explain }: Sources): Promise<MessageReport> {
  const troubles: ResthooksError[] = []
  const orTrouble = async <T>(asked: () => Promise<T>): Promise<T | null> => {
    try {
      return await asked()
    } catch (error) {
      const trouble = await explain(error)
      if (trouble === null) throw error
      troubles.push(trouble)
      return null
    }
  }
  // Both may be hung: who waits for the one need not wait for the other afterwards.
  const early = setTimeout(() => void queue().catch(() => {}), HEALTHY_MS)
  const known = await orTrouble(async () => (await audit()).message(id)).finally(() => clearTimeout(early))
  const report = { timeline: known, waiting: new Map(), undispatched: null, pending: 0, troubles }
  if (troubles.length === 0 && isFinished(known)) return report
  const asked = await orTrouble(async () => {
    const redis = await queue()
    const { events } = await pendingEvents(redis, id)
    const held = troubles.length > 0 ? await heldTimeline(redis, config, id) : null
    const timeline = withPending(known ?? held, events, config)
    const isUndispatched = timeline === null || timeline.message?.listeners == null
    const undispatched = isUndispatched ? await whyMessageWaits(redis, config, id) : null
    return {
      timeline: timeline ?? (undispatched && NOTHING_YET),
      pending: events.length,
      waiting: await whyDeliveriesWait(redis, config, id, unfinished(timeline)),
      undispatched,
    }
  })
  return { ...report, ...asked }
}

/** An audit that has not answered by then may be hung. */
const HEALTHY_MS = 1_000

/** What Redis alone tells of a message: who is still to get it, and no more. */
async function heldTimeline(queue: Queue, config: Config, id: string): Promise<Timeline | null> {
  const held = await heldEnvelope(queue, id)
  if (held === null) return null
  const names = new Set([...config.listeners.keys(), ...(await knownListeners(queue))])
  const deliveries = await heldDeliveries(queue, id, names)
  if (deliveries.length === 0) return null
  const keepBody = deliveries.some(({ listener }) => config.listeners.get(listener)?.auditBody !== false)
  return timelineOfHeld(held, deliveries, keepBody, config)
}

const NOTHING_YET: Timeline = { message: null, deliveries: [], attempts: [], callbacks: [], actions: [] }

function isFinished(timeline: Timeline | null): boolean {
  const { message, deliveries } = timeline ?? { message: null, deliveries: [] }
  if (message === null || message.listeners === null) return false
  return deliveries.length >= message.listeners && unfinished(timeline).length === 0
}

function unfinished(timeline: Timeline | null): string[] {
  const open = timeline?.deliveries.filter(({ estado }) => estado === 'pendiente' || estado === 'reintentando') ?? []
  return open.map(({ listener }) => listener)
}

/** A message to make a trial request of. */
export interface SentMessage {
  readonly message: Message
  /** That the listener's next attempt would have. */
  readonly number: number
  /** The listener has a delivery of it. */
  readonly dispatched: boolean
}

/**
 * As the audit has it, or Redis where the audit does not keep its body.
 * @throws OperationFailed when neither has it
 */
export async function sentMessage(
  audit: AuditQueries,
  queue: () => Promise<Queue>,
  id: string,
  listener: string,
): Promise<SentMessage> {
  const [delivery] = (await audit.storedDeliveries([id])).filter((each) => each.listener === listener)
  const number = (delivery?.lastNumber ?? 0) + 1
  const dispatched = delivery !== undefined
  for await (const found of audit.storedMessages([id])) {
    const stored = found.get(id)
    if (stored?.bodyKept) return { message: stored.message, number, dispatched }
  }
  const message = await heldMessage(await queue(), id)
  if (message !== null) return { message, number, dispatched }
  throw new OperationFailed(
    `No se tiene el mensaje ${id}, o no se guarda su cuerpo (auditar_cuerpo = 0). Dé los datos: ${typed(`probar ${listener} '{…}'`)}`,
  )
}
