/**
 * From the inbox straight to work, or to the listeners' queues: who listens is decided here, with the configuration of this
 * moment. Then it sleeps until it is woken, until a message with `demora` is due, or a good while.
 *
 * It takes what can start now. What cannot is cheaper where it lies, and is queued only when `sondeo` has passed.
 */
import type { ListenerConfig } from '../config/config.ts'
import type { Subscriptions } from '../config/subscriptions.ts'
import { newId } from '../id.ts'
import type { Bytes, Millis } from '../model/message.ts'
import { writeDispatched } from '../queue/audit-format.ts'
import { EnvelopeError } from '../queue/entry.ts'
import { decodeEnvelope, stampEnvelope } from '../queue/envelope.ts'
import { type DispatchItem, dispatch, TAKE_AT_MOST, type Taken, take } from '../queue/inbox.ts'
import type { Queue } from '../queue/queue.ts'
import { SILENCE_TIMEOUT } from '../queue/redis.ts'
import { BUSY, type Claimer, GATHER_MS } from './claimer.ts'
import type { WorkerContext } from './context.ts'
import { LONGEST_SLEEP, Loop, type LoopEvents } from './loop.ts'
import { sleep } from './waiting.ts'

export interface DispatchPass {
  /** Envelopes moved. */
  readonly moved: number
  /** Some of their deliveries wait in queues in which nothing waited before: whoever has slots for them is to be told. */
  readonly queued: boolean
  /** There is more right now. */
  readonly more: boolean
  /** Redis time at which there may be something again, null: unknown. */
  readonly nextAt: number | null
  readonly now: number
}

interface DispatchEvents extends LoopEvents {
  passed(pass: DispatchPass): void
}

const SOONEST: Millis = 5

export class Dispatcher extends Loop<DispatchEvents> {
  subscriptions: Subscriptions
  readonly #queue: Queue
  readonly #claimer: Claimer
  /** The last pass left something in the inbox. */
  #backlog = false
  #passedAt = Number.NEGATIVE_INFINITY
  /** Deliveries that an envelope of the last pass had for lanes in which nothing waits. */
  #reach = 1

  constructor(
    queue: Queue,
    context: WorkerContext,
    subscriptions: Subscriptions,
    claimer: Claimer,
    events: DispatchEvents,
  ) {
    super(context, events)
    this.#queue = queue
    this.subscriptions = subscriptions
    this.#claimer = claimer
  }

  /** A delivery ended, and there is a free slot. */
  freed(): void {
    if (this.#backlog) this.wake()
  }

  /**
   * Takes one batch and dispatches it.
   * @param demand deliveries that could start now; null: nothing is to wait for that
   * @throws whatever Redis answers; what was taken is then taken again, by anybody, when its lease is over
   */
  async pass(demand: number | null = null): Promise<DispatchPass> {
    const { maxMessage, lease } = this.context.config().workers
    const taken = await take(this.#queue, maxMessage, demand ? Math.ceil(demand / this.#reach) : TAKE_AT_MOST)
    this.#passedAt = performance.now()
    this.#backlog = taken.left > 0
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
    if (taken.fence === 0) {
      // Somebody else is at it, mostly for a moment.
      const nextAt = taken.left > 0 ? taken.now : taken.nextAt
      return { moved: 0, queued: false, more: taken.tooLarge + taken.setAside > 0, nextAt, now: taken.now }
    }

    const wanted = new Map<string, Bytes>()
    const first: boolean[] = []
    const items = taken.envelopes.map((raw) => this.#decide(raw, taken, wanted, first))
    const reserved = this.#claimer.reserve(wanted)
    const slots = new Map(
      [...reserved.values()].map(({ lane: { spec }, n }) => [spec.name, { n, hasBreaker: spec.breaker !== null }]),
    )
    const askedAt = performance.now()
    let reached = 0
    let queued = false
    const dispatching = dispatch(this.#queue, taken, items, {
      slots,
      lease,
      until: taken.now + SILENCE_TIMEOUT,
      stepped: (begun, waiting) => {
        this.#claimer.begin(begun, askedAt, reserved)
        reached += begun.length
        for (const [name, { deliveries, news }] of waiting) {
          queued ||= news
          if (slots.has(name)) reached += deliveries
          this.#claimer.queued(name, deliveries, news)
        }
      },
    }).finally(() => this.#claimer.giveBack(reserved))
    // Sent while Redis is still at it: the claim comes right after.
    this.#claimer.queueing([...wanted.keys()].filter((name) => !slots.has(name)))
    const answer = await dispatching
    if (answer === null) {
      this.context.log.warn(
        { cantidad: items.length },
        'se perdió el arriendo del despacho: otro worker despacha esos mensajes',
      )
      return { moved: 0, queued: false, more: true, nextAt: null, now: taken.now }
    }
    if (answer.duplicates > 0) {
      this.context.log.warn(
        { cantidad: answer.duplicates },
        'mensajes repetidos (mismo id y contenido) que aún se entregan: se descartó la copia',
      )
    }
    const moved = items.slice(0, answer.moved)
    const unexpected = answer.refused - moved.filter(({ kind }) => kind === 'invalid').length
    if (unexpected > 0) {
      this.context.log.error(
        { cantidad: unexpected },
        'mensajes con el id de otro que aún se entrega: están en entrada_invalida',
      )
    }
    const accepted = first.slice(0, answer.moved).filter(Boolean).length
    this.context.metrics()?.accepted(Math.max(0, accepted - answer.duplicates - unexpected))
    this.#reach = Math.max(reached / Math.max(1, answer.moved), 1 / TAKE_AT_MOST)
    this.#backlog ||= answer.moved < items.length
    return {
      // Without an envelope: what another dispatcher had left was handed out.
      moved: Math.max(answer.moved, answer.parts),
      queued: queued || answer.parts > 0,
      more: this.#backlog || items.length > 1,
      nextAt: taken.nextAt,
      now: taken.now,
    }
  }

  protected async turn(): Promise<void> {
    const demand = this.#claimer.demand()
    const { poll } = this.context.config().workers
    const patience = demand === 0 && this.#backlog ? this.#passedAt + poll - performance.now() : 0
    if (!this.#claimer.open || patience > 0) {
      await this.woken.wait(this.#claimer.open ? patience : LONGEST_SLEEP)
      return
    }
    if (this.#claimer.running >= BUSY) await sleep(GATHER_MS)
    const pass = await this.pass(demand)
    this.context.redisOutage.worked(this)
    this.events.passed(pass)
    this.found(pass.moved > 0)
    if (!pass.more) await this.sleep(pass.nextAt, SOONEST, LONGEST_SLEEP)
  }

  /** @param first which were not taken before, to wait for their `demora` */
  #decide(raw: Buffer, taken: Taken, wanted: Map<string, Bytes>, first: boolean[]): DispatchItem {
    try {
      const { message, delay, receivedAt } = decodeEnvelope(raw, newId, new Date(taken.now))
      first.push(receivedAt === null)
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
      for (const name of names) wanted.set(name, (wanted.get(name) ?? 0) + raw.length)
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
        message,
      }
    } catch (error) {
      if (!(error instanceof EnvelopeError)) throw error
      this.context.log.error(
        { motivo: error.message, bytes: raw.length },
        'una entrada de la cola no se entiende: está, entera, en entrada_invalida',
      )
      first.push(false)
      return { kind: 'invalid' }
    }
  }
}

/** The body is left out of the audit only where every listener that gets it says so. */
function keepsBody(listeners: readonly ListenerConfig[]): boolean {
  return listeners.length === 0 || listeners.some(({ auditBody }) => auditBody)
}
