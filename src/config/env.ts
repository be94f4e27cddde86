/**
 * `.env` files as PHP's dotenv reads them (INTERFACE §1), with the line of each variable.
 *
 * `dotenv` splits them into names and values, but undoes `\n` alone, even where the backslash itself is escaped. So the
 * backslashes of quoted values are put out of its sight first, and get their meaning afterwards: once, from left to right.
 */
import { parse } from 'dotenv'
import type { Place, Problems } from './problems.ts'

export interface EnvFile {
  readonly path: string
  readonly variables: ReadonlyMap<string, { readonly value: string; readonly line: number }>
  /** Those whose value cannot be read, and why. */
  readonly broken: ReadonlyMap<string, { readonly place: Place; readonly message: string }>
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

  const broken = new Map<string, { place: Place; message: string }>()
  const refuse = (name: string, message: string) => {
    const place = { file: path, line: written.get(name)?.line ?? 1, key: name }
    broken.set(name, { place, message })
    problems.within(`variable ${name}`, () => problems.add(place, message))
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
  return { path, variables, broken }
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
