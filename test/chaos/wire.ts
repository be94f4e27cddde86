/**
 * The listeners' side of the ledger: real HTTP servers that note every request they really saw, and what they answered.
 */
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { atEnd } from './program.ts'

export interface WireRequest {
  readonly listener: string
  /** webhook-id */
  readonly id: string
  /** X-Resthooks-Intento */
  readonly attempt: number
  readonly event: string
  /** sha1 of the body, hex. */
  readonly body: string
  /** ms since epoch, when its body had arrived. */
  readonly at: number
  /** Null: nothing (complete) was answered. */
  status: number | null
  answeredAt: number | null
}

export interface Answer {
  readonly status: number
  /** ms before the answer. */
  readonly delay?: number
  readonly body?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** A function that takes the response into its own hands returns nothing. */
export type Behaviour = (
  request: WireRequest,
  response: ServerResponse,
  incoming: IncomingMessage,
) => Answer | undefined | Promise<Answer | undefined>

export interface WireListener {
  readonly name: string
  readonly port: number
  readonly url: string
  /** Answers as `behaviour` says from now on. */
  behave(behaviour: Behaviour): void
  /** Closes the port and cuts what is open: connections are refused until `open`. */
  shut(): Promise<void>
  open(): Promise<void>
}

export class Wire {
  readonly requests: WireRequest[] = []
  readonly #listeners: WireListener[] = []

  /** Requests that wait for their answer right now. */
  pending = 0

  get listeners(): readonly WireListener[] {
    return this.#listeners
  }

  async listener(name: string, first: Behaviour): Promise<WireListener> {
    let behaviour = first
    let server: Server
    let port = 0
    const open = async () => {
      server = createServer((incoming, response) => void this.#serve(name, incoming, response, () => behaviour))
      // Idle sockets stay open for long: what closes them is a fault of the suite's choosing.
      server.keepAliveTimeout = 60_000
      server.headersTimeout = 0
      server.requestTimeout = 0
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject)
        server.listen(port, '127.0.0.1', 4096, resolve)
      })
      port = (server.address() as AddressInfo).port
    }
    const shut = () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
    await open()
    atEnd(shut)
    const listener: WireListener = {
      name,
      port,
      url: `http://127.0.0.1:${port}`,
      behave: (next) => {
        behaviour = next
      },
      shut,
      open,
    }
    this.#listeners.push(listener)
    return listener
  }

  async #serve(name: string, incoming: IncomingMessage, response: ServerResponse, behaviour: () => Behaviour) {
    this.pending += 1
    response.once('close', () => {
      this.pending -= 1
    })
    response.on('error', () => {})
    const hash = createHash('sha1')
    try {
      for await (const chunk of incoming) hash.update(chunk)
    } catch {
      return // The client died in the middle of its request: it was not seen whole, and nobody waits for an answer.
    }
    const { headers } = incoming
    const request: WireRequest = {
      listener: name,
      id: String(headers['webhook-id']),
      attempt: Number(headers['x-resthooks-intento']),
      event: String(headers['x-resthooks-evento']),
      body: hash.digest('hex'),
      at: Date.now(),
      status: null,
      answeredAt: null,
    }
    this.requests.push(request)
    const answer = await behaviour()(request, response, incoming)
    if (!answer) return
    if (answer.delay) await new Promise((resolve) => setTimeout(resolve, answer.delay))
    if (response.destroyed) return
    response.writeHead(answer.status, answer.headers)
    response.end(answer.body, () => {
      request.status = answer.status
      request.answeredAt = Date.now()
    })
  }
}

/** A number in [0, 1) that is always the same for one id: behaviour that repeats without memory. */
export function fateOf(id: string): number {
  return Number.parseInt(createHash('sha1').update(`fate ${id}`).digest('hex').slice(0, 8), 16) / 0x100000000
}
