/** Figures and instants as a person reads them, in the viewer's zone. */
import type { State } from '../wire.ts'

const number = new Intl.NumberFormat('es-AR')
const day = new Intl.DateTimeFormat('es-AR', { day: '2-digit', month: '2-digit' })
const dayYear = new Intl.DateTimeFormat('es-AR', { day: '2-digit', month: '2-digit', year: 'numeric' })
const clock = new Intl.DateTimeFormat('es-AR', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
})

export function amount(value: number): string {
  return number.format(value)
}

export function decimal(value: number, digits = 1): string {
  return value.toLocaleString('es-AR', { maximumFractionDigits: digits })
}

/** `08:30:56` today, `25/11 08:30:56` this year, else with the year. */
export function shortTime(iso: string): string {
  const at = new Date(iso)
  const now = new Date()
  const time = clock.format(at)
  if (at.toDateString() === now.toDateString()) return time
  return `${(at.getFullYear() === now.getFullYear() ? day : dayYear).format(at)} ${time}`
}

/** To the millisecond, with the zone: on hover, and in what is copied. */
export function fullTime(iso: string): string {
  const at = new Date(iso)
  return `${dayYear.format(at)} ${clock.format(at)}.${String(at.getMilliseconds()).padStart(3, '0')} ${offset(at)}`
}

export function offset(at = new Date()): string {
  const minutes = -at.getTimezoneOffset()
  const two = (n: number) => String(Math.trunc(Math.abs(n))).padStart(2, '0')
  return `${minutes < 0 ? '-' : '+'}${two(minutes / 60)}:${two(minutes % 60)}`
}

export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone

/** `8 ms`, `1,5 s`, `3 min 20 s`: two units at most. */
export function duration(ms: number): string {
  if (ms < 1000) return `${decimal(ms, ms < 10 ? 1 : 0)} ms`
  if (ms < 60_000) return `${decimal(ms / 1000)} s`
  const seconds = Math.round(ms / 1000)
  const units: [number, string][] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ]
  const first = units.findIndex(([value]) => value > 0)
  return units
    .slice(first, first + 2)
    .filter(([value]) => value > 0)
    .map(([value, unit]) => `${value} ${unit}`)
    .join(' ')
}

export function bytes(size: number): string {
  if (size < 1024) return `${size} bytes`
  return size < 1024 * 1024 ? `${decimal(size / 1024)} KB` : `${decimal(size / 1024 / 1024)} MB`
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
