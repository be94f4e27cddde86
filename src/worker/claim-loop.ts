/** Claims whatever can start, then sleeps until the bell, until a retry is due, or a good while. */
import type { Claimer } from './claimer.ts'
import { LONGEST_SLEEP, Loop, type LoopEvents } from './loop.ts'
import type { WorkerScene } from './scene.ts'
import type { Signal } from './waiting.ts'
import { sleep } from './waiting.ts'

/** With so many requests under way, a free slot waits a moment for others: one claim for many costs as much as for one. */
const BUSY = 16
const GATHER_MS = 1

export class ClaimLoop extends Loop {
  readonly #claimer: Claimer
  #lookedAt = Number.NEGATIVE_INFINITY

  /** @param bell rung by the claimer too, when a slot is free again */
  constructor(claimer: Claimer, bell: Signal, scene: WorkerScene, events: LoopEvents) {
    super(scene, events, bell)
    this.#claimer = claimer
  }

  protected async turn(): Promise<void> {
    if (this.turnedAt - this.#lookedAt >= LONGEST_SLEEP) {
      this.#lookedAt = this.turnedAt
      this.#claimer.hint()
    }
    if (this.#claimer.running >= BUSY) await sleep(GATHER_MS)
    const { started, more } = await this.#claimer.pass()
    this.scene.redisOutage.worked(this)
    this.found(started > 0)
    if (started > 0 || more) return
    await this.sleep(this.#claimer.nextAt(), 1, Math.max(1, this.#lookedAt + LONGEST_SLEEP - performance.now()))
  }
}
