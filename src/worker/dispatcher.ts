/**
 * From the inbox to the listeners' queues: who listens is decided here, with the configuration of this moment. Then it sleeps
 * until it is woken, until a message with `demora` is due, or a good while.
 */
import type { ListenerConfig } from '../config/config.ts'
import type { Subscriptions } from '../config/subscriptions.ts'
import { newId } from '../id.ts'
import type { Millis } from '../model/message.ts'
import { writeDispatched } from '../queue/audit-stream.ts'
import { decodeEnvelope, EnvelopeError, stampEnvelope } from '../queue/envelope.ts'
import { type DispatchItem, dispatch, type Taken, take } from '../queue/inbox.ts'
import type { Queue } from '../queue/queue.ts'
import type { WorkerContext } from './context.ts'
import { LONGEST_SLEEP, Loop, type LoopEvents } from './loop.ts'

export interface DispatchPass {
  /** Envelopes moved. */
  readonly moved: number
  /** There is more right now. */
  readonly more: boolean
  /** Redis time at which there may be something again, null: unknown. */
  readonly nextAt: number | null
  readonly now: number
}

interface DispatchEvents extends LoopEvents {
  /** False: nothing is to be taken now; it is woken when that changes. */
  open(): boolean
  /** These listeners get something, while Redis is still at it: a claim sent now comes right after. */
  sent(listeners: ReadonlySet<string>): void
  passed(pass: DispatchPass): void
}

const SOONEST: Millis = 5

export class Dispatcher extends Loop<DispatchEvents> {
  subscriptions: Subscriptions
  readonly #queue: Queue

  constructor(queue: Queue, context: WorkerContext, subscriptions: Subscriptions, events: DispatchEvents) {
    super(context, events)
    this.#queue = queue
    this.subscriptions = subscriptions
  }

  /**
   * Takes one batch and dispatches it.
   * @throws whatever Redis answers; what was taken is then taken again, by anybody, when its lease is over
   */
  async pass(): Promise<DispatchPass> {
    const { maxMessage } = this.context.config().workers
    const taken = await take(this.#queue, maxMessage)
    if (taken.tooLarge > 0) {
      this.context.log.error(
        { cantidad: taken.tooLarge, max_mensaje: maxMessage },
        'entradas de la cola mayores que max_mensaje: están, enteras, en entrada_invalida',
      )
    }
    if (taken.setAside > 0) {
      this.context.log.error(
        { cantidad: taken.setAside },
        'una entrada de la cola tumbó tres veces a su worker: está en entrada_invalida',
      )
    }
    const listeners = new Set<string>()
    if (taken.fence === 0)
      return { moved: 0, more: taken.tooLarge > 0 && taken.left > 0, nextAt: taken.nextAt, now: taken.now }

    const first = { count: 0 }
    const items = taken.envelopes.map((raw) => this.#decide(raw, taken, listeners, first))
    const answering = dispatch(this.#queue, taken, items)
    this.events.sent(listeners)
    const answer = await answering
    if (answer === null) {
      this.context.log.warn(
        { cantidad: items.length },
        'se perdió el arriendo del despacho: otro worker despacha esos mensajes',
      )
      return { moved: 0, more: true, nextAt: null, now: taken.now }
    }
    if (answer.duplicates > 0) {
      this.context.log.warn(
        { cantidad: answer.duplicates },
        'mensajes repetidos (mismo id y contenido) que aún se entregan: se descartó la copia',
      )
    }
    const unexpected = answer.refused - items.filter(({ kind }) => kind === 'invalid').length
    if (unexpected > 0) {
      this.context.log.error(
        { cantidad: unexpected },
        'mensajes con el id de otro que aún se entrega: están en entrada_invalida',
      )
    }
    this.context.metrics()?.accepted(Math.max(0, first.count - answer.duplicates - unexpected))
    return {
      // More steps than envelopes: what another dispatcher had left was handed out.
      moved: Math.max(items.length, answer.steps),
      more: taken.left > 0 || items.length > 1,
      nextAt: taken.nextAt,
      now: taken.now,
    }
  }

  protected async turn(): Promise<void> {
    if (!this.events.open()) {
      await this.woken.wait(LONGEST_SLEEP)
      return
    }
    const pass = await this.pass()
    this.context.redisOutage.worked(this)
    this.events.passed(pass)
    this.found(pass.moved > 0)
    if (!pass.more) await this.sleep(pass.nextAt, SOONEST, LONGEST_SLEEP)
  }

  /** @param first counts those that were not taken before, to wait for their `demora` */
  #decide(raw: Buffer, taken: Taken, reached: Set<string>, first: { count: number }): DispatchItem {
    try {
      const { message, delay, receivedAt } = decodeEnvelope(raw, newId, new Date(taken.now))
      if (receivedAt === null) first.count += 1
      const received = receivedAt ?? taken.now
      const notBefore = message.notBefore?.getTime() ?? (delay === null ? null : taken.now + delay)
      if (notBefore !== null && notBefore > taken.now) {
        return {
          kind: 'wait',
          id: message.id,
          event: writeDispatched({ id: message.id, listeners: null, keepBody: true, receivedAt: received }),
          dueAt: notBefore,
          envelope: stampEnvelope(raw, message.id, received, new Date(notBefore)),
        }
      }
      const matching = this.subscriptions.of(message.event, message.onlyListener)
      const names = matching.map(({ name }) => name)
      for (const name of names) reached.add(name)
      return {
        kind: 'dispatch',
        id: message.id,
        event: writeDispatched({
          id: message.id,
          listeners: names,
          keepBody: keepsBody(matching),
          receivedAt: received,
        }),
        listeners: names,
      }
    } catch (error) {
      if (!(error instanceof EnvelopeError)) throw error
      this.context.log.error(
        { motivo: error.message, bytes: raw.length },
        'una entrada de la cola no se entiende: está, entera, en entrada_invalida',
      )
      return { kind: 'invalid' }
    }
  }
}

/** The body is left out of the audit only where every listener that gets it says so. */
function keepsBody(listeners: readonly ListenerConfig[]): boolean {
  return listeners.length === 0 || listeners.some(({ auditBody }) => auditBody)
}
