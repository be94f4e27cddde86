/** `recuperar`: what Redis lost comes back from the audit. */
import type { Owed, StoredDelivery, StoredMessage } from '../audit/queries.ts'
import { callbackJob } from '../model/callback-job.ts'
import { markWhole } from '../queue/continuity.ts'
import { stampEnvelope } from '../queue/envelope.ts'
import { encodeEnvelope } from '../queue/envelope-write.ts'
import { gatherLiveIds } from '../queue/live-ids.ts'
import type { QueueAdmin, RestoredItem, RestoredMessage } from '../queue/maintenance.ts'
import { Batches, drainAudit, type Maintenance, NO_BODY, NO_MESSAGE, Tally, Told, underLock } from './maintenance.ts'
import { isUnfinished, type Problem } from './selection.ts'

export interface Recovery {
  /** By listener: what was put back. */
  readonly listeners: ReadonlyMap<string, { readonly pendientes: number; readonly reintentos: number }>
  /** Delayed messages put back. */
  readonly delayed: number
  /** Redis had lost the outcome; the audit has it now. */
  readonly accepted: number
  /** Dispatched while this ran: Redis has them. */
  readonly recent: number
  /** What cannot be put back; the first thousands, `problemCount` counts all. */
  readonly problems: readonly Problem[]
  readonly problemCount: number
}

/** Another one may have a million to put back. */
const LONG_PATIENCE = 10 * 60_000
const ACCEPTED = 'el listener la había aceptado y Redis perdió el resultado'

/** @throws OperationFailed when another maintenance command does not end, Unavailable when Redis or Postgres goes away */
export async function recover(maintenance: Maintenance): Promise<Recovery> {
  return underLock(maintenance, 'recuperar', LONG_PATIENCE, (admin) => new Recoverer(maintenance, admin).run())
}

class Recoverer {
  readonly #maintenance: Maintenance
  readonly #admin: QueueAdmin | null
  readonly #listeners = new Map<string, { pendientes: number; reintentos: number }>()
  readonly #tally = new Tally()
  readonly #told: Told
  /** Deliveries and messages that were dealt with: a message comes again when its deliveries wait in different states. */
  readonly #seen = new Set<string>()
  #delayed = 0
  #accepted = 0
  #recent = 0

  constructor(maintenance: Maintenance, admin: QueueAdmin | null) {
    this.#maintenance = maintenance
    this.#admin = admin
    this.#told = new Told(maintenance, admin, null)
  }

  async run(): Promise<Recovery> {
    const { queue, config, backend, audit } = this.#maintenance
    const live = await gatherLiveIds(queue, config.listeners.keys())
    await drainAudit(queue, backend)
    const refused = new Set(
      (await audit.rejectedDeliveries()).map(({ messageId, listener }) => keyOf(messageId, listener)),
    )
    const lost = (id: string, listener: string | null) =>
      !live.hasMessage(id) &&
      !this.#seen.has(keyOf(id, listener)) &&
      (listener === null || !live.hasDelivery(id, listener))

    const batches = new Batches((messages) => this.#restore(messages))
    for await (const owed of audit.owed(lost)) {
      const message =
        owed.kind === 'delayed'
          ? this.#delayedMessage(owed.id, owed.message)
          : this.#lostDeliveries(owed, (delivery) => {
              if (!lost(owed.id, delivery.listener)) return false
              this.#seen.add(keyOf(owed.id, delivery.listener))
              if (delivery.createdAt >= live.since) this.#recent += 1
              else if (!refused.has(keyOf(owed.id, delivery.listener))) return true
              else this.#tally.problem(owed.id, delivery.listener, REFUSED)
              return false
            })
      if (message) await batches.add(message)
    }
    await batches.flush()
    this.#admin?.wake()
    // What cannot be put back is told, and counts as missing until it is given up.
    if (this.#admin) await markWhole(queue)
    return {
      listeners: this.#listeners,
      delayed: this.#delayed,
      accepted: this.#accepted,
      recent: this.#recent,
      problems: this.#tally.problems,
      problemCount: this.#tally.problemCount,
    }
  }

  #delayedMessage(id: string, { message, receivedAt }: StoredMessage): RestoredMessage {
    this.#seen.add(keyOf(id, null))
    const due = message.notBefore ?? new Date(receivedAt)
    const envelope = stampEnvelope(Buffer.from(encodeEnvelope(message)), id, receivedAt, due)
    return { id, envelope, others: 0, items: [{ kind: 'delayed', dueAt: due.getTime() }] }
  }

  #lostDeliveries(
    { id, message, deliveries }: Owed & { kind: 'deliveries' },
    isLost: (delivery: StoredDelivery) => boolean,
  ): RestoredMessage | null {
    const unfinished = deliveries.filter(isUnfinished)
    const lost = unfinished.filter(isLost)
    const items: RestoredItem[] = []
    for (const delivery of lost) {
      if (delivery.accepted) items.push(this.#acceptedItem(delivery, message))
      else if (!message) this.#tally.problem(id, delivery.listener, NO_MESSAGE)
      else if (!message.bodyKept) this.#tally.problem(id, delivery.listener, NO_BODY)
      else items.push(lostItem(delivery))
    }
    if (items.length === 0) return null
    const envelope = message?.bodyKept ? Buffer.from(encodeEnvelope(message.message)) : Buffer.alloc(0)
    return { id, envelope, others: unfinished.length - lost.length, items }
  }

  #acceptedItem(delivery: StoredDelivery, stored: StoredMessage | null): RestoredItem {
    const { messageId, listener, lastNumber, made } = delivery
    // Its end is to be newer than its beginning, also where Redis's clock was put back since.
    const version = Math.max(delivery.version, delivery.createdAt)
    const callback = this.#maintenance.config.listeners.get(listener)?.onSuccess
      ? callbackJob.forOutcome({
          id: messageId,
          message: stored?.message ?? null,
          listener,
          attempts: lastNumber,
          reason: ACCEPTED,
          succeeded: true,
          last: undefined,
        })
      : null
    return { kind: 'accepted', listener, made, number: lastNumber, version, reason: ACCEPTED, callback }
  }

  async #restore(messages: readonly RestoredMessage[]): Promise<void> {
    await this.#told.begin()
    const results = this.#admin ? await this.#admin.restore(messages) : null
    for (const [i, { id, items }] of messages.entries()) {
      for (const [j, item] of items.entries()) {
        const result = results?.[i]?.[j] ?? 'done'
        if (result === 'done') this.#count(item)
        else if (result === 'delayed' && item.kind !== 'delayed') this.#tally.problem(id, item.listener, SAME_ID)
      }
    }
    const counts = [...this.#listeners.values()]
    await this.#told.count(counts.reduce((sum, { pendientes, reintentos }) => sum + pendientes + reintentos, 0))
  }

  #count(item: RestoredItem): void {
    if (item.kind === 'delayed') this.#delayed += 1
    else if (item.kind === 'accepted') this.#accepted += 1
    else {
      const counts = this.#listeners.get(item.listener) ?? { pendientes: 0, reintentos: 0 }
      this.#listeners.set(item.listener, counts)
      if (item.kind === 'lost' && item.dueAt !== null) counts.reintentos += 1
      else counts.pendientes += 1
    }
  }
}

const REFUSED = 'Postgres rechazó su último estado (auditoria_rechazada): véalo y use «reenviar» o «descartar»'
const SAME_ID = 'otro mensaje con el mismo id espera su demora: repita cuando se haya despachado'

function lostItem({ listener, state, nextAttemptAt, made, lastNumber, version }: StoredDelivery): RestoredItem {
  const dueAt = state === 'reintentando' ? nextAttemptAt : null
  return { kind: 'lost', listener, dueAt, made, number: lastNumber, version }
}

function keyOf(id: string, listener: string | null): string {
  return `${listener ?? ''} ${id}`
}
