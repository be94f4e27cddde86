/**
 * The leases of everything this worker holds, from the claim until its outcome is in Redis. They are renewed four times within
 * their life; where one is lost all the same, the request is aborted, since another worker makes it now.
 *
 * First of all Redis is told that the claim arrived: what expires without that was never begun, and does not count against
 * the delivery. No request is made before Redis has answered: one that is paused, or dies, as its worker is killed would
 * otherwise never hear of requests that were made, and they would have no row.
 */
import { Stopper } from '../delivery/deadline.ts'
import type { Millis } from '../model/message.ts'
import { parts } from '../model/parts.ts'
import type { Held, Queue } from '../queue/queue.ts'
import type { WorkerContext } from './context.ts'
import { sleep } from './waiting.ts'

/** How long a claim waits before it is told again. */
const TELL_AGAIN_MS: Millis = 100
/** Leases that one script renews. */
export const RENEWED_AT_ONCE = 150

/** Of one claim; it stops the work where it is lost. */
export class Lease extends Stopper implements Held {
  readonly lane: string
  readonly id: string
  readonly fence: number
  /** On the monotonic clock: a lease must not be forgotten because the machine's time was put back. */
  renewedAt: number
  /** Among all that are held; -1: it is not. */
  place = -1

  constructor({ lane, id, fence }: Held, renewedAt: number) {
    super()
    this.lane = lane
    this.id = id
    this.fence = fence
    this.renewedAt = renewedAt
  }
}

export class Leases {
  readonly #queue: Queue
  readonly #context: WorkerContext
  /** In no order; each knows its place, so that none has to be looked for. */
  readonly #held: Lease[] = []
  #timer: NodeJS.Timeout | undefined
  /** Redis did not hear of a renewal. */
  #behind = false
  /** When they were last looked through: where that is long ago, this process had stood still. */
  #tickedAt = Number.POSITIVE_INFINITY

  constructor(queue: Queue, context: WorkerContext) {
    this.#queue = queue
    this.#context = context
  }

  get size(): number {
    return this.#held.length
  }

  start(): void {
    const tick = async () => {
      // The timer may be the first that runs again.
      this.#behind ||= this.#isLate
      this.#tickedAt = performance.now()
      await this.#renew()
      this.#timer = setTimeout(tick, this.#interval)
    }
    this.#tickedAt = performance.now()
    this.#timer = setTimeout(tick, this.#interval)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  /**
   * Tells that these arrived, again where Redis is away, until it has answered or their work was aborted. Afterwards the requests
   * of those that are still held may be made.
   * @param leases of one fence
   */
  async begin(leases: readonly Lease[]): Promise<void> {
    for (;;) {
      for (const lease of leases) if (lease.aborted) this.drop(lease)
      const held = leases.filter(({ place }) => place >= 0)
      const [first] = held
      if (first === undefined) return
      try {
        const told = await this.#queue.begin(first.fence)
        // Told before, and the answer got lost; or so late that others may have them by now.
        if (!told || performance.now() - first.renewedAt > this.#context.config().workers.lease / 2)
          await this.#renewAll(held)
        for (const lease of held) if (lease.aborted) this.drop(lease)
        return
      } catch {
        // The claim loop reports the outage.
        await sleep(TELL_AGAIN_MS)
      }
    }
  }

  /** @param askedAt when the claim was sent, on the monotonic clock */
  add(claimed: Held, askedAt: number): Lease {
    const lease = new Lease(claimed, askedAt)
    lease.place = this.#held.push(lease) - 1
    return lease
  }

  /** Nothing where it was dropped before. */
  drop(lease: Lease): void {
    if (lease.place < 0) return
    const last = this.#held.pop()!
    if (last !== lease) {
      this.#held[lease.place] = last
      last.place = lease.place
    }
    lease.place = -1
  }

  /**
   * Renews those that could not be renewed while Redis was away or this process stood still, and may have run out: as long as nobody
   * else has them they are this worker's, and so are the outcomes that wait for Redis.
   * @param mayHaveRunOut where it is not known from a renewal that failed, or did not come
   * @returns whether there was any need
   * @throws while Redis does not take it
   */
  async catchUp(mayHaveRunOut = this.#behind || this.#isLate): Promise<boolean> {
    if (!mayHaveRunOut) return false
    this.#behind = true
    if (this.#isLate) this.#tickedAt = performance.now()
    await this.#renewAll(this.#held)
    this.#behind = false
    return true
  }

  /** Aborts all that runs; each then ends with an outcome of its own. */
  abortAll(): void {
    for (const lease of [...this.#held]) lease.abort()
  }

  get #isLate(): boolean {
    return performance.now() - this.#tickedAt > this.#interval * 2
  }

  get #interval(): number {
    return this.#context.config().workers.lease / 4
  }

  async #renew(): Promise<void> {
    const now = performance.now()
    const due = this.#held.filter((lease) => now - lease.renewedAt >= this.#interval * 0.5)
    if (due.length === 0) return
    try {
      await this.#renewAll(due)
    } catch {
      // The loops that claim and settle report the outage.
      this.#behind = true
    }
  }

  /** In steps, all of them sent before the first one is answered. */
  async #renewAll(leases: readonly Lease[]): Promise<void> {
    await Promise.all([...parts(leases, RENEWED_AT_ONCE)].map((step) => this.#renewStep(step)))
  }

  async #renewStep(leases: readonly Lease[]): Promise<void> {
    const at = performance.now()
    const lost = await this.#queue.renew(leases, this.#context.config().workers.lease)
    for (const lease of leases) lease.renewedAt = at
    for (const lease of lost) {
      if (lease.place < 0) continue
      this.drop(lease)
      lease.abort()
      const { id, lane } = lease
      this.#context.log.warn({ id, listener: lane }, 'se perdió el arriendo de una entrega: otro worker la hace')
    }
  }
}
