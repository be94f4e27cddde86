/**
 * `.env` files as PHP's dotenv writes them (INTERFACE §1), with the line of each variable.
 *
 * `dotenv` reads them; what it leaves inside double quotes (`\"`, `\$`) and does not notice (quotes that never close) is
 * seen to here.
 */
import { parse } from 'dotenv'
import type { Problems } from './problems.ts'

export interface EnvFile {
  readonly path: string
  readonly variables: ReadonlyMap<string, { readonly value: string; readonly line: number }>
}

const ASSIGNMENT = /^\s*(?:export\s+)?([\w.-]+)\s*=[ \t]*(["'`]?)/

/** `dotenv` tries each line of a gap against all that follow: 50 KB of them took seconds. */
const LONG_GAP = /\n\s{200,}\n/g

/** @param text already decoded */
export function parseEnv(path: string, text: string, problems: Problems): EnvFile {
  const written = new Map<string, { line: number; quote: string }>()
  text.split(/\r\n|\n|\r/).forEach((line, index) => {
    const match = ASSIGNMENT.exec(line)
    if (match) written.set(match[1]!, { line: index + 1, quote: match[2]! })
  })

  const variables = new Map<string, { value: string; line: number }>()
  for (const [name, value] of Object.entries(parse(text.replace(LONG_GAP, '\n')))) {
    const { line, quote } = written.get(name) ?? { line: 1, quote: '' }
    if (quote !== '' && value.startsWith(quote) && !value.slice(1).includes(quote)) {
      problems.add({ file: path, line, key: name }, `las comillas ${quote} no se cierran.`)
      continue
    }
    variables.set(name, { value: quote === '"' ? value.replace(/\\(["$\\])/g, '$1') : value, line })
  }
  return { path, variables }
}
