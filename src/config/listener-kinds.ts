/**
 * The kinds of value that only listeners have.
 */
import * as v from 'valibot'
import {
  checkMessageHeaders,
  checkMethod,
  checkOwnHeader,
  checkPath,
  cidrOf,
  METADATA_NETWORKS,
  METHODS,
} from '../model/http.ts'
import type { Millis } from '../model/message.ts'
import { formatDuration } from '../model/quantities.ts'
import { type Kind, kind, list, orEmpty, type Read } from './kinds.ts'

const trimmed = v.pipe(v.string(), v.trim())

/** An empty list would deliver everything or nothing, depending on whom you ask: it is neither. */
export const events: Kind<readonly string[]> = orEmpty(
  list(
    'una lista de nombres de evento sin blancos, separados por comas; «*» reemplaza cualquier texto (proveedor.*)',
    () => v.pipe(v.string(), v.regex(/^[^\s,\p{Cc}]{1,200}$/u)),
    { least: 1, most: 1000 },
  ),
)

export const method: Kind<string> = kind(
  METHODS.join(' | '),
  () =>
    v.pipe(
      trimmed,
      v.check((text) => checkMethod(text) === null),
      v.toUpperCase(),
    ),
  { words: METHODS },
)

export const path: Kind<string> = kind(
  'una ruta relativa a la dirección, sin «..», con {id}, {evento} o {datos.campo} donde haga falta (proveedores/{datos.id})',
  () =>
    v.pipe(
      trimmed,
      v.regex(/^(?![a-z][a-z0-9+.-]*:)\S*$/iu),
      v.check((template) => checkPath(template) === null),
    ),
)

const header = v.pipe(
  v.string(),
  v.includes(':'),
  v.transform((line): readonly [string, string] => {
    const colon = line.indexOf(':')
    return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()]
  }),
  v.check(([name, value]) => checkOwnHeader(name, value) === null),
)

/** HTTP knows one Host (RFC 9112 §3.2). */
const headerList = v.pipe(
  v.array(header),
  v.check((all) => all.filter(([name]) => /^host$/i.test(name)).length < 2),
)

/** One a line (`cabeceras[] = X-A: b`): commas are part of many values. */
export const headers: Kind<readonly (readonly [string, string])[]> = {
  accepted:
    '«Nombre: valor» en cada línea cabeceras[], salvo las que pone resthooks o el protocolo (Content-Length, webhook-…), y Host una sola vez',
  words: [],
  list: true,
  emptyMeans: 'default',
  read: (texts) => {
    const result = v.safeParse(
      headerList,
      texts.filter((text) => text.trim() !== ''),
    )
    return result.success ? { ok: true, value: result.output } : { ok: false }
  },
  show: (lines) => lines.map(([name, value]) => `${name}: ${value}`).join(', '),
}

/** Names that a message could bring; in lower case. */
export const headerNames: Kind<readonly string[]> = list(
  'nombres de cabeceras separados por comas (Accept-Language), salvo los que pone resthooks',
  () =>
    v.pipe(
      v.string(),
      v.check((name) => checkMessageHeaders({ [name]: '' }) === null),
      v.toLowerCase(),
    ),
  { least: 1, most: 64 },
)

export const contentType: Kind<string> = kind(
  'un tipo de contenido (application/json; charset=utf-8, entre comillas si lleva «;»)',
  () => v.pipe(trimmed, v.regex(/^[\w!#$&^.+-]{1,100}\/[\w!#$&^.+-]{1,100}(?:\s*;[\x20-\x7e]{1,200})?$/)),
)

/** Standard Webhooks: `whsec_` and 24 to 64 bytes in base64. Two while rotating, the one that signs first, first. */
export const secrets: Kind<readonly string[]> = list(
  'uno o dos secretos «whsec_…» (24 a 64 bytes en base64), separados por coma',
  () =>
    v.pipe(
      v.string(),
      v.regex(/^whsec_(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/),
      v.check((secret) => {
        const { length } = Buffer.from(secret.slice('whsec_'.length), 'base64')
        return length >= 24 && length <= 64
      }),
    ),
  { least: 1, most: 2 },
)

const network = v.pipe(
  v.string(),
  v.check((text) => cidrOf(text) !== null),
  v.transform((text) => cidrOf(text)!),
)

/** Those named are added to the metadata addresses, unless `ninguna` stands among them. */
export const networks: Kind<readonly string[]> = (() => {
  const accepted =
    'redes separadas por comas (10.0.0.0/8, ::1), que se suman a las que vienen bloqueadas; «ninguna» quita estas'
  const inner = list(accepted, () => v.union([v.pipe(v.string(), v.toLowerCase(), v.literal('ninguna')), network]), {
    least: 1,
    most: 1000,
  })
  const read = (texts: readonly string[]): Read<readonly string[]> => {
    const result = inner.read(texts)
    if (!result.ok) return result
    const named = result.value.filter((each) => each !== 'ninguna')
    const base = named.length < result.value.length ? [] : METADATA_NETWORKS
    return { ok: true, value: [...new Set([...base, ...named])] }
  }
  return { ...inner, read }
})()

const RATE_UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

interface RateLimit {
  readonly count: number
  readonly per: Millis
}

export const rateLimit: Kind<RateLimit> = kind(
  'cantidad/unidad: 100/s, 600/m, 5000/h o 10000/d',
  () =>
    v.pipe(
      trimmed,
      v.regex(/^[1-9]\d{0,8}\s*\/\s*[smhd]$/i),
      v.transform((text) => {
        const [count, unit] = text.split('/')
        return { count: Number(count), per: RATE_UNITS[unit!.trim().toLowerCase()]! }
      }),
    ),
  { show: ({ count, per }) => `${count} cada ${formatDuration(per)}` },
)

/** `429` → one status, `5xx` → a class, `red` → every failure without a status. */
export type StatusRule =
  | { readonly kind: 'status'; readonly status: number }
  | { readonly kind: 'class'; readonly hundreds: number }
  | { readonly kind: 'network' }

export const statusRules: Kind<readonly StatusRule[]> = list(
  'una lista de estados HTTP (429), clases (5xx) o «red», separados por comas',
  () =>
    v.pipe(
      v.string(),
      v.toLowerCase(),
      v.regex(/^(?:[1-5]\d\d|[1-5]xx|red)$/),
      v.transform((rule): StatusRule => {
        if (rule === 'red') return { kind: 'network' }
        if (rule.endsWith('xx')) return { kind: 'class', hundreds: Number(rule[0]) }
        return { kind: 'status', status: Number(rule) }
      }),
    ),
  { least: 1, most: 500, show: ruleText },
)

/** The rule as it is written. */
export function ruleText(rule: StatusRule): string {
  if (rule.kind === 'network') return 'red'
  return rule.kind === 'status' ? String(rule.status) : `${rule.hundreds}xx`
}

/** `1`, `v1`, `v1.2` → `v1`… */
export const version: Kind<string> = kind('una versión (v1)', () =>
  v.pipe(
    trimmed,
    v.regex(/^v?\d{1,4}(?:\.\d{1,4}){0,2}$/i),
    v.transform((text) => `v${text.replace(/^v/i, '')}`),
  ),
)

export const serviceName: Kind<string> = kind(
  'el nombre de un servicio (letras, números, «_», «.» y «-»), o nada si el proyecto tiene uno solo',
  () => v.pipe(trimmed, v.regex(/^(?:[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99})?$/)),
)

const EVENT_NAME = /^[^\s,*\p{Cc}]{1,200}$/u

export type CallbackTarget =
  | { readonly kind: 'exec'; readonly argv: readonly string[] }
  | { readonly kind: 'http'; readonly url: string }
  | { readonly kind: 'event'; readonly event: string }

/** `on_success` and `on_failure`: what is run, called or sent when a delivery ends. */
export const callback: Kind<CallbackTarget> = withReason(
  kind('«exec:/ruta/programa argumentos», «https://…» o «evento:nombre»', () =>
    v.pipe(
      v.string(),
      v.trim(),
      v.transform(parseCallback),
      v.check((spec) => spec !== null),
      v.transform((spec) => spec as CallbackTarget),
    ),
  ),
  (text) => (isExec(text) && splitArguments(text) === null ? UNCLOSED : undefined),
)

const UNCLOSED =
  'Una comilla (\' o ") no se cierra; cuentan también las del valor de una variable. Si es parte de un argumento, va con una \\ delante.'

function isExec(text: string): boolean {
  return /^\s*exec:/.test(text)
}

/** Says why, where the kind refuses. */
function withReason<T>(inner: Kind<T>, reason: (text: string) => string | undefined): Kind<T> {
  const read = (texts: readonly string[]): Read<T> => {
    const result = inner.read(texts)
    const why = result.ok ? undefined : reason(texts.at(-1) ?? '')
    return why === undefined ? result : { ok: false, why }
  }
  return { ...inner, read }
}

function parseCallback(text: string): CallbackTarget | null {
  if (/^https?:/i.test(text)) {
    const url = httpUrl.read([text])
    return url.ok ? { kind: 'http', url: url.value } : null
  }
  const [, scheme, rest] = /^(exec|evento):\s*(.*)$/s.exec(text) ?? []
  if (scheme === 'evento') return EVENT_NAME.test(rest!) ? { kind: 'event', event: rest! } : null
  if (scheme !== 'exec') return null
  const argv = splitArguments(rest!)
  return argv?.[0] ? { kind: 'exec', argv } : null
}

/**
 * Words as a POSIX shell would split them: blanks separate, '…' is literal, "…" knows `\"` and `\\`, a backslash outside
 * quotes makes the next character literal. Nothing is expanded: there is no shell.
 * @returns null when a quote does not close
 */
export function splitArguments(text: string): string[] | null {
  const words: string[] = []
  let word: string | null = null
  let at = 0
  while (at < text.length) {
    const char = text[at]!
    if (/\s/.test(char)) {
      if (word !== null) words.push(word)
      word = null
      at++
    } else if (char === '\\' && at + 1 < text.length) {
      word = (word ?? '') + text[at + 1]
      at += 2
    } else if (char === '"' || char === "'") {
      const quoted = (char === '"' ? /^"((?:\\.|[^"\\])*)"/s : /^'([^']*)'/).exec(text.slice(at))
      if (quoted === null) return null
      const inside = quoted[1]!
      word = (word ?? '') + (char === '"' ? inside.replace(/\\(["\\])/g, '$1') : inside)
      at += quoted[0].length
    } else {
      word = (word ?? '') + char
      at++
    }
  }
  if (word !== null) words.push(word)
  return words
}

/** An absolute http(s) address without user and password: those belong in auth_*, where they are never shown. */
export const httpUrl: Kind<string> = kind(
  'una dirección http:// o https:// completa, sin usuario ni clave adentro (para eso están auth_usuario y auth_password)',
  () =>
    v.pipe(
      v.string(),
      v.trim(),
      v.regex(/^https?:\/\/[^/\s]/i),
      v.check((text) => {
        const url = URL.canParse(text) ? new URL(text) : null
        return url !== null && url.username === '' && url.password === '' && url.hostname !== ''
      }),
      // A fragment never goes on the wire.
      v.transform((text) => text.replace(/#.*$/s, '')),
    ),
)

export interface AuthPlace {
  readonly in: 'query' | 'header'
  readonly name: string
}

/** `api_key` in the query, `cabecera:X-Api-Key` in a header. */
export const authPlace: Kind<AuthPlace> = kind(
  'el nombre de un parámetro (api_key) o de una cabecera («cabecera:X-Api-Key»)',
  () =>
    v.pipe(
      v.string(),
      v.trim(),
      v.regex(/^(?:cabecera:.{1,100}|[\w.[\]-]{1,100})$/),
      v.transform((value): AuthPlace => {
        const header = /^cabecera:\s*(.+)$/.exec(value)
        return header ? { in: 'header', name: header[1]! } : { in: 'query', name: value }
      }),
      v.check(
        (place) => place.in === 'query' || (checkOwnHeader(place.name, '') === null && !/^host$/i.test(place.name)),
      ),
    ),
  { show: (place) => (place.in === 'header' ? `cabecera:${place.name}` : place.name) },
)
