/**
 * Whether and how a 3xx is followed.
 *
 * Pure, and apart from the attempt for its table of cases. Followed are the redirects that repeat the request: 307 and 308,
 * and the others where their method stays. Where 301 and 302 would turn a POST into a GET, and 303 anything but a HEAD, as
 * RFC 9110 §15.4 permits and the Fetch standard prescribes, the message would be left behind: whatever that GET answered,
 * nothing was delivered. Never from https to http, and to another host only without what is secret.
 */
import { isSecretHeader } from '../model/secrets.ts'
import { maskUrl } from './mask.ts'
import { type BuiltRequest, type RequestTemplate, sign } from './request.ts'
import { Trouble } from './trouble.ts'

interface Hop {
  readonly request: BuiltRequest
  /** Whether credentials and the client certificate may go along. */
  readonly trusted: boolean
}

const FOLLOWED = new Set([301, 302, 303, 307, 308])
const SIGNATURE = 'webhook-signature'

export function isRedirect(status: number | null): boolean {
  return status !== null && FOLLOWED.has(status)
}

/**
 * The next request.
 * @param trusted whether the current one still went to the listener's own server
 * @throws Trouble `redireccion`
 */
export function follow(
  request: BuiltRequest,
  status: number,
  location: string | string[] | undefined,
  template: RequestTemplate,
  trusted: boolean,
): Hop {
  if (typeof location !== 'string' || location === '') {
    throw new Trouble('redireccion', `HTTP ${status} sin una cabecera Location utilizable`)
  }
  if (becomesGet(status, request.method)) {
    throw new Trouble(
      'redireccion',
      `HTTP ${status} hacia ${maskUrl(location, template.hidden)} convierte el ${request.method} en un GET sin el mensaje: no se sigue, no quedaría entregado`,
    )
  }
  const from = new URL(request.origin + request.target)
  let to: URL
  try {
    to = new URL(location, from)
  } catch (cause) {
    throw new Trouble('redireccion', `HTTP ${status} hacia una dirección que no es una URL`, { cause })
  }
  if (!/^https?:$/.test(to.protocol)) {
    throw new Trouble('redireccion', `HTTP ${status} hacia ${to.protocol}, que no es http ni https`)
  }
  if (from.protocol === 'https:' && to.protocol === 'http:') {
    throw new Trouble('redireccion', `HTTP ${status} de https a http (${to.host}): no se sigue, iría sin cifrar`)
  }
  const stays = trusted && isSameServer(from, to)
  const { method, body } = request

  const headers: string[] = []
  const recorded: Record<string, string> = {}
  let id = ''
  let timestamp = ''
  for (let index = 0; index < request.headers.length; index += 2) {
    const [name, value] = [request.headers[index]!, request.headers[index + 1]!]
    if (name === 'webhook-id') id = value
    if (name === 'webhook-timestamp') timestamp = value
    if (name === SIGNATURE || /^host$/i.test(name)) continue
    if (!stays && (isSecretHeader(name) || template.hidden.has(name.toLowerCase()))) continue
    headers.push(name, value)
    recorded[name] = request.recorded[name] ?? value
  }
  if (stays && template.keys.length > 0) {
    const signature = sign(template.keys, id, timestamp, body)
    headers.push(SIGNATURE, signature)
    recorded[SIGNATURE] = signature
  }
  const target = to.pathname + to.search
  return { request: { method, origin: to.origin, target, headers, recorded, body }, trusted: stays }
}

function becomesGet(status: number, method: string): boolean {
  if (status === 303) return method !== 'GET' && method !== 'HEAD'
  return (status === 301 || status === 302) && method === 'POST'
}

/** The same origin, or the same host going from http to https on their usual ports. */
function isSameServer(from: URL, to: URL): boolean {
  if (from.origin === to.origin) return true
  const upgrade = from.protocol === 'http:' && to.protocol === 'https:' && from.port === '' && to.port === ''
  return upgrade && from.hostname === to.hostname
}
