/** When a piece of work is to end early: its time is up, or the worker wants it stopped. */
import type { Millis } from '../model/message.ts'
import { Trouble } from './trouble.ts'

/** What is at work under a deadline, and is told of its end. */
export interface Interruptible {
  interrupt(trouble: Trouble): void
}

/**
 * One end for a whole attempt: its time is up, or the worker wants it stopped, whichever comes first.
 *
 * What it calls are objects rather than functions made for each attempt: what such a function had in reach, all of the exchange,
 * outlived two collections of the young generation, and half of what those cost was that.
 */
export class Deadline implements StopListener {
  /** Set once the end has come. */
  ended: Trouble | null = null
  /** Told when it comes; whoever is at work now. */
  atWork: Interruptible | null = null
  readonly #timer: NodeJS.Timeout
  readonly #signal: StopSignal
  readonly #limit: Millis
  readonly #name: string

  /** @param name what the limit is called in the text of a time-out: the setting that a person would change */
  constructor(limit: Millis, signal: StopSignal, name = 'espera_total') {
    this.#signal = signal
    this.#limit = limit
    this.#name = name
    this.#timer = setTimeout(timeIsUp, limit, this)
    if (signal.aborted) this.handleEvent()
    else signal.addEventListener('abort', this)
  }

  /** `promise`, or the end as a rejection. */
  race<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.ended !== null) return reject(this.ended)
      this.atWork = { interrupt: reject }
      promise.then(resolve, reject)
    })
  }

  /** To be called when the attempt is over. */
  clear(): void {
    this.atWork = null
    clearTimeout(this.#timer)
    this.#signal.removeEventListener('abort', this)
  }

  /** The worker wants it stopped. */
  handleEvent(): void {
    this.#end(new Trouble('interrumpido', 'el worker interrumpió el pedido'))
  }

  timeOut(): void {
    this.#end(new Trouble('timeout', `${this.#name} (${this.#limit} ms) agotada`))
  }

  #end(trouble: Trouble): void {
    if (this.ended !== null) return
    this.ended = trouble
    this.atWork?.interrupt(trouble)
  }
}

function timeIsUp(deadline: Deadline): void {
  deadline.timeOut()
}

/** As the DOM's `EventListener` that is an object. */
interface StopListener {
  handleEvent(): void
}

/**
 * Tells one piece of work that it is to end early. An `AbortSignal` is one too, but making it and listening to it took as long
 * as building the request it may stop, and every delivery needs one.
 */
export interface StopSignal {
  readonly aborted: boolean
  addEventListener(type: 'abort', listener: StopListener): void
  removeEventListener(type: 'abort', listener: StopListener): void
}

export class Stopper implements StopSignal {
  aborted = false
  readonly #listeners: StopListener[] = []

  addEventListener(_type: 'abort', listener: StopListener): void {
    this.#listeners.push(listener)
  }

  removeEventListener(_type: 'abort', listener: StopListener): void {
    const at = this.#listeners.indexOf(listener)
    if (at >= 0) this.#listeners.splice(at, 1)
  }

  abort(): void {
    if (this.aborted) return
    this.aborted = true
    for (const listener of this.#listeners.splice(0)) listener.handleEvent()
  }
}
