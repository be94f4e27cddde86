/**
 * URLs of listeners: what a base is, and how a path is joined to it.
 */
import * as v from 'valibot'
import { type Kind, kind } from './kinds.ts'

/** An absolute http(s) address without user and password: those belong in auth_*, where they are never shown. */
export const httpUrl: Kind<string> = kind(
  'una dirección http:// o https:// completa, sin usuario ni clave adentro (para eso están auth_usuario y auth_password)',
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

/**
 * `path` below `base` by RFC 3986 §5, forgiving a base that lacks its last slash: toba's `to` is written either way.
 * The base's query is kept when the path has none.
 * @returns null when the result would be on another server: credentials must not follow a path there
 */
export function joinUrl(base: string, path: string): string | null {
  if (path === '') return base
  const root = new URL(base)
  const { search, origin } = root
  if (!root.pathname.endsWith('/')) root.pathname += '/'
  root.search = ''
  root.hash = ''
  if (!URL.canParse(path, root.href)) return null
  const joined = new URL(path, root.href)
  if (joined.origin !== origin || joined.username !== '' || joined.password !== '') return null
  if (joined.search === '') joined.search = search
  return joined.href
}

/** `localhost`, 127.0.0.0/8, ::1: what is said to them does not leave the machine. */
export function isLoopback(url: string): boolean {
  const { hostname } = new URL(url)
  return /^(?:localhost|(?:.+\.)?localhost|127(?:\.\d{1,3}){3}|\[::1\])$/.test(hostname)
}
