/**
 * Which request headers a message may bring, and how values that are not ASCII travel.
 *
 * Pure. Framing, routing, credentials and everything that says who sent a request stay ours.
 */

const RESERVED = new Set([
  'authorization',
  'proxy-authorization',
  'cookie',
  'host',
  'content-length',
  'transfer-encoding',
  'connection',
  'upgrade',
  'te',
  'trailer',
  'expect',
  'keep-alive',
  'proxy-connection',
])
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
/** What HTTP lets through in a value and Latin-1 can hold (RFC 9110 §5.5). */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/
/** More of it than servers usually take. */
const MAX_VALUE = 8192
const MAX_HEADERS = 64

/**
 * What is wrong with a message's own headers, in Spanish, or null.
 * @param apiKeyHeader the header in which the listener's api key travels, if in one
 */
export function checkMessageHeaders(
  headers: Readonly<Record<string, string>>,
  apiKeyHeader: string | null = null,
): string | null {
  const entries = Object.entries(headers)
  if (entries.length > MAX_HEADERS) return `hay ${entries.length} cabeceras; se aceptan hasta ${MAX_HEADERS}`
  for (const [name, value] of entries) {
    const problem = checkHeader(name, value)
    if (problem !== null) return problem
    const lower = name.toLowerCase()
    const ours = RESERVED.has(lower) || lower.startsWith('webhook-') || lower.startsWith('x-resthooks-')
    if (ours || lower === apiKeyHeader?.toLowerCase()) {
      return `la cabecera "${name}" la pone resthooks; un mensaje no puede cambiarla`
    }
  }
  return null
}

/** Syntax alone. The text never quotes the value: it may be a secret. */
export function checkHeader(name: string, value: unknown): string | null {
  if (!TOKEN.test(name)) return `"${name}" no es un nombre de cabecera válido`
  if (typeof value !== 'string') return `el valor de la cabecera "${name}" no es un texto`
  if (value.length > MAX_VALUE) return `el valor de la cabecera "${name}" tiene más de ${MAX_VALUE} caracteres`
  if (!VALUE.test(value)) {
    return `el valor de la cabecera "${name}" tiene un salto de línea o un carácter que HTTP no admite`
  }
  return null
}

/** Methods are tokens of letters; those that open tunnels or echo credentials are not deliveries. */
export function checkMethod(method: string): string | null {
  if (!/^[A-Za-z]+(-[A-Za-z]+)*$/.test(method) || method.length > 20) return `"${method}" no es un método HTTP`
  if (/^(CONNECT|TRACE)$/i.test(method)) return `el método ${method.toUpperCase()} no sirve para entregar mensajes`
  return null
}

/**
 * An id or an event name as a header value: printable ASCII as it is, anything else percent-encoded as UTF-8, and `%`
 * too, so that `decodeURIComponent` gives the original back.
 */
export function headerText(text: string): string {
  if (/^[\x21-\x24\x26-\x7e]*$/.test(text)) return text
  return Array.from(text, (char) => (/^[\x21-\x24\x26-\x7e]$/.test(char) ? char : escapeChar(char))).join('')
}

function escapeChar(char: string): string {
  // A lone surrogate has no UTF-8 form; encodeURIComponent would throw.
  return /^[\ud800-\udfff]$/.test(char) ? '%EF%BF%BD' : encodeURIComponent(char)
}
