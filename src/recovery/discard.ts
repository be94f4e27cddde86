/** `descartar`: chosen deliveries are given up, wherever they wait. */
import type { StoredDelivery } from '../audit/queries.ts'
import { Subscriptions } from '../config/subscriptions.ts'
import type { DiscardedItem } from '../queue/maintenance.ts'
import { drainAudit, type Maintenance, type Run, type Tally } from './maintenance.ts'
import { type Chosen, onChosen } from './plan.ts'
import { type DeliveryKey, type Hints, isUnfinished, otherState, partsOf, type Selection } from './selection.ts'

const REASON = 'descartada a mano'
/** A list is walked through once for so many of its deliveries: bounds what is remembered here. */
const WINDOW = 20_000
const STEP = 500

/**
 * @returns `running`: how many had a request under way, which may still reach the listener
 * @throws OperationFailed where they are not as many as a person agreed to
 */
export async function discard(
  maintenance: Maintenance,
  selection: Selection,
  run: Run,
): Promise<{ tally: Tally; running: number }> {
  let running = 0
  const tally = await onChosen(maintenance, 'discard', selection, run, HINTS, async (chosen) => {
    running = await new Discarder(chosen).run()
  })
  return { tally, running }
}

class Discarder {
  readonly #chosen: Chosen
  #running = 0

  constructor(chosen: Chosen) {
    this.#chosen = chosen
  }

  /** @returns how many had a request under way */
  async run(): Promise<number> {
    const { maintenance, selection, told, limit } = this.#chosen
    if (selection.kind === 'ids') await this.#cancel(selection.ids, selection.filters.listener)
    let rest: StoredDelivery[] = []
    for await (const part of partsOf(maintenance.audit, selection, limit)) {
      await told.begin()
      const deliveries = await this.#deliveriesOf(part)
      rest.push(...(await this.#discard(deliveries, (delivery) => (isUnfinished(delivery) ? 'waiting' : 'ended'))))
      if (rest.length < WINDOW) continue
      await this.#discardQueued(rest)
      rest = []
    }
    await this.#discardQueued(rest)
    return this.#running
  }

  /** What waits in the lists; and what does not either is not in Redis at all. */
  async #discardQueued(deliveries: readonly StoredDelivery[]): Promise<void> {
    const { maintenance, admin, tally, told } = this.#chosen
    const { queue, backend } = maintenance
    const byListener = new Map<string, Map<string, DiscardedItem>>()
    for (const delivery of deliveries.filter(isUnfinished)) {
      const wanted = byListener.get(delivery.listener) ?? new Map()
      byListener.set(delivery.listener, wanted.set(delivery.messageId, itemOf(delivery, 'waiting')))
    }
    const found = new Set<string>()
    for (const [listener, wanted] of byListener) {
      await admin?.sift(listener, wanted, REASON, async (ids) => {
        for (const id of ids) {
          found.add(textOf({ messageId: id, listener }))
          tally.done(listener)
        }
        await told.count(tally.total)
      })
    }
    const rest = deliveries.filter((delivery) => !found.has(textOf(delivery)))
    if (rest.length === 0) return
    await drainAudit(queue, backend)
    for (let i = 0; i < rest.length; i += STEP) {
      const unfinished = (await this.#deliveriesOf(rest.slice(i, i + STEP))).filter(isUnfinished)
      for (const { messageId, listener } of await this.#discard(unfinished, () => 'ended')) {
        tally.problem(messageId, listener, MOVING)
      }
    }
  }

  /** Messages whose demora runs have no deliveries yet: those that they would have are given up. */
  async #cancel(ids: readonly string[], only: string | undefined): Promise<void> {
    const { maintenance, admin, tally, told } = this.#chosen
    const { audit, config } = maintenance
    const subscriptions = new Subscriptions(config.listeners.values())
    for (const id of ids) {
      const message = (await audit.message(id))?.message
      if (!message || message.listeners !== null) continue
      await told.begin()
      const names = subscriptions.of(message.evento, message.solo_listener).map(({ name }) => name)
      if (only !== undefined) tally.problem(id, only, DELAYED_WHOLE)
      else if (!admin || (await admin.cancel(id, message.recibido.getTime(), names, REASON))) {
        for (const name of names.length > 0 ? names : [NOBODY]) tally.done(name)
      } else tally.problem(id, '', MOVING)
    }
    await told.count(tally.total)
  }

  async #deliveriesOf(keys: readonly DeliveryKey[]): Promise<StoredDelivery[]> {
    const wanted = new Set(keys.map(textOf))
    const stored = await this.#chosen.maintenance.audit.storedDeliveries([
      ...new Set(keys.map(({ messageId }) => messageId)),
    ])
    return stored.filter((delivery) => wanted.has(textOf(delivery)))
  }

  /** @returns those that are not as `kindOf` says */
  async #discard(
    deliveries: readonly StoredDelivery[],
    kindOf: (delivery: StoredDelivery) => DiscardedItem['kind'],
  ): Promise<StoredDelivery[]> {
    const items = deliveries.map((delivery) => itemOf(delivery, kindOf(delivery)))
    const { admin, tally, told } = this.#chosen
    const results = admin ? await admin.discard(items, REASON) : items.map(() => 'done' as const)
    const rest: StoredDelivery[] = []
    for (const [i, delivery] of deliveries.entries()) {
      if (results[i] === 'other') rest.push(delivery)
      else {
        tally.done(delivery.listener)
        if (results[i] === 'running') this.#running += 1
      }
    }
    await told.count(tally.total)
    return rest
  }
}

const HINTS: Hints = {
  // It is cancelled.
  delayed: null,
  ended: (states, wanted) =>
    states.every((state) => state === 'exitosa' || state === 'descartada')
      ? `ya terminó: ${states.join(', ')}`
      : otherState(states, wanted),
}
const DELAYED_WHOLE = 'espera su demora: se descarta entero, sin --listener'
/** In the tally, for a message that no listener would get. */
const NOBODY = '(ninguno)'
const MOVING = 'volvió a la cola en este momento: repita el comando'

function itemOf(
  { messageId, listener, lastNumber, version, createdAt }: StoredDelivery,
  kind: DiscardedItem['kind'],
): DiscardedItem {
  // Its end is to be newer than its beginning, also where Redis's clock was put back since.
  return { id: messageId, listener, number: lastNumber, version: Math.max(version, createdAt), kind }
}

function textOf({ messageId, listener }: DeliveryKey): string {
  return `${listener} ${messageId}`
}
