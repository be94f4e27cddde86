import { setMaxListeners } from 'node:events'
import { Webhook } from 'standardwebhooks'
import { describe, expect, test } from 'vitest'
import { until } from '../support/until.ts'
import { attempt, deliverer, eachRequest, message, never, SECRET, serve, serveRaw } from './scene.ts'

const OTHER = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD'

test('a message reaches its listener byte for byte, and the record tells how', async () => {
  const server = await serve(() => ({ status: 201, headers: { 'X-Eco': 'sí', 'Set-Cookie': 'sid=1' }, body: 'creado' }))
  const body = Buffer.from('{"n":12345678901234567890,"n":1,\n"s":"\\u00e1"}')
  const started = Date.now()
  const { requests, outcome } = await attempt({ url: `${server.url}/rest`, path: 'p/{evento}' }, { body })
  expect(outcome).toEqual({ kind: 'success' })
  expect(server.requests).toHaveLength(1)
  expect(server.requests[0]).toMatchObject({ method: 'POST', url: '/rest/p/proveedor.alta', body })
  expect(requests).toHaveLength(1)
  const [record] = requests
  expect(record).toMatchObject({
    id: expect.stringMatching(/^[0-9A-HJKMNP-TV-Z]{26}$/),
    request: 1,
    method: 'POST',
    url: `${server.url}/rest/p/proveedor.alta`,
    ip: '127.0.0.1',
    status: 201,
    error: null,
    errorDetail: null,
    responseBody: Buffer.from('creado'),
    responseTruncated: false,
    responseHeaders: { 'set-cookie': '***' },
    requestHeaders: { 'User-Agent': 'resthooks/1.2.3', 'X-Resthooks-Intento': '1' },
  })
  expect(record!.startedAt).toBeGreaterThanOrEqual(started)
  expect(record!.durationMs).toBeGreaterThan(0)
  expect(Object.keys(record!.phases!)).toEqual(['dns', 'conexion', 'primer_byte', 'total'])
})

test('a second delivery reuses the socket and has no phases of connecting', async () => {
  const server = await serve(() => ({ body: 'ok' }))
  const made = deliverer({ url: server.url })
  await made.attempt(message(), 1, never())
  const { requests } = await made.attempt(message(), 1, never())
  expect(Object.keys(requests[0]!.phases!)).toEqual(['primer_byte', 'total'])
  expect(requests[0]!.ip).toBe('127.0.0.1')
})

test('receivers with either secret verify the signature while rotating', async () => {
  const server = await serve(() => ({}))
  const body = Buffer.from('{"a":"ñ"}')
  await attempt({ url: server.url, secrets: [SECRET, OTHER] }, { body })
  const { headers, body: received } = server.requests[0]!
  const signed = headers as Record<string, string>
  expect(new Webhook(SECRET).verify(received.toString(), signed)).toEqual({ a: 'ñ' })
  expect(new Webhook(OTHER).verify(received.toString(), signed)).toEqual({ a: 'ñ' })
  expect(() => new Webhook(SECRET).verify(`${received} `, signed)).toThrow()
})

test.each(['GET', 'HEAD', 'DELETE', 'PUT', 'PATCH', 'OPTIONS'])('%s with and without a body', async (method) => {
  const server = await serve(() => ({ status: 204 }))
  const made = deliverer({ url: server.url, method })
  for (const body of [Buffer.from('x=1'), Buffer.alloc(0)]) {
    expect((await made.attempt(message({ body }), 1, never())).outcome.kind).toBe('success')
    expect(server.requests.at(-1)).toMatchObject({ method, body })
  }
})

test('one hundred at once, each with its own answer', async () => {
  const server = await serve(({ headers }) => ({ body: String(headers['webhook-id']) }))
  const made = deliverer({ url: server.url, concurrency: 20 })
  const signal = never()
  setMaxListeners(0, signal)
  const results = await Promise.all(
    Array.from({ length: 100 }, (_, n) => made.attempt(message({ id: `m${n}` }), 1, signal)),
  )
  expect(results.map(({ requests }) => String(requests[0]!.responseBody))).toEqual(results.map((_, n) => `m${n}`))
})

test('a message that cannot be a request fails at once, with a record that says why', async () => {
  const server = await serve(() => ({}))
  const { requests, outcome } = await attempt({ url: server.url, path: 'p/{datos.zz}' })
  expect(outcome).toMatchObject({ kind: 'failure', gone: false, reason: expect.stringContaining('{datos.zz}') })
  expect(requests).toMatchObject([
    { error: 'solicitud', errorDetail: expect.stringContaining('datos.zz'), status: null },
  ])
  const plain = await attempt({ url: server.url, path: 'p/{datos.id}' }, { body: Buffer.from('hola') })
  expect(plain.outcome).toMatchObject({ reason: expect.stringMatching(/no es JSON$/) })
  expect(server.requests).toHaveLength(0)
})

test('Retry-After of the answer reaches the outcome', async () => {
  const server = await serve(() => ({ status: 503, headers: { 'Retry-After': '17' } }))
  expect((await attempt({ url: server.url })).outcome).toEqual({
    kind: 'retry',
    reason: 'HTTP 503',
    retryAfter: 17_000,
  })
})

describe('secrets stay out of the record', () => {
  test.each([
    ['basic', { auth: { kind: 'basic', username: 'ana', password: 'cl4ve' } }, 'YW5hOmNsNHZl'],
    ['bearer', { auth: { kind: 'bearer', token: 't0k3n' } }, 't0k3n'],
    ['api key in the query', { auth: { kind: 'api_key', key: 'k3y', place: { in: 'query', name: 'api_key' } } }, 'k3y'],
    [
      'api key in a header',
      { auth: { kind: 'api_key', key: 'k3y', place: { in: 'header', name: 'X-Acceso' } } },
      'k3y',
    ],
    ['a header of the configuration', { headers: [['X-Token', 's3cret']] }, 's3cret'],
    ['a query of the configuration', { path: 'x?token=s3cret' }, 's3cret'],
  ] as const)('%s', async (_name, listener, secret) => {
    const server = await serve(() => ({ status: 500 }))
    const result = await attempt({ url: `${server.url}/rest/`, ...(listener as object) })
    const sent = server.requests[0]!
    expect(JSON.stringify([sent.url, sent.headers])).toContain(secret)
    expect(JSON.stringify(result)).not.toContain(secret)
    expect(JSON.stringify(result.requests)).toContain('***')
  })
})

describe('failures of the network', () => {
  test('nobody listens', async () => {
    const { requests, outcome } = await attempt({ url: 'http://127.0.0.1:1/' })
    expect(requests).toMatchObject([{ error: 'conexion', status: null, ip: '127.0.0.1' }])
    expect(requests[0]!.errorDetail).toMatch(/nadie atiende en ese puerto \(connect ECONNREFUSED 127\.0\.0\.1:1\)/)
    expect(outcome.kind).toBe('retry')
  })

  test('every address that was tried is told', async () => {
    const { requests } = await attempt({ url: 'http://localhost:1/' })
    expect(requests[0]).toMatchObject({ error: 'conexion' })
    expect(requests[0]!.errorDetail).toContain('127.0.0.1:1')
  })

  test('a name that does not exist', async () => {
    const { requests, outcome } = await attempt({ url: 'http://no-existe.invalid/' })
    expect(requests).toMatchObject([{ error: 'dns', ip: null }])
    expect(outcome.kind).toBe('retry')
  })

  test.each([
    ['hangs up', (socket: import('node:net').Socket) => socket.end(), 'conexion'],
    ['resets', (socket: import('node:net').Socket) => socket.resetAndDestroy(), 'conexion'],
    ['speaks something else', (socket: import('node:net').Socket) => socket.end('SSH-2.0-OpenSSH\r\n'), 'respuesta'],
    [
      'sends 100 and no answer',
      (socket: import('node:net').Socket) => socket.end('HTTP/1.1 100 Continue\r\n\r\n'),
      'respuesta',
    ],
    [
      'breaks off in the head',
      (socket: import('node:net').Socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Le'),
      'respuesta',
    ],
    [
      'breaks off in the body',
      (socket: import('node:net').Socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123'),
      'respuesta',
    ],
    [
      'breaks off in a chunk',
      (socket: import('node:net').Socket) =>
        socket.end('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n123'),
      'respuesta',
    ],
    [
      'sends endless headers',
      (socket: import('node:net').Socket) => socket.end(`HTTP/1.1 200 OK\r\nX-A: ${'x'.repeat(100_000)}\r\n\r\n`),
      'respuesta',
    ],
    [
      'switches protocols',
      (socket: import('node:net').Socket) =>
        socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'),
      'respuesta',
    ],
  ] as const)('a server that %s', async (_name, answer, error) => {
    const server = await serveRaw((socket) => eachRequest(socket, () => answer(socket)))
    const { requests, outcome } = await attempt({ url: server.url })
    expect(requests).toMatchObject([{ error, errorDetail: expect.stringMatching(/.+/) }])
    expect(requests[0]!.errorDetail).not.toContain('\n')
    expect(outcome.kind).toBe('retry')
    expect(server.connections()).toBe(1)
  })

  test('a change of protocol is told as one', async () => {
    const server = await serveRaw((socket) =>
      eachRequest(socket, () =>
        socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'),
      ),
    )
    const { requests } = await attempt({ url: server.url })
    expect(requests[0]!.errorDetail).toMatch(/respondió 101 \(cambio de protocolo\)/)
    expect(requests[0]!.errorDetail).not.toContain('cerró')
  })

  test('what was received of a broken answer is kept', async () => {
    const server = await serveRaw((socket) =>
      eachRequest(socket, () => socket.end('HTTP/1.1 500 Mal\r\nContent-Length: 100\r\n\r\nError en la línea 3')),
    )
    const { requests } = await attempt({ url: server.url })
    expect(requests[0]).toMatchObject({ status: 500, error: 'respuesta', responseTruncated: true })
    expect(String(requests[0]!.responseBody)).toContain('Error en la l')
  })

  test('an answer before the body has been read is taken', async () => {
    const server = await serveRaw((socket) => {
      socket.once('data', () => socket.end('HTTP/1.1 413 Grande\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'))
    })
    const { outcome, requests } = await attempt({ url: server.url }, { body: Buffer.alloc(20_000_000) })
    // The reset that follows the early answer may overtake it: then it is a lost connection, never a success.
    expect([outcome.kind, requests[0]!.status ?? requests[0]!.error]).toSatisfy(
      ([kind, what]) => (kind === 'failure' && what === 413) || (kind === 'retry' && what === 'conexion'),
    )
  })
})

describe('a socket that the server closed between two requests', () => {
  const answered = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

  test('the request is repeated once on a fresh socket, and both are recorded', async () => {
    let seen = 0
    const server = await serveRaw((socket, n) =>
      eachRequest(socket, (_text, k) => {
        seen++
        // The first socket answers one request and drops the second one unanswered.
        if (n === 1 && k === 2) socket.resetAndDestroy()
        else socket.write(answered)
      }),
    )
    const made = deliverer({ url: server.url, concurrency: 1 })
    await made.attempt(message(), 1, never())
    const { requests, outcome } = await made.attempt(message({ id: 'dos' }), 1, never())
    expect(outcome.kind).toBe('success')
    expect(requests).toMatchObject([
      { request: 1, status: null, error: 'conexion', requestHeaders: { 'webhook-id': 'dos' } },
      { request: 2, status: 200, error: null, requestHeaders: { 'webhook-id': 'dos' } },
    ])
    expect(requests[0]!.errorDetail).toMatch(/cort|cerr/)
    expect(requests[1]!.phases).toHaveProperty('conexion')
    expect(seen).toBe(3)
    expect(server.connections()).toBe(2)
  })

  test('but not a second time, and not when a byte of an answer had come', async () => {
    const drops = await serveRaw((socket, n) =>
      eachRequest(socket, (_text, k) => (n === 1 && k === 1 ? socket.write(answered) : socket.resetAndDestroy())),
    )
    const first = deliverer({ url: drops.url, concurrency: 1 })
    await first.attempt(message(), 1, never())
    const twice = await first.attempt(message(), 1, never())
    expect(twice.requests.map(({ error }) => error)).toEqual(['conexion', 'conexion'])
    expect(twice.outcome.kind).toBe('retry')

    const halves = await serveRaw((socket) =>
      eachRequest(socket, (_text, k) => (k === 1 ? socket.write(answered) : socket.end('HTTP/1.1 2'))),
    )
    const second = deliverer({ url: halves.url, concurrency: 1 })
    await second.attempt(message(), 1, never())
    const half = await second.attempt(message(), 1, never())
    expect(half.requests.map(({ error }) => error)).toEqual(['respuesta'])
    expect(halves.connections()).toBe(1)
  })

  test('a socket closed while idle is noticed before anything is written to it', async () => {
    let seen = 0
    const server = await serveRaw((socket) =>
      eachRequest(socket, () => {
        seen++
        socket.write(answered)
        setTimeout(() => socket.end(), 5)
      }),
    )
    const made = deliverer({ url: server.url, concurrency: 1 })
    for (let n = 1; n <= 5; n++) {
      const { requests } = await made.attempt(message(), 1, never())
      expect(requests).toMatchObject([{ status: 200 }])
      await new Promise((resolve) => setTimeout(resolve, 30))
    }
    expect(seen).toBe(5)
  })

  test('over hundreds of random drops, requests seen and records made agree', async () => {
    let seen = 0
    const server = await serveRaw((socket) =>
      eachRequest(socket, () => {
        seen++
        const dice = Math.random()
        if (dice < 0.1) socket.resetAndDestroy()
        else if (dice < 0.2) socket.end()
        else if (dice < 0.3) socket.end(answered)
        else if (dice < 0.4) {
          socket.write(answered)
          setImmediate(() => socket.destroy())
        } else socket.write(answered)
      }),
    )
    const made = deliverer({ url: server.url, concurrency: 4 })
    let records = 0
    let unseen = 0
    await Promise.all(
      Array.from({ length: 4 }, async () => {
        for (let n = 0; n < 150; n++) {
          const { requests } = await made.attempt(message(), 1, never())
          records += requests.length
          // Written into a socket that the server had already left: recorded, though it was never read.
          unseen += requests.filter(({ error }) => error !== null).length
        }
      }),
    )
    expect(seen).toBeLessThanOrEqual(records)
    expect(seen).toBeGreaterThanOrEqual(records - unseen)
  })
})

describe('stopping', () => {
  test('an aborted attempt ends at once as a retry, and its socket is closed', async () => {
    const server = await serve(() => 'silence')
    const controller = new AbortController()
    const running = attempt({ url: server.url }, {}, controller.signal)
    await server.received(1)
    controller.abort()
    const { requests, outcome } = await running
    expect(outcome).toMatchObject({ kind: 'retry', retryAfter: null })
    expect(requests).toMatchObject([{ error: 'interrumpido', status: null }])
    await until(() => server.pending === 0)
  })

  test('one aborted before it starts sends nothing', async () => {
    const server = await serve(() => ({}))
    const { requests } = await attempt({ url: server.url }, {}, AbortSignal.abort())
    expect(requests).toMatchObject([{ error: 'interrumpido' }])
    expect(server.requests).toHaveLength(0)
  })

  test('close lets the busy end, and ends the idle', async () => {
    const server = await serve(() => ({ delay: 200 }))
    const made = deliverer({ url: server.url })
    const running = made.attempt(message(), 1, never())
    await server.received(1)
    await made.close()
    expect((await running).outcome.kind).toBe('success')
  })
})
