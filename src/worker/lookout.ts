/**
 * The guarantee behind the bells: every `sondeo` it looks whether anything waits that nobody announced, for the loops that
 * sleep. Foreign programs push without a word, and workers die.
 *
 * One short script for all of them: two loops that each tried to take something cost an idle worker four times as much.
 */
import { look, type Seen } from '../queue/look.ts'
import type { Queue } from '../queue/queue.ts'
import type { LoopEvents } from './loop.ts'
import type { WorkerScene } from './scene.ts'
import { Signal } from './waiting.ts'

export interface LookoutEvents extends Pick<LoopEvents, 'failed'> {
  seen(what: Seen): void
}

export class Lookout {
  readonly #queue: Queue
  readonly #scene: WorkerScene
  readonly #lanes: () => Iterable<string>
  readonly #events: LookoutEvents
  readonly #end = new Signal()
  #stopping = false

  /** @param lanes those that this worker works now */
  constructor(queue: Queue, scene: WorkerScene, lanes: () => Iterable<string>, events: LookoutEvents) {
    this.#queue = queue
    this.#scene = scene
    this.#lanes = lanes
    this.#events = events
  }

  /** Runs until `stop`. */
  async run(): Promise<void> {
    let wait = this.#scene.config().workers.poll
    while (!this.#stopping) {
      await this.#end.wait(wait)
      if (this.#stopping) return
      wait = this.#scene.config().workers.poll
      try {
        const seen = await look(this.#queue, [...this.#lanes()])
        this.#scene.redisOutage.worked(this)
        this.#events.seen(seen)
      } catch (error) {
        wait = this.#events.failed(error, this)
      }
    }
  }

  stop(): void {
    this.#stopping = true
    this.#end.ring()
  }
}
