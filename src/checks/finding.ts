/** What one check of `verificar` found; and the check that Redis and Postgres share: their clock. */
import { duration } from '../model/words.ts'

export interface Finding {
  readonly verificacion: string
  readonly resultado: 'ok' | 'aviso' | 'error'
  readonly detalle: string
  /** What to do next; null where all is well. */
  readonly que_hacer: string | null
}

export interface GroupedFinding extends Finding {
  /** What it is about: `configuración`, `Redis`, `Postgres`, `cola`, `listener NOMBRE`, `supervisord`. */
  readonly grupo: string
}

export function ok(verificacion: string, detalle: string): Finding {
  return { verificacion, resultado: 'ok', detalle, que_hacer: null }
}

/** The promise holds, but something may go wrong or already costs something. */
export function aviso(verificacion: string, detalle: string, que_hacer: string): Finding {
  return { verificacion, resultado: 'aviso', detalle, que_hacer }
}

/** It does not work, or messages can be lost. */
export function error(verificacion: string, detalle: string, que_hacer: string): Finding {
  return { verificacion, resultado: 'error', detalle, que_hacer }
}

export function group(grupo: string, findings: readonly Finding[]): GroupedFinding[] {
  return findings.map((finding) => ({ grupo, ...finding }))
}

const NOTABLE = 2_000
/** What receivers of Standard Webhooks tolerate between `webhook-timestamp` and their clock. */
const TOO_FAR = 5 * 60_000

/** How far another machine's clock may be from this one's. @param skew the other clock less ours, ms */
export function checkClock(name: string, skew: number): Finding {
  const distance = Math.abs(skew)
  const text = `${skew < 0 ? 'atrasa' : 'adelanta'} ${duration(distance)} respecto de esta máquina`
  if (distance < NOTABLE) return ok(name, `a ${Math.round(distance)} ms del de esta máquina`)
  const repair = 'sincronice los relojes (chrony, systemd-timesyncd)'
  if (distance < TOO_FAR) return aviso(name, text, repair)
  return error(name, `${text}: los receptores pueden rechazar las firmas`, repair)
}
