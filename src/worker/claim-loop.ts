/** Claims whatever can start, then sleeps until the bell, until a retry is due, or a good while. */
import type { Millis } from '../message.ts'
import type { Claimer } from './claimer.ts'
import { LONGEST_SLEEP, type LoopEvents } from './loop.ts'
import type { WorkerScene } from './scene.ts'
import { Signal } from './signal.ts'
import { clamp, pause } from './timing.ts'

/** With so many requests under way, a free slot waits a moment for others: one claim for many costs as much as for one. */
const BUSY = 16
const GATHER_MS = 1

export class ClaimLoop {
  /** There may be something to claim, or a free slot for it. */
  readonly bell: Signal
  /** Ends the pause of an outage. */
  readonly resume = new Signal()
  /** Passes in a row that found nothing, since anything last happened. */
  emptyPasses = 0
  /** When it last turned, on the clock of `performance`. */
  turnedAt = 0
  readonly #claimer: Claimer
  readonly #scene: WorkerScene
  readonly #events: LoopEvents
  #stopping = false

  constructor(claimer: Claimer, bell: Signal, scene: WorkerScene, events: LoopEvents) {
    this.#claimer = claimer
    this.bell = bell
    this.#scene = scene
    this.#events = events
  }

  /** Runs until `stop`. */
  async run(): Promise<void> {
    let lookedAt = Number.NEGATIVE_INFINITY
    while (!this.#stopping) {
      this.turnedAt = performance.now()
      if (this.turnedAt - lookedAt >= LONGEST_SLEEP) {
        lookedAt = this.turnedAt
        this.#claimer.hint()
      }
      try {
        if (this.#claimer.running >= BUSY) await pause(GATHER_MS)
        if ((await this.#claimer.pass()) > 0) {
          this.#events.active()
          continue
        }
        this.emptyPasses += 1
        await this.bell.wait(this.#sleep(lookedAt + LONGEST_SLEEP - performance.now()))
      } catch (error) {
        await this.resume.wait(this.#events.failed(error))
      }
    }
  }

  stop(): void {
    this.#stopping = true
    this.bell.ring()
    this.resume.ring()
  }

  #sleep(most: Millis): Millis {
    const nextAt = this.#claimer.nextAt()
    return nextAt === null ? Math.max(1, most) : clamp(nextAt - this.#scene.now(), 1, Math.max(1, most))
  }
}
