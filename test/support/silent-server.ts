/** A server that accepts every connection and answers nothing: what a stopped process, or one without its disk, looks like. */
import { type AddressInfo, createServer, type Socket } from 'node:net'

export interface SilentServer {
  readonly host: string
  readonly port: number
  /** All that was ever said to it. */
  heard(): string
  close(): Promise<void>
}

/** @param greeting what it says to the first bytes of each connection, before it falls silent */
export async function startSilent(greeting: Buffer | null = null): Promise<SilentServer> {
  const sockets = new Set<Socket>()
  const chunks: Buffer[] = []
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('data', (bytes) => chunks.push(bytes)).on('error', () => {})
    if (greeting !== null) socket.once('data', () => socket.write(greeting))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    heard: () => Buffer.concat(chunks).toString('latin1'),
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}
