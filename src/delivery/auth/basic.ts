/** Basic (RFC 7617), sent at once and not after a 401: the password is UTF-8, as the RFC's `charset` asks for. */
import type { Credentials } from './auth.ts'

export function basic(username: string, password: string): { readonly credentials: () => Credentials } {
  const value = `Basic ${Buffer.from(`${username}:${password}`, 'utf8').toString('base64')}`
  const credentials = { headers: ['Authorization', value], query: null }
  return { credentials: () => credentials }
}
