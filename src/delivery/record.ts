/** What is kept of a request: an `intento` row, with every secret replaced before it leaves this folder. */
import { newId } from '../id.ts'
import { MASK, type Secrets } from '../model/secrets.ts'
import type { Credentials } from './auth/auth.ts'
import type { RequestRecord } from './delivery.ts'
import type { Exchanged } from './exchange.ts'
import { maskResponseHeaders, maskUrl } from './mask.ts'
import type { BuiltRequest } from './request.ts'
import type { TroubleReport } from './trouble.ts'

/**
 * @param number  1, 2, … within the attempt
 * @param hidden  names whose value is hidden by its place
 */
export function recordOf(
  number: number,
  request: Pick<BuiltRequest, 'method' | 'origin' | 'target' | 'recorded'>,
  credentials: Credentials,
  answer: Exchanged,
  hidden: ReadonlySet<string>,
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
    url: maskUrl(request.origin + target, hidden),
    ip: answer.ip,
    requestHeaders,
    status: answer.status,
    responseHeaders: answer.headers === null ? null : maskResponseHeaders(answer.headers, hidden),
    responseBody: answer.body,
    responseTruncated: answer.truncated,
    error: answer.trouble?.error ?? null,
    errorDetail: answer.trouble?.detail ?? null,
  }
}

/** A request that could not even be tried still leaves a record that says why; null: one whose answer is not there yet. */
export function unsentRecord(
  number: number,
  method: string,
  url: string,
  trouble: TroubleReport | null,
  hidden: ReadonlySet<string>,
): RequestRecord {
  return {
    id: newId(),
    request: number,
    startedAt: Date.now(),
    durationMs: 0,
    phases: null,
    method,
    url: maskUrl(url, hidden),
    ip: null,
    requestHeaders: {},
    status: null,
    responseHeaders: null,
    responseBody: null,
    responseTruncated: false,
    error: trouble?.error ?? null,
    errorDetail: trouble?.detail ?? null,
  }
}

/** With every known secret replaced: no other record leaves this folder. Copied only where something is hidden. */
export function withoutSecrets(record: RequestRecord, secrets: Secrets): RequestRecord {
  const url = secrets.hide(record.url)
  const requestHeaders = hideValues(record.requestHeaders, secrets) as Record<string, string>
  const responseHeaders = record.responseHeaders && hideValues(record.responseHeaders, secrets)
  const responseBody = record.responseBody && secrets.hideBytes(record.responseBody, record.responseTruncated)
  const errorDetail = record.errorDetail && secrets.hide(record.errorDetail)
  const same =
    url === record.url &&
    requestHeaders === record.requestHeaders &&
    responseHeaders === record.responseHeaders &&
    responseBody === record.responseBody &&
    errorDetail === record.errorDetail
  return same ? record : { ...record, url, requestHeaders, responseHeaders, responseBody, errorDetail }
}

type Values = Readonly<Record<string, string | readonly string[]>>

/** Copied only where something is hidden. */
function hideValues(headers: Values, secrets: Secrets): Record<string, string | string[]> {
  let shown = headers as Record<string, string | string[]>
  for (const name in headers) {
    const value = headers[name]!
    const hidden = typeof value === 'string' ? secrets.hide(value) : value.map((one) => secrets.hide(one))
    if (typeof value === 'string' ? hidden === value : value.every((one, index) => one === hidden[index])) continue
    if (shown === headers) shown = { ...shown }
    shown[name] = hidden
  }
  return shown
}

/** Appends `name=value` to a target's query. */
export function withQuery(target: string, query: string | null): string {
  if (query === null) return target
  return `${target}${target.includes('?') ? '&' : '?'}${query}`
}
