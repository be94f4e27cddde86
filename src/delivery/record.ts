/** What is kept of a request: an `intento` row, with every secret replaced before it leaves this folder. */

import { newId } from '../id.ts'
import type { Credentials } from './auth/auth.ts'
import type { RequestRecord } from './delivery.ts'
import type { Exchanged } from './exchange.ts'
import { MASK, maskResponseHeaders, maskUrl } from './mask.ts'
import type { BuiltRequest } from './request.ts'
import type { TroubleReport } from './trouble.ts'

/**
 * @param number  1, 2, … within the attempt
 * @param trouble what the conversation makes of the answer: that of the exchange, or a redirect that is not followed
 */
export function recordOf(
  number: number,
  request: BuiltRequest,
  credentials: Credentials,
  answer: Exchanged,
  trouble: TroubleReport | null,
): RequestRecord {
  let requestHeaders = request.recorded
  if (credentials.headers.length > 0) {
    requestHeaders = { ...requestHeaders }
    for (let index = 0; index < credentials.headers.length; index += 2)
      requestHeaders[credentials.headers[index]!] = MASK
  }
  const { query } = credentials
  const target =
    query === null ? request.target : withQuery(request.target, `${query.slice(0, query.indexOf('='))}=${MASK}`)
  return {
    id: newId(),
    request: number,
    startedAt: answer.startedAt,
    durationMs: answer.durationMs,
    phases: answer.phases,
    method: request.method,
    url: maskUrl(request.origin + target),
    ip: answer.ip,
    requestHeaders,
    status: answer.status,
    responseHeaders: answer.headers === null ? null : maskResponseHeaders(answer.headers),
    responseBody: answer.body,
    responseTruncated: answer.truncated,
    error: trouble?.error ?? null,
    errorDetail: trouble?.detail ?? null,
  }
}

/** A request that could not even be tried still leaves a record that says why. */
export function unsentRecord(number: number, method: string, url: string, trouble: TroubleReport): RequestRecord {
  return {
    id: newId(),
    request: number,
    startedAt: Date.now(),
    durationMs: 0,
    phases: null,
    method,
    url: maskUrl(url),
    ip: null,
    requestHeaders: {},
    status: null,
    responseHeaders: null,
    responseBody: null,
    responseTruncated: false,
    error: trouble.error,
    errorDetail: trouble.detail,
  }
}

/** Appends `name=value` to a target's query. */
export function withQuery(target: string, query: string | null): string {
  if (query === null) return target
  return `${target}${target.includes('?') ? '&' : '?'}${query}`
}
