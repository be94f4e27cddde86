/** The figures, as a person reads them. */
import Table from 'cli-table3'
import type { Bound } from './bounds.ts'
import type { Figures } from './ledger.ts'

export interface Row {
  readonly fault: string
  readonly figures: Figures | null
  /** Why there are no figures. */
  readonly failure?: string
  readonly seconds: number
}

export function tableOf(rows: readonly Row[]): string {
  const head = [
    'fallo',
    'mensajes',
    'entregas',
    'perdidos',
    'duplicados',
    'sin fila',
    'auditoría',
    'recuperación',
    's',
    '',
  ]
  const table = new Table({
    head,
    style: { head: [], border: [], compact: true },
    colAligns: ['left', 'right', 'right', 'right', 'right', 'right', 'right', 'right', 'right', 'left'],
  })
  for (const { fault, figures, failure, seconds } of rows) {
    const time = seconds.toFixed(1)
    if (!figures) {
      table.push([fault, '', '', '', '', '', '', '', time, `FALLA: ${failure?.split('\n')[0]?.slice(0, 60)}`])
      continue
    }
    const { messages, deliveries, lost, duplicates, unrecorded, mismatches, recovery, violations } = figures
    const back = recovery === null ? '—' : `${(recovery / 1000).toFixed(2)} s`
    const verdict = violations.length === 0 ? 'bien' : `FALLA (${violations.length})`
    table.push([fault, messages, deliveries, lost, duplicates, unrecorded, mismatches, back, time, verdict])
  }
  return table.toString()
}

export function boundsTable(bounds: readonly Bound[]): string {
  const table = new Table({
    head: ['límite', 'medido', 'prometido', ''],
    style: { head: [], border: [], compact: true },
  })
  for (const { what, measured, promised, holds } of bounds) {
    table.push([what, measured, promised, holds ? 'bien' : 'FALLA'])
  }
  return table.toString()
}
