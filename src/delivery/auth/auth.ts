/**
 * How a listener's requests prove who sends them: one small interface, one file a type.
 *
 * What is constant is computed once; only OAuth2 does I/O, and only digest and OAuth2 have an answer to a 401.
 */
import type { AuthConfig } from '../../config/config.ts'
import type { Secrets } from '../../model/secrets.ts'
import type { Exchanged } from '../exchange.ts'
import { apiKey } from './api-key.ts'
import { basic } from './basic.ts'
import { bearer } from './bearer.ts'
import { digest } from './digest.ts'
import { oauth2, type TokenRequest } from './oauth2.ts'

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

/**
 * @param userInfo user and password inside the listener's URL, used as basic where nothing else is configured
 * @param fetchToken how OAuth2 reaches its token endpoint
 * @param secrets    where the tokens that it obtains are added
 */
export function createAuth(
  config: AuthConfig,
  userInfo: { readonly username: string; readonly password: string } | null,
  fetchToken: TokenRequest,
  secrets: Secrets,
): Auth {
  switch (config.kind) {
    case 'ninguna':
    case 'ssl':
      return userInfo === null ? { credentials: () => NO_CREDENTIALS } : basic(userInfo.username, userInfo.password)
    case 'basic':
      return basic(config.username, config.password)
    case 'bearer':
      return bearer(config.token)
    case 'api_key':
      return apiKey(config.key, config.place)
    case 'digest':
      return digest(config.username, config.password)
    case 'oauth2':
      return oauth2(config, fetchToken, secrets)
  }
}
