/** Dispatches whatever is in the inbox, then sleeps until the bell, until a message with `demora` is due, or a good while. */
import type { Millis } from '../model/message.ts'
import type { Dispatcher, DispatchPass } from './dispatcher.ts'
import { LONGEST_SLEEP, Loop, type LoopEvents } from './loop.ts'
import type { Subscriptions } from './match.ts'
import type { WorkerScene } from './scene.ts'

export interface DispatchEvents extends LoopEvents {
  /** False: nothing is to be taken now; the bell rings when that changes. */
  open(): boolean
  /** These listeners get something: a claim that is sent now finds it. */
  sent(listeners: ReadonlySet<string>): void
  passed(pass: DispatchPass): void
}

const SOONEST: Millis = 5

export class DispatchLoop extends Loop<DispatchEvents> {
  subscriptions: Subscriptions
  readonly #dispatcher: Dispatcher

  constructor(dispatcher: Dispatcher, subscriptions: Subscriptions, scene: WorkerScene, events: DispatchEvents) {
    super(scene, events)
    this.#dispatcher = dispatcher
    this.subscriptions = subscriptions
  }

  protected async turn(): Promise<void> {
    if (!this.events.open()) {
      await this.bell.wait(LONGEST_SLEEP)
      return
    }
    const pass = await this.#dispatcher.pass(this.subscriptions, (listeners) => this.events.sent(listeners))
    this.scene.redisOutage.worked(this)
    this.events.passed(pass)
    this.found(pass.moved > 0)
    if (!pass.more) await this.sleep(pass.nextAt, SOONEST, LONGEST_SLEEP)
  }
}
