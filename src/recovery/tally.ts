/** What became of many deliveries: how many by listener, and those with which it did not work. */
export interface Problem {
  readonly mensaje_id: string
  readonly listener: string
  readonly motivo: string
}

const KEPT = 1_000

export class Tally {
  readonly #listeners = new Map<string, number>()
  readonly #problems: Problem[] = []
  #problemCount = 0

  done(listener: string): void {
    this.#listeners.set(listener, (this.#listeners.get(listener) ?? 0) + 1)
  }

  problem(mensaje_id: string, listener: string, motivo: string): void {
    this.#problemCount += 1
    if (this.#problems.length < KEPT) this.#problems.push({ mensaje_id, listener, motivo })
  }

  get total(): number {
    return [...this.#listeners.values()].reduce((sum, count) => sum + count, 0)
  }

  get listeners(): { readonly listener: string; readonly cantidad: number }[] {
    return [...this.#listeners].map(([listener, cantidad]) => ({ listener, cantidad }))
  }

  /** The first thousand; `problemCount` counts all. */
  get problems(): readonly Problem[] {
    return this.#problems
  }

  get problemCount(): number {
    return this.#problemCount
  }
}
