import { describe, expect, test } from 'vitest'
import { attempt, SECRET, serve } from './scene.ts'

const to = (location: string, status = 302) => ({ status, headers: { Location: location }, body: 'por acá' })

test('with redirecciones = 0 a 3xx is a failure that tells its status', async () => {
  const server = await serve(() => to('/otro'))
  const { requests, outcome } = await attempt({ url: server.url })
  expect(outcome).toEqual({ kind: 'failure', reason: 'HTTP 302', gone: false })
  expect(requests).toMatchObject([{ status: 302, error: null }])
})

describe('followed', () => {
  test.each([
    [307, 'POST'],
    [308, 'PUT'],
    [302, 'PUT'],
    [301, 'DELETE'],
    [303, 'HEAD'],
    [303, 'GET'],
  ] as const)('%i repeats a %s with its body', async (status, method) => {
    const server = await serve((_request, n) => (n === 1 ? to('../b?x=1', status) : { status: 204 }))
    const { requests, outcome } = await attempt({ url: `${server.url}/rest/a`, method, redirects: 2 })
    expect(outcome.kind).toBe('success')
    expect(server.requests[1]).toMatchObject({ method, url: '/b?x=1', body: server.requests[0]!.body })
    expect(server.requests[1]!.headers['content-type']).toBe(server.requests[0]!.headers['content-type'])
    expect(requests.map(({ request, status: got }) => [request, got])).toEqual([
      [1, status],
      [2, 204],
    ])
    expect(requests[1]!.url).toBe(`${server.url}/b?x=1`)
  })

  test('on the same server credentials and a valid signature go along', async () => {
    const server = await serve((_request, n) => (n === 1 ? to('/b', 307) : {}))
    await attempt({ url: server.url, redirects: 1, secrets: [SECRET], auth: { kind: 'bearer', token: 't' } })
    const { Webhook } = await import('standardwebhooks')
    const { headers } = server.requests[1]!
    expect(headers.authorization).toBe('Bearer t')
    const signed = new Webhook(SECRET).sign(
      String(headers['webhook-id']),
      new Date(Number(headers['webhook-timestamp']) * 1000),
      '{"id":7}',
    )
    expect(headers['webhook-signature']).toBe(signed)
  })

  test.each([
    ['basic', { auth: { kind: 'basic', username: 'ana', password: 'cl4ve' } }],
    ['bearer', { auth: { kind: 'bearer', token: 't0k3n' } }],
    ['api_key', { auth: { kind: 'api_key', key: 'k3y', place: { in: 'query', name: 'api_key' } } }],
    ['a secret header', { headers: [['X-Token', 's3cret']] }],
  ] as const)('to another host %s does not', async (_name, listener) => {
    const other = await serve(() => ({}))
    const server = await serve(() => to(`${other.url}/b`, 307))
    const { requests } = await attempt({ url: server.url, redirects: 1, secrets: [SECRET], ...(listener as object) })
    expect(other.requests).toHaveLength(1)
    const { headers, url } = other.requests[0]!
    expect(JSON.stringify([headers, url])).not.toMatch(/authorization|api_key|cl4ve|t0k3n|k3y|s3cret|webhook-signature/)
    expect(headers['webhook-id']).toBeDefined()
    expect(other.requests[0]!.body).toEqual(server.requests[0]!.body)
    expect(requests).toHaveLength(2)
  })

  test('nor does it come back when the other host redirects to ours', async () => {
    const server = await serve((_request, n) => (n === 1 ? to(`${other.url}/b`, 307) : {}))
    const other = await serve(() => to(`${server.url}/c`, 307))
    await attempt({ url: server.url, redirects: 5, auth: { kind: 'bearer', token: 't0k3n' } })
    expect(server.requests[1]!.headers.authorization).toBeUndefined()
  })
})

describe('refused', () => {
  test.each([
    [301, 'POST'],
    [302, 'POST'],
    [303, 'POST'],
    [303, 'PUT'],
    [303, 'DELETE'],
  ] as const)('%i would turn a %s into a GET: the message was not delivered', async (status, method) => {
    const server = await serve((_request, n) => (n === 1 ? to('/b', status) : { status: 200 }))
    const { requests, outcome } = await attempt({ url: server.url, method, redirects: 3 })
    expect(server.requests).toHaveLength(1)
    expect(requests).toMatchObject([{ status, error: 'redireccion', errorDetail: expect.stringContaining('hacia /b') }])
    const reason = expect.stringContaining(`convierte el ${method} en un GET sin el mensaje`)
    expect(outcome).toEqual({ kind: 'failure', reason, gone: false })
  })

  test('more hops than allowed', async () => {
    const server = await serve(({ url }) => to(`${url}x`))
    const { requests, outcome } = await attempt({ url: server.url, redirects: 2, method: 'GET' })
    expect(server.requests).toHaveLength(3)
    expect(requests.map(({ error }) => error)).toEqual([null, null, 'redireccion'])
    expect(outcome).toMatchObject({ kind: 'failure', reason: expect.stringContaining('más de 2') })
  })

  test.each([
    ['no Location', { status: 302 }],
    ['another protocol', to('file:///etc/passwd')],
    ['no URL', to('http://[')],
  ])('%s', async (_name, reply) => {
    const server = await serve(() => reply)
    const { requests, outcome } = await attempt({ url: server.url, redirects: 3 })
    expect(requests).toMatchObject([{ status: 302, error: 'redireccion' }])
    expect(outcome.kind).toBe('failure')
  })

  test('a hop into a blocked network is a record of its own', async () => {
    const server = await serve(() => to('http://169.254.169.254/latest/meta-data/', 307))
    const { requests } = await attempt({ url: server.url, redirects: 3 })
    expect(requests).toMatchObject([
      { status: 307, error: null },
      { error: 'bloqueada', status: null, url: 'http://169.254.169.254/latest/meta-data/' },
    ])
  })
})
