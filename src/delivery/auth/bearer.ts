/** A fixed bearer token (RFC 6750 §2.1). */
import type { Auth } from './auth.ts'

export function bearer(token: string): Auth {
  const credentials = { headers: ['Authorization', `Bearer ${token}`], query: null }
  return { credentials: () => credentials }
}
