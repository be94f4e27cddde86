/** Dispatches whatever is in the inbox, then sleeps until the bell, until a message with `demora` is due, or a good while. */
import type { Millis } from '../message.ts'
import type { Dispatcher, DispatchPass } from './dispatcher.ts'
import { LONGEST_SLEEP, type LoopEvents } from './loop.ts'
import type { Subscriptions } from './match.ts'
import type { WorkerScene } from './scene.ts'
import { Signal } from './signal.ts'
import { clamp } from './timing.ts'

export interface DispatchEvents extends LoopEvents {
  /** False: nothing is to be taken now; the bell rings when that changes. */
  open(): boolean
  /** These listeners get something: a claim that is sent now finds it. */
  sent(listeners: ReadonlySet<string>): void
  passed(pass: DispatchPass): void
}

const SOONEST: Millis = 5

export class DispatchLoop {
  /** There may be something in the inbox. */
  readonly bell = new Signal()
  /** Ends the pause of an outage. */
  readonly resume = new Signal()
  subscriptions: Subscriptions
  /** Passes in a row that found nothing, since anything last happened. */
  emptyPasses = 0
  /** When it last turned, on the clock of `performance`. */
  turnedAt = 0
  readonly #dispatcher: Dispatcher
  readonly #scene: WorkerScene
  readonly #events: DispatchEvents
  #stopping = false

  constructor(dispatcher: Dispatcher, subscriptions: Subscriptions, scene: WorkerScene, events: DispatchEvents) {
    this.#dispatcher = dispatcher
    this.subscriptions = subscriptions
    this.#scene = scene
    this.#events = events
  }

  /** Runs until `stop`. */
  async run(): Promise<void> {
    while (!this.#stopping) {
      this.turnedAt = performance.now()
      if (!this.#events.open()) {
        await this.bell.wait(LONGEST_SLEEP)
        continue
      }
      try {
        const pass = await this.#dispatcher.pass(this.subscriptions, (listeners) => this.#events.sent(listeners))
        this.#scene.redisOutage.worked()
        this.#events.passed(pass)
        if (pass.moved > 0) this.#events.active()
        else this.emptyPasses += 1
        if (!pass.more) await this.bell.wait(this.#sleep(pass.nextAt))
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

  #sleep(nextAt: number | null): Millis {
    return nextAt === null ? LONGEST_SLEEP : clamp(nextAt - this.#scene.now(), SOONEST, LONGEST_SLEEP)
  }
}
