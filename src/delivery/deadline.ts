/** One end for a whole attempt: its time is up, or the worker wants it stopped, whichever comes first. */
import type { Millis } from '../model/message.ts'
import type { StopSignal } from './stop-signal.ts'
import { Trouble } from './trouble.ts'

export class Deadline {
  /** Set once the end has come. */
  ended: Trouble | null = null
  /** Called when it comes; whoever is at work now. */
  onEnd: ((trouble: Trouble) => void) | null = null
  readonly #timer: NodeJS.Timeout
  readonly #signal: StopSignal
  readonly #aborted = () => this.#end(new Trouble('interrumpido', 'el worker interrumpió el pedido'))

  /** @param name what the limit is called in the text of a time-out: the setting that a person would change */
  constructor(limit: Millis, signal: StopSignal, name = 'espera_total') {
    this.#signal = signal
    this.#timer = setTimeout(() => {
      this.#end(new Trouble('timeout', `${name} (${limit} ms) agotada`))
    }, limit)
    if (signal.aborted) this.#aborted()
    else signal.addEventListener('abort', this.#aborted)
  }

  /** `promise`, or the end as a rejection. */
  race<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.ended !== null) return reject(this.ended)
      this.onEnd = reject
      promise.then(resolve, reject)
    })
  }

  /** To be called when the attempt is over. */
  clear(): void {
    this.onEnd = null
    clearTimeout(this.#timer)
    this.#signal.removeEventListener('abort', this.#aborted)
  }

  #end(trouble: Trouble): void {
    if (this.ended !== null) return
    this.ended = trouble
    this.onEnd?.(trouble)
  }
}
