/**
 * What an attempt means: delivered, worth another try, or failed for good.
 *
 * Pure. The default rule is INTERFACE §2: every status except 2xx and every network error is retried, apart from those
 * that reject the content, 410, and 3xx; `reintentar_si` and `no_reintentar_si` change it.
 */
import type { ListenerConfig, StatusRule } from '../config/config.ts'
import type { Millis } from '../model/message.ts'
import type { Judgement } from './delivery.ts'
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

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
const IMF = /^[a-z]{3}, (\d{2}) ([a-z]{3}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT$/i
const RFC850 = /^[a-z]{6,9}, (\d{2})-([a-z]{3})-(\d{2}) (\d{2}):(\d{2}):(\d{2}) GMT$/i
const ASCTIME = /^[a-z]{3} ([a-z]{3}) ([ \d]\d) (\d{2}):(\d{2}):(\d{2}) (\d{4})$/i

/**
 * `Retry-After` as a wait from now: delta-seconds or any of the three HTTP-date forms (RFC 9110 §10.2.3, §5.6.7).
 * A date in the past is 0; what is neither is null, as if the header were missing.
 */
export function parseRetryAfter(value: string | null, now: number): Millis | null {
  const text = value?.trim()
  if (!text) return null
  if (/^\d+$/.test(text)) return Math.min(Number(text) * 1000, Number.MAX_SAFE_INTEGER)
  const at = parseHttpDate(text, now)
  return at === null ? null : Math.max(0, at - now)
}

function parseHttpDate(text: string, now: number): number | null {
  let found = IMF.exec(text)
  if (found) return instant(found[3]!, found[2]!, found[1]!, found[4]!, found[5]!, found[6]!)
  found = RFC850.exec(text)
  if (found) {
    // Two digits that would lie more than 50 years ahead are the past century (RFC 9110 §5.6.7).
    const thisYear = new Date(now).getUTCFullYear()
    let year = Math.floor(thisYear / 100) * 100 + Number(found[3])
    if (year > thisYear + 50) year -= 100
    return instant(String(year), found[2]!, found[1]!, found[4]!, found[5]!, found[6]!)
  }
  found = ASCTIME.exec(text)
  if (found) return instant(found[6]!, found[1]!, found[2]!, found[3]!, found[4]!, found[5]!)
  return null
}

function instant(year: string, month: string, day: string, hour: string, minute: string, second: string) {
  const index = MONTHS.indexOf(month.toLowerCase())
  if (index < 0 || Number(day) > 31 || Number(hour) > 23 || Number(minute) > 59 || Number(second) > 60) return null
  return Date.UTC(Number(year), index, Number(day), Number(hour), Number(minute), Number(second))
}
