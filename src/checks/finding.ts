/** What one check of `verificar` found. */
export interface Finding {
  /** What it is about: `configuración`, `Redis`, `Postgres`, `cola`, `listener NOMBRE`, `supervisord`. */
  readonly grupo: string
  readonly verificacion: string
  readonly resultado: 'ok' | 'aviso' | 'error'
  readonly detalle: string
  /** What to do next; null where all is well. */
  readonly que_hacer: string | null
}

/** A check's judgement; the group is its caller's. */
export type Verdict = Omit<Finding, 'grupo'>

export function ok(verificacion: string, detalle: string): Verdict {
  return { verificacion, resultado: 'ok', detalle, que_hacer: null }
}

/** The promise holds, but something may go wrong or already costs something. */
export function aviso(verificacion: string, detalle: string, que_hacer: string): Verdict {
  return { verificacion, resultado: 'aviso', detalle, que_hacer }
}

/** It does not work, or messages can be lost. */
export function error(verificacion: string, detalle: string, que_hacer: string): Verdict {
  return { verificacion, resultado: 'error', detalle, que_hacer }
}

export function group(grupo: string, verdicts: readonly Verdict[]): Finding[] {
  return verdicts.map((verdict) => ({ grupo, ...verdict }))
}
