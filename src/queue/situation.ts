/**
 * What is remembered of each listener across restarts of the workers: its newest success, its newest failure, since when it
 * fails without a success in between, and why its circuit breaker is open. Workers gather it in memory and tell it with their
 * heartbeats; a listener's entry is JSON with the number of its format, `v`.
 */
import { parts } from '../model/parts.ts'
import type { Queue } from './queue.ts'
import { scriptsOf } from './scripts.ts'

/** How an attempt failed. */
export interface Failure {
  /** As `intento.error`: `conexion`, `tls`…; null: it was answered, with the wrong status. */
  readonly codigo: string | null
  readonly http: number | null
  /** One line, without secrets; of an answer the beginning of its text is not kept. */
  readonly detalle: string | null
  /** Redis time, ms since epoch. */
  readonly cuando: number
}

/** What one worker saw since it told last; times are Redis's, ms since epoch. */
export interface Sighting {
  exito?: number
  error?: Failure
  /** First failure since its newest success. */
  desde?: number | undefined
  /** Failures since it told last, or since its newest success. */
  fallas?: number
  /** The breaker opened; false: it closed. */
  corte?: Opening | false
}

interface Opening {
  readonly desde: number
  readonly error: Omit<Failure, 'cuando'> | null
}

export interface Situation {
  readonly exito: number | null
  readonly error: Failure | null
  /** First failure after the newest success of all workers; null: the last thing it did was to accept something. */
  readonly desde: number | null
  /** Failures in that run, about. */
  readonly fallas: number
  readonly corte: Opening | null
}

const FORMAT = 1
/** Merges of one script call: a moment's work. */
const AT_ONCE = 100

/** Adds what a worker saw to what is known. */
export async function remember(queue: Queue, seen: ReadonlyMap<string, Sighting>): Promise<void> {
  for (const part of parts([...seen], AT_ONCE)) {
    const args = part.flatMap(([name, sighting]) => [name, JSON.stringify(sighting)])
    await scriptsOf(queue.redis).remember(1, queue.keys.situation, ...args)
  }
}

/** @param held entries of the hash as they are in Redis; what is of another format tells nothing here */
export function parseSituations(held: Readonly<Record<string, string>>): Map<string, Situation> {
  return new Map(
    Object.entries(held).flatMap(([name, text]) => {
      const known = parseSituation(text)
      return known ? [[name, known] as const] : []
    }),
  )
}

function parseSituation(text: string): Situation | null {
  try {
    const { v, exito, error, desde, fallas, corte } = JSON.parse(text) as Record<string, unknown>
    if (v !== FORMAT) return null
    return {
      exito: numberOf(exito),
      error: failureOf(error),
      desde: numberOf(desde),
      fallas: numberOf(fallas) ?? 0,
      corte: openingOf(corte),
    }
  } catch {
    return null
  }
}

function numberOf(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}

function failureOf(value: unknown): Failure | null {
  if (typeof value !== 'object' || value === null) return null
  const { codigo, http, detalle, cuando } = value as Record<string, unknown>
  return { codigo: textOf(codigo), http: numberOf(http), detalle: textOf(detalle), cuando: numberOf(cuando) ?? 0 }
}

function openingOf(value: unknown): Opening | null {
  if (typeof value !== 'object' || value === null) return null
  const { desde, error } = value as Record<string, unknown>
  const since = numberOf(desde)
  return since === null ? null : { desde: since, error: failureOf(error) }
}
