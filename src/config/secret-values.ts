/**
 * What of the configuration is a secret: everything in a key that holds one, and what `${VAR}` put into a header, a query
 * parameter, an argument of `exec:` or the path of an https callback. A host, a base path, a user name or a port is none,
 * wherever it came from.
 *
 * Read leniently: a value that turns out to be wrong is quoted in an error, and must not be shown there either.
 */
import { isSecretHeader, isSecretParameter, MASK, Secrets } from '../model/secrets.ts'
import type { Range } from './env.ts'
import { splitArguments } from './listener-kinds.ts'

/** Keys and variables whose value must never be shown. */
const SECRET = /passw|clave|token|secreto|secret|pwd|credencial|cabeceras/i

export function isSecret(key: string): boolean {
  return SECRET.test(key)
}

/** The values that one load comes across. */
export class SecretValues {
  readonly #certain = new Set<string>()
  /** Came from a variable: secret, unless the same value is a host or a name somewhere else. */
  readonly #supposed = new Set<string>()
  readonly #plain = new Set<string>()

  /** @param ranges what of each text came from variables */
  collect(key: string, texts: readonly string[], ranges: readonly (readonly Range[])[]): void {
    for (const [index, text] of texts.entries()) this.#collectOne(key, text, ranges[index] ?? [])
  }

  /** Everything known so far. */
  secrets(): Secrets {
    return new Secrets([...this.#certain, ...[...this.#supposed].filter((value) => !this.#plain.has(value))])
  }

  #collectOne(key: string, text: string, ranges: readonly Range[]): void {
    if (key === 'cabeceras') {
      const { name, value, parts } = headerOf(text, ranges)
      for (const part of parts) this.#supposed.add(part)
      // `Bearer xyz`: the scheme is no part of the secret.
      if (isSecretHeader(name)) for (const secret of [value, value.replace(/^\S+\s+/, '')]) this.#certain.add(secret)
    } else if (isSecret(key)) {
      const values = key === 'secreto' ? text.split(',').map((one) => one.trim()) : [text]
      for (const value of values) {
        this.#certain.add(value)
        this.#certain.add(value.replace(/^whsec_/, ''))
      }
    } else if (key === 'on_success' || key === 'on_failure') {
      if (isExec(text))
        for (const { parts } of argumentsOf(text, ranges)) for (const part of parts) this.#supposed.add(part)
      else this.#collectUrl(text, ranges, true)
    } else if (URL_KEYS.has(key)) this.#collectUrl(text, ranges, false)
    else this.#plain.add(text.trim())
  }

  #collectUrl(text: string, ranges: readonly Range[], secretPath: boolean): void {
    const { user, password, host, path, parameters, pieces } = urlParts(text, ranges)
    for (const value of [user, host, host.replace(/:\d+$/, '')]) this.#plain.add(value)
    if (secretPath) for (const part of path.parts) this.#supposed.add(part.replace(/^\/+|\/+$/g, ''))
    else this.#plain.add(path.text)
    for (const value of readings(password)) this.#certain.add(value)
    for (const { name, value, parts } of parameters) {
      const into = isSecretParameter(name) ? this.#certain : parts.length > 0 ? this.#supposed : this.#plain
      for (const each of readings(value)) into.add(each)
    }
    for (const piece of pieces) for (const each of readings(piece)) this.#supposed.add(each)
  }
}

const URL_KEYS: ReadonlySet<string> = new Set(['url', 'to', 'auth_url', 'ruta'])

/** Names, in lower case, of the headers and query parameters whose value is hidden because a variable gave it. */
export function hiddenNames(key: string, texts: readonly string[], ranges: readonly (readonly Range[])[]): string[] {
  return texts.flatMap((text, index) => {
    const named =
      key === 'cabeceras' ? [headerOf(text, ranges[index] ?? [])] : urlParts(text, ranges[index] ?? []).parameters
    return named.filter(({ parts }) => parts.length > 0).map(({ name }) => name.toLowerCase())
  })
}

/** A callback's target for the audit and for people, without what is secret in it. */
export function callbackShown(text: string, ranges: readonly Range[]): string {
  if (isExec(text))
    return `exec:${argumentsOf(text, ranges)
      .map(({ shown }) => shown)
      .join(' ')}`
  if (!/^\s*https?:/i.test(text)) return text.trim()
  const { scheme, host, path, parameters } = urlParts(text, ranges)
  const shown = path.parts.length > 0 ? `/${MASK}` : path.text
  return `${scheme}${host}${shown}${parameters.length > 0 ? `?${MASK}` : ''}`
}

function isExec(text: string): boolean {
  return /^\s*exec:/.test(text)
}

interface Part {
  readonly text: string
  /** What of it came from a variable. */
  readonly parts: readonly string[]
}

function partOf(text: string, from: number, to: number, ranges: readonly Range[]): Part {
  const parts = ranges
    .map(([start, end]) => text.slice(Math.max(from, start), Math.max(from, Math.min(to, end))))
    .filter((part) => part !== '')
  return { text: text.slice(from, to), parts }
}

function headerOf(text: string, ranges: readonly Range[]) {
  const colon = text.indexOf(':')
  const { text: value, parts } = partOf(text, colon + 1, text.length, ranges)
  return {
    name: text.slice(0, Math.max(0, colon)).trim(),
    value: value.trim(),
    parts: parts.map((part) => part.trim()),
  }
}

function urlParts(text: string, ranges: readonly Range[]) {
  const [, scheme = '', userInfo = '', host = '', path = '', query = ''] =
    /^(\s*(?:[a-z][a-z0-9+.-]*:\/\/)?)((?:[^/?#]*@)?)([^/?#]*)([^?#]*)(?:\?([^#]*))?/i.exec(text) ?? []
  const pathAt = scheme.length + userInfo.length + host.length
  let at = pathAt + path.length + 1
  const parameters = query
    .split('&')
    .map((pair) => {
      const equals = pair.indexOf('=')
      const from = at
      at += pair.length + 1
      const name = decoded(equals < 0 ? pair : pair.slice(0, equals))
      const value = equals < 0 ? from + pair.length : from + equals + 1
      const part = partOf(text, value, from + pair.length, ranges)
      // Alone, between two `&`: the end of a value, where a variable gave it.
      const parts = equals < 0 ? partOf(text, from, value, ranges).parts : part.parts
      return { name, value: part.text, parts }
    })
    .filter(({ name }) => name !== '')
  const colon = userInfo.indexOf(':')
  return {
    scheme: scheme.trim(),
    user: decoded(colon < 0 ? userInfo.slice(0, -1) : userInfo.slice(0, colon)),
    password: colon < 0 ? '' : userInfo.slice(colon + 1, -1),
    host,
    path: partOf(text, pathAt, pathAt + path.length, ranges),
    parameters,
    pieces: cutValues(text, pathAt + path.length + 1, ranges),
  }
}

/** What variables put into values of a query and a `&` or `#` in it cuts: whole, and each piece. @param at where the query begins */
function cutValues(text: string, at: number, ranges: readonly Range[]): string[] {
  return ranges
    .filter(([from]) => from > at && /=[^&]*$/.test(text.slice(at, from)))
    .map(([from, to]) => text.slice(from, to))
    .filter((value) => /[&#]/.test(value))
    .flatMap((value) => [value, ...value.split(/[&#]/).flatMap((piece) => [piece, piece.split('=')[0]!])])
}

const [OPEN, CLOSE] = ['\uE000', '\uE001']

/** The words of `exec:`, the program first, each with what of it came from variables; the program itself is no secret. */
function argumentsOf(text: string, ranges: readonly Range[]): { readonly shown: string; readonly parts: string[] }[] {
  let marked = text
  for (const [from, to] of [...ranges].reverse())
    marked = marked.slice(0, from) + OPEN + marked.slice(from, to) + CLOSE + marked.slice(to)
  const words = splitArguments(marked.replace(/^\s*exec:\s*/, '')) ?? []
  let inside = false
  return words.map((word, index) => {
    const parts: string[] = []
    let shown = ''
    for (const piece of word.split(/([\uE000\uE001])/)) {
      if (piece === OPEN || piece === CLOSE) inside = piece === OPEN
      else if (inside && piece !== '' && index > 0) {
        parts.push(piece)
        shown += MASK
      } else shown += piece
    }
    return { shown, parts }
  })
}

/** As it is written, and as servers read it: some take a plus for a blank, some do not. */
function readings(text: string): string[] {
  return [text, decoded(text), decoded(text.replaceAll('+', '%2B'))]
}

/** A query's text as it was meant; as it is where it is no encoding. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return text
  }
}
