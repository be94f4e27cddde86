/**
 * Everything wrong with the configuration, gathered so that a person sees all of it at once.
 *
 * Reading never stops at the first mistake: whoever finds one adds it here and goes on with the default, and
 * `throwIfAny` turns the whole list into one ConfigError.
 */
import { ConfigError } from '../errors.ts'

/** Where something is written. `line` counts from 1; null where it has none (the environment, a missing file). */
export interface Place {
  readonly file: string | null
  readonly line: number | null
  readonly section?: string
  readonly key?: string
}

const LONGEST_SHOWN = 80
/** A file that is no configuration at all (--config of a binary) must not print a screenful per line. */
const MOST_LISTED = 300

export class Problems {
  /** By their text: the same entry can be read by several listeners (a shared client), and once is enough. */
  readonly #errors = new Map<string, Place>()
  readonly #warnings = new Set<string>()

  add(place: Place, message: string): void {
    this.#errors.set(`${describe(place)}: ${message}`, place)
  }

  warn(place: Place, message: string): void {
    this.#warnings.add(`${describe(place)}: ${message}`)
  }

  get warnings(): readonly string[] {
    return [...this.#warnings]
  }

  get count(): number {
    return this.#errors.size
  }

  /** @throws ConfigError that lists every problem, by file and line */
  throwIfAny(): void {
    if (this.#errors.size === 0) return
    const sorted = [...this.#errors].sort(
      ([, a], [, b]) => (a.file ?? '').localeCompare(b.file ?? '') || (a.line ?? 0) - (b.line ?? 0),
    )
    const title =
      sorted.length === 1 ? 'La configuración tiene un error:' : `La configuración tiene ${sorted.length} errores:`
    const lines = sorted.slice(0, MOST_LISTED).map(([text]) => `  ${text}`)
    if (sorted.length > MOST_LISTED) lines.push(`  … y ${sorted.length - MOST_LISTED} más.`)
    throw new ConfigError([title, ...lines].join('\n'))
  }
}

/** `/etc/resthooks/resthooks.ini:12 [workers] concurrencia` */
export function describe({ file, line, section, key }: Place): string {
  const where = file === null ? 'entorno' : line === null ? file : `${file}:${line}`
  const named = section ? ` [${section}]` : ''
  return `${where}${named}${key ? ` ${key}` : ''}`
}

/** What was found, quoted, on one line and never longer than a glance. */
export function quoted(text: string): string {
  // Control characters would let a file paint the terminal of whoever reads the error.
  const clean = text.replace(/\p{Cc}+/gu, ' ').replace(/\/\/[^/@\s]*@/g, '//***@')
  return `«${clean.length > LONGEST_SHOWN ? `${clean.slice(0, LONGEST_SHOWN)}…` : clean}»`
}

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
