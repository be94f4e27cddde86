/**
 * The leases of everything this worker holds, from the claim until its outcome is in Redis. They are renewed four times within
 * their life; where one is lost all the same, the request is aborted, since another worker makes it now.
 *
 * First of all Redis is told that the claim arrived: what expires without that was never begun, and does not count against
 * the delivery. No request is made before Redis has answered: one that is paused, or dies, as its worker is killed would
 * otherwise never hear of requests that were made, and they would have no row.
 */
import { Stopper, type StopSignal } from '../delivery/exchange.ts'
import type { Millis } from '../model/message.ts'
import { parts } from '../model/parts.ts'
import type { Claimed, Held, Queue } from '../queue/queue.ts'
import type { WorkerContext } from './context.ts'
import { sleep } from './waiting.ts'

/** How long a claim waits before it is told again. */
const TELL_AGAIN_MS: Millis = 100
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

  /**
   * Tells that these arrived, again where Redis is away, until it has answered or their work was aborted.
   * @param claims of one fence
   * @returns those whose requests may be made; the others are not held any more
   */
  async begin(claims: readonly Claimed[]): Promise<ReadonlySet<Claimed>> {
    const leaseOf = (claim: Claimed) => this.#held.get(keyOf(claim.lane, claim.id, claim.fence))
    for (;;) {
      for (const claim of claims) if (leaseOf(claim)?.stopper.aborted) this.drop(claim)
      const leases = claims.flatMap((claim) => leaseOf(claim) ?? [])
      const [first] = leases
      if (first === undefined) return new Set()
      try {
        const told = await this.#queue.begin(first.fence)
        // Told before, and the answer got lost; or so late that others may have them by now.
        if (!told || performance.now() - first.renewedAt > this.#context.config().workers.lease / 2)
          await this.#renewAll(leases)
        return new Set(claims.filter((claim) => leaseOf(claim)?.stopper.aborted === false))
      } catch {
        // The claim loop reports the outage.
        await sleep(TELL_AGAIN_MS)
      }
    }
  }

  /**
   * @param askedAt when the claim was sent, on the monotonic clock
   * @returns what aborts the work when the lease is lost
   */
  add({ lane, id, fence }: Claimed, askedAt: number): StopSignal {
    const stopper = new Stopper()
    this.#held.set(keyOf(lane, id, fence), { lane, id, fence, stopper, renewedAt: askedAt })
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
