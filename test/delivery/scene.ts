/** Scenery of the delivery tests: a listener's settings, a message, raw servers, certificates. */
import type { AddressInfo } from 'node:net'
import { createServer, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import type { ListenerConfig } from '../../src/config/config.ts'
import { type AttemptResult, Deliverer } from '../../src/delivery/attempt.ts'
import { type Message, trialMessage } from '../../src/model/message.ts'
import { Secrets } from '../../src/model/secrets.ts'
import { type Script, type ScriptedListener, startListener } from '../support/listener.ts'

export const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'

export function listenerConfig(changes: Partial<ListenerConfig> = {}): ListenerConfig {
  return {
    name: 'proveedores',
    active: true,
    events: ['*'],
    url: 'http://127.0.0.1/rest/',
    path: '',
    method: 'POST',
    headers: [],
    replaceableHeaders: [],
    contentType: null,
    auth: { kind: 'ninguna' },
    tls: { ca: null, client: null },
    secrets: [],
    connectTimeout: 2000,
    totalTimeout: 5000,
    maxResponse: 65_536,
    redirects: 0,
    blockedNetworks: ['169.254.0.0/16', 'fe80::/10'],
    hidden: [],
    concurrency: 10,
    rateLimit: null,
    order: 'libre',
    strategy: { name: '', kind: 'lista', delays: [5000, 300_000], jitter: 0.2, expiry: 604_800_000 },
    retryIf: [],
    noRetryIf: [],
    breaker: null,
    onSuccess: null,
    onFailure: null,
    auditBody: true,
    auditResponse: true,
    ...changes,
  }
}

export function message(changes: Partial<Message> = {}): Message {
  const body = Buffer.from('{"id":7}')
  return trialMessage({ id: '01JD0000000000000000000000', event: 'proveedor.alta', body, ...changes })
}

/** A scripted HTTP server that ends with the test. */
export async function serve(script: Script): Promise<ScriptedListener> {
  const server = await startListener(script)
  onTestFinished(() => server.close())
  return server
}

/** A deliverer that is closed with the test. */
export function deliverer(changes: Partial<ListenerConfig>, secrets = new Secrets()): Deliverer {
  const made = new Deliverer(listenerConfig(changes), { version: '1.2.3', secrets })
  onTestFinished(() => made.close())
  return made
}

export function never(): AbortSignal {
  return new AbortController().signal
}

/** One attempt, alone. */
export async function attempt(
  changes: Partial<ListenerConfig>,
  sent: Partial<Message> = {},
  signal: AbortSignal = never(),
): Promise<AttemptResult> {
  return attemptOf(listenerConfig(changes), sent, signal)
}

/** The same for whole settings, as a file gave them. */
export async function attemptOf(listener: ListenerConfig, sent: Partial<Message> = {}, signal = never()) {
  const made = new Deliverer(listener, { version: '1.2.3', secrets: new Secrets() })
  try {
    return await made.attempt(message(sent), 1, signal)
  } finally {
    await made.close()
  }
}

/** A TCP server that does what `script` says with each connection, numbered from 1. */
export async function serveRaw(
  script: (socket: Socket, n: number) => void,
): Promise<{ url: string; connections: () => number }> {
  let count = 0
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket)).on('error', () => {})
    script(socket, ++count)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, connections: () => count }
}

/** Calls back with each whole request (head and body by content-length) that arrives on a raw socket. */
export function eachRequest(socket: Socket, onRequest: (text: string, n: number) => void): void {
  let buffer = ''
  let count = 0
  socket.on('data', (chunk) => {
    buffer += chunk.toString('latin1')
    for (;;) {
      const head = buffer.indexOf('\r\n\r\n')
      if (head < 0) return
      const length = Number(/content-length: (\d+)/i.exec(buffer.slice(0, head))?.[1] ?? 0)
      const end = head + 4 + length
      if (buffer.length < end) return
      const text = buffer.slice(0, end)
      buffer = buffer.slice(end)
      onRequest(text, ++count)
    }
  })
}
