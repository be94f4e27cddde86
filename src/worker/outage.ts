/**
 * One line when a service goes away, a reminder a minute, one line when it is back: an outage must not fill a disk.
 * Also how long to wait before the next try.
 *
 * It is back when everything that failed with it has worked again: what one part cannot do, because a key is of another type
 * or memory is full, another one may.
 */
import { ConfigError } from '../errors.ts'
import type { Millis } from '../model/message.ts'
import type { Logger } from './log.ts'

const REMINDER = 60_000

interface Words {
  /** The same, where only a change of settings helps. */
  readonly refused: string
  readonly begun: string
  readonly still: string
  readonly over: string
}

const WORDS: Words = {
  begun: 'no está disponible',
  refused: 'no admite lo configurado',
  still: 'sigue sin estar disponible',
  over: 'está disponible otra vez',
}
/** Of what runs out. */
export const EXHAUSTED: Words = {
  refused: 'se agotó',
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
  readonly #failing = new Set<object>()

  readonly #words: Words
  readonly #calm: Millis
  #failedAt = 0
  #refused = false

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

  /**
   * @param who failed, where several parts use the same service
   * @returns ms to wait before the next try: from 50 ms doubling to half a second, with jitter
   */
  failed(error: Error, who: object = this): number {
    const now = performance.now()
    this.#failedAt = now
    this.#failing.add(who)
    // That it is refused comes to light after the connection was lost, and only a person can help.
    const isNews = this.#since === null || (error instanceof ConfigError && !this.#refused)
    this.#refused ||= error instanceof ConfigError
    if (isNews) {
      this.#since ??= now
      this.#said = now
      this.#log.error(
        { servicio: this.#what, detalle: error.message },
        `${this.#what} ${error instanceof ConfigError ? this.#words.refused : this.#words.begun}; se sigue intentando`,
      )
    } else if (now - this.#said >= REMINDER) {
      this.#said = now
      const seconds = Math.round((now - (this.#since ?? now)) / 1000)
      this.#log.warn(
        { servicio: this.#what, segundos: seconds, detalle: error.message },
        `${this.#what} ${this.#words.still}`,
      )
    }
    this.#failures += 1
    return Math.min(500, 50 * 2 ** Math.min(this.#failures - 1, 5)) * (0.75 + Math.random() / 2)
  }

  worked(who: object = this): void {
    this.#failing.delete(who)
    if (this.#since === null || this.#failing.size > 0) return
    if (performance.now() - this.#failedAt < this.#calm) return
    const seconds = Math.round((performance.now() - this.#since) / 100) / 10
    this.#log.info({ servicio: this.#what, segundos: seconds }, `${this.#what} ${this.#words.over}`)
    this.#since = null
    this.#refused = false
    this.#failures = 0
  }
}

/** Lanes with a key that somebody made something else of: one line each, and one when it is repaired. */
export class BrokenLanes {
  readonly #log: Logger
  readonly #said = new Map<string, string>()

  constructor(log: Logger) {
    this.#log = log
  }

  /** What is wrong with one of them, null: with none. */
  get first(): string | null {
    return [...this.#said.values()][0] ?? null
  }

  /** @param what is wrong, null: nothing is */
  told(listener: string, what: string | null): void {
    const said = this.#said.get(listener)
    if (what !== null && said === undefined) {
      this.#said.set(listener, what)
      this.#log.error({ listener, detalle: what }, 'una cola no se puede trabajar; las demás siguen')
    } else if (what === null && said !== undefined) {
      this.#said.delete(listener)
      this.#log.info({ listener }, 'la cola se puede trabajar otra vez')
    }
  }
}
