/**
 * URLs of listeners: what a base is, and where it leads.
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
 * `base` with one more segment at the end of its path, forgiving a base that lacks its last slash: toba's `to` is written
 * either way, and RFC 3986 §5.2.3 alone would replace the last segment. A query stays at the end.
 */
export function below(base: string, segment: string): string {
  const url = new URL(base)
  url.pathname = `${url.pathname.replace(/(?<!\/)\/+$/, '')}/${segment}/`
  return url.href
}

/** `localhost`, 127.0.0.0/8, ::1: what is said to them does not leave the machine. */
export function isLoopback(url: string): boolean {
  const { hostname } = new URL(url)
  return /^(?:localhost|(?:.+\.)?localhost|127(?:\.\d{1,3}){3}|\[::1\])$/.test(hostname)
}
