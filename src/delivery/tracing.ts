/**
 * The trace of an attempt: what is forwarded of the message's, and a span of its own where an OpenTelemetry SDK was loaded into
 * this process (`NODE_OPTIONS=--import …`). Without one nothing is loaded, and the forwarded span is nobody's but the listener's parent.
 *
 * Every attempt belongs to the sender's trace, also days later. The first is a child of the sender's span; later ones also have a
 * link to it, which is how those that show traces tell a repetition. Names are those of OpenTelemetry's conventions for HTTP and
 * messaging; values come from what is recorded, where no secret is.
 */
import { randomBytes } from 'node:crypto'
import type { Span, SpanContext } from '@opentelemetry/api'
import type { Message } from '../model/message.ts'
import { parseTrace, type SentTrace, type Trace, takeTrace, traceparentOf } from '../model/trace.ts'
import type { RequestRecord } from './mask.ts'
import type { Judgement } from './outcome.ts'

interface AttemptTrace {
  /** Null: the message belongs to no trace. */
  readonly sent: SentTrace | null
  /** @param requests as recorded */
  end(requests: readonly RequestRecord[], outcome: Judgement): void
}

type Api = typeof import('@opentelemetry/api')
let api: Api | null = null

/** Where an SDK registers itself, whatever version of the interface it brought. */
const REGISTERED = Symbol.for('opentelemetry.js.api.1')

/** To be called once, before the first attempt. */
export async function loadTracing(): Promise<void> {
  if (REGISTERED in globalThis) api = await import('@opentelemetry/api')
}

/** @param number the attempt's number */
export function beginAttempt(message: Message, listener: string, method: string, number: number): AttemptTrace {
  const { parent, state } = takeTrace(message.headers)
  const trace = parent === null ? null : parseTrace(parent, state)
  const span = api === null ? null : startSpan(api, trace, message, listener, method, number)
  if (api === null || span === null) return { sent: trace && forwarded(trace), end: () => {} }
  const { SpanStatusCode, isSpanContextValid } = api
  const own = span.spanContext()
  // Of an SDK that is switched off nothing comes but an empty span.
  if (!isSpanContextValid(own)) return { sent: trace && forwarded(trace), end: () => span.end() }
  return {
    sent: sentOf(own),
    end: (requests, outcome) => {
      const last = requests.at(-1)
      if (last) describe(span, last)
      if (outcome.kind !== 'success') span.setStatus({ code: SpanStatusCode.ERROR, message: outcome.reason })
      span.end()
    },
  }
}

function forwarded(trace: Trace): SentTrace {
  return { parent: traceparentOf(trace, randomBytes(8).toString('hex')), state: trace.state }
}

function sentOf({ traceId, spanId, traceFlags, traceState }: SpanContext): SentTrace {
  return { parent: traceparentOf({ traceId, flags: traceFlags }, spanId), state: traceState?.serialize() || null }
}

function startSpan(
  { trace: tracing, ROOT_CONTEXT, SpanKind, createTraceState }: Api,
  trace: Trace | null,
  { id, event, method: wanted }: Message,
  listener: string,
  method: string,
  number: number,
): Span {
  const sender: SpanContext | null = trace && {
    traceId: trace.traceId,
    spanId: trace.spanId,
    traceFlags: trace.flags,
    isRemote: true,
    ...(trace.state === null ? {} : { traceState: createTraceState(trace.state) }),
  }
  return tracing.getTracer('resthooks', __VERSION__).startSpan(
    wanted ?? method,
    {
      kind: SpanKind.CLIENT,
      attributes: {
        'messaging.system': 'resthooks',
        'messaging.operation.type': 'process',
        'messaging.operation.name': 'deliver',
        'messaging.destination.name': event,
        'messaging.message.id': id,
        'messaging.consumer.group.name': listener,
        ...(number > 1 ? { 'http.request.resend_count': number - 1 } : {}),
      },
      links: sender !== null && number > 1 ? [{ context: sender }] : [],
    },
    sender === null ? ROOT_CONTEXT : tracing.setSpanContext(ROOT_CONTEXT, sender),
  )
}

function describe(span: Span, { method, url, status, error, ip }: RequestRecord): void {
  const address = URL.canParse(url) ? new URL(url) : null
  span.updateName(method)
  span.setAttributes({
    'http.request.method': method,
    'url.full': url,
    ...(address ? { 'server.address': address.hostname, 'server.port': portOf(address) } : {}),
    ...(ip === null ? {} : { 'network.peer.address': ip }),
    ...(status === null ? {} : { 'http.response.status_code': status }),
  })
  const kind = error ?? (status !== null && status >= 400 ? String(status) : null)
  if (kind !== null) span.setAttribute('error.type', kind)
}

function portOf({ port, protocol }: URL): number {
  return Number(port) || (protocol === 'https:' ? 443 : 80)
}
