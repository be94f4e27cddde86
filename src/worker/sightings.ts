/**
 * What this worker sees of its listeners, in memory until a heartbeat tells it: a cost per delivery of two assignments. A
 * breaker that opens or closes is told at once.
 *
 * Apart from the heartbeat, since those who see (the deliveries, the settler) know nothing of heartbeats.
 */
import type { RequestRecord } from '../delivery/mask.ts'
import type { Judgement } from '../delivery/outcome.ts'
import type { Queue } from '../queue/queue.ts'
import { type Failure, remember, type Sighting } from '../queue/situation.ts'

/** Longer details are for `ver`. */
const DETAIL = 300

export class Sightings {
  readonly #now: () => number
  readonly #hide: (text: string) => string
  /** By listener, since the last time it was told. */
  #fresh = new Map<string, Sighting>()
  /** When the run of failures of each began, as far as this worker saw it. */
  readonly #since = new Map<string, number>()
  readonly #last = new Map<string, Omit<Failure, 'cuando'>>()
  #told: () => void = () => {}

  /**
   * @param now  Redis time, ms since epoch
   * @param hide takes secrets out of a text
   */
  constructor(now: () => number, hide: (text: string) => string) {
    this.#now = now
    this.#hide = hide
  }

  /** @param act called when something is to be told before the next heartbeat */
  whenUrgent(act: () => void): void {
    this.#told = act
  }

  /**
   * An attempt of a delivery ended.
   * @param last its last request; undefined: none was made
   */
  saw(
    listener: string,
    outcome: Judgement,
    last: Pick<RequestRecord, 'status' | 'error' | 'errorDetail'> | undefined,
  ): void {
    if (outcome.kind === 'unable') return
    const now = Math.round(this.#now())
    const sighting = this.#of(listener)
    if (outcome.kind === 'success') {
      sighting.exito = now
      sighting.desde = undefined
      sighting.fallas = 0
      this.#since.delete(listener)
      return
    }
    const detail = last?.errorDetail ?? (last ? null : outcome.reason)
    const error = {
      codigo: last?.error ?? null,
      http: last?.status ?? null,
      detalle: detail && this.#hide(detail).slice(0, DETAIL),
    }
    const since = this.#since.get(listener) ?? now
    this.#since.set(listener, since)
    this.#last.set(listener, error)
    sighting.error = { ...error, cuando: now }
    sighting.desde = since
    sighting.fallas = (sighting.fallas ?? 0) + 1
  }

  /** The listener's circuit breaker opened, or closed. */
  breaker(listener: string, opened: boolean): void {
    this.#of(listener).corte = opened && { desde: Math.round(this.#now()), error: this.#last.get(listener) ?? null }
    this.#told()
  }

  /** Tells Redis. @throws whatever it answers; what was seen is told the next time then */
  async tell(queue: Queue): Promise<void> {
    if (this.#fresh.size === 0) return
    const telling = this.#fresh
    this.#fresh = new Map()
    try {
      await remember(queue, telling)
    } catch (error) {
      // What came in meanwhile is newer.
      for (const [name, sighting] of telling) {
        const newer = this.#fresh.get(name)
        this.#fresh.set(name, { ...sighting, ...newer })
      }
      throw error
    }
  }

  #of(listener: string): Sighting {
    let sighting = this.#fresh.get(listener)
    if (!sighting) {
      sighting = {}
      this.#fresh.set(listener, sighting)
    }
    return sighting
  }
}
