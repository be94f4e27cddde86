/** The known word that a misspelt one was probably meant to be. */

/** ` ¿Quiso decir «concurrencia»?`, or '' when nothing known is near. */
export function suggestion(found: string, known: Iterable<string>): string {
  const near = nearest(found, known)
  return near === null ? '' : ` ¿Quiso decir «${near}»?`
}

/** The known word that takes the fewest edits, when that is at most a third of its length; case does not count. */
export function nearest(found: string, known: Iterable<string>): string | null {
  let best: string | null = null
  let fewest = Number.POSITIVE_INFINITY
  const wanted = found.toLowerCase().slice(0, 100)
  for (const word of known) {
    const edits = distance(wanted, word.toLowerCase())
    if (edits < fewest && edits <= Math.max(1, Math.floor(Math.max(word.length, wanted.length) / 3))) {
      best = word
      fewest = edits
    }
  }
  return best
}

/** Edits from one word to the other: inserted, removed, replaced, or two neighbours swapped (`prot`). */
function distance(a: string, b: string): number {
  let before: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      const swaps = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1, swaps ? before[j - 2]! + 1 : replaced))
    }
    before = row
    row = next
  }
  return row[b.length]!
}
