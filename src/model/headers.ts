/**
 * What may stand in the head of a request: methods and headers. One set of rules for the configuration, `send` and the
 * request itself: what is accepted at the door can be sent.
 *
 * Pure. Framing, routing, credentials and everything that says who sent a request stay ours.
 */
import { suggestion } from './nearest.ts'

/** Those that frame the request or are ours: even the configuration cannot set them. */
const FRAMING =
  /^(?:connection|content-length|expect|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade|webhook-.*|x-resthooks-(?:evento|intento))$/i
/** A message cannot set these either: they say who sends, and to whom. */
const CREDENTIALS = /^(?:authorization|proxy-authorization|cookie|host|x-resthooks-.*)$/i
/** RFC 9110 and 5789. Those that open tunnels or echo credentials (CONNECT, TRACE) are no deliveries. */
export const METHODS = ['POST', 'PUT', 'PATCH', 'DELETE', 'GET', 'HEAD', 'OPTIONS'] as const
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
/** What HTTP lets through in a value and Latin-1 can hold (RFC 9110 §5.5). */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/
/** `Host = uri-host [ ":" port ]` (RFC 9110 §7.2): undici takes a bracket without its other half for a programmer's mistake. */
const HOST = /^(?:\[[\da-f:.]+\]|[^\s/?#@[\]\\]*)(?::\d{1,5})?$/i
/** More of it than servers usually take. */
const MAX_VALUE = 8192
const MAX_HEADERS = 64

/**
 * What is wrong with a message's own headers, in Spanish, or null.
 * @param authHeader the header in which the listener's credentials travel, if in one
 */
export function checkMessageHeaders(
  headers: Readonly<Record<string, string>>,
  authHeader: string | null = null,
): string | null {
  const entries = Object.entries(headers)
  if (entries.length > MAX_HEADERS) return `hay ${entries.length} cabeceras; se aceptan hasta ${MAX_HEADERS}`
  for (const [name, value] of entries) {
    const problem = checkHeader(name, value)
    if (problem !== null) return problem
    if (FRAMING.test(name) || CREDENTIALS.test(name) || name.toLowerCase() === authHeader?.toLowerCase()) {
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

/** What is wrong with a header of the configuration, in Spanish, or null. */
export function checkOwnHeader(name: string, value: string): string | null {
  if (FRAMING.test(name)) return `la cabecera "${name}" la pone resthooks`
  if (name.toLowerCase() === 'host' && !HOST.test(value))
    return `el valor de "${name}" no es un servidor: nombre[:puerto]`
  return checkHeader(name, value)
}

/** What is wrong with a method, in Spanish, or null. Case does not count. */
export function checkMethod(method: string): string | null {
  if ((METHODS as readonly string[]).includes(method.toUpperCase())) return null
  const shown = method.length > 40 ? `${method.slice(0, 40)}…` : method
  return `el método "${shown}" no sirve para entregar mensajes; se acepta ${METHODS.join(' | ')}.${suggestion(method, METHODS)}`
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
