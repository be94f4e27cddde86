/** One delivery of a peer: a POST over a pool of kept connections with the headers that ours sends, and its record. */
import { Pool } from 'undici'
import type { WriteAttempt } from './audit.ts'

export interface Job {
  readonly id: string
  readonly listener: string
  /** Where it goes. */
  readonly origin: string
  readonly path: string
  readonly body: string
}

export type Deliver = (job: Job) => Promise<void>

/**
 * @param connections of the pool, for each origin
 * @param timeout     ms until a request is given up
 * @param write       null: nothing is put on record
 */
export function createDelivery(connections: number, timeout: number, write: WriteAttempt | null): Deliver {
  const pools = new Map<string, Pool>()
  const poolOf = (origin: string) => {
    let pool = pools.get(origin)
    if (!pool) {
      pool = new Pool(origin, { connections, headersTimeout: timeout, bodyTimeout: timeout })
      pools.set(origin, pool)
    }
    return pool
  }
  return async ({ id, listener, origin, path, body }) => {
    const startedAt = new Date()
    const headers = {
      'content-type': 'application/json',
      'user-agent': 'par/1.0',
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(startedAt.getTime() / 1000)),
    }
    const begun = performance.now()
    const signal = AbortSignal.timeout(timeout)
    const response = await poolOf(origin).request({ path, method: 'POST', headers, body, signal })
    const responseBody = await response.body.text()
    if (write) {
      await write({
        messageId: id,
        listener,
        startedAt,
        durationMs: Math.round(performance.now() - begun),
        url: origin + path,
        requestHeaders: headers,
        body,
        status: response.statusCode,
        responseHeaders: response.headers,
        responseBody,
      })
    }
    if (response.statusCode < 200 || response.statusCode > 299) throw new Error(`HTTP ${response.statusCode}`)
  }
}
