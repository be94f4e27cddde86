/**
 * What a message says of the trace that it belongs to (W3C Trace Context), and what goes on the wire: the same trace in every
 * attempt, under a span of its own.
 *
 * It travels as the message's headers `traceparent` and `tracestate`, so that it is audited, shown, sent again and recovered as
 * those are. What is not valid stays there to be seen, and is not sent. https://www.w3.org/TR/trace-context/
 */
export interface Trace {
  /** 32 hexadecimal digits. */
  readonly traceId: string
  /** Of the sender's span, 16 digits. */
  readonly spanId: string
  /** Of the flags those that are known: sampled, random. */
  readonly flags: number
  /** Null: none, or one that is not valid. */
  readonly state: string | null
}

/** What of it goes on the wire. */
export interface SentTrace {
  readonly parent: string
  readonly state: string | null
}

/** In the headers of a message. */
export const TRACEPARENT = 'traceparent'
export const TRACESTATE = 'tracestate'

type Headers = Readonly<Record<string, string>>

const PARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/
const KNOWN_FLAGS = 0x03
/** List members at most, and characters that are passed on. */
const MOST_MEMBERS = 32
const MOST_STATE = 512
const MEMBER =
  /^(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/

/** @returns null where it is no valid traceparent */
export function parseTrace(parent: string, state: string | null = null): Trace | null {
  const [, version, traceId = '', spanId = '', flags = '', more] = PARENT.exec(parent) ?? []
  // Later versions may have more at the end.
  if (version === undefined || version === 'ff' || (version === '00' && more !== undefined)) return null
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return null
  const known = Number.parseInt(flags, 16) & KNOWN_FLAGS
  return { traceId, spanId, flags: known, state: state !== null && isTraceState(state) ? state : null }
}

export function isTraceState(text: string): boolean {
  const members = text.split(',').map((member) => member.trim())
  const some = members.filter((member) => member !== '')
  const keys = new Set(some.map((member) => member.slice(0, member.indexOf('='))))
  return (
    text.length <= MOST_STATE &&
    some.length > 0 &&
    members.length <= MOST_MEMBERS &&
    keys.size === some.length &&
    some.every((member) => MEMBER.test(member))
  )
}

/** @param spanId of the attempt's own span */
export function traceparentOf({ traceId, flags }: Pick<Trace, 'traceId' | 'flags'>, spanId: string): string {
  return `00-${traceId}-${spanId}-${flags.toString(16).padStart(2, '0')}`
}

/** What is wrong with them, in Spanish, or null. */
export function traceProblem(parent: string, state: string | null): string | null {
  if (parseTrace(parent) === null) {
    return `«${parent.slice(0, 80)}» no es un traceparent de W3C Trace Context: 00-(32 cifras hexadecimales)-(16)-(2), en minúscula, y ni la traza ni el tramo en cero`
  }
  return state === null || isTraceState(state)
    ? null
    : `«${state.slice(0, 80)}» no es un tracestate de W3C Trace Context: clave=valor, separados por comas, hasta 32 y 512 caracteres`
}

/** The headers of a message without those of its trace, and what those say. */
export function takeTrace(headers: Headers): { headers: Headers; parent: string | null; state: string | null } {
  let own: Record<string, string> | null = null
  let parent: string | null = null
  let state: string | null = null
  for (const name in headers) {
    const lower = name.length === TRACEPARENT.length || name.length === TRACESTATE.length ? name.toLowerCase() : ''
    if (lower !== TRACEPARENT && lower !== TRACESTATE) continue
    own ??= { ...headers }
    delete own[name]
    if (lower === TRACEPARENT) parent = headers[name]!
    else state = headers[name]!
  }
  return { headers: own ?? headers, parent, state }
}

/** A message's headers with its trace in them; what they said of one before is replaced. */
export function withTrace(headers: Headers, parent: string, state: string | null): Record<string, string> {
  const { headers: own } = takeTrace(headers)
  return { ...own, [TRACEPARENT]: parent, ...(state === null ? {} : { [TRACESTATE]: state }) }
}

/** Most characters of one that are kept: a valid one has fewer. */
const MOST_KEPT = 600

/**
 * The same of an envelope's members, whatever they are: one that is not valid stays to be seen, and is no reason not to deliver.
 * Without `traceparent` the other one says nothing.
 */
export function withTraceMembers(
  headers: Record<string, string>,
  parent: unknown,
  state: unknown,
): Record<string, string> {
  const text = (value: unknown) =>
    (typeof value === 'string' ? value : typeof value === 'object' ? '(objeto)' : String(value))
      .toWellFormed()
      .slice(0, MOST_KEPT)
  if (parent === undefined || parent === null) return headers
  return withTrace(headers, text(parent), state === undefined || state === null ? null : text(state))
}

/** For a person: the trace of these headers, or why it is not forwarded; null: none was given. */
export function traceInWords(headers: Headers): string | null {
  const { parent, state } = takeTrace(headers)
  if (parent === null) return null
  const trace = parseTrace(parent, state)
  if (trace === null) return `traza no válida, no se reenvía: ${parent}`
  return `traza ${trace.traceId}${state !== null && trace.state === null ? ' (tracestate no válido, no se reenvía)' : ''}`
}
