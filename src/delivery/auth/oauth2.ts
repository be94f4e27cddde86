/**
 * OAuth2 client credentials (RFC 6749 §4.4), the token cached until shortly before it expires.
 *
 * All requests that wait for a token share one request for it. A 401 has the token renewed once. The client
 * authenticates with HTTP Basic, or in the form where the endpoint refuses that (RFC 6749 §2.3.1).
 */
import type { AuthConfig } from '../../config/config.ts'
import type { Millis } from '../../model/message.ts'
import { MASK, type Secrets } from '../../model/secrets.ts'
import { Trouble } from '../trouble.ts'
import type { Auth, Begin, Credentials } from './auth.ts'

/** POSTs a form to the token endpoint. @throws Trouble when no answer arrives */
export type TokenRequest = (
  url: string,
  headers: readonly string[],
  body: Buffer,
  begin: Begin,
) => Promise<{ readonly status: number; readonly body: Buffer }>

type OAuth2Config = Extract<AuthConfig, { kind: 'oauth2' }>

/** A token that does not say when it expires is kept this long; a 401 ends it earlier. */
const DEFAULT_LIFETIME: Millis = 3_600_000
/** A refusal is remembered this long, so that a hundred waiting deliveries do not ask a hundred times. */
const FAILURE_PAUSE: Millis = 1000

export function oauth2(config: OAuth2Config, request: TokenRequest, secrets: Secrets): Auth {
  let current: { credentials: Credentials; until: number } | null = null
  let pending: Promise<Credentials> | null = null
  let failure: { error: unknown; until: number } | null = null
  /** The endpoint refused Basic once: go on with the form. */
  let inForm = false

  const ask = (form: boolean, begin: Begin) => {
    const fields = new URLSearchParams({ grant_type: 'client_credentials' })
    if (config.scope !== null) fields.set('scope', config.scope)
    const headers = ['Content-Type', 'application/x-www-form-urlencoded', 'Accept', 'application/json']
    if (form) {
      fields.set('client_id', config.clientId)
      fields.set('client_secret', config.clientSecret)
    } else {
      const pair = `${formEncode(config.clientId)}:${formEncode(config.clientSecret)}`
      headers.push('Authorization', `Basic ${Buffer.from(pair).toString('base64')}`)
    }
    return request(config.tokenUrl, headers, Buffer.from(fields.toString()), begin)
  }

  const fetchToken = async (begin: Begin): Promise<Credentials> => {
    let answer = await ask(inForm, begin)
    if (!inForm && (answer.status === 400 || answer.status === 401)) {
      const second = await ask(true, begin)
      if (second.status >= 200 && second.status < 300) {
        inForm = true
        answer = second
      }
    }
    const { token, lifetime } = readToken(answer)
    secrets.addToken(token)
    const credentials = { headers: ['Authorization', `Bearer ${token}`], query: null }
    current = { credentials, until: Date.now() + lifetime - Math.min(60_000, lifetime / 10) }
    return credentials
  }

  const fresh = (begin: Begin): Promise<Credentials> => {
    if (failure !== null && Date.now() < failure.until) return Promise.reject(failure.error)
    pending ??= fetchToken(begin)
      .catch((error: unknown) => {
        failure = { error, until: Date.now() + FAILURE_PAUSE }
        throw error
      })
      .finally(() => {
        pending = null
      })
    return pending
  }

  return {
    credentials: (_request, begin) =>
      current !== null && Date.now() < current.until ? current.credentials : fresh(begin),
    renew(_request, _headers, used, times, begin) {
      if (times > 0) return null
      // Another request may have renewed it in the meantime.
      if (current !== null && current.credentials !== used) return current.credentials
      current = null
      return fresh(begin)
    },
  }
}

const TOKENS = /("(?:access|refresh|id)_token"\s*:\s*")(?:\\.|[^"\\])*/g

/** The answer as recorded: tokens in their places, whatever else it says. */
export function withoutTokens(body: Buffer): Buffer {
  const text = body.toString('latin1')
  return Buffer.from(text.replace(TOKENS, `$1${MASK}`), 'latin1')
}

/** RFC 6749 §5.1 and §5.2. The text never quotes the token. */
function readToken(answer: { status: number; body: Buffer }): { token: string; lifetime: Millis } {
  let fields: Record<string, unknown> = {}
  try {
    const parsed: unknown = JSON.parse(answer.body.toString('utf8'))
    if (typeof parsed === 'object' && parsed !== null) fields = parsed as Record<string, unknown>
  } catch {
    // Said below: an answer without access_token.
  }
  if (answer.status < 200 || answer.status > 299) {
    const why = typeof fields.error === 'string' ? ` (${fields.error})` : ''
    throw new Trouble('auth', `el servidor de tokens respondió HTTP ${answer.status}${why}`)
  }
  const token = fields.access_token
  if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) {
    throw new Trouble('auth', `el servidor de tokens respondió HTTP ${answer.status} sin un access_token utilizable`)
  }
  const seconds = Number(fields.expires_in)
  return { token, lifetime: seconds > 0 ? seconds * 1000 : DEFAULT_LIFETIME }
}

/** application/x-www-form-urlencoded, as RFC 6749 §2.3.1 wants both halves before Basic joins them. */
function formEncode(text: string): string {
  return new URLSearchParams({ v: text }).toString().slice(2)
}
