/** `reenviar`: chosen deliveries go back to the queue from the audit; `--ahora`: those that wait there for a retry are tried at once. */

import type { StoredDelivery, StoredMessage, TimeRange } from '../audit/queries.ts'
import { Subscriptions } from '../config/subscriptions.ts'
import { typed } from '../model/typed.ts'
import { encodeEnvelope } from '../queue/envelope-write.ts'
import type { RestoredItem, RestoredMessage } from '../queue/maintenance.ts'
import { Batches, type Maintenance, NO_BODY, NO_LISTENER, NO_MESSAGE, type Run, type Tally } from './maintenance.ts'
import { type Chosen, onChosen } from './plan.ts'
import { type DeliveryKey, type Hints, isUnfinished, otherState, partsOf, type Selection } from './selection.ts'

const REASON = 'reenviada'
const REASON_MISSED = 'enviada después: no la había recibido'
const REASON_HURRIED = 'reintento adelantado a mano'

/** @throws OperationFailed where they are not as many as a person agreed to */
export function resend(maintenance: Maintenance, selection: Selection, run: Run): Promise<Tally> {
  return onChosen(maintenance, 'resend', selection, run, hintsFor(selection), (chosen) => new Resender(chosen).run())
}

/** Attempts and strategy of those that wait go on. @throws OperationFailed where they are not as many as a person agreed to */
export function hurry(maintenance: Maintenance, selection: Selection, run: Run): Promise<Tally> {
  return onChosen(maintenance, 'hurry', selection, run, HURRY_HINTS, async ({ admin, told, tally, limit }) => {
    for await (const part of partsOf(maintenance.audit, selection, limit)) {
      await told.begin()
      const items = part.map(({ messageId, listener }) => ({ id: messageId, listener }))
      const waited = admin ? await admin.hurry(items, REASON_HURRIED) : items.map(() => true)
      for (const [i, { id, listener }] of items.entries()) {
        if (waited[i]) tally.done(listener)
        else tally.problem(id, listener, NOT_WAITING)
      }
      await told.count(tally.total)
    }
  })
}

class Resender {
  readonly #chosen: Chosen

  constructor(chosen: Chosen) {
    this.#chosen = chosen
  }

  async run(): Promise<void> {
    const { maintenance, selection, limit } = this.#chosen
    const batches = new Batches((messages) => this.#restore(messages))
    for await (const part of partsOf(maintenance.audit, selection, limit)) {
      for await (const message of this.#messagesOf(part)) await batches.add(message)
      await batches.flush()
    }
  }

  async *#messagesOf(keys: readonly DeliveryKey[]): AsyncGenerator<RestoredMessage> {
    const { audit } = this.#chosen.maintenance
    const wanted = new Map<string, Set<string>>()
    for (const { messageId, listener } of keys) {
      const names = wanted.get(messageId) ?? new Set()
      wanted.set(messageId, names.add(listener))
    }
    const ids = [...wanted.keys()]
    const states = byMessage(ids, await audit.deliveryStates(ids))
    // Attempts are counted of those that there are: a listener that never got any of these messages has none.
    const known = ids.filter((id) => states.get(id)!.some(({ listener }) => wanted.get(id)!.has(listener)))
    const stored = byMessage(known, known.length > 0 ? await audit.storedDeliveries(known) : [])
    const without = new Set(ids)
    for await (const messages of audit.storedMessages(ids, receivedRange(keys))) {
      for (const id of ids) {
        const message = messages.get(id)
        if (!message) continue
        without.delete(id)
        const restored = this.#plan(id, message, wanted.get(id)!, stored.get(id) ?? [])
        if (restored) yield restored
      }
    }
    for (const id of without)
      for (const listener of wanted.get(id)!) this.#chosen.tally.problem(id, listener, NO_MESSAGE)
  }

  #plan(
    id: string,
    message: StoredMessage,
    wanted: ReadonlySet<string>,
    deliveries: readonly StoredDelivery[],
  ): RestoredMessage | null {
    const items: RestoredItem[] = []
    for (const listener of wanted) {
      const delivery = deliveries.find((each) => each.listener === listener)
      const why = this.#whyNot(message, listener, delivery)
      if (why !== null) this.#chosen.tally.problem(id, listener, why)
      else items.push(again(listener, delivery))
    }
    if (items.length === 0) return null
    return { id, envelope: Buffer.from(encodeEnvelope(message.message)), others: 0, items }
  }

  #whyNot(message: StoredMessage, listener: string, delivery: StoredDelivery | undefined): string | null {
    if (delivery && isUnfinished(delivery)) return WAITS
    if (!message.bodyKept) return NO_BODY
    if (!this.#chosen.maintenance.config.listeners.get(listener)?.active) return NO_LISTENER
    return null
  }

  async #restore(messages: readonly RestoredMessage[]): Promise<void> {
    const { admin, told, tally } = this.#chosen
    await told.begin()
    const results = admin ? await admin.restore(messages) : null
    for (const [i, { id, items }] of messages.entries()) {
      for (const [j, item] of items.entries()) {
        if (item.kind === 'delayed') continue
        const result = results?.[i]?.[j] ?? 'done'
        if (result === 'done') tally.done(item.listener)
        else tally.problem(id, item.listener, result === 'delayed' ? SAME_ID : WAITS)
      }
    }
    await told.count(tally.total)
  }
}

function byMessage<Each extends { readonly messageId: string }>(
  ids: readonly string[],
  all: readonly Each[],
): ReadonlyMap<string, Each[]> {
  const found = new Map<string, Each[]>(ids.map((id) => [id, []]))
  for (const each of all) found.get(each.messageId)?.push(each)
  return found
}

/** When all of these messages were received, where that is known. */
function receivedRange(keys: readonly DeliveryKey[]): TimeRange | undefined {
  const times = keys.flatMap(({ receivedAt }) => (receivedAt ? [receivedAt.getTime()] : []))
  if (times.length < keys.length) return undefined
  return { since: new Date(Math.min(...times)), until: new Date(Math.max(...times) + 1) }
}

function hintsFor(selection: Selection): Hints {
  const subscriptions = new Subscriptions(selection.kind === 'ids' ? (selection.listeners ?? []) : [])
  return {
    unheard: (event, only) =>
      subscriptions.of(event, only).length > 0
        ? null
        : `ningún listener activo de resthooks.ini recibe «${event}»: agréguelo y repita`,
    delayed: 'espera su demora: se entrega sola',
    ended: (states, wanted) =>
      states.some((state) => isUnfinished({ state }))
        ? `todavía espera en la cola: se entrega sola (si Redis la perdió: ${typed('recuperar')})`
        : states.includes('exitosa') && !wanted.includes('exitosa')
          ? 'ya se entregó; para enviarlo otra vez agregue --estado exitosa'
          : otherState(states, wanted),
  }
}

const HURRY_HINTS: Hints = {
  delayed: 'espera su demora: se entrega sola',
  ended: (states, wanted) =>
    states.includes('pendiente') ? 'espera su turno, no un reintento: se entrega sola' : otherState(states, wanted),
}

const NOT_WAITING = 'ya no espera un reintento en Redis: está en curso, o terminó recién'
const WAITS = 'todavía está en la cola: se entrega sola'
const SAME_ID = 'otro mensaje con el mismo id espera su demora'

/** Attempt numbers go on; what counts for the strategy starts anew. */
function again(listener: string, delivery: StoredDelivery | undefined): RestoredItem {
  if (!delivery) return { kind: 'again', listener, made: 0, number: 0, version: 0, reason: REASON_MISSED }
  const { lastNumber, version } = delivery
  return { kind: 'again', listener, made: 0, number: lastNumber, version, reason: REASON }
}
