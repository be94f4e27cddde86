/**
 * What every answer of the page carries, and which requests are refused before anybody looks at who asks.
 *
 * A page that somebody's browser has open may point a name of its own at 127.0.0.1 (DNS rebinding): only names that are ours are
 * answered. And it may make requests of its own: whatever is asked of `/api/` must come from our page.
 */
import { hostname } from 'node:os'
import type { Context, Next } from 'hono'
import { isLoopback } from '../config/client.ts'
import type { Config, PanelConfig } from '../config/config.ts'
import type { Refusal } from './wire.ts'

const HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'self'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; '),
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=(), payment=(), usb=()',
  // Of what is kept, `files.ts` says so itself.
  'cache-control': 'no-store',
}

/** @param config of this moment */
export function guard(config: () => Config) {
  return async (c: Context, next: Next): Promise<Response | undefined> => {
    for (const [name, value] of Object.entries(HEADERS)) c.header(name, value)
    const { panel } = config()
    const host = c.req.header('host')?.toLowerCase() ?? ''
    if (!isOurHost(host, panel)) return refuse(c, 421, FOREIGN_HOST)
    if (c.req.path.startsWith(`${panel.prefix}/api/`) && !isOurPage(c, host, panel)) return refuse(c, 403, FOREIGN_PAGE)
    await next()
    return undefined
  }
}

export function refuse(
  c: Context,
  status: 400 | 401 | 403 | 404 | 409 | 413 | 421 | 422 | 429 | 500 | 503,
  error: string,
  more: Partial<Refusal> = {},
) {
  return c.json({ error, ...more } satisfies Refusal, status)
}

const FOREIGN_HOST = 'Ese nombre no es de esta página: agréguelo a «nombres», en la sección [panel] de resthooks.ini.'
const FOREIGN_PAGE = 'El pedido viene de otra página: ábralo desde ésta.'

function isOurHost(host: string, { address, names }: PanelConfig): boolean {
  const port = `:${address.port}`
  const literal = literalOf(address.host)
  const ours = isLocal(address.host) ? ['localhost', '127.0.0.1', '[::1]'] : [hostname().toLowerCase()]
  if ([literal, ...ours].some((name) => host === `${name}${port}`)) return true
  // Without its port a name is good for every one: the proxy's is none of ours.
  const bare = host.replace(/:\d+$/, '')
  return names.some((name) => name === host || name === bare)
}

/** Only this machine reaches it. */
export function isLocal(host: string): boolean {
  return isLoopback(`http://${literalOf(host)}/`)
}

/** As a URL has it. */
export function literalOf(host: string): string {
  return host.includes(':') ? `[${host}]` : host.toLowerCase()
}

/** Every browser of these years sends `Sec-Fetch-Site`; what it does not send, `Origin` tells. A program sends neither. */
function isOurPage(c: Context, host: string, { names }: PanelConfig): boolean {
  const site = c.req.header('sec-fetch-site')
  if (site !== undefined && site !== 'same-origin' && !(site === 'none' && c.req.method === 'GET')) return false
  const origin = c.req.header('origin')
  if (origin === undefined) return true
  const [, from = ''] = /^https?:\/\/([^/]+)$/i.exec(origin) ?? []
  const name = from.toLowerCase()
  // Behind a proxy the page has the proxy's name, and the request ours.
  return name === host || names.includes(name) || names.includes(name.replace(/:\d+$/, ''))
}
