import { describe, expect, test } from 'vitest'
import { attempt, deliverer, eachRequest, message, never, serveRaw } from './scene.ts'

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
