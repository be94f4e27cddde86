import { expect, test } from 'vitest'
import { attempt, eachRequest, serveRaw } from './scene.ts'

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
