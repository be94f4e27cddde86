/**
 * `estado --comprobar`: the verdict as a monitoring plugin tells it, for Nagios, Icinga, Zabbix and cron: one line, figures
 * after a bar, and a code. Pure. Thresholds are Nagios' ranges (https://nagios-plugins.org/doc/guidelines.html#THRESHOLDFORMAT).
 */

import { Unavailable, UsageError } from '../errors.ts'
import type { Millis } from '../model/message.ts'
import { parseDuration } from '../model/quantities.ts'
import { typed } from '../model/typed.ts'
import { amount, shortTime } from '../model/words.ts'
import { atMost } from '../worker/waiting.ts'
import type { Attention, Problem } from './attention.ts'

const STATES = ['OK', 'WARNING', 'CRITICAL', 'UNKNOWN'] as const
type Code = 0 | 1 | 2 | 3

interface PluginAnswer {
  readonly code: Code
  readonly line: string
}

/** Alerts outside of `from`…`to`, or, `inside`, within. In the unit of its figure. */
interface Range {
  readonly from: number
  readonly to: number
  readonly inside: boolean
  /** As it is printed. */
  readonly text: string
}

interface Threshold {
  readonly warn: Range | null
  readonly crit: Range | null
}

/** What is measured against a threshold of its own. */
interface Thresholds {
  /** Seconds: of the oldest delivery that waits for its turn, and of the oldest message of the inbox. */
  readonly edad: Threshold | null
  /** Deliveries given up that nobody has resent or discarded. */
  readonly fallidas: Threshold | null
  /** Seconds: of the oldest event that Postgres has not taken. */
  readonly auditoria: Threshold | null
}

/**
 * `5m,15m`, `1:,`, `@10:20`: what warns, and what alarms; one alone warns.
 * @param unit of the numbers: durations become seconds
 * @throws UsageError
 */
export function parseThreshold(text: string, option: string, unit: 'duration' | 'count'): Threshold {
  const parts = text.split(',')
  if (parts.length > 2) throw refused(text, option, unit)
  const [warn = null, crit = null] = parts.map((part) => {
    if (part.trim() === '') return null
    const range = parseRange(part.trim(), unit)
    if (range === null) throw refused(text, option, unit)
    return range
  })
  return { warn, crit }
}

function refused(text: string, option: string, unit: 'duration' | 'count'): UsageError {
  const example = unit === 'duration' ? '5m,15m' : '1,10'
  return new UsageError(
    `${option}: «${text}» no es un umbral: se espera AVISO,CRÍTICO, cada uno un rango como los de Nagios ` +
      `(«${example}»: avisa si pasa del primero, alarma si pasa del segundo; también «10:», «~:10», «10:20», «@10:20»)`,
  )
}

function parseRange(text: string, unit: 'duration' | 'count'): Range | null {
  const inside = text.startsWith('@')
  const [start, end, ...more] = (inside ? text.slice(1) : text).split(':')
  if (more.length > 0) return null
  const [low, high] = end === undefined ? ['', start!] : [start!, end]
  const from = low === '~' ? Number.NEGATIVE_INFINITY : low === '' ? 0 : figure(low, unit)
  const to = high === '' ? Number.POSITIVE_INFINITY : figure(high, unit)
  if (from === null || to === null || from > to || (end === undefined && start === '')) return null
  const written = (value: number) =>
    value === Number.NEGATIVE_INFINITY ? '~' : Number.isFinite(value) ? `${value}` : ''
  const ends = from === 0 && Number.isFinite(to) ? written(to) : `${written(from)}:${written(to)}`
  return { from, to, inside, text: `${inside ? '@' : ''}${ends}` }
}

function figure(text: string, unit: 'duration' | 'count'): number | null {
  if (/^-?\d+(\.\d+)?$/.test(text)) return Number(text)
  const millis = unit === 'duration' ? parseDuration(text) : null
  return millis === null ? null : millis / 1000
}

function alerts(value: number, range: Range | null): boolean {
  if (range === null) return false
  const within = value >= range.from && value <= range.to
  return within === range.inside
}

function codeOf(value: number, threshold: Threshold | null): Code {
  if (threshold === null) return 0
  return alerts(value, threshold.crit) ? 2 : alerts(value, threshold.warn) ? 1 : 0
}

const VERDICTS = { bien: 0, atencion: 1, mal: 2 } as const
/** More than these are counted: a line of a pager is short. */
const PROBLEMS_TOLD = 5

export function pluginAnswer(attention: Attention, thresholds: Thresholds): PluginAnswer {
  const figures = figuresOf(attention)
  const codes: Code[] = [VERDICTS[attention.veredicto]]
  const beyond: string[] = []
  for (const name of ['edad', 'fallidas', 'auditoria'] as const) {
    const code = codeOf(figures[name], thresholds[name])
    codes.push(code)
    if (code > 0) beyond.push(`${WORDS[name]}: ${amount(figures[name])}${name === 'fallidas' ? '' : ' s'}`)
  }
  const code = Math.max(...codes) as Code
  const serious = attention.problemas.filter(({ gravedad }) => gravedad !== 'nota')
  const told = serious.slice(0, PROBLEMS_TOLD).map((problem) => problemText(problem, attention.fecha))
  const more = serious.length > PROBLEMS_TOLD ? [`y ${serious.length - PROBLEMS_TOLD} más`] : []
  const all = [...beyond, ...told, ...more]
  const text = all.length > 0 ? all.join('; ') : `${attention.al_dia.length} listeners al día`
  return { code, line: `${lineOf(code, text)} | ${perfdata(figures, thresholds)}` }
}

const WORDS = { edad: 'la más antigua que espera', fallidas: 'fallidas sin atender', auditoria: 'auditoría atrasada' }

/** Monitoring systems end a plugin after ten seconds, and then know nothing. */
const PATIENCE: Millis = 8_000

/** @throws Unavailable where the work does not end in time: Postgres has a patience of its own */
export async function inTime<T>(work: Promise<T>, patience: Millis = PATIENCE): Promise<T> {
  return atMost(patience, work, (): never => {
    throw new Unavailable(`Redis no respondió en ${amount(patience / 1000)} s: vea «${typed('verificar')}».`)
  })
}

/** Where nothing could be asked. @param code 2 where the service is away, 3 where that is not known */
export function pluginFailure(code: 2 | 3, why: string): PluginAnswer {
  return { code, line: lineOf(code, why) }
}

function lineOf(code: Code, text: string): string {
  // The bar begins the figures.
  return `RESTHOOKS ${STATES[code]} - ${text.replace(/\s+/g, ' ').replaceAll('|', '/')}`
}

function problemText({ asunto, causa, desde, esperan }: Problem, now: Date): string {
  const about = [
    ...(desde ? [`desde ${shortTime(desde, now)}`] : []),
    ...(esperan ? [`esperan ${amount(esperan)}`] : []),
  ].join(', ')
  return `${asunto}: ${causa}${about === '' ? '' : ` (${about})`}`
}

function figuresOf(attention: Attention) {
  const { listeners, problemas, workers, redis } = attention
  // Whoever paused a listener knows that its deliveries grow old.
  const ages = listeners.filter(({ pausa }) => pausa === null).map(({ mas_antigua_ms }) => mas_antigua_ms ?? 0)
  const oldest = Math.max(0, attention.mas_antigua_ms ?? 0, ...ages)
  return {
    esperan: attention.esperan,
    edad: Math.round(oldest / 1000),
    fallidas: listeners.reduce((sum, { fallidas }) => sum + fallidas, 0),
    auditoria: Math.round((attention.auditoria_atraso_ms ?? 0) / 1000),
    auditoria_filas: attention.auditoria_pendiente,
    faltan: attention.faltan,
    problemas: problemas.filter(({ gravedad }) => gravedad !== 'nota').length,
    workers: workers.filter(({ vivo }) => vivo).length,
    redis_memoria: redis.memoria,
  }
}

const UNITS: Readonly<Record<string, string>> = { edad: 's', auditoria: 's', redis_memoria: 'B' }

/** `'label'=value[UOM];[warn];[crit];[min];[max]` */
function perfdata(figures: ReturnType<typeof figuresOf>, thresholds: Thresholds): string {
  return Object.entries(figures)
    .flatMap(([name, value]) => {
      if (value === null) return [`${name}=U`]
      const { warn, crit } = thresholds[name as keyof Thresholds] ?? { warn: null, crit: null }
      return [`${name}=${value}${UNITS[name] ?? ''};${warn?.text ?? ''};${crit?.text ?? ''};0`]
    })
    .join(' ')
}
