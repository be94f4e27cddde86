/**
 * One line when a neighbour goes away, a reminder a minute, one line when it is back: an outage must not fill a disk.
 * Also how long to wait before the next try.
 */
import type { Logger } from './log.ts'

const REMINDER = 60_000

export class Outage {
  readonly #log: Logger
  readonly #what: string
  #since: number | null = null
  #said = 0
  #failures = 0

  /** @param what `Redis`, `Postgres`: the name in the log */
  constructor(log: Logger, what: string) {
    this.#log = log
    this.#what = what
  }

  get active(): boolean {
    return this.#since !== null
  }

  /** @returns ms to wait before the next try: from 50 ms doubling to half a second, with jitter */
  failed(error: Error): number {
    const now = Date.now()
    if (this.#since === null) {
      this.#since = now
      this.#said = now
      this.#log.error(
        { servicio: this.#what, detalle: error.message },
        `${this.#what} no está disponible; se sigue intentando`,
      )
    } else if (now - this.#said >= REMINDER) {
      this.#said = now
      const seconds = Math.round((now - this.#since) / 1000)
      this.#log.warn(
        { servicio: this.#what, segundos: seconds, detalle: error.message },
        `${this.#what} sigue sin estar disponible`,
      )
    }
    this.#failures += 1
    return Math.min(500, 50 * 2 ** Math.min(this.#failures - 1, 5)) * (0.75 + Math.random() / 2)
  }

  worked(): void {
    if (this.#since === null) return
    const seconds = Math.round((Date.now() - this.#since) / 100) / 10
    this.#log.info({ servicio: this.#what, segundos: seconds }, `${this.#what} está disponible otra vez`)
    this.#since = null
    this.#failures = 0
  }
}
