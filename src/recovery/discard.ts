/** `descartar`: chosen deliveries are given up, wherever they wait. */
import type { StoredDelivery } from '../audit/queries.ts'
import { Subscriptions } from '../config/subscriptions.ts'
import type { DiscardedItem, QueueAdmin } from '../queue/maintenance.ts'
import { drainAudit, LOCK_PATIENCE, type Maintenance, type Run, Tally, Told, underLock } from './maintenance.ts'
import { requireExpected } from './plan.ts'
import {
  type DeliveryKey,
  explainIds,
  type Hints,
  isUnfinished,
  otherState,
  partsOf,
  type Selection,
} from './selection.ts'

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
  return underLock(maintenance, 'descartar', LOCK_PATIENCE, async (admin) => {
    await drainAudit(maintenance.queue, maintenance.backend)
    await requireExpected(maintenance, 'discard', selection, run)
    return new Discarder(maintenance, admin, selection).run(run)
  })
}

class Discarder {
  readonly #maintenance: Maintenance
  readonly #admin: QueueAdmin | null
  readonly #selection: Selection
  readonly #told: Told
  readonly #tally: Tally
  #running = 0

  constructor(maintenance: Maintenance, admin: QueueAdmin | null, selection: Selection) {
    this.#maintenance = maintenance
    this.#admin = admin
    this.#tally = new Tally(maintenance.progress)
    this.#selection = selection
    this.#told = new Told(maintenance, admin, selection)
  }

  async run({ limit }: Run): Promise<{ tally: Tally; running: number }> {
    const { audit } = this.#maintenance
    const selection = this.#selection
    for (const { mensaje_id, listener, motivo } of await explainIds(audit, selection, HINTS)) {
      this.#tally.problem(mensaje_id, listener, motivo)
    }
    if (selection.kind === 'ids') await this.#cancel(selection.ids, selection.filters.listener)
    let rest: StoredDelivery[] = []
    for await (const part of partsOf(audit, selection, limit)) {
      await this.#told.begin()
      const deliveries = await this.#deliveriesOf(part)
      rest.push(...(await this.#discard(deliveries, (delivery) => (isUnfinished(delivery) ? 'waiting' : 'ended'))))
      if (rest.length < WINDOW) continue
      await this.#discardQueued(rest)
      rest = []
    }
    await this.#discardQueued(rest)
    await this.#told.end(this.#tally.total)
    return { tally: this.#tally, running: this.#running }
  }

  /** What waits in the lists; and what does not either is not in Redis at all. */
  async #discardQueued(deliveries: readonly StoredDelivery[]): Promise<void> {
    const { queue, backend } = this.#maintenance
    const byListener = new Map<string, Map<string, DiscardedItem>>()
    for (const delivery of deliveries.filter(isUnfinished)) {
      const wanted = byListener.get(delivery.listener) ?? new Map()
      byListener.set(delivery.listener, wanted.set(delivery.messageId, itemOf(delivery, 'waiting')))
    }
    const found = new Set<string>()
    for (const [listener, wanted] of byListener) {
      for (const id of (await this.#admin?.sift(listener, wanted, REASON)) ?? []) {
        found.add(textOf({ messageId: id, listener }))
        this.#tally.done(listener)
      }
    }
    const rest = deliveries.filter((delivery) => !found.has(textOf(delivery)))
    if (rest.length === 0) return
    await drainAudit(queue, backend)
    for (let i = 0; i < rest.length; i += STEP) {
      const unfinished = (await this.#deliveriesOf(rest.slice(i, i + STEP))).filter(isUnfinished)
      for (const { messageId, listener } of await this.#discard(unfinished, () => 'ended')) {
        this.#tally.problem(messageId, listener, MOVING)
      }
    }
  }

  /** Messages whose demora runs have no deliveries yet: those that they would have are given up. */
  async #cancel(ids: readonly string[], only: string | undefined): Promise<void> {
    const { audit, config } = this.#maintenance
    const subscriptions = new Subscriptions(config.listeners.values())
    for (const id of ids) {
      const message = (await audit.message(id))?.message
      if (!message || message.listeners !== null) continue
      await this.#told.begin()
      const names = subscriptions.of(message.evento, message.solo_listener).map(({ name }) => name)
      if (only !== undefined) this.#tally.problem(id, only, DELAYED_WHOLE)
      else if (!this.#admin || (await this.#admin.cancel(id, message.recibido.getTime(), names, REASON))) {
        for (const name of names.length > 0 ? names : [NOBODY]) this.#tally.done(name)
      } else this.#tally.problem(id, '', MOVING)
    }
  }

  async #deliveriesOf(keys: readonly DeliveryKey[]): Promise<StoredDelivery[]> {
    const wanted = new Set(keys.map(textOf))
    const stored = await this.#maintenance.audit.storedDeliveries([...new Set(keys.map(({ messageId }) => messageId))])
    return stored.filter((delivery) => wanted.has(textOf(delivery)))
  }

  /** @returns those that are not as `kindOf` says */
  async #discard(
    deliveries: readonly StoredDelivery[],
    kindOf: (delivery: StoredDelivery) => DiscardedItem['kind'],
  ): Promise<StoredDelivery[]> {
    const items = deliveries.map((delivery) => itemOf(delivery, kindOf(delivery)))
    const results = this.#admin ? await this.#admin.discard(items, REASON) : items.map(() => 'done' as const)
    const rest: StoredDelivery[] = []
    for (const [i, delivery] of deliveries.entries()) {
      if (results[i] === 'other') rest.push(delivery)
      else {
        this.#tally.done(delivery.listener)
        if (results[i] === 'running') this.#running += 1
      }
    }
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
  { messageId, listener, lastNumber, version }: StoredDelivery,
  kind: DiscardedItem['kind'],
): DiscardedItem {
  return { id: messageId, listener, number: lastNumber, version, kind }
}

function textOf({ messageId, listener }: DeliveryKey): string {
  return `${listener} ${messageId}`
}
