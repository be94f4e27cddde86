/**
 * Secrets out of what is recorded: headers and URLs, sent and received.
 *
 * Pure. A name decides, never the look of a value: a false alarm hides a value, a miss publishes one.
 */
export const MASK = '***'

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

/** Whether the value of a header of this name is hidden. */
export function isSecretHeader(name: string): boolean {
  return SECRET_HEADERS.has(name.toLowerCase()) || SECRET_WORDS.test(name)
}

/** Response headers as recorded. Other people's tokens in them are as secret as ours. */
export function maskResponseHeaders(
  headers: Readonly<Record<string, string | string[] | undefined>>,
): Record<string, string | string[]> {
  const masked: Record<string, string | string[]> = {}
  for (const name in headers) {
    const value = headers[name]
    if (value === undefined) continue
    if (isSecretInResponse(name)) masked[name] = MASK
    else masked[name] = name === 'location' && typeof value === 'string' ? maskUrl(value) : value
  }
  return masked
}

const RESPONSE_SECRETS = /^set-cookie2?$|^authorization$|token|secret|api-?key/i
/** The same few names come with every answer; the bound is against a server that invents them. */
const answered = new Map<string, boolean>()

function isSecretInResponse(name: string): boolean {
  let secret = answered.get(name)
  if (secret === undefined) {
    secret = RESPONSE_SECRETS.test(name)
    if (answered.size < 500) answered.set(name, secret)
  }
  return secret
}

/**
 * A URL as recorded: without user information, and with the values of query parameters hidden whose names look secret.
 * @param also further parameter names to hide (that of the api key)
 */
export function maskUrl(url: string, also: readonly string[] = []): string {
  const visible = url.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/?#]*@/i, `$1${MASK}@`)
  const cut = visible.indexOf('?')
  if (cut < 0) return visible
  const query = visible
    .slice(cut + 1)
    .split('&')
    .map((pair) => {
      const equals = pair.indexOf('=')
      const name = decoded(equals < 0 ? pair : pair.slice(0, equals))
      const secret = SECRET_WORDS.test(name) || also.includes(name)
      return secret && equals >= 0 ? `${pair.slice(0, equals)}=${MASK}` : pair
    })
  return `${visible.slice(0, cut)}?${query.join('&')}`
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name.replaceAll('+', ' '))
  } catch {
    return name
  }
}
