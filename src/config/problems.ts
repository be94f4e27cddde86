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
