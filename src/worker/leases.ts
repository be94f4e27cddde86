/**
 * The leases of everything this worker holds, from the claim until its outcome is in Redis. They are renewed four times
 * within their life; where one is lost all the same, the request is aborted, since another worker makes it now.
 */
import { Stopper, type StopSignal } from '../delivery/stop-signal.ts'
import type { Claimed, Held, Queue } from '../queue/queue.ts'
import type { WorkerScene } from './scene.ts'

interface Lease extends Held {
  readonly stopper: Stopper
  /** By the clock that nobody sets: a lease must not be forgotten because the machine's time was put back. */
  renewedAt: number
}

export class Leases {
  readonly #queue: Queue
  readonly #scene: WorkerScene
  readonly #held = new Map<string, Lease>()
  #timer: NodeJS.Timeout | undefined

  constructor(queue: Queue, scene: WorkerScene) {
    this.#queue = queue
    this.#scene = scene
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

  /** @returns what aborts the work when the lease is lost */
  hold({ lane, id, fence }: Claimed): StopSignal {
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
    return this.#scene.config().workers.lease / 4
  }

  async #renew(): Promise<void> {
    const now = performance.now()
    const due = [...this.#held.values()].filter((lease) => now - lease.renewedAt >= this.#interval * 0.5)
    if (due.length === 0) return
    try {
      for (let i = 0; i < due.length; i += 500) {
        const batch = due.slice(i, i + 500)
        const lost = await this.#queue.renew(batch, this.#scene.config().workers.lease)
        for (const lease of batch) lease.renewedAt = now
        for (const { lane, id, fence } of lost) {
          const lease = this.#held.get(keyOf(lane, id, fence))
          if (!lease) continue
          this.#held.delete(keyOf(lane, id, fence))
          lease.stopper.abort()
          this.#scene.log.warn({ id, listener: lane }, 'se perdió el arriendo de una entrega: otro worker la hace')
        }
      }
    } catch {
      // The loops that claim and settle report the outage; the leases are renewed when it is over.
    }
  }
}

function keyOf(lane: string, id: string, fence: number): string {
  return `${fence}\0${lane}\0${id}`
}
