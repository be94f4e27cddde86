/**
 * Delivers messages to one listener: builds, authenticates, sends, follows, and judges.
 *
 * An attempt is a short conversation under one deadline. Each turn is one request and one record: a digest challenge
 * and its answer, a redirect, or the repetition of a request whose reused socket the server had just closed. That
 * repetition is safe for every method because each request carries `webhook-id`.
 */
import type { X509Certificate } from 'node:crypto'
import { clientCertificate, validity } from '../config/certificates.ts'
import type { AuthConfig, ListenerConfig } from '../config/config.ts'
import { blockList } from '../model/http.ts'
import type { Message } from '../model/message.ts'
import { isSecretHeader, Secrets } from '../model/secrets.ts'
import type { SentTrace } from '../model/trace.ts'
import { type Auth, apiKey, type Begin, basic, bearer, type Credentials, NO_CREDENTIALS } from './auth/auth.ts'
import { digest } from './auth/digest.ts'
import { oauth2, type TokenRequest, withoutTokens } from './auth/oauth2.ts'
import { type Dialing, secureContext } from './connect.ts'
import { Deadline, Stopper, type StopSignal } from './deadline.ts'
import { type Exchanged, exchange } from './exchange.ts'
import { type RequestRecord, recordOf, unsentRecord, withoutSecrets, withQuery } from './mask.ts'
import { classify, type Judgement } from './outcome.ts'
import { follow, isRedirect } from './redirect.ts'
import { type BuiltRequest, buildRequest, prepare, type RequestTemplate, recordedHeaders } from './request.ts'
import { Sockets } from './sockets.ts'
import { beginAttempt } from './tracing.ts'
import { networkTrouble, Trouble, type TroubleReport } from './trouble.ts'

export interface AttemptResult {
  /** In order, at least one; the last one decided the outcome. */
  readonly requests: readonly RequestRecord[]
  readonly outcome: Judgement
}

/** Delivers to one listener over its own sockets. Never throws for anything that a message or a listener can cause. */
export class Deliverer {
  readonly #listener: ListenerConfig
  readonly #template: RequestTemplate
  readonly #auth: Auth
  readonly #dialing: Dialing
  readonly #own: Sockets
  /** Sockets to other servers (redirects, token endpoint) are used once and closed. */
  readonly #others = new Set<Sockets>()
  readonly #secrets: Secrets
  readonly #certificate: X509Certificate | null

  /**
   * @param about.version of this program, for `User-Agent`
   * @param about.secrets replaced in whatever is recorded
   */
  constructor(listener: ListenerConfig, { version, secrets }: { readonly version: string; readonly secrets: Secrets }) {
    this.#listener = listener
    this.#secrets = secrets
    this.#template = prepare(listener, version)
    const { connectTimeout, tls } = listener
    const blocked = blockList(listener.blockedNetworks)
    this.#dialing = { connectTimeout, blocked, context: secureContext(tls, true), session: undefined }
    this.#certificate = this.#template.base.protocol === 'https:' ? clientCertificate(tls) : null
    this.#own = new Sockets(this.#template.origin, this.#dialing, listener.concurrency)
    const fetchToken: TokenRequest = (url, headers, body, begin) => this.#fetchToken(url, headers, body, begin)
    this.#auth = authOf(listener.auth, fetchToken, secrets)
  }

  /**
   * @param number the attempt's number, ≥ 1, for `X-Resthooks-Intento`
   * @param signal aborts the request (lease lost, drain over): the result is then a `retry` with error `interrumpido`
   */
  async attempt(message: Message, number: number, signal: StopSignal): Promise<AttemptResult> {
    const requests: RequestRecord[] = []
    const deadline = new Deadline(this.#listener.totalTimeout, signal)
    const trace = beginAttempt(message, this.#listener.name, this.#listener.method, number)
    try {
      const result = this.#shown(message, await this.#converse(message, number, trace.sent, deadline, requests))
      trace.end(result.requests, result.outcome)
      return result
    } finally {
      deadline.clear()
    }
  }

  /** What may be known of the attempt: an answer may repeat what was sent, in any of its places. */
  #shown(message: Message, { requests, outcome }: AttemptResult): AttemptResult {
    const own = Object.keys(message.headers).filter(isSecretHeader)
    const known = [this.#secrets]
    if (own.length > 0) known.push(new Secrets(own.map((name) => message.headers[name]!)))
    return {
      requests: requests.map((request) => known.reduce(withoutSecrets, request)),
      outcome:
        outcome.kind === 'success'
          ? outcome
          : { ...outcome, reason: known.reduce((reason, secrets) => secrets.hide(reason), outcome.reason) },
    }
  }

  /** Of the listener's certificate, ms since epoch; undefined: none was seen yet. */
  get certificateEndsAt(): number | undefined {
    return this.#dialing.certificateEndsAt
  }

  /** Closes idle sockets now and the busy ones at their end. */
  async close(): Promise<void> {
    await Promise.all([this.#own.close(), ...[...this.#others].map((sockets) => sockets.close())])
  }

  async #converse(
    message: Message,
    number: number,
    trace: SentTrace | null,
    deadline: Deadline,
    requests: RequestRecord[],
  ): Promise<AttemptResult> {
    let request: BuiltRequest
    try {
      request = buildRequest(this.#template, message, number, Date.now(), trace)
    } catch (error) {
      return this.#withoutRequest(requests, networkTrouble(error, 'request'), this.#listener.method, this.#listener.url)
    }

    let trusted = true
    let hops = 0
    let renewals = 0
    let repeated = false
    let credentials: Credentials
    const begin: Begin = (asked) => this.#begin(requests, asked)
    try {
      const made = this.#credentials(request, begin, deadline)
      credentials = made instanceof Promise ? await made : made
    } catch (error) {
      const url = request.origin + request.target
      return this.#withoutRequest(requests, networkTrouble(error, 'request'), request.method, url)
    }
    let sockets = this.#own
    let slot = sockets.take()
    const release = () => {
      sockets.giveBack(slot)
      this.#others.delete(sockets)
    }
    try {
      for (;;) {
        const wire = {
          method: request.method,
          target: withQuery(request.target, credentials.query),
          headers: credentials.headers.length === 0 ? request.headers : [...request.headers, ...credentials.headers],
          body: request.body,
        }
        const answered: Exchanged = await exchange(slot, wire, this.#listener.maxResponse, deadline)
        const own: TroubleReport | null =
          trusted && this.#certificate !== null ? certificateTrouble(this.#certificate, answered) : null
        const answer: Exchanged = own === null ? answered : { ...answered, trouble: own }
        requests.push(recordOf(requests.length + 1, request, credentials, answer, this.#template.hidden))
        repeated = answer.lostOnReuse && !repeated && deadline.ended === null
        if (repeated) {
          slot = sockets.fresh(slot)
          continue
        }
        const step: Step =
          this.#plainEnd(answer) ??
          (await this.#next(request, answer, credentials, { trusted, hops, renewals }, begin, deadline))
        if (step.trouble !== null && step.trouble !== answer.trouble) blame(requests, step.trouble)
        if (step.kind === 'end') return this.#judged(requests, answer, step.trouble)
        if (step.kind === 'renew') {
          renewals++
          credentials = step.credentials
          if (!slot.usable) slot = sockets.fresh(slot)
          continue
        }
        hops++
        trusted = step.trusted
        renewals = 0
        const moves = step.request.origin !== request.origin
        request = step.request
        credentials = step.credentials
        if (moves) {
          release()
          sockets = this.#socketsFor(request.origin, trusted)
          slot = sockets.take()
        } else if (!slot.usable) slot = sockets.fresh(slot)
      }
    } finally {
      release()
    }
  }

  /** Nearly every answer, without a turn of the microtask queue; null for those that `#next` must look at. */
  #plainEnd(answer: Exchanged): Step | null {
    const { status, trouble } = answer
    if (trouble !== null) return { kind: 'end', trouble }
    if (status === 401) return null
    this.#auth.accepted?.(answer.headers ?? {})
    return isRedirect(status) && this.#listener.redirects > 0 ? null : END
  }

  /** What a 401 or a redirect asks for: the end, the same again with other credentials, or another place. */
  async #next(
    request: BuiltRequest,
    answer: Exchanged,
    used: Credentials,
    { trusted, hops, renewals }: { trusted: boolean; hops: number; renewals: number },
    begin: Begin,
    deadline: Deadline,
  ): Promise<Step> {
    const end = (trouble: TroubleReport | null): Step => ({ kind: 'end', trouble })
    const headers = answer.headers ?? {}
    if (answer.status === 401 && trusted && this.#auth.renew !== undefined) {
      try {
        const renewed = this.#auth.renew(request, headers, used, renewals, begin)
        const credentials = renewed instanceof Promise ? await deadline.race(renewed) : renewed
        if (credentials !== null) return { kind: 'renew', credentials, trouble: null }
      } catch (error) {
        return end(networkTrouble(error, 'request'))
      }
    }
    if (!isRedirect(answer.status)) return end(null)
    try {
      if (hops >= this.#listener.redirects) {
        throw new Trouble('redireccion', `más de ${this.#listener.redirects} redirecciones (redirecciones)`)
      }
      const hop = follow(request, answer.status!, headers.location, this.#template, trusted)
      const credentials = hop.trusted ? await this.#credentials(hop.request, begin, deadline) : NO_CREDENTIALS
      return { kind: 'move', request: hop.request, trusted: hop.trusted, credentials, trouble: null }
    } catch (error) {
      return end(networkTrouble(error, 'request'))
    }
  }

  #credentials(request: BuiltRequest, begin: Begin, deadline: Deadline): Credentials | Promise<Credentials> {
    const credentials = this.#auth.credentials(request, begin)
    return credentials instanceof Promise ? deadline.race(credentials) : credentials
  }

  #judged(
    requests: RequestRecord[],
    { status, headers }: Pick<Exchanged, 'status' | 'headers'>,
    trouble: TroubleReport | null,
  ): AttemptResult {
    const retryAfter = headers?.['retry-after']
    const outcome = classify(
      {
        status,
        error: trouble?.error ?? null,
        detail: trouble?.detail ?? null,
        retryAfter: typeof retryAfter === 'string' ? retryAfter : (retryAfter?.[0] ?? null),
      },
      this.#listener,
      Date.now(),
    )
    return { requests, outcome }
  }

  /** A request for a token is on record from its start, and so has its row even where the attempt does not wait for the answer. */
  #begin(requests: RequestRecord[], { url, headers }: { url: URL; headers: readonly string[] }) {
    const number = requests.length + 1
    const request = {
      method: 'POST',
      origin: url.origin,
      target: url.pathname + url.search,
      ...recordedHeaders(headers),
    }
    requests.push(unsentRecord(number, request.method, request.origin + request.target, null, this.#template.hidden))
    return (answer: Exchanged) => {
      requests[number - 1] = recordOf(number, request, NO_CREDENTIALS, answer, this.#template.hidden)
    }
  }

  /** An attempt that never reached the wire still leaves a record that says why. */
  #withoutRequest(requests: RequestRecord[], trouble: TroubleReport, method: string, url: string): AttemptResult {
    if (requests.length > 0) blame(requests, trouble)
    else requests.push(unsentRecord(1, method, url, trouble, this.#template.hidden))
    return this.#judged(requests, { status: null, headers: null }, trouble)
  }

  #socketsFor(origin: string, trusted: boolean): Sockets {
    if (origin === this.#template.origin && trusted) return this.#own
    const dialing = { ...this.#dialing, session: undefined, context: secureContext(this.#listener.tls, trusted) }
    const sockets = new Sockets(origin, dialing, 0)
    this.#others.add(sockets)
    return sockets
  }

  /** One POST to the token endpoint, with a deadline of its own: it serves every request that waits. */
  async #fetchToken(url: string, headers: readonly string[], body: Buffer, begin: Begin) {
    const target = new URL(url)
    const told = begin({ url: target, headers })
    const deadline = new Deadline(this.#listener.totalTimeout, new Stopper())
    const sockets = this.#socketsFor(target.origin, target.origin === this.#template.origin)
    const slot = sockets.take()
    try {
      const wire = { method: 'POST', target: target.pathname + target.search, headers: [...headers], body }
      const answer = await exchange(slot, wire, 65_536, deadline)
      told({ ...answer, body: answer.body && withoutTokens(answer.body) })
      if (answer.trouble !== null || answer.status === null) {
        throw new Trouble('auth', `el servidor de tokens ${target.host} no respondió: ${answer.trouble?.detail}`)
      }
      return { status: answer.status, body: answer.body ?? Buffer.alloc(0) }
    } finally {
      deadline.clear()
      sockets.giveBack(slot)
      this.#others.delete(sockets)
    }
  }
}

/** @param fetchToken how OAuth2 reaches its token endpoint */
function authOf(config: AuthConfig, fetchToken: TokenRequest, secrets: Secrets): Auth {
  switch (config.kind) {
    case 'ninguna':
    case 'ssl':
      return { credentials: () => NO_CREDENTIALS }
    case 'basic':
      return basic(config.username, config.password)
    case 'bearer':
      return bearer(config.token)
    case 'api_key':
      return apiKey(config.key, config.place)
    case 'digest':
      return digest(config.username, config.password)
    case 'oauth2':
      return oauth2(config, fetchToken, secrets)
  }
}

/** What the attempt ended with, on its last request: the one that led there. */
function blame(requests: RequestRecord[], { error, detail }: TroubleReport): void {
  const last = requests.at(-1)!
  const unanswered = last.status === null && last.error === null
  const durationMs = unanswered ? Date.now() - last.startedAt : last.durationMs
  requests[requests.length - 1] = { ...last, durationMs, error, errorDetail: detail }
}

/** With which servers refuse a client certificate, where they do not just hang up: nginx has a 400 for it. */
const REFUSALS: ReadonlySet<number | null> = new Set([400, 403, 495, 496])
/** What is wrong with the server's certificate is not the fault of ours. */
const SERVERS_OWN = /\b(CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|ERR_TLS_CERT)/

/** Why an answer came out as it did, where our own certificate has expired: no server tells it clearly, and many just hang up. */
function certificateTrouble(certificate: X509Certificate, answer: Exchanged): TroubleReport | null {
  const { status, trouble, phases } = answer
  const refused =
    status !== null
      ? REFUSALS.has(status)
      : (trouble?.error === 'tls' && !SERVERS_OWN.test(trouble.detail)) ||
        (trouble?.error === 'conexion' && phases.tls !== undefined)
  const state = refused ? validity(certificate, Date.now()) : null
  if (state === null) return null
  const seen = trouble?.detail ?? `HTTP ${status}`
  return { error: 'tls', detail: `el certificado de cliente (cert_file) ${state}: ${seen}` }
}

const END: Step = { kind: 'end', trouble: null }

type Step =
  | { readonly kind: 'end'; readonly trouble: TroubleReport | null }
  | { readonly kind: 'renew'; readonly credentials: Credentials; readonly trouble: null }
  | {
      readonly kind: 'move'
      readonly request: BuiltRequest
      readonly trusted: boolean
      readonly credentials: Credentials
      readonly trouble: null
    }
