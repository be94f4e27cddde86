/**
 * One line when a neighbour goes away, a reminder a minute, one line when it is back: an outage must not fill a disk.
 * Also how long to wait before the next try.
 */
import type { Millis } from '../message.ts'
import type { Logger } from './log.ts'

const REMINDER = 60_000

interface Words {
  readonly begun: string
  readonly still: string
  readonly over: string
}

const WORDS: Words = {
  begun: 'no está disponible',
  still: 'sigue sin estar disponible',
  over: 'está disponible otra vez',
}
/** Of what runs out. */
export const EXHAUSTED: Words = {
  begun: 'se agotó, y ninguna entrega pierde un intento por eso',
  still: 'sigue agotado',
  over: 'alcanza otra vez',
}

export class Outage {
  readonly #log: Logger
  readonly #what: string
  #since: number | null = null
  #said = 0
  #failures = 0

  readonly #words: Words
  readonly #calm: Millis
  #failedAt = 0

  /**
   * @param what `Redis`, `Postgres`: the name in the log
   * @param calm it is over when nothing failed for so long: where some things work while others fail
   */
  constructor(log: Logger, what: string, words: Words = WORDS, calm: Millis = 0) {
    this.#log = log
    this.#what = what
    this.#words = words
    this.#calm = calm
  }

  get active(): boolean {
    return this.#since !== null
  }

  /** @returns ms to wait before the next try: from 50 ms doubling to half a second, with jitter */
  failed(error: Error): number {
    const now = Date.now()
    this.#failedAt = now
    if (this.#since === null) {
      this.#since = now
      this.#said = now
      this.#log.error(
        { servicio: this.#what, detalle: error.message },
        `${this.#what} ${this.#words.begun}; se sigue intentando`,
      )
    } else if (now - this.#said >= REMINDER) {
      this.#said = now
      const seconds = Math.round((now - this.#since) / 1000)
      this.#log.warn(
        { servicio: this.#what, segundos: seconds, detalle: error.message },
        `${this.#what} ${this.#words.still}`,
      )
    }
    this.#failures += 1
    return Math.min(500, 50 * 2 ** Math.min(this.#failures - 1, 5)) * (0.75 + Math.random() / 2)
  }

  worked(): void {
    if (this.#since === null || Date.now() - this.#failedAt < this.#calm) return
    const seconds = Math.round((Date.now() - this.#since) / 100) / 10
    this.#log.info({ servicio: this.#what, segundos: seconds }, `${this.#what} ${this.#words.over}`)
    this.#since = null
    this.#failures = 0
  }
}
