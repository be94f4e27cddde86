/**
 * A set of ids in twelve bytes each, whatever their length: a million waiting deliveries can be remembered while the audit
 * is read past them.
 *
 * Keeps 64-bit hashes, not the ids: among a million, the odds that a stranger is taken for a member are 1 in 18 billion
 * per question.
 */
export class IdSet {
  #high = new Uint32Array(1024)
  #low = new Uint32Array(1024)
  #size = 0

  get size(): number {
    return this.#size
  }

  add(id: string): void {
    if ((this.#size + 1) * 1.5 > this.#high.length) this.#grow()
    const [high, low] = hash(id)
    this.#put(high, low)
  }

  has(id: string): boolean {
    const [high, low] = hash(id)
    return this.#high[this.#place(high, low)] !== 0
  }

  #put(high: number, low: number): void {
    const place = this.#place(high, low)
    if (this.#high[place] !== 0) return
    this.#high[place] = high
    this.#low[place] = low
    this.#size += 1
  }

  /** Where the pair is, or the free place where it belongs. */
  #place(high: number, low: number): number {
    const mask = this.#high.length - 1
    let place = low & mask
    while (this.#high[place] !== 0 && (this.#high[place] !== high || this.#low[place] !== low))
      place = (place + 1) & mask
    return place
  }

  #grow(): void {
    const [high, low] = [this.#high, this.#low]
    this.#high = new Uint32Array(high.length * 2)
    this.#low = new Uint32Array(low.length * 2)
    this.#size = 0
    for (let i = 0; i < high.length; i++) if (high[i] !== 0) this.#put(high[i]!, low[i]!)
  }
}

/** cyrb53's two halves, whole. The first is never 0, which marks a free place. */
function hash(text: string): [high: number, low: number] {
  let a = 0xdeadbeef
  let b = 0x41c6ce57
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    a = Math.imul(a ^ unit, 2654435761)
    b = Math.imul(b ^ unit, 1597334677)
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909)
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909)
  return [b >>> 0 || 1, a >>> 0]
}
