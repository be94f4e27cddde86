import { X509Certificate } from 'node:crypto'
import { createServer, type ServerOptions } from 'node:https'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { checkOwnCertificate } from '../../src/checks/configuration.ts'
import type { ListenerConfig, TlsConfig } from '../../src/config/config.ts'
import { endpointOf } from '../../src/delivery/connect.ts'
import { inspectTls, probe } from '../../src/delivery/probe.ts'
import { Secrets } from '../../src/model/secrets.ts'
import { type Certificates, makeCertificates, openssl, type Pair } from '../support/certificates.ts'
import { until } from '../support/until.ts'
import { attempt, deliverer, listenerConfig, message, never, serve } from './scene.ts'

describe.skipIf(openssl.missing)(`TLS${openssl.note}`, () => {
  let certificates: Certificates
  beforeAll(() => {
    certificates = makeCertificates()
  })
  afterAll(() => certificates.remove())

  /** An HTTPS server; `port` in the URL, by name or address. */
  async function serveTls(pair: Pair, options: ServerOptions = {}) {
    const seen: { client: string | undefined; resumed: boolean }[] = []
    const server = createServer({ cert: pair.cert, key: pair.key, ...options }, (request, response) => {
      const socket = request.socket as import('node:tls').TLSSocket
      seen.push({ client: [socket.getPeerCertificate().subject?.CN].flat()[0], resumed: socket.isSessionReused() })
      response.end('ok')
    })
    server.on('tlsClientError', () => {})
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => {
      server.close()
      server.closeAllConnections()
    })
    const { port } = server.address() as AddressInfo
    return { port, url: `https://localhost:${port}/`, byAddress: `https://127.0.0.1:${port}/`, seen, server }
  }

  const trusting = (client: TlsConfig['client'] = null): Pick<ListenerConfig, 'tls'> => ({
    tls: { ca: certificates.ca.cert, client },
  })

  test('a private authority is trusted, by name and by address, and the handshake is timed', async () => {
    const { url, byAddress } = await serveTls(certificates.server)
    for (const each of [url, byAddress]) {
      const { requests, outcome } = await attempt({ url: each, ...trusting() })
      expect(outcome.kind).toBe('success')
      expect(Object.keys(requests[0]!.phases!)).toEqual(['dns', 'conexion', 'tls', 'primer_byte', 'total'])
      expect(requests[0]!.ip).toBe('127.0.0.1')
    }
  })

  test('a second connection resumes the session; until when the certificate is good is known from the first', async () => {
    const { url, seen, server } = await serveTls(certificates.server)
    const made = deliverer({ url, ...trusting() })
    expect(made.certificateEndsAt).toBeUndefined()
    await made.attempt(message(), 1, never())
    const { validTo } = new X509Certificate(certificates.server.cert)
    expect(made.certificateEndsAt).toBe(Date.parse(validTo))
    server.closeAllConnections()
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect((await made.attempt(message(), 1, never())).outcome.kind).toBe('success')
    expect(seen.map(({ resumed }) => resumed)).toEqual([false, true])
    expect(made.certificateEndsAt).toBe(Date.parse(validTo))
  })

  test.each([
    ['an authority nobody knows', 'server', false, /UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER/],
    ['a self-signed certificate', 'selfSigned', true, /DEPTH_ZERO_SELF_SIGNED_CERT/],
    ['another name', 'wrongHost', true, /ERR_TLS_CERT_ALTNAME_INVALID/],
    ['an expired certificate', 'expired', true, /CERT_HAS_EXPIRED/],
  ] as const)('%s is refused and told', async (_name, pair, trusted, code) => {
    const { url, seen } = await serveTls(certificates[pair])
    const { requests, outcome } = await attempt({ url, ...(trusted ? trusting() : {}) })
    expect(requests).toMatchObject([{ error: 'tls', status: null, errorDetail: expect.stringMatching(code) }])
    expect(outcome.kind).toBe('retry')
    expect(seen).toHaveLength(0)
  })

  test('a certificate of another name is told at every attempt, not with a time-out at every other one', async () => {
    const { url } = await serveTls(certificates.wrongHost)
    const made = deliverer({ url, ...trusting() })
    for (const number of [1, 2, 3]) {
      const { requests } = await made.attempt(message(), number, never())
      expect(requests).toMatchObject([
        {
          error: 'tls',
          errorDetail: expect.stringMatching(/^el certificado del servidor es de otro nombre \(ERR_TLS_CERT_/),
        },
      ])
    }
  })

  test('a port that does not speak TLS, and one that speaks nothing else', async () => {
    const plain = await serve(() => ({}))
    const { requests } = await attempt({ url: plain.url.replace('http:', 'https:') })
    expect(requests).toMatchObject([
      {
        error: 'tls',
        errorDetail: expect.stringMatching(/^en ese puerto no se habla TLS \(ERR_SSL_[A-Z_]+: [a-z ]+\)$/),
      },
    ])
    const { url } = await serveTls(certificates.server)
    const reverse = await attempt({ url: url.replace('https:', 'http:') })
    expect(reverse.requests[0]).toMatchObject({ status: null, error: expect.stringMatching(/conexion|respuesta/) })
  })

  describe('a client certificate', () => {
    const required = () => ({ ca: certificates.ca.cert, requestCert: true, rejectUnauthorized: true })
    const pem = ({ cert, key }: Pair): TlsConfig['client'] => ({ kind: 'pem', cert, key, passphrase: null })

    test('as PEM and as PKCS#12', async () => {
      const { url, seen } = await serveTls(certificates.server, required())
      const auth = { kind: 'ssl' } as const
      const byPem = await attempt({ url, auth, ...trusting(pem(certificates.client)) })
      expect(byPem.outcome.kind).toBe('success')
      const byBundle = await attempt({
        url,
        auth,
        ...trusting({ kind: 'pkcs12', bundle: certificates.bundle, passphrase: 'clave' }),
      })
      expect(byBundle.outcome.kind).toBe('success')
      expect(seen.map(({ client }) => client)).toEqual(['pilaga', 'pilaga'])
    })

    test.each<[string, () => TlsConfig['client']]>([
      ['missing', () => null],
      ['of a stranger', () => pem(certificates.strangerClient)],
    ])('%s: refused as tls', async (_name, client) => {
      for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
        const { url } = await serveTls(certificates.server, { ...required(), maxVersion })
        const { requests, outcome } = await attempt({ url, ...trusting(client()) })
        expect(requests.at(-1)).toMatchObject({ status: null, error: expect.stringMatching(/^(tls|conexion)$/) })
        expect(outcome.kind).toBe('retry')
      }
    })

    test('that has expired is told with the date, however the server refuses it, and does not end the delivery', async () => {
      const refusing = (maxVersion: 'TLSv1.2' | 'TLSv1.3') =>
        serveTls(certificates.server, { ...required(), maxVersion })
      const polite = createServer(
        { cert: certificates.server.cert, key: certificates.server.key, ...required(), rejectUnauthorized: false },
        (_request, response) => response.writeHead(400).end('The SSL certificate error'),
      )
      await new Promise<void>((resolve) => polite.listen(0, '127.0.0.1', resolve))
      onTestFinished(() => {
        polite.close()
        polite.closeAllConnections()
      })
      const port = (polite.address() as AddressInfo).port
      const urls = [(await refusing('TLSv1.2')).url, (await refusing('TLSv1.3')).url, `https://localhost:${port}/`]
      const yesterday = new Date(Date.now() - 86_400_000).toISOString().slice(0, 10)
      for (const url of urls) {
        const { requests, outcome } = await attempt({ url, ...trusting(pem(certificates.expiredClient)) })
        expect(requests.at(-1)).toMatchObject({ error: 'tls' })
        expect(requests.at(-1)!.errorDetail).toContain(`el certificado de cliente (cert_file) venció el ${yesterday}`)
        expect(outcome.kind).toBe('retry')
      }
      const valid = await attempt({ url: urls[2]!, ...trusting(pem(certificates.client)) })
      expect(valid.requests).toMatchObject([{ status: 400, error: null }])
      const refused = await attempt({ url: 'https://127.0.0.1:1/', ...trusting(pem(certificates.expiredClient)) })
      expect(refused.requests).toMatchObject([{ error: 'conexion' }])
      const server = await serveTls(certificates.expired)
      const both = await attempt({ url: server.url, ...trusting(pem(certificates.expiredClient)) })
      expect(both.requests[0]!.errorDetail).toContain('el certificado del servidor está vencido')
    })

    test('is looked at by verificar: expired, soon, in order', () => {
      const look = (client: TlsConfig['client'], now = Date.now()) =>
        checkOwnCertificate(listenerConfig({ url: 'https://h/', ...trusting(client) }), now)
      const soon = Date.now() + 5 * 86_400_000
      const bundle = { kind: 'pkcs12', bundle: certificates.bundle, passphrase: 'clave' } as const
      expect(look(pem(certificates.expiredClient))).toMatchObject([
        {
          resultado: 'error',
          detalle: expect.stringMatching(/^venció el \d{4}-/),
          que_hacer: expect.stringContaining('cert_file'),
        },
      ])
      for (const client of [pem(certificates.client), bundle]) {
        expect(look(client, soon)).toMatchObject([
          { resultado: 'aviso', detalle: expect.stringContaining('vence en 24 días') },
        ])
        expect(look(client, Date.now() - 40 * 86_400_000)[0]!.detalle).toContain('vale recién desde')
      }
      expect(look(pem(certificates.ca))).toMatchObject([{ resultado: 'aviso' }])
      expect(look(null)).toEqual([])
    })

    test.each([
      ['a wrong password', (c: Certificates) => ({ kind: 'pkcs12', bundle: c.bundle, passphrase: 'otra' })],
      ['no PKCS#12', () => ({ kind: 'pkcs12', bundle: Buffer.from('x'), passphrase: null })],
      [
        'a key of another',
        (c: Certificates) => ({ kind: 'pem', cert: c.client.cert, key: c.server.key, passphrase: null }),
      ],
    ] as const)('with %s is a tls error of every attempt, not a crash', async (_name, client) => {
      const { url, server } = await serveTls(certificates.server, required())
      let [opened, closed] = [0, 0]
      server.on('connection', (socket) => {
        opened++
        socket.on('close', () => closed++)
      })
      const { requests, outcome } = await attempt({ url, ...trusting(client(certificates) as TlsConfig['client']) })
      // A socket that stayed open kept `probar` and a worker's end waiting for ever.
      await until(() => opened === 1 && closed === 1, { timeout: 5000 })
      expect(requests).toMatchObject([{ error: 'tls', errorDetail: expect.stringContaining('certificado de cliente') }])
      expect(JSON.stringify(requests)).not.toContain('otra')
      expect(outcome.kind).toBe('retry')
    })

    test('is not shown to the host of a redirect', async () => {
      const other = await serveTls(certificates.server, { ...required(), rejectUnauthorized: false })
      const { url } = await serveTls(certificates.server, required())
      const redirecting = createServer(
        { cert: certificates.server.cert, key: certificates.server.key, ...required() },
        (_request, response) => response.writeHead(307, { Location: other.byAddress }).end(),
      )
      await new Promise<void>((resolve) => redirecting.listen(0, '127.0.0.1', resolve))
      onTestFinished(() => void redirecting.close())
      const start = url.replace(/:\d+/, `:${(redirecting.address() as AddressInfo).port}`)
      const { outcome } = await attempt({ url: start, redirects: 1, ...trusting(pem(certificates.client)) })
      expect(outcome.kind).toBe('success')
      expect(other.seen).toEqual([{ client: undefined, resumed: false }])
    })
  })

  test('a redirect from https to http is not followed', async () => {
    const plain = await serve(() => ({}))
    const server = createServer(
      { cert: certificates.server.cert, key: certificates.server.key },
      (_request, response) => response.writeHead(307, { Location: plain.url }).end(),
    )
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void server.close())
    const url = `https://localhost:${(server.address() as AddressInfo).port}/`
    const { requests, outcome } = await attempt({ url, redirects: 3, ...trusting() })
    expect(requests).toMatchObject([
      { status: 307, error: 'redireccion', errorDetail: expect.stringContaining('de https a http') },
    ])
    expect(outcome.kind).toBe('failure')
    expect(plain.requests).toHaveLength(0)
  })

  describe('looked at', () => {
    test('a good server: who it is and how long it lasts', async () => {
      const { url } = await serveTls(certificates.server)
      const seen = await inspectTls(endpointOf(url), '127.0.0.1', trusting().tls, 2000)
      expect(seen).toMatchObject({
        protocol: 'TLSv1.3',
        cipher: expect.stringMatching(/^TLS_/),
        problem: null,
        certificate: { issuer: 'CN=Autoridad de prueba, O=SIU', names: ['localhost', '127.0.0.1'], daysLeft: 29 },
      })
    })

    test.each([
      ['expired', /CERT_HAS_EXPIRED/, -2],
      ['wrongHost', /ERR_TLS_CERT_ALTNAME_INVALID/, 29],
      ['selfSigned', /DEPTH_ZERO_SELF_SIGNED_CERT/, 29],
    ] as const)('a bad one (%s) is shown all the same', async (pair, problem, days) => {
      const { url } = await serveTls(certificates[pair])
      const seen = await inspectTls(endpointOf(url), '127.0.0.1', trusting().tls, 2000)
      expect(seen.problem).toMatch(problem)
      expect(Math.abs(seen.certificate!.daysLeft - days)).toBeLessThanOrEqual(1)
    })

    test('one that does not answer ends in time', async () => {
      const silent = await serve(() => 'silence')
      const endpoint = endpointOf(silent.url.replace('http:', 'https:'))
      expect(await inspectTls(endpoint, '127.0.0.1', trusting().tls, 300)).toMatchObject({
        protocol: null,
        problem: expect.any(String),
      })
    })

    test('a whole probe', async () => {
      const about = { version: '1', secrets: new Secrets(), signal: never(), number: 1 }
      const { url } = await serveTls(certificates.server)
      const report = await probe(listenerConfig({ url, ...trusting() }), message(), about)
      expect(report).toMatchObject({
        names: { host: 'localhost', error: null },
        tls: { problem: null },
        outcome: { kind: 'success' },
        requests: [{ status: 200, requestHeaders: { 'X-Resthooks-Prueba': '1' } }],
        diagnosis: expect.stringContaining('aceptó el pedido (HTTP 200'),
      })
      const untrusted = await probe(listenerConfig({ url }), message(), about)
      expect(untrusted.tls?.certificate?.issuer).toContain('Autoridad de prueba')
      expect(untrusted.diagnosis).toMatch(/ca_cert/)
    })
  })
})
