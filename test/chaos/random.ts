/** Dice that fall the same way for the same seed: a run that found something can be run again. */
export interface Dice {
  /** Uniform in [0, 1). */
  roll(): number
  /** Integer, both ends included. */
  between(least: number, most: number): number
  pick<T>(items: readonly T[]): T
}

/** mulberry32. */
export function diceOf(seed: number): Dice {
  let state = seed >>> 0
  const roll = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  const between = (least: number, most: number) => least + Math.floor(roll() * (most - least + 1))
  return { roll, between, pick: (items) => items[between(0, items.length - 1)]! }
}
