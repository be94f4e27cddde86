/**
 * From a message and a listener to the HTTP request that carries it, signed, and to what of it may be recorded.
 *
 * Pure: no I/O, the caller passes the clock. What is the same for every message of a listener is prepared once
 * (`prepare`), as this runs for each of ten thousand deliveries a second. Credentials are added later, by `auth/`.
 */

import { createHmac } from 'node:crypto'
import type { ListenerConfig } from '../config/config.ts'
import { authHeader } from '../config/listener.ts'
import { checkHeader, checkMessageHeaders, checkMethod, headerText } from '../model/http.ts'
import type { Message } from '../model/message.ts'
import { isSecretHeader, MASK } from '../model/secrets.ts'
import { type SentTrace, TRACEPARENT, TRACESTATE, takeTrace } from '../model/trace.ts'
import { expandPath, joinPath } from './path.ts'
import { Trouble } from './trouble.ts'

/** A request without credentials. */
export interface BuiltRequest {
  readonly method: string
  readonly origin: string
  /** Path and query. */
  readonly target: string
  /** Names and values in turn, as undici takes them. */
  readonly headers: string[]
  /** The same as recorded: secrets replaced. */
  readonly recorded: Record<string, string>
  readonly body: Buffer
}

/** What every request of a listener shares. */
export interface RequestTemplate {
  readonly base: URL
  /** `base.origin`, which URL computes anew each time. */
  readonly origin: string
  readonly method: string
  /** The whole target, where only a message's own `ruta` can change it; computed once. */
  fixedTarget: string | null
  readonly path: string
  readonly contentType: string | null
  readonly headers: readonly string[]
  readonly recorded: Readonly<Record<string, string>>
  /** In lower case: headers of the configuration that a message's own do not replace. */
  readonly fixedHeaders: ReadonlySet<string>
  /** One of `headers` is a Content-Type. */
  readonly namesContentType: boolean
  readonly keys: readonly Buffer[]
  /** In which the credentials travel. */
  readonly authHeader: string | null
  /** `ListenerConfig.hidden`. */
  readonly hidden: ReadonlySet<string>
}

/**
 * @param listener as the configuration accepted it, by the same rules
 * @param version  of this program, for `User-Agent`
 */
export function prepare(listener: ListenerConfig, version: string): RequestTemplate {
  const base = new URL(listener.url)
  const hidden = new Set(listener.hidden)
  const headers: string[] = []
  const recorded: Record<string, string> = {}
  for (const [name, value] of listener.headers) {
    headers.push(name, value)
    record(recorded, name, value, hidden)
  }
  if (!listener.headers.some(([name]) => name.toLowerCase() === 'user-agent')) {
    headers.unshift('User-Agent', `resthooks/${version}`)
    recorded['User-Agent'] = `resthooks/${version}`
  }
  return {
    base,
    origin: base.origin,
    method: listener.method.toUpperCase(),
    fixedTarget: null,
    path: listener.path,
    contentType: listener.contentType,
    headers,
    recorded,
    fixedHeaders: fixedHeaders(listener),
    namesContentType: listener.headers.some(([name]) => name.toLowerCase() === 'content-type'),
    keys: listener.secrets.map(secretKey),
    authHeader: authHeader(listener.auth),
    hidden,
  }
}

/**
 * @param number the attempt's number
 * @param now    ms since epoch
 * @throws Trouble `solicitud` when this message cannot be a request to this listener
 */
export function buildRequest(
  template: RequestTemplate,
  message: Message,
  number: number,
  now: number,
  trace: SentTrace | null = null,
): BuiltRequest {
  const { headers: own } = takeTrace(message.headers)
  const problem =
    (message.method === null ? null : checkMethod(message.method)) ?? checkMessageHeaders(own, template.authHeader)
  if (problem !== null) throw new Trouble('solicitud', problem)

  const method = message.method === null ? template.method : message.method.toUpperCase()
  const id = headerText(message.id)
  const timestamp = String(Math.floor(now / 1000))
  const event = headerText(message.event)
  const headers = [
    ...template.headers,
    'webhook-id',
    id,
    'webhook-timestamp',
    timestamp,
    'X-Resthooks-Evento',
    event,
    'X-Resthooks-Intento',
    String(number),
  ]
  // Copied key by key: spreading an object into a literal with further keys takes V8 fifty times as long.
  const recorded: Record<string, string> = {}
  for (const name in template.recorded) recorded[name] = template.recorded[name]!
  recorded['webhook-id'] = id
  recorded['webhook-timestamp'] = timestamp
  recorded['X-Resthooks-Evento'] = event
  recorded['X-Resthooks-Intento'] = String(number)
  if (template.keys.length > 0) {
    const signature = sign(template.keys, id, timestamp, message.body)
    headers.push('webhook-signature', signature)
    recorded['webhook-signature'] = signature
  }
  const contentType = template.contentType ?? (template.fixedHeaders.has('content-type') ? '' : message.contentType)
  if (contentType !== '' && (message.body.length > 0 || !/^(GET|HEAD|DELETE|OPTIONS)$/.test(method))) {
    if (template.namesContentType || checkHeader('Content-Type', contentType) !== null) {
      setHeader(headers, recorded, 'Content-Type', contentType)
    } else {
      headers.push('Content-Type', contentType)
      recorded['Content-Type'] = contentType
    }
  }
  for (const name in own) {
    if (!template.fixedHeaders.has(name.toLowerCase())) setHeader(headers, recorded, name, own[name]!)
  }
  if (trace !== null && !template.fixedHeaders.has(TRACEPARENT)) {
    setHeader(headers, recorded, TRACEPARENT, trace.parent)
    if (trace.state !== null) setHeader(headers, recorded, TRACESTATE, trace.state)
  }
  const target = targetOf(template, message)
  return { method, origin: template.origin, target, headers, recorded, body: message.body }
}

/** What the owner of the listener has set is not the sender's to change, unless the owner says so. */
function fixedHeaders(listener: ListenerConfig): ReadonlySet<string> {
  const names = listener.headers.map(([name]) => name.toLowerCase())
  const fixed = new Set(names.filter((name) => !listener.replaceableHeaders.includes(name)))
  if (listener.contentType !== null) fixed.add('content-type')
  return fixed
}

function targetOf(template: RequestTemplate, message: Message): string {
  const path = message.path ?? template.path
  const isFixed = message.path === null && !path.includes('{')
  if (isFixed && template.fixedTarget !== null) return template.fixedTarget
  const target = joinPath(template.base, expandPath(path, message))
  if (isFixed) template.fixedTarget = target
  return target
}

/** Replaces every header of that name, whatever its case. */
function setHeader(headers: string[], recorded: Record<string, string>, name: string, value: string): void {
  const lower = name.toLowerCase()
  for (let index = headers.length - 2; index >= 0; index -= 2) {
    if (headers[index]!.toLowerCase() !== lower) continue
    delete recorded[headers[index]!]
    headers.splice(index, 2)
  }
  const problem = checkHeader(name, value)
  if (problem !== null) throw new Trouble('solicitud', problem)
  headers.push(name, value)
  record(recorded, name, value)
}

/** Headers of a request that no template made, as recorded. */
export function recordedHeaders(headers: readonly string[]): Pick<BuiltRequest, 'recorded'> {
  const recorded: Record<string, string> = {}
  for (let index = 0; index < headers.length; index += 2) record(recorded, headers[index]!, headers[index + 1]!)
  return { recorded }
}

function record(recorded: Record<string, string>, name: string, value: string, hidden?: ReadonlySet<string>): void {
  const shown = isSecretHeader(name) || hidden?.has(name.toLowerCase()) ? MASK : value
  recorded[name] = recorded[name] === undefined ? shown : `${recorded[name]}, ${shown}`
}

/** The bytes of a `whsec_…` secret; the prefix may be missing, as the reference libraries accept. */
function secretKey(secret: string): Buffer {
  return Buffer.from(secret.startsWith('whsec_') ? secret.slice(6) : secret, 'base64')
}

/**
 * The value of `webhook-signature` of Standard Webhooks: `v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`. With two
 * secrets (while rotating) both signatures go into it, so that a receiver that knows either accepts.
 * https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 * @param id        exactly as it goes into `webhook-id`
 * @param timestamp seconds since epoch, exactly as it goes into `webhook-timestamp`
 */
export function sign(keys: readonly Buffer[], id: string, timestamp: string, body: Buffer): string {
  let header = ''
  for (const key of keys) {
    const digest = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64')
    header += `${header === '' ? '' : ' '}v1,${digest}`
  }
  return header
}
