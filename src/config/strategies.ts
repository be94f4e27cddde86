/**
 * `[reintentos]` and `[reintentos NOMBRE]`: when a failed delivery is tried again, as configured.
 *
 * The default schedule and jitter are those that Standard Webhooks recommends. Each named strategy stands alone: what it
 * does not say is the program's default, not the unnamed section's.
 */
import type { RetryStrategy } from './config.ts'
import { decimal, duration, durationSchema, integer, list, orEmpty, percent, word } from './kinds.ts'
import { find, type Reader, setting } from './settings.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const LONGEST = 365 * DAY

export const DEFAULT_STRATEGY_NAME = 'predeterminada'

const DEFAULT_DELAYS: readonly number[] = [
  5 * SECOND,
  5 * MINUTE,
  30 * MINUTE,
  2 * HOUR,
  5 * HOUR,
  10 * HOUR,
  14 * HOUR,
  20 * HOUR,
  24 * HOUR,
]

const DELAYS = orEmpty(
  list('una lista de 1 a 1000 duraciones separadas por comas (5s, 5m, 2h)', durationSchema(1, LONGEST), {
    least: 1,
    most: 1000,
  }),
)

/** Keys that only some kinds obey. */
const OBEYED = {
  lista: ['esperas'],
  exponencial: ['espera_inicial', 'factor', 'espera_maxima', 'intentos'],
  lineal: ['espera_inicial', 'espera_maxima', 'intentos'],
  fija: ['espera_inicial', 'intentos'],
} as const

type StrategyKind = keyof typeof OBEYED

export function strategy(reader: Reader, name: string): RetryStrategy {
  const kind = setting(reader, 'estrategia', word(['lista', 'exponencial', 'lineal', 'fija']), 'lista')
  const common = {
    name,
    jitter: setting(reader, 'jitter', percent, 20) / 100,
    expiry: setting(reader, 'vencimiento', duration(0, LONGEST), 7 * DAY),
  }
  warnAboutIdleKeys(reader, kind)
  if (kind === 'lista') return { ...common, kind, delays: setting(reader, 'esperas', DELAYS, DEFAULT_DELAYS) }

  const first = setting(reader, 'espera_inicial', duration(1, LONGEST), kind === 'exponencial' ? 5 * SECOND : MINUTE)
  const attempts = setting(reader, 'intentos', integer(1, 10_000), 10)
  if (kind === 'fija') return { ...common, kind, first, attempts }

  const max = setting(reader, 'espera_maxima', duration(1, LONGEST), Math.max(first, DAY))
  const written = find(reader.layers, 'espera_maxima')
  if (written && max < first) {
    reader.context.problems.add(written.place, 'es menor que espera_inicial: ninguna espera cumpliría las dos.')
  }
  if (kind === 'lineal') return { ...common, kind, first, max, attempts }
  return { ...common, kind, first, max, attempts, factor: setting(reader, 'factor', decimal(1, 1000), 2) }
}

function warnAboutIdleKeys(reader: Reader, kind: StrategyKind): void {
  const obeyed: readonly string[] = OBEYED[kind]
  for (const key of new Set(Object.values(OBEYED).flat())) {
    const written = obeyed.includes(key) ? null : find(reader.layers, key)
    if (written) reader.context.problems.warn(written.place, `no tiene efecto con estrategia = ${kind}.`)
  }
}
