/**
 * `descartar`: gives failed or waiting deliveries up, audited.
 *
 * A waiting one is given up only where Redis still holds it. Where it does not, either it has ended meanwhile, which the audit
 * tells once it is up to date, or Redis lost it: then it is given up too.
 */
import type { AuditBackend } from '../audit/backend.ts'
import type { AuditReader, StoredDelivery } from '../audit/queries.ts'
import type { Config } from '../config/config.ts'
import { type DiscardedItem, QueueAdmin } from '../queue/admin.ts'
import { takeMaintenanceLock } from '../queue/maintenance-lock.ts'
import type { Queue } from '../queue/queue.ts'
import { Subscriptions } from '../worker/match.ts'
import { drainAudit } from './drain.ts'
import { type DeliveryKey, partsOf, type Selection } from './selection.ts'
import { Tally } from './tally.ts'

export interface DiscardScene {
  readonly config: Config
  readonly queue: Queue
  readonly audit: AuditReader
  readonly backend: AuditBackend
  readonly simulate: boolean
  readonly note: (text: string) => void
}

const LOCK_PATIENCE = 60_000
const REASON = 'descartada a mano'

/** @returns `running`: how many had a request under way, which may still reach the listener */
export async function discard(
  scene: DiscardScene,
  selection: Selection,
  limit: number,
): Promise<{ tally: Tally; running: number }> {
  if (scene.simulate) return new Discarder(scene, null).run(selection, limit)
  const lock = await takeMaintenanceLock(scene.queue, 'descartar', LOCK_PATIENCE, scene.note)
  try {
    return await new Discarder(scene, new QueueAdmin(scene.queue, lock)).run(selection, limit)
  } finally {
    await lock.release()
  }
}

class Discarder {
  readonly #scene: DiscardScene
  readonly #admin: QueueAdmin | null
  readonly #tally = new Tally()
  #running = 0

  constructor(scene: DiscardScene, admin: QueueAdmin | null) {
    this.#scene = scene
    this.#admin = admin
  }

  async run(selection: Selection, limit: number): Promise<{ tally: Tally; running: number }> {
    const { queue, backend, audit } = this.#scene
    await drainAudit(queue, backend)
    if (selection.kind === 'ids') await this.#cancel(selection.ids, selection.filters.listener)
    for await (const part of partsOf(audit, selection, limit)) {
      const deliveries = await this.#deliveriesOf(part)
      const rest = await this.#discard(deliveries, (delivery) => (waits(delivery) ? 'waiting' : 'ended'))
      if (rest.length === 0) continue
      await drainAudit(queue, backend)
      const unfinished = (await this.#deliveriesOf(rest)).filter(waits)
      for (const { messageId, listener } of await this.#discard(unfinished, () => 'ended')) {
        this.#tally.problem(messageId, listener, MOVING)
      }
    }
    return { tally: this.#tally, running: this.#running }
  }

  /** Messages whose demora runs have no deliveries yet: those that they would have are given up. */
  async #cancel(ids: readonly string[], only: string | undefined): Promise<void> {
    const { audit, config } = this.#scene
    const subscriptions = new Subscriptions(config.listeners.values())
    for (const id of ids) {
      const message = (await audit.message(id))?.message
      if (!message || message.listeners !== null) continue
      const names = subscriptions.of(message.evento, message.solo_listener).map(({ name }) => name)
      if (only !== undefined) this.#tally.problem(id, only, DELAYED_WHOLE)
      else if (!this.#admin || (await this.#admin.cancel(id, message.recibido.getTime(), names, REASON))) {
        for (const name of names.length > 0 ? names : [NOBODY]) this.#tally.done(name)
      } else this.#tally.problem(id, '', MOVING)
    }
  }

  async #deliveriesOf(keys: readonly DeliveryKey[]): Promise<StoredDelivery[]> {
    const wanted = new Set(keys.map(textOf))
    const stored = await this.#scene.audit.storedDeliveries([...new Set(keys.map(({ messageId }) => messageId))])
    return stored.filter((delivery) => wanted.has(textOf(delivery)))
  }

  /** @returns those that are not as `kindOf` says */
  async #discard(
    deliveries: readonly StoredDelivery[],
    kindOf: (delivery: StoredDelivery) => DiscardedItem['kind'],
  ): Promise<StoredDelivery[]> {
    const items = deliveries.map((delivery) => ({
      id: delivery.messageId,
      listener: delivery.listener,
      number: delivery.lastNumber,
      version: delivery.version,
      kind: kindOf(delivery),
    }))
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

const DELAYED_WHOLE = 'espera su demora: se descarta entero, sin --listener'
/** In the tally, for a message that no listener would get. */
const NOBODY = '(ninguno)'
const MOVING = 'volvió a la cola en este momento: repita el comando'

function waits({ state }: StoredDelivery): boolean {
  return state === 'pendiente' || state === 'reintentando'
}

function textOf({ messageId, listener }: DeliveryKey): string {
  return `${listener} ${messageId}`
}
