/** What the worker's loops have in common: they turn until they are stopped, sleep until the bell, and wait out an outage. */
import type { Millis } from '../model/message.ts'
import type { WorkerScene } from './scene.ts'
import { clamp, Signal } from './waiting.ts'

/**
 * The longest a loop sleeps. Then it looks for itself, whatever the bells did not say: shorter than what `/salud` takes for
 * a loop that stands still.
 */
export const LONGEST_SLEEP: Millis = 15_000

export interface LoopEvents {
  /** Something was found. */
  active(): void
  /** Redis is away or refuses. @returns how long to wait */
  failed(error: unknown, who: object): Millis
}

export abstract class Loop<Events extends LoopEvents = LoopEvents> {
  /** There may be something to find. */
  readonly bell: Signal
  /** Ends the pause of an outage. */
  readonly resume = new Signal()
  /** Turns in a row that found nothing, since anything last happened. */
  emptyPasses = 0
  /** When it last turned, on the clock of `performance`. */
  turnedAt = 0
  protected readonly events: Events
  protected readonly scene: WorkerScene
  #stopping = false

  constructor(scene: WorkerScene, events: Events, bell = new Signal()) {
    this.scene = scene
    this.events = events
    this.bell = bell
  }

  /** Runs until `stop`. */
  async run(): Promise<void> {
    while (!this.#stopping) {
      this.turnedAt = performance.now()
      try {
        await this.turn()
      } catch (error) {
        await this.resume.wait(this.events.failed(error, this))
      }
    }
  }

  stop(): void {
    this.#stopping = true
    this.bell.ring()
    this.resume.ring()
  }

  /** One look, and the sleep after it where there was nothing. @throws whatever Redis answers */
  protected abstract turn(): Promise<void>

  protected found(something: boolean): void {
    if (something) this.events.active()
    else this.emptyPasses += 1
  }

  /** Until the bell, or until `nextAt` (Redis time, null: unknown), between `least` and `most` from now. */
  protected sleep(nextAt: number | null, least: Millis, most: Millis): Promise<void> {
    return this.bell.wait(nextAt === null ? most : clamp(nextAt - this.scene.now(), least, most))
  }
}
