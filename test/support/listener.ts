/** A real HTTP server that answers as the test scripts it and remembers what it was asked. */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { until } from './until.ts'

export interface ReceivedRequest {
  readonly method: string
  /** Path and query, as sent. */
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  /** When its body had arrived, ms since epoch. */
  readonly at: number
}

export interface Reply {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer
  /** Milliseconds before the reply starts. */
  readonly delay?: number
}

/** What to do with one request: answer, cut the connection, or keep the client waiting until it gives up. */
export type Script = (
  request: ReceivedRequest,
  n: number,
) => Reply | 'reset' | 'silence' | Promise<Reply | 'reset' | 'silence'>

export interface ScriptedListener {
  /** `http://127.0.0.1:PORT`, without a slash at the end. */
  readonly url: string
  readonly port: number
  /** In order of arrival. */
  readonly requests: readonly ReceivedRequest[]
  /** Requests that wait for their reply right now. */
  readonly pending: number
  /** Waits until at least `n` requests have arrived. */
  received(n: number): Promise<readonly ReceivedRequest[]>
  /** Stops at once, cutting what is open. */
  close(): Promise<void>
}

/**
 * @param script called with each request and its number, from 1
 * @param port   0: any free one
 */
export async function startListener(script: Script, port = 0): Promise<ScriptedListener> {
  const requests: ReceivedRequest[] = []
  let pending = 0
  const server = createServer(async (incoming, response) => {
    pending += 1
    response.once('close', () => {
      pending -= 1
    })
    const chunks: Buffer[] = []
    try {
      for await (const chunk of incoming) chunks.push(chunk)
    } catch {
      return // The client left in the middle of its request: there is nobody to answer.
    }
    const { method = '', url = '', headers } = incoming
    const request = { method, url, headers, body: Buffer.concat(chunks), at: Date.now() }
    requests.push(request)
    await answer(response, await script(request, requests.length))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  const chosen = (server.address() as AddressInfo).port
  return {
    url: `http://127.0.0.1:${chosen}`,
    port: chosen,
    requests,
    get pending() {
      return pending
    },
    received: async (n) => {
      await until(() => requests.length >= n, {
        what: `${n} requests at the listener, of which ${requests.length} came`,
      })
      return requests
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function answer(response: ServerResponse, reply: Reply | 'reset' | 'silence') {
  if (reply === 'silence') return
  if (reply === 'reset') {
    response.socket?.resetAndDestroy()
    return
  }
  if (reply.delay) await new Promise((resolve) => setTimeout(resolve, reply.delay))
  if (response.destroyed) return
  response.writeHead(reply.status ?? 200, reply.headers)
  response.end(reply.body)
}
