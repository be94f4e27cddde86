/**
 * The HTTP rules: what may stand in a request (methods, headers, `ruta`), and networks that it must not reach. One set for the
 * configuration, `send` and the request itself: what is accepted at the door can be sent.
 *
 * Pure. Framing, routing, credentials and everything that says who sent a request stay ours. In a `ruta`, dot segments,
 * absolute URLs and their like are refused instead of resolved: a message must not choose another resource than the one its
 * listener serves.
 */
import { BlockList, isIP } from 'node:net'
import type { Bytes } from './message.ts'
/**
 * Networks that a listener's address must not lie in (`redes_bloqueadas`).
 *
 * Pure. An address is judged by all that it means: several kinds of IPv6 address carry an IPv4 one, to which a translator
 * or a tunnel on the way brings the connection, and the unspecified address reaches this very machine.
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

/** `application/json` and `application/…+json`, with or without parameters. */
export function isJsonType(contentType: string): boolean {
  return contentType === 'application/json' || /^\s*application\/(?:[^;\s]+\+)?json\s*(?:;|$)/i.test(contentType)
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

const MAX_PATH: Bytes = 8192
export const PLACEHOLDER = /\{([^{}]*)\}/g
const KNOWN = /^(id|evento|datos(\.[^.{}]+)+)$/

/** What is wrong with a `ruta`, in Spanish, or null. */
export function checkPath(path: string): string | null {
  if (path.length > MAX_PATH) return `la ruta tiene ${path.length} caracteres; se aceptan hasta ${MAX_PATH}`
  const literal = path.replace(PLACEHOLDER, (_all, name: string) => (KNOWN.test(name) ? 'x' : '{}'))
  if (/[{}]/.test(literal)) {
    const wrong = [...path.matchAll(PLACEHOLDER)].find((found) => !KNOWN.test(found[1]!))
    return `la ruta "${path}" tiene ${wrong ? wrong[0] : 'una llave suelta'}; se aceptan {id}, {evento} y {datos.campo}`
  }
  return checkLiteral(literal)
}

/** The same for a path without placeholders. */
export function checkLiteral(path: string): string | null {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(path)) return 'la ruta tiene caracteres de control (salto de línea, tabulador…)'
  if (path.includes('\\')) return `la ruta "${path}" tiene una barra invertida; se separa con /`
  if (path.includes('#')) return `la ruta "${path}" tiene un fragmento (#), que no viaja en un pedido HTTP`
  if (/^https?:|^[a-z][a-z0-9+.-]*:\/\//i.test(path)) {
    return `la ruta "${path}" es una URL completa; se espera sólo la parte que sigue a la URL del listener`
  }
  if (path.startsWith('//')) return `la ruta "${path}" empieza con //, que nombra otro servidor`
  const query = path.indexOf('?')
  for (const segment of (query < 0 ? path : path.slice(0, query)).split('/')) {
    if (climbs(segment)) return `la ruta "${path}" tiene un segmento . o .. y saldría de la URL del listener`
  }
  return null
}

/** `..`, `%2e%2e`, `a%2f..`; `..;x`, `..%00x` and `.%09.`, which some servers read as `..`. */
function climbs(segment: string): boolean {
  if (!segment.includes('.') && !segment.includes('%')) return false
  const decoded = segment.replace(/%([0-9a-f]{2})/gi, (_all, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
  return decoded.split(/[/\\]/).some((part) => /^\.{1,2}$/.test(part.split(/[;\0]/)[0]!.replace(/[\0-\x20\x7f]/g, '')))
}

/** Link-local (where the clouds keep their metadata service) and the metadata addresses outside of it. */
export const METADATA_NETWORKS: readonly string[] = [
  '169.254.0.0/16',
  'fe80::/10',
  'fd00:ec2::254/128',
  '100.100.100.200/32',
  '168.63.129.16/32',
]

/** The CIDR range that a text means, or null where it means none: an address is a range of its own. */
export function cidrOf(text: string): string | null {
  const [address = '', bits, ...rest] = text.split('/')
  const longest = { 0: -1, 4: 32, 6: 128 }[isIP(address)]!
  if (rest.length > 0 || longest < 0) return null
  if (bits === undefined) return `${address}/${longest}`
  return /^\d{1,3}$/.test(bits) && Number(bits) <= longest ? text : null
}

/** CIDR ranges as a list to check against. */
export function blockList(ranges: readonly string[]): BlockList {
  const list = new BlockList()
  for (const range of ranges) {
    const [address = '', bits] = range.split('/')
    list.addSubnet(address, Number(bits), isIP(address) === 6 ? 'ipv6' : 'ipv4')
  }
  return list
}

/**
 * Whether an address lies in one of the networks, judged by all that it means: several kinds of IPv6 address carry an IPv4 one,
 * to which a translator or a tunnel on the way brings the connection, and the unspecified address reaches this very machine.
 */
export function isBlocked(list: BlockList, address: string): boolean {
  return meanings(address).some((each) => list.check(each, isIP(each) === 6 ? 'ipv6' : 'ipv4'))
}

function meanings(address: string): string[] {
  if (isIP(address) === 4) return address === '0.0.0.0' ? [address, '127.0.0.1'] : [address]
  const groups = groupsOf(address)
  const inside = embedded(groups)
  const unspecified = groups.every((group) => group === 0) ? ['::1'] : []
  return [address, ...unspecified, ...(inside === null ? [] : meanings(inside))]
}

/** The IPv4 address inside an IPv6 one, or null. */
function embedded(groups: readonly number[]): string | null {
  const [a, b, c, d, e, f, g, h] = groups as [number, number, number, number, number, number, number, number]
  const isZero = (...some: number[]) => some.every((group) => group === 0)
  // IPv4-compatible and IPv4-mapped (RFC 4291 §2.5.5), NAT64 (RFC 6052, 8215).
  if (isZero(a, b, c, d, e) && (f === 0 || f === 0xffff)) return dotted(g, h)
  if (a === 0x64 && b === 0xff9b && ((c === 0 && isZero(d, e, f)) || c === 1)) return dotted(g, h)
  // 6to4 (RFC 3056), Teredo (RFC 4380 §4, with every bit turned over).
  if (a === 0x2002) return dotted(b, c)
  if (a === 0x2001 && b === 0) return dotted(g ^ 0xffff, h ^ 0xffff)
  return null
}

function dotted(high: number, low: number): string {
  return [high >> 8, high & 255, low >> 8, low & 255].join('.')
}

/** The eight groups of an IPv6 address, whatever its spelling. */
function groupsOf(address: string): number[] {
  const text = address.replace(/%.*/, '').replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_all, ...bytes: string[]) => {
    const [p, q, r, s] = bytes.map(Number) as [number, number, number, number]
    return `${((p << 8) | q).toString(16)}:${((r << 8) | s).toString(16)}`
  })
  const [left, right] = text.split('::').map((half) => (half === '' ? [] : half.split(':'))) as [string[], string[]?]
  const middle = right === undefined ? [] : Array<string>(8 - left.length - right.length).fill('0')
  return [...left, ...middle, ...(right ?? [])].map((group) => Number.parseInt(group, 16))
}
