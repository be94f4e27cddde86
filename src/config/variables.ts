/**
 * Environment variables, real or of instalador.env, and the `${VAR}` that refer to them (INTERFACE §1).
 */
import type { Origin } from './config.ts'
import type { EnvFile } from './env.ts'
import type { Problems } from './problems.ts'

export interface Variable {
  readonly value: string
  readonly origin: Origin & { readonly kind: 'environment' | 'env-file' }
  readonly line: number | null
}

export class Variables {
  readonly #environment: NodeJS.ProcessEnv
  readonly #problems: Problems
  readonly file: EnvFile | null
  /** An instalador.env is there and cannot be read: that a variable is missing is no news. */
  readonly unreadable: boolean
  /** Every name that was asked for, so that a misspelt one can be told from one that somebody refers to. */
  readonly asked = new Set<string>()

  constructor(environment: NodeJS.ProcessEnv, file: EnvFile | null, unreadable: boolean, problems: Problems) {
    this.#environment = environment
    this.file = file
    this.unreadable = unreadable
    this.#problems = problems
  }

  /** Whether nobody needs to be told that the variable is missing: why was told, as a problem of whoever asks for it. */
  isExcused(name: string): boolean {
    const broken = this.file?.broken.get(name)
    if (broken) this.#problems.add(broken.place, broken.message)
    return this.unreadable || broken !== undefined
  }

  /** The process environment wins over instalador.env. Null when neither has it. */
  get(name: string): Variable | null {
    this.asked.add(name)
    const own = this.#environment[name]
    if (own !== undefined) return { value: own, origin: { kind: 'environment', variable: name }, line: null }
    const written = this.file?.variables.get(name)
    if (this.file === null || written === undefined) {
      this.isExcused(name)
      return null
    }
    const origin = { kind: 'env-file', file: this.file.path, variable: name } as const
    return { value: written.value, origin, line: written.line }
  }

  /** Like `get`, but an empty value counts as absent, as `REST_HOOKS_DB_HOST=` in a template does. */
  getFilled(name: string): Variable | null {
    const found = this.get(name)
    if (found !== null && found.value !== '') return found
    const written = this.file?.variables.get(name)
    if (this.file === null || written === undefined || written.value === '') return null
    return {
      value: written.value,
      origin: { kind: 'env-file', file: this.file.path, variable: name },
      line: written.line,
    }
  }

  names(): { readonly environment: string[]; readonly file: string[] } {
    return { environment: Object.keys(this.#environment), file: [...(this.file?.variables.keys() ?? [])] }
  }
}

const REFERENCE = /\$?\$\{([^}]*)\}|\$env\(([^)$]*)\)\$/g
const VARIABLE = /^\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?::-([\s\S]*))?$/

/** From, and up to: a part of a text. */
export type Range = readonly [from: number, to: number]

export type Interpolated =
  /** `ranges`: what of it a variable holds. */
  | { readonly kind: 'text'; readonly text: string; readonly ranges: readonly Range[] }
  | { readonly kind: 'missing'; readonly variable: string }
  | { readonly kind: 'malformed'; readonly reference: string }

/**
 * Replaces `${VAR}`, `${VAR:-default}` (the default also when VAR is empty) and toba's `$env(VAR)$`; `$${…}` stands for a
 * literal `${…}`. What a variable holds is not looked into again.
 */
export function interpolate(text: string, variables: Variables): Interpolated {
  if (!text.includes('$')) return { kind: 'text', text, ranges: [] }
  let failure: Interpolated | null = null
  const ranges: Range[] = []
  let grown = 0
  const one = (reference: string, braced: string | undefined, toba: string | undefined, at: number): string => {
    if (reference.startsWith('$$')) return reference.slice(1)
    const match = VARIABLE.exec(braced ?? toba ?? '')
    if (!match) {
      failure ??= { kind: 'malformed', reference }
      return ''
    }
    const found = variables.get(match[1]!)
    if (found !== null && (found.value !== '' || match[2] === undefined)) {
      ranges.push([at, at + found.value.length])
      return found.value
    }
    if (match[2] !== undefined) return match[2]
    failure ??= { kind: 'missing', variable: match[1]! }
    return ''
  }
  // Beyond the last `}` no `${` ends: looking for it from each of them would take the square of their number.
  const end = Math.max(text.lastIndexOf('}'), text.lastIndexOf(')$') + 1) + 1
  const replaced = text.slice(0, end).replace(REFERENCE, (reference, braced, toba, offset: number) => {
    const value = one(reference, braced, toba, offset + grown)
    grown += value.length - reference.length
    return value
  })
  return failure ?? { kind: 'text', text: replaced + text.slice(end), ranges }
}
