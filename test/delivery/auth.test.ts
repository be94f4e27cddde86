import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { digest, parseChallenges, parseParams } from '../../src/delivery/auth/digest.ts'
import type { ReceivedRequest, Reply } from '../support/listener.ts'
import { until } from '../support/until.ts'
import { attempt, deliverer, message, never, serve } from './scene.ts'

const basic = (pair: string) => `Basic ${Buffer.from(pair).toString('base64')}`
/** Header lines hold bytes, one a character. */
const utf8 = (text: string) => Buffer.from(text, 'utf8').toString('latin1')
const md5 = (text: string) => createHash('md5').update(text).digest('hex')
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

describe('what is sent at once', () => {
  test.each([
    ['ninguna', { kind: 'ninguna' }, undefined, '/'],
    ['basic', { kind: 'basic', username: 'añá', password: 'a:b' }, basic('añá:a:b'), '/'],
    ['bearer', { kind: 'bearer', token: 'abc' }, 'Bearer abc', '/'],
    [
      'api_key',
      { kind: 'api_key', key: 'a b&', place: { in: 'query', name: 'api_key' } },
      undefined,
      '/?api_key=a%20b%26',
    ],
  ] as const)('%s', async (_name, auth, authorization, url) => {
    const server = await serve(() => ({}))
    await attempt({ url: server.url, auth })
    expect(server.requests[0]!.headers.authorization).toBe(authorization)
    expect(server.requests[0]!.url).toBe(url)
  })

  test('api_key beside a query, and in a header', async () => {
    const server = await serve(() => ({}))
    await attempt({
      url: server.url,
      path: 'x?a=1',
      auth: { kind: 'api_key', key: 'k', place: { in: 'query', name: 'clave' } },
    })
    expect(server.requests[0]!.url).toBe('/x?a=1&clave=k')
    await attempt({ url: server.url, auth: { kind: 'api_key', key: 'k', place: { in: 'header', name: 'X-Acceso' } } })
    expect(server.requests[1]!.headers['x-acceso']).toBe('k')
  })

  test('a refusal of a fixed credential is one request and a retry', async () => {
    const server = await serve(() => ({ status: 401, headers: { 'WWW-Authenticate': 'Basic realm="x"' } }))
    const { requests, outcome } = await attempt({
      url: server.url,
      auth: { kind: 'basic', username: 'a', password: 'b' },
    })
    expect(requests).toHaveLength(1)
    expect(outcome).toMatchObject({ kind: 'retry', reason: 'HTTP 401' })
  })
})

describe('challenges are read as servers send them', () => {
  test.each([
    [
      'Digest realm="a, b", nonce="x\\"y", qop="auth,auth-int"',
      [['digest', { realm: 'a, b', nonce: 'x"y', qop: 'auth,auth-int' }]],
    ],
    [
      'Basic realm="x", Digest realm=y, nonce=z',
      [
        ['basic', { realm: 'x' }],
        ['digest', { realm: 'y', nonce: 'z' }],
      ],
    ],
    [
      'Negotiate, Basic realm = "x"',
      [
        ['negotiate', {}],
        ['basic', { realm: 'x' }],
      ],
    ],
    ['Digest realm="",nonce="n",stale=TRUE', [['digest', { realm: '', nonce: 'n', stale: 'TRUE' }]]],
    ['', []],
    ['=,"', []],
  ] as const)('%s', (header, expected) => {
    expect(parseChallenges(header).map(({ scheme, params }) => [scheme, Object.fromEntries(params)])).toEqual(expected)
  })

  test('several lines, and a header without scheme', () => {
    expect(parseChallenges(['Basic realm=a', 'Digest nonce=b']).map(({ scheme }) => scheme)).toEqual([
      'basic',
      'digest',
    ])
    expect(parseParams('nextnonce="n", rspauth=x').get('nextnonce')).toBe('n')
  })
})

/** The fields of an Authorization header. */
function fields(request: ReceivedRequest): Record<string, string> {
  return Object.fromEntries(parseChallenges(request.headers.authorization)[0]?.params ?? [])
}

/** A server that verifies as RFC 7616 says. */
function digestServer(challenge: string, password = 'clave', hash = md5, session = false) {
  const realm = /realm="([^"]*)"/.exec(challenge)![1]!
  return (request: ReceivedRequest): Reply => {
    const f = fields(request)
    const refusal = { status: 401, headers: { 'WWW-Authenticate': challenge } }
    if (f.nonce === undefined || !challenge.includes(f.nonce)) return refusal
    const identity = hash(`pilaga:${realm}:${password}`)
    const a1 = session ? hash(`${identity}:${f.nonce}:${f.cnonce}`) : identity
    const a2 = hash(`${request.method}:${request.url}`)
    const expected =
      f.qop === 'auth' ? hash(`${a1}:${f.nonce}:${f.nc}:${f.cnonce}:auth:${a2}`) : hash(`${a1}:${f.nonce}:${a2}`)
    return f.response === expected && f.uri === request.url ? { body: 'ok' } : refusal
  }
}

const auth = { kind: 'digest', username: 'pilaga', password: 'clave' } as const
const TOBA = `Digest realm="Area Restringida", qop="auth", nonce="55c1d8b1a0e4f", opaque="${md5('Area Restringida')}"`

describe('digest', () => {
  test.each([
    ['UTF-8', utf8('Área Restringida')],
    ['Latin-1', 'Área Restringida'],
  ])('a realm in %s comes back byte by byte, and is hashed so', async (_name, realm) => {
    const bytesHash = (text: string) => createHash('md5').update(text, 'latin1').digest('hex')
    const server = await serve((request) => {
      const f = fields(request)
      const a1 = bytesHash(`${utf8('añá')}:${realm}:${utf8('contraseña')}`)
      const expected = bytesHash(`${a1}:n1:${f.nc}:${f.cnonce}:auth:${bytesHash(`POST:${request.url}`)}`)
      if (f.realm === realm && f.username === utf8('añá') && f.response === expected) return {}
      return { status: 401, headers: { 'WWW-Authenticate': `Digest realm="${realm}", qop="auth", nonce="n1"` } }
    })
    const named = { kind: 'digest', username: 'añá', password: 'contraseña' } as const
    const { requests } = await attempt({ url: server.url, auth: named })
    expect(requests.map(({ status }) => status)).toEqual([401, 200])
  })

  test('toba: the challenge and its answer are two requests of one attempt, the following ones cost one', async () => {
    const server = await serve(digestServer(TOBA))
    const made = deliverer({ url: server.url, path: 'rest/personas?x=1', auth })
    const first = await made.attempt(message(), 1, never())
    expect(first.requests.map(({ request, status }) => [request, status])).toEqual([
      [1, 401],
      [2, 200],
    ])
    expect(first.outcome.kind).toBe('success')
    expect(first.requests[1]!.requestHeaders.Authorization).toBe('***')
    expect(server.requests[1]!.body).toEqual(server.requests[0]!.body)
    expect(fields(server.requests[1]!)).toMatchObject({
      username: 'pilaga',
      opaque: md5('Area Restringida'),
      nc: '00000001',
    })
    expect(fields(server.requests[1]!)).not.toHaveProperty('algorithm')

    const second = await made.attempt(message(), 1, never())
    expect(second.requests).toMatchObject([{ request: 1, status: 200 }])
    expect(fields(server.requests[2]!).nc).toBe('00000002')
  })

  test('requests at once share the nonce, each with its own count', async () => {
    const server = await serve(digestServer(TOBA))
    const made = deliverer({ url: server.url, auth, concurrency: 8 })
    await made.attempt(message(), 1, never())
    const results = await Promise.all(Array.from({ length: 20 }, () => made.attempt(message(), 1, never())))
    expect(results.every(({ requests, outcome }) => requests.length === 1 && outcome.kind === 'success')).toBe(true)
    const counts = server.requests.slice(1).map((request) => fields(request).nc)
    expect(new Set(counts).size).toBe(21)
  })

  test.each([
    ['SHA-256', 'Digest realm="r", qop="auth", nonce="n", algorithm=SHA-256', sha256, false],
    ['MD5-sess', 'Digest realm="r", qop="auth", nonce="n", algorithm=MD5-sess', md5, true],
    ['SHA-256-sess', 'Digest realm="r", qop="auth, auth-int", nonce="n", algorithm=SHA-256-sess', sha256, true],
    ['without qop', 'Digest realm="r", nonce="n"', md5, false],
  ] as const)('%s', async (_name, challenge, hash, session) => {
    const server = await serve(digestServer(challenge, 'clave', hash, session))
    const { outcome, requests } = await attempt({ url: server.url, auth })
    expect(outcome.kind).toBe('success')
    expect(requests).toHaveLength(2)
  })

  test('the strongest of several challenges is answered', async () => {
    const server = await serve((request) =>
      fields(request).algorithm === 'SHA-256'
        ? {}
        : {
            status: 401,
            headers: {
              'WWW-Authenticate':
                'Basic realm="r", Digest realm="r", qop="auth", nonce="n", algorithm=MD5, Digest realm="r", qop="auth", nonce="n", algorithm=SHA-256',
            },
          },
    )
    expect((await attempt({ url: server.url, auth })).outcome.kind).toBe('success')
  })

  test('a stale nonce is replaced, a wrong password asked for only once', async () => {
    let nonce = 1
    const server = await serve((request) => {
      const current = `Digest realm="r", qop="auth", nonce="n${nonce}"`
      const reply = digestServer(current)(request)
      const stale = fields(request).nonce !== undefined && fields(request).nonce !== `n${nonce}`
      return stale ? { ...reply, headers: { 'WWW-Authenticate': `${current}, stale=true` } } : reply
    })
    const made = deliverer({ url: server.url, auth })
    await made.attempt(message(), 1, never())
    nonce = 2
    const renewed = await made.attempt(message(), 1, never())
    expect(renewed.requests.map(({ status }) => status)).toEqual([401, 200])

    const refusing = await serve(digestServer(TOBA, 'otra'))
    const wrong = deliverer({ url: refusing.url, auth })
    const first = await wrong.attempt(message(), 1, never())
    expect(first.requests.map(({ status }) => status)).toEqual([401, 401])
    expect(first.outcome).toMatchObject({ kind: 'retry', reason: 'HTTP 401' })
    await wrong.attempt(message(), 1, never())
    expect(refusing.requests.length).toBeLessThanOrEqual(4)
  })

  test('a server that calls every nonce stale does not keep us busy', async () => {
    let n = 0
    const server = await serve(() => ({
      status: 401,
      headers: { 'WWW-Authenticate': `Digest realm="r", nonce="n${++n}", qop="auth", stale=true` },
    }))
    const { requests } = await attempt({ url: server.url, auth })
    expect(requests).toHaveLength(3)
  })

  test.each([
    ['auth-int alone', 'Digest realm="r", nonce="n", qop="auth-int"', 'WWW-Authenticate pide digest qop=auth-int'],
    ['an unknown algorithm', 'Digest realm="r", nonce="n", algorithm=SHA-512-256', 'pide digest algorithm=SHA-512-256'],
    ['no nonce', 'Digest realm="r"', 'pide digest sin nonce'],
    ['no digest', 'Basic realm="r"', 'WWW-Authenticate pide basic'],
    ['no challenge', '', 'no trae WWW-Authenticate'],
  ])('%s cannot be answered, which is told, and judged as the 401 that it is', async (_name, challenge, told) => {
    const headers: Record<string, string> = challenge === '' ? {} : { 'WWW-Authenticate': challenge }
    const server = await serve(() => ({ status: 401, headers }))
    const { requests, outcome } = await attempt({ url: server.url, auth })
    expect(requests).toMatchObject([{ status: 401, error: 'desafio', errorDetail: expect.stringContaining(told) }])
    expect(outcome).toMatchObject({ kind: 'retry', reason: expect.stringContaining(`desafio (HTTP 401): `) })
    const final = await attempt({ url: server.url, auth, noRetryIf: [{ kind: 'status', status: 401 }] })
    expect(final.outcome.kind).toBe('failure')
  })

  test('RFC 7616 §3.9.2: the example with userhash and charset', () => {
    const answer = digest('Jäsøn Doe', 'Secret, or not?').renew!(
      { method: 'GET', target: '/doe.json' },
      {
        'www-authenticate':
          'Digest realm="api@example.org", qop="auth", algorithm=SHA-256, nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", opaque="o", charset=UTF-8, userhash=true',
      },
      { headers: [], query: null },
      0,
      () => () => {},
    ) as unknown as { headers: string[] }
    const params = parseChallenges(answer.headers[1])[0]!.params
    expect(params.get('username')).toBe(sha256('Jäsøn Doe:api@example.org'))
    expect(params.get('userhash')).toBe('true')
  })

  test('a name that is not ASCII goes as username* in UTF-8', () => {
    const answer = digest('Jäsøn', 'x').renew!(
      { method: 'GET', target: '/' },
      { 'www-authenticate': 'Digest realm="r", qop="auth", nonce="n", charset=UTF-8' },
      { headers: [], query: null },
      0,
      () => () => {},
    ) as unknown as { headers: string[] }
    expect(answer.headers[1]).toContain("username*=UTF-8''J%C3%A4s%C3%B8n")
  })

  test('Authentication-Info gives the next nonce', async () => {
    const server = await serve((request, n) => {
      if (n === 1) return { status: 401, headers: { 'WWW-Authenticate': 'Digest realm="r", qop="auth", nonce="uno"' } }
      return { headers: { 'Authentication-Info': `nextnonce="${fields(request).nonce}x"` } }
    })
    const made = deliverer({ url: server.url, auth })
    await made.attempt(message(), 1, never())
    await made.attempt(message(), 1, never())
    expect(fields(server.requests[2]!)).toMatchObject({ nonce: 'unox', nc: '00000001' })
  })
})

describe('oauth2', () => {
  const tokenServer = (script: (request: ReceivedRequest, n: number) => Reply | 'silence') => serve(script)
  const token = (value: string, seconds?: number): Reply => ({
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ access_token: value, token_type: 'Bearer', ...(seconds ? { expires_in: seconds } : {}) }),
  })
  const oauth = (tokenUrl: string, scope: string | null = null) =>
    ({ kind: 'oauth2', tokenUrl: `${tokenUrl}/token`, clientId: 'pilaga', clientSecret: 'a:b%', scope }) as const

  test('one token for all that wait, kept for the following', async () => {
    const tokens = await tokenServer(() => ({ ...token('t1', 3600), delay: 50 }))
    const server = await serve(() => ({}))
    const made = deliverer({ url: server.url, auth: oauth(tokens.url, 'escribir leer') })
    const results = await Promise.all(Array.from({ length: 10 }, () => made.attempt(message(), 1, never())))
    await made.attempt(message(), 1, never())
    expect(results.every(({ outcome }) => outcome.kind === 'success')).toBe(true)
    // The request for it is on the record of the one that caused it, and of no other.
    expect(results.flatMap(({ requests }) => requests).filter(({ url }) => url.endsWith('/token'))).toHaveLength(1)
    expect(results[0]!.requests).toMatchObject([
      { request: 1, method: 'POST', url: `${tokens.url}/token`, requestHeaders: { Authorization: '***' }, status: 200 },
      { request: 2, url: `${server.url}/`, status: 200, error: null },
    ])
    expect(tokens.requests).toHaveLength(1)
    expect(tokens.requests[0]).toMatchObject({
      method: 'POST',
      url: '/token',
      headers: { authorization: basic('pilaga:a%3Ab%25') },
    })
    expect(String(tokens.requests[0]!.body)).toBe('grant_type=client_credentials&scope=escribir+leer')
    expect(server.requests.every(({ headers }) => headers.authorization === 'Bearer t1')).toBe(true)
  })

  test('a token that expired is replaced', async () => {
    const tokens = await tokenServer((_request, n) => token(`t${n}`, n === 1 ? 0.05 : 3600))
    const server = await serve(() => ({}))
    const made = deliverer({ url: server.url, auth: oauth(tokens.url) })
    const next = async () => {
      await made.attempt(message(), 1, never())
      return server.requests.at(-1)!.headers.authorization
    }
    expect(await next()).toBe('Bearer t1')
    await until(async () => (await next()) === 'Bearer t2')
    expect(await next()).toBe('Bearer t2')
    expect(tokens.requests).toHaveLength(2)
  })

  test('a 401 renews it once', async () => {
    const tokens = await tokenServer((_request, n) => token(`t${n}`))
    const server = await serve(({ headers }) => ({ status: headers.authorization === 'Bearer t2' ? 200 : 401 }))
    const made = deliverer({ url: server.url, auth: oauth(tokens.url) })
    const { requests, outcome } = await made.attempt(message(), 1, never())
    expect(requests.map(({ url, status }) => [new URL(url).pathname, status])).toEqual([
      ['/token', 200],
      ['/', 401],
      ['/token', 200],
      ['/', 200],
    ])
    expect(requests.map(({ request }) => request)).toEqual([1, 2, 3, 4])
    expect(outcome.kind).toBe('success')

    const refusing = await serve(() => ({ status: 401 }))
    const refused = await attempt({ url: refusing.url, auth: oauth(tokens.url) })
    expect(refused.requests.map(({ status }) => status)).toEqual([200, 401, 200, 401])
  })

  test('where Basic is refused the client goes in the form, and stays there', async () => {
    const tokens = await tokenServer(({ body, headers }) =>
      headers.authorization === undefined && String(body).includes('client_secret=a%3Ab%25')
        ? token('t', 0.01)
        : { status: 401 },
    )
    const server = await serve(() => ({}))
    const made = deliverer({ url: server.url, auth: oauth(tokens.url) })
    expect((await made.attempt(message(), 1, never())).outcome.kind).toBe('success')
    expect(tokens.requests).toHaveLength(2)
    await until(async () => {
      await made.attempt(message(), 1, never())
      return tokens.requests.length > 2
    })
    expect(tokens.requests).toHaveLength(3)
  })

  test.each([
    ['refuses', { status: 400, body: '{"error":"invalid_scope"}' }, /HTTP 400 \(invalid_scope\)/],
    ['sends no token', { body: '{}' }, /sin un access_token/],
    ['sends no JSON', { body: '<html>' }, /sin un access_token/],
    ['cuts the connection', 'reset', /no respondió/],
  ] as const)(
    'a token endpoint that %s is a record with error auth, and nothing is sent',
    async (_name, reply, detail) => {
      const tokens = await serve(() => reply)
      const server = await serve(() => ({}))
      const made = deliverer({ url: server.url, auth: oauth(tokens.url) })
      const { requests, outcome } = await made.attempt(message(), 1, never())
      // Refused, it is asked in the form too; the last request bears the reason.
      const status = typeof reply === 'string' ? null : 'status' in reply ? reply.status : 200
      expect(requests).toHaveLength(tokens.requests.length)
      expect(requests.every(({ url, status: got }) => url === `${tokens.url}/token` && got === status)).toBe(true)
      expect(requests.at(-1)).toMatchObject({ error: 'auth', errorDetail: expect.stringMatching(detail) })
      expect(outcome.kind).toBe('retry')
      expect(server.requests).toHaveLength(0)
      // The next one at once does not ask again.
      const asked = tokens.requests.length
      await made.attempt(message(), 1, never())
      expect(tokens.requests).toHaveLength(asked)
    },
  )

  test('a token endpoint that hangs is within the deadline', async () => {
    const tokens = await serve(() => 'silence')
    const { requests } = await attempt({ url: 'http://127.0.0.1:1/', auth: oauth(tokens.url), totalTimeout: 200 })
    expect(requests).toMatchObject([
      { url: `${tokens.url}/token`, status: null, error: expect.stringMatching(/timeout|auth/) },
    ])
    expect(requests[0]!.durationMs).toBeGreaterThan(100)
  })
})
