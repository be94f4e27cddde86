/**
 * A TCP proxy between the program and a server, with the faults of a network: what a firewall that forgot its connections
 * does to them, and what a load balancer that restarts does.
 */
import { type AddressInfo, createServer, connect as open, type Socket } from 'node:net'

export interface TcpProxy {
  readonly host: string
  readonly port: number
  /** How many connections were accepted since the start. */
  accepted(): number
  /** How many pass bytes now. */
  passing(): number
  /** The connections of now pass nothing any more, neither bytes nor an end, and stay open. New ones work. */
  swallow(): void
  /** The connections of now are reset. New ones work. */
  cut(): void
  /** Resets, once, the connection on which bytes of the server match, before those have passed. Resolves when it is done. */
  cutOnAnswer(pattern: RegExp): Promise<void>
  /** Ends it, and every connection with it. */
  close(): Promise<void>
}

/**
 * @param target the server that the bytes go to
 * @param port   0: any free one; that of one that was closed, to have it back
 */
export async function startProxy(
  target: { readonly port: number; readonly host?: string },
  port = 0,
): Promise<TcpProxy> {
  /** Every open socket, and those whose bytes pass. */
  const sockets = new Set<Socket>()
  const passing = new Set<Socket>()
  let accepted = 0
  let answerToCut: { readonly pattern: RegExp; readonly done: () => void } | null = null

  function pipe(from: Socket, to: Socket, isAnswer: boolean) {
    sockets.add(from)
    passing.add(from)
    from.setNoDelay(true)
    from.on('data', (bytes: Buffer) => {
      if (isAnswer && answerToCut?.pattern.test(bytes.toString('latin1'))) {
        answerToCut.done()
        answerToCut = null
        to.resetAndDestroy()
        from.resetAndDestroy()
        return
      }
      if (passing.has(from)) to.write(bytes)
    })
    from.on('end', () => {
      if (passing.has(from)) to.end()
    })
    // A swallowed connection that its owner gave up: nobody on the other side hears of it.
    from.on('error', () => {})
    from.on('close', () => {
      if (passing.delete(from)) to.destroy()
      sockets.delete(from)
    })
  }

  // Half-open: an end is passed on, and where nothing passes it gets no answer.
  const server = createServer({ allowHalfOpen: true }, (client) => {
    accepted++
    const upstream = open({ port: target.port, host: target.host ?? '127.0.0.1', allowHalfOpen: true })
    pipe(client, upstream, false)
    pipe(upstream, client, true)
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  return {
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    accepted: () => accepted,
    passing: () => passing.size / 2,
    swallow: () => passing.clear(),
    cut: () => {
      for (const socket of [...sockets]) socket.resetAndDestroy()
    },
    cutOnAnswer: (pattern) =>
      new Promise((done) => {
        answerToCut = { pattern, done }
      }),
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const socket of [...sockets]) socket.destroy()
      await closed
    },
  }
}
