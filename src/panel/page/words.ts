/** Figures and instants in the viewer's zone, in the words of the commands, and how each state looks. */
import * as words from '../../model/words.ts'
import type { State } from '../wire.ts'

export { amount, zoneOf } from '../../model/words.ts'

const dayYear = new Intl.DateTimeFormat('es-AR', { day: '2-digit', month: '2-digit', year: 'numeric' })
const clock = new Intl.DateTimeFormat('es-AR', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
})

export function shortTime(iso: string): string {
  return words.shortTime(new Date(iso))
}

/** To the millisecond, with the zone: on hover, and in what is copied. */
export function fullTime(iso: string): string {
  const at = new Date(iso)
  return `${dayYear.format(at)} ${clock.format(at)}.${String(at.getMilliseconds()).padStart(3, '0')} ${words.zoneOf(at)}`
}

export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone

/** As a command tells it, and a tenth of what takes less than 10 ms. */
export function duration(ms: number): string {
  return ms < 10 ? `${words.decimal(ms, 1)} ms` : words.duration(ms)
}

export function bytes(size: number): string {
  if (size < 1024) return `${size} bytes`
  return size < 1024 * 1024 ? `${words.decimal(size / 1024, 1)} KB` : `${words.decimal(size / 1024 / 1024, 1)} MB`
}

/** Colour, sign and word go together. */
export const STATES: Readonly<Record<State | 'sin listener', { sign: string; tone: Tone }>> = {
  exitosa: { sign: '✔', tone: 'bien' },
  pendiente: { sign: '…', tone: 'espera' },
  reintentando: { sign: '~', tone: 'espera' },
  fallida: { sign: '✘', tone: 'mal' },
  descartada: { sign: '‖', tone: 'aviso' },
  'sin listener': { sign: '!', tone: 'aviso' },
}
export type Tone = 'bien' | 'espera' | 'aviso' | 'mal'
