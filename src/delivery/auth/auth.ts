/**
 * How a listener's requests prove who sends them: one small interface, and the kinds whose credentials never change. Digest and
 * OAuth2, which do I/O or answer a 401, have a file each.
 */
import type { Exchanged } from '../exchange.ts'

/** What is added to one request. All of it is secret. */
export interface Credentials {
  /** Names and values in turn. */
  readonly headers: readonly string[]
  /** `name=value`, already encoded, to append to the query. */
  readonly query: string | null
}

/** The request that credentials are for. */
export interface Signed {
  readonly method: string
  /** Path and query. */
  readonly target: string
}

/** Puts a request for credentials on the record of the attempt that needs them; called again with its answer. */
export type Begin = (asked: { readonly url: URL; readonly headers: readonly string[] }) => (answer: Exchanged) => void

export interface Auth {
  /**
   * For a request about to be made; a promise only where something must be fetched first.
   * @throws Trouble `auth`
   */
  credentials(request: Signed, begin: Begin): Credentials | Promise<Credentials>
  /**
   * After a 401: credentials worth one more request, or null when another would fare no better.
   * @param used  what the refused request carried
   * @param times how often this attempt was renewed already
   */
  renew?(
    request: Signed,
    headers: Readonly<Record<string, string | string[] | undefined>>,
    used: Credentials,
    times: number,
    begin: Begin,
  ): Credentials | null | Promise<Credentials | null>
  /** After an answer that was not refused. */
  accepted?(headers: Readonly<Record<string, string | string[] | undefined>>): void
}

export const NO_CREDENTIALS: Credentials = { headers: [], query: null }

/** Basic (RFC 7617), sent at once and not after a 401: the password is UTF-8, as the RFC's `charset` asks for. */
export function basic(username: string, password: string): Auth {
  const value = `Basic ${Buffer.from(`${username}:${password}`, 'utf8').toString('base64')}`
  const credentials = { headers: ['Authorization', value], query: null }
  return { credentials: () => credentials }
}

/** A fixed bearer token (RFC 6750 §2.1). */
export function bearer(token: string): Auth {
  const credentials = { headers: ['Authorization', `Bearer ${token}`], query: null }
  return { credentials: () => credentials }
}

/** An api key in the query, as toba servers read it, or in a header. */
export function apiKey(key: string, place: { readonly in: 'query' | 'header'; readonly name: string }): Auth {
  const credentials =
    place.in === 'query'
      ? { headers: [], query: `${encodeURIComponent(place.name)}=${encodeURIComponent(key)}` }
      : { headers: [place.name, key], query: null }
  return { credentials: () => credentials }
}
