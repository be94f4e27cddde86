/**
 * Digest access authentication (RFC 7616; RFC 2069 servers without qop too): MD5, SHA-256, their `-sess` variants.
 *
 * The nonce of the last challenge serves every following request, each with the next `nc`, so that only the first one
 * costs two. Requests running at once share it: the count rises synchronously. toba's servers send realm "Area
 * Restringida", qop="auth" and no algorithm, which means MD5.
 *
 * Texts here are bytes, one a character, as header lines come and go: a realm returns as it came, whatever it is encoded
 * in, and the user's name and password are UTF-8 (RFC 7616 §4).
 */
import { createHash, randomBytes } from 'node:crypto'
import { Trouble } from '../trouble.ts'
import { type Auth, type Credentials, NO_CREDENTIALS, type Signed } from './auth.ts'

interface Nonce {
  readonly realm: string
  readonly opaque: string | null
  readonly nonce: string
  readonly algorithm: Algorithm
  /** As the server wrote it, to be echoed; null when it sent none. */
  readonly algorithmName: string | null
  readonly qop: boolean
  readonly userhash: boolean
  readonly utf8: boolean
  /** Requests made with it. */
  count: number
}

interface Algorithm {
  readonly hash: 'md5' | 'sha256'
  readonly session: boolean
}

const ALGORITHMS: Readonly<Record<string, Algorithm>> = {
  'SHA-256': { hash: 'sha256', session: false },
  'SHA-256-SESS': { hash: 'sha256', session: true },
  MD5: { hash: 'md5', session: false },
  'MD5-SESS': { hash: 'md5', session: true },
}

export function digest(user: string, secret: string): Auth {
  const [username, password] = [bytes(user), bytes(secret)]
  let current: Nonce | null = null
  /** Which nonce a set of credentials was made of, and whether this very attempt was given it. */
  const madeOf = new WeakMap<Credentials, Nonce>()

  const answer = (request: Signed, nonce: Nonce): Credentials => {
    const credentials = { headers: ['Authorization', authorization(username, password, request, nonce)], query: null }
    madeOf.set(credentials, nonce)
    return credentials
  }

  return {
    credentials: (request) => (current === null ? NO_CREDENTIALS : answer(request, current)),
    renew(request, headers, used, times) {
      const challenge = chooseChallenge(headers['www-authenticate'])
      if (challenge === null) {
        throw new Trouble(
          'desafio',
          `sin un desafío Digest que se pueda contestar: ${seen(headers['www-authenticate'])}`,
        )
      }
      // Refused with a nonce that was fresh: the password is wrong, and asking again would only lock the account.
      if (times > 0 && !challenge.stale) return null
      if (times > 1) return null
      const before = madeOf.get(used)
      if (before?.nonce === challenge.nonce.nonce && !challenge.stale) return null
      current = challenge.nonce
      return answer(request, challenge.nonce)
    },
    accepted(headers) {
      const info = headers['authentication-info']
      if (typeof info !== 'string' || current === null) return
      const next = parseParams(info).get('nextnonce')
      if (next !== undefined && next !== current.nonce) current = { ...current, nonce: next, count: 0 }
    },
  }
}

/** What came instead, for people. */
function seen(header: string | string[] | undefined): string {
  const challenges = parseChallenges(header).map(({ scheme, params }) => {
    const asked = ['algorithm', 'qop'].filter((name) => params.has(name)).map((name) => `${name}=${params.get(name)}`)
    return [scheme, ...asked, ...(scheme === 'digest' && !params.has('nonce') ? ['sin nonce'] : [])].join(' ')
  })
  return challenges.length === 0 ? 'no trae WWW-Authenticate' : `WWW-Authenticate pide ${challenges.join(', ')}`
}

/** The UTF-8 bytes of a text, one a character. */
function bytes(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}

/** The strongest digest challenge that we can answer (RFC 7616 §3.7 leaves the choice to us), or null. */
function chooseChallenge(header: string | string[] | undefined): { nonce: Nonce; stale: boolean } | null {
  let best: { nonce: Nonce; stale: boolean; rank: number } | null = null
  for (const { scheme, params } of parseChallenges(header)) {
    const nonce = params.get('nonce')
    if (scheme !== 'digest' || nonce === undefined) continue
    const algorithmName = params.get('algorithm') ?? null
    const algorithm = ALGORITHMS[(algorithmName ?? 'MD5').toUpperCase()]
    const qops =
      params
        .get('qop')
        ?.toLowerCase()
        .split(',')
        .map((one) => one.trim()) ?? null
    // auth-int alone would need the body hashed into every answer; no SIU server asks for it.
    if (algorithm === undefined || (qops !== null && !qops.includes('auth'))) continue
    const rank = algorithm.hash === 'sha256' ? 2 : 1
    if (best !== null && best.rank >= rank) continue
    best = {
      rank,
      stale: params.get('stale')?.toLowerCase() === 'true',
      nonce: {
        realm: params.get('realm') ?? '',
        opaque: params.get('opaque') ?? null,
        nonce,
        algorithm,
        algorithmName,
        qop: qops !== null,
        userhash: params.get('userhash')?.toLowerCase() === 'true',
        utf8: params.get('charset')?.toUpperCase() === 'UTF-8',
        count: 0,
      },
    }
  }
  return best
}

/** RFC 7616 §3.4; without qop, RFC 2069's `response`. */
function authorization(username: string, password: string, request: Signed, nonce: Nonce): string {
  const { realm, algorithm } = nonce
  const hash = (text: string) => createHash(algorithm.hash).update(text, 'latin1').digest('hex')
  const count = (++nonce.count).toString(16).padStart(8, '0')
  const cnonce = randomBytes(12).toString('base64url')

  const identity = hash(`${username}:${realm}:${password}`)
  const a1 = algorithm.session ? hash(`${identity}:${nonce.nonce}:${cnonce}`) : identity
  const a2 = hash(`${request.method}:${request.target}`)
  const response = nonce.qop
    ? hash(`${a1}:${nonce.nonce}:${count}:${cnonce}:auth:${a2}`)
    : hash(`${a1}:${nonce.nonce}:${a2}`)

  const parts = [
    nonce.userhash ? `username="${hash(`${username}:${realm}`)}"` : usernameParam(username, nonce.utf8),
    `realm=${quoted(realm)}`,
    `nonce=${quoted(nonce.nonce)}`,
    `uri=${quoted(request.target)}`,
    `response="${response}"`,
  ]
  if (nonce.algorithmName !== null) parts.push(`algorithm=${nonce.algorithmName}`)
  if (nonce.opaque !== null) parts.push(`opaque=${quoted(nonce.opaque)}`)
  if (nonce.qop) parts.push('qop=auth', `nc=${count}`)
  if (nonce.qop || algorithm.session) parts.push(`cnonce="${cnonce}"`)
  if (nonce.userhash) parts.push('userhash=true')
  return `Digest ${parts.join(', ')}`
}

/** RFC 7616 §3.4: a name that ASCII cannot hold goes as `username*` where the server speaks UTF-8. */
function usernameParam(username: string, utf8: boolean): string {
  if (/^[\x20-\x7e]*$/.test(username)) return `username=${quoted(username)}`
  if (utf8) {
    const encoded = encodeURIComponent(Buffer.from(username, 'latin1').toString('utf8')).replace(
      /[!'()*]/g,
      (c) => `%${c.charCodeAt(0).toString(16)}`,
    )
    return `username*=UTF-8''${encoded}`
  }
  return `username=${quoted(username)}`
}

function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`
}

interface Challenge {
  /** Lower case. */
  readonly scheme: string
  /** Names in lower case. */
  readonly params: ReadonlyMap<string, string>
}

const ITEM = /\s*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?/y

/**
 * Every challenge of every `WWW-Authenticate` line, in order (RFC 9110 §11.6.1); what cannot be read ends the line. Written here
 * because no kept library takes what servers send: several challenges in one header, unquoted values, blanks around `=`.
 */
export function parseChallenges(header: string | readonly string[] | undefined): Challenge[] {
  const lines = header === undefined ? [] : typeof header === 'string' ? [header] : header
  const challenges: { scheme: string; params: Map<string, string> }[] = []
  for (const line of lines) {
    let current: { scheme: string; params: Map<string, string> } | null = null
    ITEM.lastIndex = 0
    for (let found = ITEM.exec(line); found !== null; found = ITEM.exec(line)) {
      const [all, name, quoted, bare] = found
      const value = quoted === undefined ? bare : quoted.replace(/\\(.)/g, '$1')
      if (value === undefined) {
        // A name without `=` is the next challenge's scheme.
        current = { scheme: name!.toLowerCase(), params: new Map() }
        challenges.push(current)
      } else if (current !== null && !current.params.has(name!.toLowerCase())) {
        current.params.set(name!.toLowerCase(), value)
      }
      ITEM.lastIndex = skipCommas(line, found.index + all.length)
    }
  }
  return challenges
}

/** The parameters of a header without scheme (`Authentication-Info`). */
export function parseParams(header: string): ReadonlyMap<string, string> {
  return parseChallenges(`x ${header}`)[0]?.params ?? new Map()
}

function skipCommas(line: string, from: number): number {
  let index = from
  while (index < line.length && (line[index] === ',' || line[index] === ' ' || line[index] === '\t')) index++
  return index
}
