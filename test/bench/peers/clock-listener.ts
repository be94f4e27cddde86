/** A listener that writes down when each message reached it, on the clock that all processes of a machine share. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { serve } from '../program.ts'

/** Id of the message → when its request came, in ns (CLOCK_MONOTONIC). */
let arrivals: [id: string, at: string][] = []

const server = createServer((request, response) => {
  arrivals.push([String(request.headers['webhook-id']), String(process.hrtime.bigint())])
  request.resume()
  request.once('end', () => response.writeHead(200, { 'content-type': 'application/json' }).end('{"ok":true}'))
})
server.keepAliveTimeout = 300_000
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))

serve({
  port: () => (server.address() as AddressInfo).port,
  count: () => arrivals.length,
  collect: () => {
    const all = arrivals
    arrivals = []
    return all
  },
})
