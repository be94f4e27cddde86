/**
 * What the worker's loops have in common: they turn until they are stopped, sleep until they are woken, and wait out an outage. And
 * the loop that polls for the others.
 */
import type { Millis } from '../model/message.ts'
import type { Queue, Seen } from '../queue/queue.ts'
import type { WorkerContext } from './context.ts'
import { clamp, Signal } from './waiting.ts'

/**
 * The longest a loop sleeps. Then it looks for itself, whatever nobody told it: shorter than what `/salud` takes for
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
  protected readonly woken = new Signal()
  readonly #resumed = new Signal()
  /** Turns in a row that found nothing, since anything last happened. */
  emptyPasses = 0
  /** When it last turned, on the clock of `performance`. */
  turnedAt = 0
  protected readonly events: Events
  protected readonly context: WorkerContext
  #stopping = false

  constructor(context: WorkerContext, events: Events) {
    this.context = context
    this.events = events
  }

  /** Runs until `stop`. */
  async run(): Promise<void> {
    while (!this.#stopping) {
      this.turnedAt = performance.now()
      try {
        await this.turn()
      } catch (error) {
        await this.#resumed.wait(this.events.failed(error, this))
      }
    }
  }

  stop(): void {
    this.#stopping = true
    this.wake()
    this.resume()
  }

  /** There may be something to find. */
  wake(): void {
    this.woken.notify()
  }

  /** The wait of an outage is over. */
  resume(): void {
    this.#resumed.notify()
  }

  /** One look, and the sleep after it where there was nothing. @throws whatever Redis answers */
  protected abstract turn(): Promise<void>

  protected found(something: boolean): void {
    if (something) this.events.active()
    else this.emptyPasses += 1
  }

  /** Until it is woken, or until `nextAt` (Redis time, null: unknown), between `least` and `most` from now. */
  protected sleep(nextAt: number | null, least: Millis, most: Millis): Promise<void> {
    return this.woken.wait(nextAt === null ? most : clamp(nextAt - this.context.now(), least, most))
  }
}

interface PollerEvents extends LoopEvents {
  seen(what: Seen): void
}

/**
 * The guarantee behind what wakes the others: every `sondeo` it looks whether anything waits that nobody announced. Foreign programs push
 * without a word, and workers die.
 *
 * One short script for all: two loops that each tried to take something cost an idle worker four times as much.
 */
export class Poller extends Loop<PollerEvents> {
  readonly #queue: Queue
  readonly #lanes: () => Iterable<string>

  /** @param lanes those that this worker works now */
  constructor(queue: Queue, context: WorkerContext, lanes: () => Iterable<string>, events: PollerEvents) {
    super(context, events)
    this.#queue = queue
    this.#lanes = lanes
  }

  protected async turn(): Promise<void> {
    const seen = await this.#queue.look([...this.#lanes()])
    this.context.redisOutage.worked(this)
    this.events.seen(seen)
    await this.woken.wait(this.context.config().workers.poll)
  }
}
