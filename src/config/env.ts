/**
 * Environment variables, real or of instalador.env, and the `${VAR}` that refer to them (INTERFACE §1). A `.env` file means
 * what PHP's dotenv reads in it, with the line of each variable.
 *
 * `dotenv` splits them into names and values, but undoes `\n` alone, even where the backslash itself is escaped. So the
 * backslashes of quoted values are put out of its sight first, and get their meaning afterwards: once, from left to right.
 */
import { parse } from 'dotenv'
import type { Origin } from './config.ts'
import type { Position, Problems } from './problems.ts'

interface EnvFile {
  readonly path: string
  readonly variables: ReadonlyMap<string, { readonly value: string; readonly line: number }>
  /** Those whose value cannot be read, and why. */
  readonly broken: ReadonlyMap<string, { readonly position: Position; readonly message: string }>
}

const ASSIGNMENT = /^\s*(?:export\s+)?([\w.-]+)\s*=[ \t]*(["'`]?)/
const QUOTED =
  /^([ \t]*(?:export[ \t]+)?([\w.-]+)[ \t]*=[ \t]*)(?:"((?:\\[\s\S]|[^"\\])*)"|'([^']*)')(?=[ \t]*(?:#.*)?$)/gm
/** What a backslash means between double quotes; between single ones it is itself. */
const ESCAPES: Readonly<Record<string, string>> = {
  '\\': '\\',
  '"': '"',
  $: '$',
  n: '\n',
  r: '\r',
  t: '\t',
  f: '\f',
  v: '\v',
}

/** `dotenv` tries each line of a gap against all that follow: 50 KB of them took seconds. */
const LONG_GAP = /\n\s{200,}\n/g

/** @param original already decoded */
export function parseEnv(path: string, original: string, problems: Problems): EnvFile {
  const text = original.replace(/\r\n?/g, '\n')
  const written = new Map<string, { line: number; quote: string }>()
  text.split('\n').forEach((line, index) => {
    const match = ASSIGNMENT.exec(line)
    if (match) written.set(match[1]!, { line: index + 1, quote: match[2]! })
  })

  const broken = new Map<string, { position: Position; message: string }>()
  const refuse = (name: string, message: string) => {
    const position = { file: path, line: written.get(name)?.line ?? 1, key: name }
    broken.set(name, { position, message })
    problems.about(`variable ${name}`, () => problems.add(position, message))
  }
  const hidden = hideBackslashes(text)
  for (const name of hidden.wrong) {
    refuse(
      name,
      'entre comillas dobles, «\\» sólo va antes de \\ " $ n r t f v. Escríbala dos veces, o use comillas simples.',
    )
  }

  const variables = new Map<string, { value: string; line: number }>()
  for (const [name, value] of Object.entries(parse(hidden.text.replace(LONG_GAP, '\n')))) {
    const { line, quote } = written.get(name) ?? { line: 1, quote: '' }
    if (broken.has(name)) continue
    if (quote === '' || !value.startsWith(quote)) variables.set(name, { value: hidden.restore(value), line })
    else if (value.slice(1).includes(quote)) refuse(name, `hay texto después de las comillas ${quote} que cierran.`)
    else refuse(name, `las comillas ${quote} no se cierran.`)
  }
  if (broken.size === 0) warnAboutLost(path, text, variables, problems)
  return { path, variables, broken }
}

/** With a value between quotes, of as many lines as it has. */
const CLOSED = /^([ \t]*(?:export[ \t]+)?[\w.-]+[ \t]*=)(\s*(?:"(?:\\[\s\S]|[^"\\])*"|'[^']*'|`[^`]*`))/gm
/** `dotenv` takes `NAME: value` too. */
const WITH_COLON = /^\s*(?:export\s+)?[\w.-]+:\s/
const EXPORTED = /^\s*export((?:\s+\w+)+)\s*(?:#.*)?$/
const LINES_NAMED = 5

/** Lines that are neither a variable nor a comment: `dotenv` passes over them in silence. What they hold may be a secret. */
function warnAboutLost(path: string, text: string, variables: EnvFile['variables'], problems: Problems): void {
  const bare = text.replace(CLOSED, (_all, head: string, value: string) => head + value.replace(/[^\n]+/g, ''))
  const lost = bare.split('\n').flatMap((line, index) => {
    if (/^\s*(?:#.*)?$/.test(line) || ASSIGNMENT.test(line) || WITH_COLON.test(line)) return []
    // What a shell that reads the file as well is told.
    const names = EXPORTED.exec(line)?.[1]?.trim().split(/\s+/)
    return names?.every((name) => variables.has(name)) ? [] : [index + 1]
  })
  if (lost.length === 0) return
  const more = lost.slice(1, LINES_NAMED)
  const rest = lost.length > LINES_NAMED ? ` y ${lost.length - LINES_NAMED} más` : ''
  const others = more.length === 0 ? '' : ` (también ${more.length === 1 ? 'la' : 'las'} ${more.join(', ')}${rest})`
  problems.warn(
    { file: path, line: lost[0]! },
    `la línea no tiene la forma NOMBRE=valor, y se ignora${others}. Si es un comentario, empiécela con «#».`,
  )
}

interface Hidden {
  /** With a mark for each backslash (and what it escapes) of a quoted value. */
  readonly text: string
  readonly restore: (value: string) => string
  /** Names of the variables with an escape that means nothing. */
  readonly wrong: readonly string[]
}

function hideBackslashes(text: string): Hidden {
  const meanings: string[] = []
  const wrong: string[] = []
  let mark = '\uE000'
  while (text.includes(mark)) mark = String.fromCharCode(mark.charCodeAt(0) + 1)
  const hide = (meaning: string) => `${mark}${meanings.push(meaning) - 1}${mark}`
  const shown = text.replace(QUOTED, (all, head: string, name: string, double?: string, single?: string) => {
    if (!all.includes('\\')) return all
    if (double === undefined) return `${head}'${single!.replaceAll('\\', () => hide('\\'))}'`
    const inside = double.replace(/\\([\s\S])/g, (_escape, char: string) => {
      const meaning = ESCAPES[char]
      if (meaning === undefined) wrong.push(name)
      return hide(meaning ?? '')
    })
    return `${head}"${inside}"`
  })
  const marks = new RegExp(`${mark}(\\d+)${mark}`, 'g')
  return { text: shown, wrong, restore: (value) => value.replace(marks, (_mark, index) => meanings[Number(index)]!) }
}

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
    if (broken) this.#problems.add(broken.position, broken.message)
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

type Interpolated =
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
