/**
 * The leases of everything this worker holds, from the claim until its outcome is in Redis. They are renewed when the work
 * begins and four times within their life; where one is lost all the same, the request is aborted, since another worker makes
 * it now.
 *
 * The first renewal tells Redis that the claim arrived: what expires without it was never begun, and does not count against
 * the delivery. It is on its way, in the kernel's hands, before the first request is: a worker that is killed right after
 * sending leaves it behind. Waiting for its answer would cost each delivery a round trip and protect from nothing more than a
 * connection and a worker that die in the same moment.
 */
import { Stopper, type StopSignal } from '../delivery/exchange.ts'
import { parts } from '../model/parts.ts'
import type { Claimed, Held, Queue } from '../queue/queue.ts'
import type { WorkerContext } from './context.ts'

/** Leases that one script renews. */
const AT_ONCE = 500

interface Lease extends Held {
  readonly stopper: Stopper
  /** On the monotonic clock: a lease must not be forgotten because the machine's time was put back. */
  renewedAt: number
}

export class Leases {
  readonly #queue: Queue
  readonly #context: WorkerContext
  readonly #held = new Map<string, Lease>()
  #timer: NodeJS.Timeout | undefined

  constructor(queue: Queue, context: WorkerContext) {
    this.#queue = queue
    this.#context = context
  }

  get size(): number {
    return this.#held.size
  }

  start(): void {
    const tick = async () => {
      await this.#renew()
      this.#timer = setTimeout(tick, this.#interval)
    }
    this.#timer = setTimeout(tick, this.#interval)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  /** Tells that these arrived; to be called before the first request of any of them is made. */
  async begin(claims: readonly Claimed[]): Promise<void> {
    const leases = claims.flatMap((claim) => this.#held.get(keyOf(claim.lane, claim.id, claim.fence)) ?? [])
    const telling = this.#renewAll(leases).catch(() => {
      // The claim loop reports the outage; told again with the next renewal.
      for (const lease of leases) lease.renewedAt = Number.NEGATIVE_INFINITY
    })
    if (this.#queue.isCongested) await telling
  }

  /** @returns what aborts the work when the lease is lost */
  add({ lane, id, fence }: Claimed): StopSignal {
    const stopper = new Stopper()
    this.#held.set(keyOf(lane, id, fence), { lane, id, fence, stopper, renewedAt: performance.now() })
    return stopper
  }

  drop({ lane, id, fence }: Held): void {
    this.#held.delete(keyOf(lane, id, fence))
  }

  /** Aborts all that runs; each then ends with an outcome of its own. */
  abortAll(): void {
    for (const lease of this.#held.values()) lease.stopper.abort()
  }

  get #interval(): number {
    return this.#context.config().workers.lease / 4
  }

  async #renew(): Promise<void> {
    const now = performance.now()
    const due = [...this.#held.values()].filter((lease) => now - lease.renewedAt >= this.#interval * 0.5)
    if (due.length === 0) return
    try {
      await this.#renewAll(due)
    } catch {
      // The loops that claim and settle report the outage; the leases are renewed when it is over.
    }
  }

  /** In steps, all of them sent before the first one is answered. */
  async #renewAll(leases: readonly Lease[]): Promise<void> {
    await Promise.all([...parts(leases, AT_ONCE)].map((step) => this.#renewStep(step)))
  }

  async #renewStep(leases: readonly Lease[]): Promise<void> {
    const at = performance.now()
    const lost = await this.#queue.renew(leases, this.#context.config().workers.lease)
    for (const lease of leases) lease.renewedAt = at
    for (const { lane, id, fence } of lost) {
      const lease = this.#held.get(keyOf(lane, id, fence))
      if (!lease) continue
      this.#held.delete(keyOf(lane, id, fence))
      lease.stopper.abort()
      this.#context.log.warn({ id, listener: lane }, 'se perdió el arriendo de una entrega: otro worker la hace')
    }
  }
}

function keyOf(lane: string, id: string, fence: number): string {
  return `${fence}\0${lane}\0${id}`
}
