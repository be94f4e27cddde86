/**
 * What an attempt means for its delivery: done, worth another try and when, or failed for good.
 *
 * Pure: the caller passes the clock and the randomness. The default rule: every status except 2xx and every network error is
 * retried, apart from those that reject the content, 410, and 3xx; `reintentar_si` and `no_reintentar_si` change it. The
 * default schedule and the jitter are those that Standard Webhooks recommends; the server's own wish (Retry-After, RFC 9110
 * §10.2.3) can only lengthen a wait.
 */
import type { ListenerConfig, RetryStrategy } from '../config/config.ts'
import type { StatusRule } from '../config/listener-kinds.ts'
import type { Millis } from '../model/message.ts'
import { decimal } from '../model/words.ts'
import type { TroubleCode } from './trouble.ts'

/** How the last request of the attempt ended. */
export interface Answer {
  /** Null when no status line arrived. A status together with an error is an answer that broke off. */
  readonly status: number | null
  readonly error: TroubleCode | null
  readonly detail: string | null
  /** The raw `Retry-After` header. */
  readonly retryAfter: string | null
}

/** What the attempt means; whether a `retry` is still granted is the strategy's (`decide`). */
export type Outcome =
  | { readonly kind: 'success' }
  /** `retryAfter`: the server's own wish, from now. */
  | { readonly kind: 'retry'; readonly reason: string; readonly retryAfter: Millis | null }
  /** `gone`: 410, the listener is to be deactivated until `reanudar`. */
  | { readonly kind: 'failure'; readonly reason: string; readonly gone: boolean }

/** `unable`: this process could not even try (no descriptors left): no attempt of the delivery's, and nothing about the listener. */
export type Judgement = Outcome | { readonly kind: 'unable'; readonly reason: string }

/** Statuses that reject the content: the same bytes will be refused again. */
const REJECTED = new Set([400, 405, 406, 411, 413, 414, 415, 422])

/** @param now ms since epoch, for a Retry-After that is a date */
export function classify(answer: Answer, rules: Pick<ListenerConfig, 'retryIf' | 'noRetryIf'>, now: number): Judgement {
  const { status, error } = answer
  if (error === null && status !== null && status >= 200 && status < 300) return { kind: 'success' }
  const reason = reasonOf(answer)
  if (error === 'solicitud') return { kind: 'failure', reason, gone: false }
  if (error === 'recursos') return { kind: 'unable', reason }
  // Our own doing says nothing about the listener: no rule of its owner can turn it into a failure.
  if (error === 'interrumpido') return { kind: 'retry', reason, retryAfter: null }

  // A redirect that may not be followed is judged by its 3xx, a challenge without an answer by its 401; any other error by
  // `red`, whatever status came before.
  const judged = error === null || error === 'redireccion' || error === 'desafio' ? status : null
  const wish = byRules(judged, rules)
  const retry = wish ?? byDefault(judged)
  if (!retry) return { kind: 'failure', reason, gone: judged === 410 }
  const hinted = judged === 429 || judged === 503
  return { kind: 'retry', reason, retryAfter: hinted ? parseRetryAfter(answer.retryAfter, now) : null }
}

function byDefault(status: number | null): boolean {
  if (status === null) return true
  if (status >= 300 && status < 400) return false
  return status !== 410 && !REJECTED.has(status)
}

/** An exact status beats its class; between equals, not to retry wins. Null when no rule speaks of it. */
function byRules(status: number | null, rules: Pick<ListenerConfig, 'retryIf' | 'noRetryIf'>): boolean | null {
  const strength = (list: readonly StatusRule[]) => Math.max(0, ...list.map((rule) => matching(rule, status)))
  const [yes, no] = [strength(rules.retryIf), strength(rules.noRetryIf)]
  if (yes === 0 && no === 0) return null
  return yes > no
}

function matching(rule: StatusRule, status: number | null): 0 | 1 | 2 {
  switch (rule.kind) {
    case 'network':
      return status === null ? 2 : 0
    case 'status':
      return status === rule.status ? 2 : 0
    case 'class':
      return status !== null && Math.floor(status / 100) === rule.hundreds ? 1 : 0
  }
}

/** `HTTP 503`, or `timeout: …`: what `entrega.motivo` is made of. */
export function reasonOf(answer: Pick<Answer, 'status' | 'error' | 'detail'>): string {
  if (answer.error === null) return `HTTP ${answer.status}`
  const at = answer.status === null ? '' : ` (HTTP ${answer.status})`
  return answer.detail ? `${answer.error}${at}: ${answer.detail}` : `${answer.error}${at}`
}

/**
 * `Retry-After` as a wait from now: delta-seconds or any of the three HTTP-date forms (RFC 9110 §10.2.3, §5.6.7).
 * A date in the past is 0; what is neither is null, as if the header were missing.
 */
export function parseRetryAfter(value: string | null, now: number): Millis | null {
  const text = value?.trim()
  if (!text) return null
  if (/^\d+$/.test(text)) return Math.min(Number(text) * 1000, Number.MAX_SAFE_INTEGER)
  const at = HTTP_DATE.test(text) ? Date.parse(text.replace(/\d$/, '$& GMT')) : Number.NaN
  return Number.isNaN(at) ? null : Math.max(0, at - now)
}

/** The third form, C's asctime, does not say that it is GMT. A year of two digits is this century's up to 49. */
const HTTP_DATE =
  /^(?:[a-z]{3}, \d\d [a-z]{3} \d{4}|[a-z]{6,9}, \d\d-[a-z]{3}-\d\d) \d\d:\d\d:\d\d GMT$|^[a-z]{3} [a-z]{3} [ \d]\d \d\d:\d\d:\d\d \d{4}$/i

/** Longest wait a server can ask for. */
const MAX_RETRY_AFTER: Millis = 24 * 3_600_000

type Decision =
  | { readonly kind: 'done' }
  | { readonly kind: 'retry'; readonly delay: Millis }
  | { readonly kind: 'failed'; readonly reason: string }

/**
 * Wait before attempt `made + 1`, or null when the strategy gives up. Jitter spreads it evenly over
 * `delay × (1 ± jitter)`, so that what failed together does not come back together.
 * @param made   attempts already made, ≥ 1
 * @param random uniform in [0, 1)
 */
export function nextDelay(strategy: RetryStrategy, made: number, random: () => number): Millis | null {
  const delay = plainDelay(strategy, made)
  if (delay === null) return null
  return Math.max(0, Math.round(delay * (1 + strategy.jitter * (2 * random() - 1))))
}

function plainDelay(strategy: RetryStrategy, made: number): Millis | null {
  if (strategy.kind === 'lista') return strategy.delays[made - 1] ?? null
  if (made >= strategy.attempts) return null
  switch (strategy.kind) {
    case 'exponencial':
      return Math.min(strategy.max, strategy.first * strategy.factor ** (made - 1))
    case 'lineal':
      return Math.min(strategy.max, strategy.first * made)
    case 'fija':
      return strategy.first
  }
}

/**
 * What becomes of a delivery after an attempt.
 * @param made      attempts made, this one included, ≥ 1
 * @param createdAt when the message was made, ms since epoch: its age decides about `vencimiento`
 * @param now       ms since epoch
 * @param random    uniform in [0, 1)
 * @param total     attempts made in all, where the strategy began anew (`reenviar`)
 */
export function decide(
  outcome: Outcome,
  made: number,
  strategy: RetryStrategy,
  createdAt: number,
  now: number,
  random: () => number,
  total = made,
): Decision {
  if (outcome.kind === 'success') return { kind: 'done' }
  if (outcome.kind === 'failure') return { kind: 'failed', reason: outcome.reason }
  const scheduled = nextDelay(strategy, made, random)
  if (scheduled === null) {
    const since = total > made ? ` desde que se reenvió (${total} en total)` : ''
    const attempts = (made === 1 ? '1 intento' : `${made} intentos`) + since
    return { kind: 'failed', reason: `sin más reintentos tras ${attempts}: ${outcome.reason}` }
  }
  const delay = Math.max(scheduled, Math.min(outcome.retryAfter ?? 0, MAX_RETRY_AFTER))
  if (strategy.expiry > 0 && now + delay > createdAt + strategy.expiry) {
    const reason = `vencida: el próximo intento sería después del vencimiento (${inWords(strategy.expiry)}): ${outcome.reason}`
    return { kind: 'failed', reason }
  }
  return { kind: 'retry', delay }
}

interface PlannedAttempt {
  /** 1 is the first attempt, made at once. */
  readonly attempt: number
  /** Wait since the attempt before: without jitter, and the shortest and longest that jitter makes of it. */
  readonly delay: Millis
  readonly shortest: Millis
  readonly longest: Millis
  /** Time since the first attempt, without jitter and without the time that the requests themselves take. */
  readonly elapsed: Millis
}

interface Schedule {
  readonly attempts: readonly PlannedAttempt[]
  /** Why there is no further one; `cut`: there are more than `limit`. */
  readonly end: 'exhausted' | 'expired' | 'cut'
}

/** The attempts that a message gets when every one fails. @param limit attempts listed at most */
export function schedule(strategy: RetryStrategy, limit = 1000): Schedule {
  const attempts: PlannedAttempt[] = [{ attempt: 1, delay: 0, shortest: 0, longest: 0, elapsed: 0 }]
  let elapsed = 0
  for (let made = 1; ; made++) {
    const delay = nextDelay(strategy, made, () => 0.5)
    if (delay === null) return { attempts, end: 'exhausted' }
    elapsed += delay
    if (strategy.expiry > 0 && elapsed > strategy.expiry) return { attempts, end: 'expired' }
    if (made >= limit) return { attempts, end: 'cut' }
    attempts.push({
      attempt: made + 1,
      delay,
      shortest: Math.round(delay * (1 - strategy.jitter)),
      longest: Math.round(delay * (1 + strategy.jitter)),
      elapsed,
    })
  }
}

/** `90061000` → `1d 1h 1m 1s`; below a minute `1,6s`, below a second `250ms`. */
export function inWords(millis: Millis): string {
  if (millis < 1000) return `${Math.round(millis)}ms`
  if (millis < 59_950) return `${decimal(millis / 1000, 1)}s`
  let rest = Math.round(millis / 1000)
  const parts: string[] = []
  for (const [unit, size] of [
    ['d', 86_400],
    ['h', 3600],
    ['m', 60],
    ['s', 1],
  ] as const) {
    if (rest >= size) parts.push(`${Math.floor(rest / size)}${unit}`)
    rest %= size
  }
  return parts.join(' ')
}
