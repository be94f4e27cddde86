/**
 * What is hidden by its place: headers and query parameters, sent and received, whose name says that they hold a secret.
 *
 * Pure. Here a name decides, never the look of a value: a false alarm hides a value, a miss publishes one. Secrets that are
 * known by value are replaced besides, wherever they stand (`secrets.ts`).
 */
import { isSecretParameter, MASK } from '../model/secrets.ts'

/** Other people's tokens in an answer are as secret as ours. */
const RESPONSE_SECRETS = /^set-cookie2?$|^authorization$|token|secret|api-?key/i
/** They hold addresses, which carry along what was sent. */
const ADDRESSES = /^(?:content-)?location$|^link$|^refresh$|^referer$/i

/** Response headers as recorded. @param hidden names, in lower case, that hold a secret besides */
export function maskResponseHeaders(
  headers: Readonly<Record<string, string | string[] | undefined>>,
  hidden: ReadonlySet<string>,
): Record<string, string | string[]> {
  const masked: Record<string, string | string[]> = {}
  for (const name in headers) {
    const value = headers[name]
    if (value === undefined) continue
    const kind = kindOf(name)
    if (kind === 'secret' || hidden.has(name)) masked[name] = MASK
    else if (kind === 'plain') masked[name] = value
    else masked[name] = typeof value === 'string' ? maskUrl(value, hidden) : value.map((one) => maskUrl(one, hidden))
  }
  return masked
}

type Kind = 'secret' | 'address' | 'plain'
/** The same few names come with every answer; the bound is against a server that invents them. */
const answered = new Map<string, Kind>()

function kindOf(name: string): Kind {
  let kind = answered.get(name)
  if (kind === undefined) {
    kind = RESPONSE_SECRETS.test(name) ? 'secret' : ADDRESSES.test(name) ? 'address' : 'plain'
    if (answered.size < 500) answered.set(name, kind)
  }
  return kind
}

/** Schemes are short: looking for `://` after every letter of a long text would take the square of its length. */
const USER_INFO = /([a-z][a-z0-9+.-]{0,30}:\/\/)[^/?#\s]*@/gi
const PARAMETER = /(&amp;|[?&])([^=&#\s"'<>?]+)=([^&#\s"'<>]+)/g
/** Of addresses inside the parameters of addresses; deeper ones are hidden whole. */
const DEEPEST = 4
const NONE: ReadonlySet<string> = new Set()

/**
 * A text with URLs in it as recorded: without user information, and with the values of query parameters hidden whose names look
 * secret, or are in `hidden`.
 */
export function maskUrl(text: string, hidden = NONE, depth = 0): string {
  const visible = text.includes('@') ? text.replace(USER_INFO, `$1${MASK}@`) : text
  if (!visible.includes('=')) return visible
  return visible.replace(PARAMETER, (_pair, before: string, written: string, value: string) => {
    const name = decoded(written)
    const secret = isSecretParameter(name) || hidden.has(name.toLowerCase())
    return `${before}${written}=${secret || depth > DEEPEST ? MASK : maskUrl(value, hidden, depth + 1)}`
  })
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name.replaceAll('+', ' '))
  } catch {
    return name
  }
}
