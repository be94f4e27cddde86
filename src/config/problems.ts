/**
 * Everything wrong with the configuration, gathered so that a person sees all of it at once.
 *
 * Reading never stops at the first mistake: whoever finds one adds it here and goes on with the default, and
 * `throwIfAny` turns the whole list into one ConfigError. Each is known by the part of the configuration that it concerns:
 * a listener's mistake must not stop those who only send.
 */
import { ConfigError } from '../errors.ts'
import { nearest } from '../model/nearest.ts'
import type { Secrets } from '../model/secrets.ts'
import { AUDIT_PART, COMMON, REDIS_PART, SEND_PART } from './config.ts'
import { NAMED_SECTIONS, SINGLE_SECTIONS } from './settings.ts'

/** Where something is written. `line` counts from 1; null where it has none (the environment, a missing file). */
export interface Position {
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
  readonly #errors = new Map<string, { readonly position: Position; readonly parts: Set<string> }>()
  readonly #warnings = new Set<string>()
  #shown: (text: string) => string = String
  #part: string | null = null

  add(position: Position, message: string): void {
    const text = `${describe(position)}: ${message}`
    const known = this.#errors.get(text)
    const part = this.#part ?? partOf(position)
    if (known) known.parts.add(part)
    else this.#errors.set(text, { position, parts: new Set([part]) })
  }

  /** What is wrong with whatever is read meanwhile concerns that part, wherever it is written. */
  about<T>(part: string, read: () => T): T {
    const before = this.#part
    this.#part = part
    try {
      return read()
    } finally {
      this.#part = before
    }
  }

  warn(position: Position, message: string): void {
    this.#warnings.add(`${describe(position)}: ${message}`)
  }

  /** What all of them and the warnings are shown without, once everything was read. */
  conceal(secrets: Secrets): void {
    this.#shown = (text) => secrets.hide(text)
  }

  get warnings(): readonly string[] {
    return [...this.#warnings].map(this.#shown)
  }

  get count(): number {
    return this.#errors.size
  }

  /**
   * @param parts those that count, where not all do; `cliente *` is every client
   * @throws ConfigError that lists every problem of every part, by file and line
   */
  throwIfAny(parts?: readonly string[]): void {
    const counts = parts ? !parts.every((part) => this.isWell(part)) : this.count > 0
    if (counts) throw new ConfigError(this.text, { problems: this.#sorted() })
  }

  isWell(part: string): boolean {
    return ![...this.#errors.values()].some((error) => concerns(error.parts, part))
  }

  /** All of them, by file and line; '' where there is none. */
  get text(): string {
    if (this.#errors.size === 0) return ''
    const sorted = this.#sorted()
    const title =
      sorted.length === 1 ? 'La configuración tiene un error:' : `La configuración tiene ${sorted.length} errores:`
    const lines = sorted.slice(0, MOST_LISTED).map((text) => `  ${text}`)
    if (sorted.length > MOST_LISTED) lines.push(`  … y ${sorted.length - MOST_LISTED} más.`)
    return [title, ...lines].join('\n')
  }

  #sorted(): string[] {
    return [...this.#errors]
      .sort(([, { position: a }], [, { position: b }]) => compare(a, b))
      .map(([text]) => this.#shown(text))
  }
}

function concerns(parts: ReadonlySet<string>, part: string): boolean {
  if (!part.endsWith('*')) return parts.has(part)
  return [...parts].some((each) => each.startsWith(part.slice(0, -1)))
}

/** The part that a position in resthooks.ini belongs to: `listener proveedores`. */
function partOf({ section, key }: Position): string {
  if (section === undefined) return COMMON
  if (section === '' || (key && SINGLE_SECTIONS[section]?.[key]?.sends)) return SEND_PART
  const meant = /^redis/i.test(section) ? REDIS_PART : nearest(section.split(' ')[0]!, SECTIONS)
  return meant === REDIS_PART || meant === AUDIT_PART ? meant : section
}

const SECTIONS = [...Object.keys(SINGLE_SECTIONS), ...Object.keys(NAMED_SECTIONS)]

/** A whole file that cannot be read comes before what is wrong in others: it may be the cause. */
function compare(a: Position, b: Position): number {
  const whole = ({ file, line }: Position) => file !== null && line === null
  return (
    Number(whole(b)) - Number(whole(a)) || (a.file ?? '').localeCompare(b.file ?? '') || (a.line ?? 0) - (b.line ?? 0)
  )
}

/** `/etc/resthooks/resthooks.ini:12 [workers] concurrencia` */
export function describe({ file, line, section, key }: Position): string {
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
