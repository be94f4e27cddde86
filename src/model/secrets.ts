/**
 * What may be written down or shown: secrets are known by value, and replaced wherever they stand.
 *
 * A listener that repeats the request, an error that quotes a command, a redirect that carries the key along: nobody can
 * list the places, so the values are looked for, in the forms in which they travel (plain, base64, percent-encoded,
 * JSON-escaped). Values shorter than `SHORTEST` would hide ordinary text: their place alone hides them (`delivery/mask.ts`).
 */
export const MASK = '***'

/** In characters: of a value that is looked for, and of each of its forms. */
const SHORTEST = 6
/** Tokens obtained while running, of all listeners; the oldest expired long ago. */
const MOST_TOKENS = 200
const GRAM = 4
const STRIDE = SHORTEST - GRAM + 1
/** Of the filter, less one. */
const SLOTS = 0x3fff

export class Secrets {
  readonly #values = new Set<string>()
  readonly #tokens: string[] = []
  #search: Search | null = null

  constructor(values: Iterable<string> = []) {
    for (const value of values) this.add(value)
  }

  /** Whatever holds this value is hidden from now on. */
  add(value: string): void {
    if (value.length < SHORTEST || this.#values.has(value)) return
    this.#values.add(value)
    if (this.#search !== null) addForms(this.#search, formsOf(value))
  }

  /** A token that a server gave: hidden like the rest, forgotten when many others came after it. */
  addToken(token: string): void {
    if (token.length < SHORTEST || this.#values.has(token)) return
    this.#tokens.push(token)
    this.add(token)
    if (this.#tokens.length <= MOST_TOKENS) return
    // Half at once: what is looked for is made anew then.
    for (const old of this.#tokens.splice(0, MOST_TOKENS / 2)) this.#values.delete(old)
    this.#search = null
  }

  /** Those that are looked for: for another thread, and for whoever asks what else would be hidden. */
  values(): string[] {
    return [...this.#values]
  }

  /** Those of the configuration before: what was rotated away may still be in an answer, or in an error on its way. */
  include(others: Secrets): void {
    for (const value of others.#values) this.add(value)
  }

  /**
   * One pass over the text, whatever the number of secrets.
   * @param cut the text ends where it was cut: the beginning of a secret there is hidden too
   * @returns the very same string where it holds none
   */
  hide(text: string, cut = false): string {
    if (this.#values.size === 0 || text.length < SHORTEST) return text
    this.#search ??= searchFor(this.#values)
    const { filter } = this.#search
    const last = text.length - GRAM
    let shown = ''
    let from = 0
    for (let at = 0; at <= last; at += STRIDE) {
      const gram =
        text.charCodeAt(at) ^
        (text.charCodeAt(at + 1) << 5) ^
        (text.charCodeAt(at + 2) << 10) ^
        (text.charCodeAt(at + 3) << 15)
      if (filter[(gram ^ (gram >>> 13)) & SLOTS] === 0) continue
      const found = findAround(this.#search, text, at, from, cut)
      if (found === null) continue
      shown += text.slice(from, found.at) + MASK
      from = found.at + found.length
      at = from - STRIDE
    }
    return from === 0 ? text : shown + text.slice(from)
  }

  /** The same for bytes, as UTF-8 or as any encoding that agrees with it on the secret's characters. */
  hideBytes(bytes: Buffer, cut = false): Buffer {
    if (this.#values.size === 0) return bytes
    const text = bytes.toString('latin1')
    const shown = this.hide(text, cut)
    return shown === text ? bytes : Buffer.from(shown, 'latin1')
  }
}

interface Search {
  /** Every form with where in it the gram stands, by gram, the longest first. */
  readonly forms: Map<string, readonly (readonly [form: string, offset: number])[]>
  /** Whether any form holds a gram of that hash: all that is asked of nearly every place of a text. */
  readonly filter: Uint8Array
}

/**
 * Four characters are looked up at every third place: of a form of six or more, one such gram is inside.
 *
 * Made when something is first written: `send`, which must start fast, writes nothing that could hold a secret.
 */
function searchFor(values: Iterable<string>): Search {
  const search = { forms: new Map(), filter: new Uint8Array(SLOTS + 1) }
  for (const value of values) addForms(search, formsOf(value))
  return search
}

function addForms({ forms, filter }: Search, added: readonly string[]): void {
  for (const form of new Set(added)) {
    for (let offset = 0; offset < STRIDE; offset++) {
      const gram = form.slice(offset, offset + GRAM)
      const known = forms.get(gram) ?? []
      if (known.some(([text, at]) => text === form && at === offset)) continue
      forms.set(
        gram,
        [...known, [form, offset] as const].sort(([a], [b]) => b.length - a.length),
      )
      filter[slotOf(gram)] = 1
    }
  }
}

function slotOf(gram: string): number {
  const [a, b, c, d] = [0, 1, 2, 3].map((at) => gram.charCodeAt(at)) as [number, number, number, number]
  const mixed = a ^ (b << 5) ^ (c << 10) ^ (d << 15)
  return (mixed ^ (mixed >>> 13)) & SLOTS
}

/** The form that covers the gram at `at` and begins at `from` or later. */
function findAround({ forms }: Search, text: string, at: number, from: number, cut: boolean) {
  for (const [form, offset] of forms.get(text.slice(at, at + GRAM)) ?? []) {
    const start = at - offset
    if (start < from) continue
    if (text.startsWith(form, start)) return { at: start, length: form.length }
    const rest = text.length - start
    if (cut && rest >= SHORTEST && rest < form.length && form.startsWith(text.slice(start)))
      return { at: start, length: rest }
  }
  return null
}

/** How a value looks in headers, URLs, forms and JSON, ours and PHP's. */
function formsOf(value: string): string[] {
  const escaped = JSON.stringify(value).slice(1, -1)
  const percent = encodeURIComponent(value.toWellFormed())
  const strict = percent.replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
  const form = new URLSearchParams({ v: value }).toString().slice(2)
  // PHP escapes the slash, and what is not ASCII.
  const php = [escaped, escaped.replaceAll('/', '\\/')].flatMap((text) => [text, ascii(text), ascii(text, true)])
  const encoded = [percent, strict, form, ...inUrl(value)]
  const texts = [value, ...php, ...encoded, ...encoded.map(lowerHex), ...base64(value)]
  // Bytes, and header values, are read as Latin-1.
  return texts
    .flatMap((text) => [text, Buffer.from(text, 'utf8').toString('latin1')])
    .filter((text) => text.length >= SHORTEST)
}

/** As a URL holds it into which it was written as it is, in the query and in the path: much is left alone there. */
function inUrl(value: string): string[] {
  const url = new URL('http://h')
  url.search = value
  url.pathname = value
  return [url.search.slice(1), url.pathname.slice(1)]
}

function ascii(text: string, upper = false): string {
  return text.replace(/[^\0-\x7f]/g, (char) => {
    const code = char.charCodeAt(0).toString(16).padStart(4, '0')
    return `\\u${upper ? code.toUpperCase() : code}`
  })
}

/** The characters that the value alone decides, wherever in the encoded bytes it begins (`user:password`). */
function base64(value: string): string[] {
  const bytes = Buffer.from(value, 'utf8')
  return [0, 1, 2].flatMap((before) => {
    const encoded = Buffer.concat([Buffer.alloc(before), bytes])
      .toString('base64')
      .replace(/=+$/, '')
    const end = Math.floor(((before + bytes.length) * 8) / 6)
    const own = encoded.slice(Math.ceil((before * 8) / 6), end)
    const web = own.replaceAll('+', '-').replaceAll('/', '_')
    return [own, web, own.replaceAll('/', '\\/'), encodeURIComponent(own), lowerHex(encodeURIComponent(own))]
  })
}

function lowerHex(text: string): string {
  return text.replace(/%[0-9A-F]{2}/g, (code) => code.toLowerCase())
}

const SECRET_HEADERS = new Set([
  'authorization',
  'proxy-authorization',
  'proxy-authenticate',
  'cookie',
  'cookie2',
  'set-cookie',
  'set-cookie2',
  'x-api-key',
  'api-key',
  'apikey',
])
const SECRET_WORDS =
  /token|secret|secreto|passw|clave|contrase|credencial|credential|api[-_]?key|(^|[-_])key$|(^|[-_])auth$/i

/** Whether a header of this name is hidden by its place alone. */
export function isSecretHeader(name: string): boolean {
  return SECRET_HEADERS.has(name.toLowerCase()) || SECRET_WORDS.test(name)
}

/** The same for the name of a query parameter. */
export function isSecretParameter(name: string): boolean {
  return SECRET_WORDS.test(name)
}

/** Schemes are short: looking for `://` after every letter of a long text would take the square of its length. */
const USER_INFO = /([a-z][a-z0-9+.-]{0,30}:\/\/)[^/?#\s]*@/gi

/** A text without the `user:password@` of the URLs in it. */
export function withoutUserInfo(text: string): string {
  return text.includes('@') ? text.replace(USER_INFO, `$1${MASK}@`) : text
}

/**
 * What could command a terminal or turn the order of what is read, as escapes: control characters but line feed and tab,
 * and the bidirectional ones. The escapes are JSON's, so that JSON stays JSON.
 */
export function visible(text: string): string {
  return text
    .replace(/\r\n/g, '\n')
    .replace(
      /[^\P{Cc}\n\t]|[\p{Bidi_C}\u2028\u2029]/gu,
      (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
    )
}
