import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Worker } from 'node:worker_threads'
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import { describe, expect, onTestFinished, test } from 'vitest'
import { until } from '../support/until.ts'
import { attempt, deliverer, eachRequest, message, never, serve, serveRaw } from './scene.ts'

describe('the answer kept', () => {
  const text = Buffer.from('línea de un error\n'.repeat(200))

  test.each([
    ['gzip', gzipSync(text)],
    ['x-gzip', gzipSync(text)],
    ['deflate', deflateSync(text)],
    ['deflate', deflateRawSync(text)],
    ['br', brotliCompressSync(text)],
    ['identity', text],
    ['gzip, br', brotliCompressSync(gzipSync(text))],
  ])('%s is unpacked', async (encoding, body) => {
    const server = await serve(() => ({ status: 500, headers: { 'Content-Encoding': encoding }, body }))
    const { requests } = await attempt({ url: server.url })
    expect(requests[0]).toMatchObject({ responseBody: text, responseTruncated: false })
  })

  test.each([
    ['identity', text],
    ['gzip', gzipSync(text)],
    ['br', brotliCompressSync(text)],
  ])('%s is cut at max_respuesta, counted unpacked', async (encoding, body) => {
    const server = await serve(() => ({ headers: { 'Content-Encoding': encoding }, body }))
    const { requests, outcome } = await attempt({ url: server.url, maxResponse: 100 })
    expect(requests[0]).toMatchObject({ responseBody: text.subarray(0, 100), responseTruncated: true, error: null })
    expect(outcome.kind).toBe('success')
  })

  test('exactly the maximum is not truncated; nothing kept is still a success', async () => {
    const server = await serve(() => ({ body: text }))
    const exact = await attempt({ url: server.url, maxResponse: text.length })
    expect(exact.requests[0]).toMatchObject({ responseBody: text, responseTruncated: false })
    const none = await attempt({ url: server.url, maxResponse: 0 })
    expect(none.requests[0]).toMatchObject({ responseBody: Buffer.alloc(0), responseTruncated: true })
    expect(none.outcome.kind).toBe('success')
  })

  test.each([
    ['gzip', Buffer.from('esto no es gzip')],
    ['zstd-de-otro', Buffer.from('x')],
  ])('what claims to be %s and is not, is kept as it came', async (encoding, body) => {
    const server = await serve(() => ({ headers: { 'Content-Encoding': encoding }, body }))
    const { requests, outcome } = await attempt({ url: server.url })
    expect(requests[0]!.responseBody).toEqual(body)
    expect(outcome.kind).toBe('success')
  })

  test('a bomb of 200 MB in 200 KB unpacks no further than the limit', async () => {
    const bomb = gzipSync(Buffer.alloc(200_000_000), { level: 9 })
    const server = await serve(() => ({ headers: { 'Content-Encoding': 'gzip' }, body: bomb }))
    const before = process.memoryUsage.rss()
    const { requests } = await attempt({ url: server.url, maxResponse: 1000 })
    expect(requests[0]).toMatchObject({ responseBody: Buffer.alloc(1000), responseTruncated: true })
    expect(process.memoryUsage.rss() - before).toBeLessThan(100_000_000)
  })

  test.each(['content-length', 'chunked'])(
    'an answer of 1 GB (%s) is left unread and its socket closed',
    async (how) => {
      let sent = 0
      let closed = false
      const block = Buffer.alloc(1_000_000)
      const server = createServer((_request, response) => {
        if (how === 'content-length') response.setHeader('Content-Length', 1_000_000_000)
        const more = () => {
          while (sent < 1_000_000_000 && !response.destroyed) {
            sent += block.length
            if (!response.write(block)) return response.once('drain', more)
          }
          response.end()
          return response
        }
        response.once('close', () => {
          closed = true
        })
        more()
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      onTestFinished(() => void server.close().closeAllConnections())
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      const { requests, outcome } = await attempt({ url })
      expect(outcome.kind).toBe('success')
      expect(requests[0]).toMatchObject({ status: 200, responseTruncated: true, error: null })
      expect(requests[0]!.responseBody).toHaveLength(65_536)
      await until(() => closed)
      expect(sent).toBeLessThan(50_000_000)
    },
  )

  test('a remainder of some KB is read, and the socket stays', async () => {
    const server = await serve(() => ({ body: Buffer.alloc(20_000) }))
    const made = deliverer({ url: server.url, maxResponse: 100 })
    await made.attempt(message(), 1, never())
    const { requests } = await made.attempt(message(), 1, never())
    expect(requests[0]!.phases).not.toHaveProperty('conexion')
  })
})

describe('one deadline from connect to the last byte', () => {
  const limits = { totalTimeout: 300, connectTimeout: 200 }
  const within = async <T>(work: Promise<T>): Promise<T> => {
    const started = performance.now()
    const result = await work
    // The next limit would be ten seconds; a busy machine takes its own time.
    expect(performance.now() - started).toBeLessThan(8000)
    return result
  }

  test('a server that accepts and never answers', async () => {
    const server = await serveRaw(() => {})
    const { requests, outcome } = await within(attempt({ url: server.url, ...limits }))
    expect(requests).toMatchObject([{ error: 'timeout', status: null }])
    expect(requests[0]!.errorDetail).toBe('espera_total (300 ms) agotada sin que llegara una respuesta')
    expect(outcome.kind).toBe('retry')
  })

  test('a body that drips', async () => {
    const server = await serveRaw((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n')
      const timer = setInterval(() => socket.write('.'), 30)
      socket.on('close', () => clearInterval(timer))
    })
    const { requests, outcome } = await within(attempt({ url: server.url, ...limits }))
    expect(requests).toMatchObject([{ error: 'timeout', status: 200, responseTruncated: true }])
    expect(requests[0]!.errorDetail).toMatch(/sin que la respuesta terminara/)
    expect(outcome.kind).toBe('retry')
  })

  test('headers that drip', async () => {
    const server = await serveRaw((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nX-A: ')
      const timer = setInterval(() => socket.write('a'), 30)
      socket.on('close', () => clearInterval(timer))
    })
    expect((await within(attempt({ url: server.url, ...limits }))).requests).toMatchObject([{ error: 'timeout' }])
  })

  test('an address that never completes the connection ends at espera_conexion', async () => {
    // TLS towards a server that keeps silent: the handshake is part of connecting.
    const server = await serveRaw(() => {})
    const { requests } = await within(
      attempt({ url: server.url.replace('http:', 'https:'), connectTimeout: 150, totalTimeout: 10_000 }),
    )
    expect(requests).toMatchObject([{ error: 'timeout' }])
    expect(requests[0]!.errorDetail).toMatch(/espera_conexion \(150 ms\) agotada negociando TLS/)
    expect(requests[0]!.phases).toHaveProperty('conexion')
  })

  test('the deadline counts while connecting too', async () => {
    const server = await serveRaw(() => {})
    const { requests } = await within(
      attempt({ url: server.url.replace('http:', 'https:'), connectTimeout: 10_000, totalTimeout: 150 }),
    )
    expect(requests[0]).toMatchObject({
      error: 'timeout',
      errorDetail: expect.stringContaining('mientras se negociaba TLS'),
    })
  })

  test('a listener goes on after a time-out', async () => {
    const server = await serve((_request, n) => (n === 1 ? 'silence' : { body: 'ok' }))
    const made = deliverer({ url: server.url, totalTimeout: 200, concurrency: 1 })
    expect((await made.attempt(message(), 1, never())).outcome.kind).toBe('retry')
    expect((await made.attempt(message(), 2, never())).outcome.kind).toBe('success')
  })
})

describe('an answer that comes before the whole request was sent', () => {
  /** A thread of its own: only where both ends run at once does writing fail while the answer waits to be read. */
  const SERVER = `
    const { parentPort, workerData } = require('node:worker_threads')
    const { createServer } = workerData.tls ? require('node:tls') : require('node:net')
    let count = 0
    const server = createServer({ ...workerData.tls }, (socket) => {
      const n = count++
      socket.on('error', () => {})
      socket.once('data', () => {
        socket.pause()
        const head = 'HTTP/1.1 ' + workerData.status + ' x\\r\\nRetry-After: 7\\r\\nContent-Length: 2\\r\\n'
        socket.write(head + (n % 2 ? 'Connection: close\\r\\n' : '') + '\\r\\nno')
        setImmediate(() => socket.destroy())
      })
    })
    server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port))`

  const closing = async (workerData: object) => {
    const thread = new Worker(SERVER, { eval: true, workerData })
    onTestFinished(() => void thread.terminate())
    return new Promise<number>((resolve) => thread.once('message', resolve))
  }

  test.each([413, 401, 503])('HTTP %i is read, though the connection is gone', async (status) => {
    const port = await closing({ status })
    const made = deliverer({ url: `http://127.0.0.1:${port}/` })
    for (let n = 1; n <= 15; n++) {
      const { requests, outcome } = await made.attempt(message({ body: LARGE }), n, never())
      expect(requests).toMatchObject([{ status, error: null, responseHeaders: { 'retry-after': '7' } }])
      expect(outcome).toMatchObject(
        status === 413 ? { kind: 'failure' } : { kind: 'retry', retryAfter: status === 503 ? 7000 : null },
      )
    }
  })

  test('one that keeps the connection leaves no rest of the request before the next one', async () => {
    const { url, connections } = await serveRaw((socket) =>
      socket.once('data', () => socket.write('HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n') && socket.pause()),
    )
    const made = deliverer({ url })
    for (let n = 1; n <= 2; n++) {
      const { requests } = await made.attempt(message({ body: LARGE }), n, never())
      expect(requests).toMatchObject([{ status: 503 }])
    }
    expect(connections()).toBe(2)
  })
})

const LARGE = Buffer.alloc(8_000_000, 'a')

test.each([
  'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nConnection: close\r\n\r\ncuerpo',
  'HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\ncuerpo',
  'HTTP/1.1 205 Reset Content\r\nContent-Length: 9\r\nConnection: close\r\n\r\ncuerpo',
])('an answer that has no body by its status is a success, whatever follows it: %j', async (answer) => {
  const { url } = await serveRaw((socket) => eachRequest(socket, () => socket.end(answer)))
  const { outcome, requests } = await attempt({ url })
  expect(outcome).toEqual({ kind: 'success' })
  expect(requests).toHaveLength(1)
})

test('304 announces the length that a 200 would have: the answer is a 304, judged as every 3xx', async () => {
  const head = 'HTTP/1.1 304 Not Modified\r\nContent-Length: 20\r\n\r\n'
  const { url } = await serveRaw((socket) => eachRequest(socket, () => socket.end(head)))
  const { outcome, requests } = await attempt({ url })
  expect(outcome).toEqual({ kind: 'failure', reason: 'HTTP 304', gone: false })
  expect(requests).toMatchObject([{ status: 304, error: null }])
})

test.each([
  'Content-Length: 2\r\nContent-Length: 2',
  'Content-Length: 2\r\nContent-Length: 3',
  'Content-Length: 2\r\nX-A B: c',
])('a head that cannot be read is told as such, not as a wrong length: %j', async (lines) => {
  const { url } = await serveRaw((socket) =>
    eachRequest(socket, () => socket.end(`HTTP/1.1 200 OK\r\n${lines}\r\n\r\nok`)),
  )
  const { requests } = await attempt({ url })
  expect(requests).toMatchObject([{ status: null, error: 'respuesta' }])
  expect(requests[0]!.errorDetail).toContain(
    'las cabeceras de la respuesta no son HTTP válido: Content-Length repetida',
  )
})

describe('interim answers (RFC 9110 §15.2)', () => {
  const last = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
  const [goOn, working, hints] = ['100 Continue', '102 Processing', '103 Early Hints\r\nLink: </a>'].map(
    (head) => `HTTP/1.1 ${head}\r\n\r\n`,
  )

  test.each([[`${goOn}${last}`], [`${goOn}${goOn}${last}`], [`${hints}${goOn}${working}${goOn}${last}`]])(
    '%j is a 200, in one piece, in pieces, and again on the same socket',
    async (answer) => {
      for (const size of [answer.length, 1, 7]) {
        const { url, connections } = await serveRaw((socket) =>
          eachRequest(socket, async () => {
            socket.setNoDelay()
            for (let at = 0; at < answer.length; at += size) {
              socket.write(answer.slice(at, at + size))
              await new Promise((resolve) => setImmediate(resolve))
            }
          }),
        )
        const made = deliverer({ url })
        for (let n = 1; n <= 2; n++) {
          const { outcome, requests } = await made.attempt(message(), n, never())
          expect(outcome).toEqual({ kind: 'success' })
          expect(requests).toMatchObject([{ status: 200, responseBody: Buffer.from('ok') }])
        }
        expect(connections()).toBe(1)
      }
    },
  )
})
