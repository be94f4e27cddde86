/**
 * What is kept of a request, an `intento` row, with every secret hidden before it leaves this folder.
 *
 * Hidden by its place is what stands in headers and query parameters, sent and received, whose name says that it is a secret:
 * there a name decides, never the look of a value (a false alarm hides a value, a miss publishes one). Secrets that are known by
 * value are replaced besides, wherever they stand (`model/secrets.ts`).
 */
import type { AttemptRecord } from '../audit/event.ts'
import type { MessageColumns } from '../audit/timeline.ts'
import { newId } from '../id.ts'
import { isSecretHeader, isSecretParameter, MASK, type Secrets, withoutUserInfo } from '../model/secrets.ts'
import type { Credentials } from './auth/auth.ts'
import type { Exchanged } from './exchange.ts'
import type { BuiltRequest } from './request.ts'
import type { TroubleReport } from './trouble.ts'

/** One request as it went (or failed to go) on the wire: an `intento` row without what only the worker knows. */
export type RequestRecord = Omit<
  AttemptRecord,
  'messageId' | 'event' | 'listener' | 'number' | 'result' | 'nextAttemptAt' | 'worker'
>

/** Other people's tokens in an answer are as secret as ours. */
const RESPONSE_SECRETS = /^set-cookie2?$|^authorization$|token|secret|api-?key/i
/** They hold addresses, which carry along what was sent. */
const ADDRESSES = /^(?:content-)?location$|^link$|^refresh$|^referer$/i

/** Response headers as recorded. @param hidden names, in lower case, that hold a secret besides */
export function maskResponseHeaders(
  headers: Readonly<Record<string, string | string[] | undefined>>,
  hidden: ReadonlySet<string>,
): Record<string, string | string[]> {
  const masked: Record<string, string | string[]> = {}
  for (const name in headers) {
    const value = headers[name]
    if (value === undefined) continue
    const kind = kindOf(name)
    if (kind === 'secret' || hidden.has(name)) masked[name] = MASK
    else if (kind === 'plain') masked[name] = value
    else masked[name] = typeof value === 'string' ? maskUrl(value, hidden) : value.map((one) => maskUrl(one, hidden))
  }
  return masked
}

type Kind = 'secret' | 'address' | 'plain'
/** The same few names come with every answer; the bound is against a server that invents them. */
const answered = new Map<string, Kind>()

function kindOf(name: string): Kind {
  let kind = answered.get(name)
  if (kind === undefined) {
    kind = RESPONSE_SECRETS.test(name) ? 'secret' : ADDRESSES.test(name) ? 'address' : 'plain'
    if (answered.size < 500) answered.set(name, kind)
  }
  return kind
}

const PARAMETER = /(&amp;|[?&])([^=&#\s"'<>?]+)(?:=([^&#\s"'<>]+))?/g
/** Of addresses inside the parameters of addresses; deeper ones are hidden whole. */
const DEEPEST = 4
const NONE: ReadonlySet<string> = new Set()

/**
 * A text with URLs in it as recorded: without user information, and with the values of query parameters hidden whose names look
 * secret, or are in `hidden`.
 */
export function maskUrl(text: string, hidden = NONE, depth = 0): string {
  const visible = withoutUserInfo(text)
  if (!visible.includes('=')) return visible
  return visible.replace(PARAMETER, (pair, before: string, written: string, value: string | undefined) => {
    const name = decoded(written)
    if (value === undefined) return hidden.has(name.toLowerCase()) ? `${before}${MASK}` : pair
    const secret = isSecretParameter(name) || hidden.has(name.toLowerCase())
    return `${before}${written}=${secret || depth > DEEPEST ? MASK : maskUrl(value, hidden, depth + 1)}`
  })
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name.replaceAll('+', ' '))
  } catch {
    return name
  }
}

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
  return rowOf(number, request.method, request.origin + target, requestHeaders, answer, hidden)
}

/** A request that could not even be tried still leaves a record that says why; null: one whose answer is not there yet. */
export function unsentRecord(
  number: number,
  method: string,
  url: string,
  trouble: TroubleReport | null,
  hidden: ReadonlySet<string>,
): RequestRecord {
  return rowOf(number, method, url, {}, { ...UNANSWERED, startedAt: Date.now(), trouble }, hidden)
}

type Answered = Omit<Exchanged, 'phases' | 'lostOnReuse'> & Pick<RequestRecord, 'phases'>
const UNANSWERED = { durationMs: 0, phases: null, ip: null, status: null, headers: null, body: null, truncated: false }

function rowOf(
  number: number,
  method: string,
  url: string,
  requestHeaders: Readonly<Record<string, string>>,
  answer: Answered,
  hidden: ReadonlySet<string>,
): RequestRecord {
  return {
    id: newId(),
    request: number,
    startedAt: answer.startedAt,
    durationMs: answer.durationMs,
    phases: answer.phases,
    method,
    url: maskUrl(url, hidden),
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

/** What the message itself carries is kept for `reenviar`, and not shown: neither here nor where an answer repeats it. */
export function withheld(message: MessageColumns, secrets: Secrets): MessageColumns {
  const cabeceras: Record<string, string> = {}
  for (const [name, value] of Object.entries(message.cabeceras)) {
    const isSecret = isSecretHeader(name)
    // Bounded: the page shows one message after the other for as long as it runs.
    if (isSecret) secrets.addToken(value)
    cabeceras[name] = isSecret ? MASK : value
  }
  return { ...message, cabeceras, ruta: message.ruta && maskUrl(message.ruta) }
}
