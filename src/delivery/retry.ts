/**
 * When a failed delivery is tried again, and when it is given up.
 *
 * Pure: the caller passes the clock and the dice. The default schedule and the jitter are those that Standard
 * Webhooks recommends; the server's own wish (Retry-After, RFC 9110 §10.2.3) can only lengthen a wait.
 */
import type { RetryStrategy } from '../config/config.ts'
import type { Millis } from '../model/message.ts'
import type { Outcome } from './delivery.ts'

/** Longest wait a server can ask for. */
export const MAX_RETRY_AFTER: Millis = 24 * 3_600_000

export type Decision =
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

export interface PlannedAttempt {
  /** 1 is the first attempt, made at once. */
  readonly attempt: number
  /** Wait since the attempt before: without jitter, and the shortest and longest that jitter makes of it. */
  readonly delay: Millis
  readonly shortest: Millis
  readonly longest: Millis
  /** Time since the first attempt, without jitter and without the time that the requests themselves take. */
  readonly elapsed: Millis
}

export interface Schedule {
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

/** `90061000` → `1d 1h 1m 1s`; below a second, `250ms`. */
export function inWords(millis: Millis): string {
  if (millis < 1000) return `${Math.round(millis)}ms`
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
