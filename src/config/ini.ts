/**
 * `.ini` files as PHP's `parse_ini` reads them, with the line of each section and key.
 *
 * The `ini` package assembles sections, keys and lists, but differs from PHP in what one line means: it cuts a value at
 * `#`, keeps the quotes of `"x" ; comment`, splits `[listener a.b]` into nested objects, merges repeated sections and
 * expands JSON escapes (`"C:\new"` gets a line break). So every line is first understood as PHP would and rewritten into a
 * form that `ini` cannot misread: one token a section, keys and values as JSON. Lines keep their number.
 */
import { parse } from 'ini'
import type { Problems } from './problems.ts'

interface IniEntry {
  readonly key: string
  /** Written `key[] = …`. */
  readonly list: boolean
  /** One for a plain key, one for each line of a list. */
  readonly values: readonly string[]
  /** Of each value. */
  readonly lines: readonly number[]
}

export interface IniSection {
  /** Without brackets, blanks collapsed; '' before the first header. */
  readonly name: string
  readonly line: number
  readonly entries: ReadonlyMap<string, IniEntry>
}

export interface IniFile {
  readonly path: string
  /** In the order of the file, the nameless one first; a repeated name comes twice. */
  readonly sections: readonly IniSection[]
}

type Draft = { name: string; line: number; keys: Map<string, { list: boolean; lines: number[] }> }

const HEADER = /^\[([^\]]*)\]\s*(?:[;#].*)?$/

/**
 * @param text already decoded
 * @param repeated what a key written twice in one section is: PHP lets the last one win, in silence; in a unit of systemd each
 *   line counts, and a value is all that stands to the right of `=`
 */
export function parseIni(
  path: string,
  text: string,
  problems: Problems,
  repeated: 'error' | 'last' | 'each' = 'error',
): IniFile {
  const drafts: Draft[] = [{ name: '', line: 1, keys: new Map() }]
  let section = drafts[0]!
  let unreadable = false
  const rewritten = ['[0]']

  text.split(/\r\n|\n|\r/).forEach((original, index) => {
    const line = index + 1
    const trimmed = original.trim()
    if (trimmed === '' || trimmed.startsWith(';') || trimmed.startsWith('#')) return
    const position = { file: path, line, ...(section.name && { section: section.name }) }

    if (trimmed.startsWith('[')) {
      const header = HEADER.exec(trimmed)
      if (!header) {
        const section = trimmed
          .slice(1)
          .split(/[\];#]/)[0]!
          .trim()
        const position = { file: path, line, section }
        problems.add(position, 'la sección no se cierra con «]», o le sigue algo que no es un comentario.')
        // Its keys are not those of the section before.
        unreadable = true
        return
      }
      unreadable = false
      section = { name: header[1]!.trim().replace(/\s+/g, ' '), line, keys: new Map() }
      rewritten.push(`[${drafts.length}]`)
      drafts.push(section)
      return
    }

    if (unreadable) return
    const equals = trimmed.indexOf('=')
    const name = trimmed.slice(0, Math.max(0, equals)).trimEnd()
    if (name === '') {
      problems.add(position, 'la línea no tiene la forma «clave = valor». Si es un comentario, empiécela con «;».')
      return
    }
    const isUnit = repeated === 'each'
    const list = isUnit || name.endsWith('[]')
    const key = list && !isUnit ? name.slice(0, -2).trimEnd() : name
    if (key === '') {
      problems.add(position, 'falta el nombre de la clave antes de «[]».')
      return
    }
    const right = trimmed.slice(equals + 1).trimStart()
    const value = isUnit ? { text: right } : readValue(right)
    if (value.error !== undefined) problems.add({ ...position, key }, value.error)
    if (value.warning !== undefined) problems.warn({ ...position, key }, value.warning)

    const known = section.keys.get(key)
    if (!known) section.keys.set(key, { list, lines: [line] })
    else if (list && known.list) known.lines.push(line)
    else {
      if (repeated === 'error' || list !== known.list) {
        problems.add(
          { ...position, key },
          `la clave está repetida: ya está en la línea ${known.lines[0]}. Deje una sola.`,
        )
        return
      }
      known.lines = [line]
    }
    rewritten.push(`${json(list ? `${key}[]` : key)}=${json(value.text)}`)
  })

  const parsed = parse(rewritten.join('\n')) as Record<string, Record<string, unknown>>
  return { path, sections: drafts.map((draft, index) => finish(draft, parsed[String(index)] ?? {})) }
}

function finish(draft: Draft, parsed: Record<string, unknown>): IniSection {
  const entries = new Map<string, IniEntry>()
  for (const [key, { list, lines }] of draft.keys) {
    // `ini` leaves `__proto__` out; the key stays in the map without a value, to be reported as the unknown key it is.
    const found = Object.hasOwn(parsed, key) ? parsed[key] : ''
    // `ini` turns true, false and null into values of their own; only the setting knows whether they are that.
    const values = (Array.isArray(found) ? found : [found]).map(String)
    entries.set(key, { key, list, values, lines })
  }
  return { name: draft.name, line: draft.line, entries }
}

/** JSON whose line and paragraph separators are escaped: the regular expression inside `ini` stops at them. */
function json(text: string): string {
  return JSON.stringify(text).replace(/[\u2028\u2029]/g, (char) => `\\u${char.charCodeAt(0).toString(16)}`)
}

type Value = { readonly text: string; readonly error?: string; readonly warning?: string }

/**
 * What PHP reads to the right of `=`: quoted text, where `\"` and `\\` are the only escapes and only inside double
 * quotes, or bare text up to a `;`.
 */
export function readValue(raw: string): Value {
  const quote = raw[0]
  if (quote !== '"' && quote !== "'") return readBare(raw)
  const match = quote === '"' ? /^"((?:\\.|[^"\\])*)"/su.exec(raw) : /^'([^']*)'/u.exec(raw)
  if (!match) {
    const hint = quote === '"' ? ' (una «\\» al final se escribe «\\\\»)' : ''
    return { text: '', error: `las comillas ${quote} no se cierran en la misma línea${hint}.` }
  }
  const text = quote === '"' ? match[1]!.replace(/\\(["\\])/g, '$1') : match[1]!
  const rest = raw.slice(match[0].length).trim()
  if (rest !== '' && !/^[;#]/.test(rest)) {
    return { text, error: 'hay texto después de las comillas que cierran. Ponga todo el valor entre comillas.' }
  }
  return { text }
}

/** Bare text ends at the first `;` outside a quoted word (the arguments of `exec:` have those). */
function readBare(raw: string): Value {
  let at = 0
  while (at < raw.length && raw[at] !== ';') {
    const opens = (raw[at] === '"' || raw[at] === "'") && (at === 0 || /[\s=:,]/.test(raw[at - 1]!))
    const closes = opens ? raw.indexOf(raw[at]!, at + 1) : -1
    at = closes === -1 ? at + 1 : closes + 1
  }
  const text = raw.slice(0, at).trimEnd()
  if (at > 0 && at < raw.length && !/\s/.test(raw[at - 1]!)) {
    return { text, warning: 'el valor se corta en «;», que abre un comentario. Si es parte del valor, use comillas.' }
  }
  if (/\s#/.test(text)) {
    return { text, warning: 'el «#» es parte del valor: un comentario al final de la línea se abre con «;».' }
  }
  return { text }
}
