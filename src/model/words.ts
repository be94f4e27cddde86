/**
 * Instants and amounts as a person reads them, in the zone of the machine, and the words of a command that is shown to be copied:
 * the same on a screen, in the log and on the page.
 */

/** As a shell reads it back: an id or an event may hold whatever another program put into it. */
export function shellWord(text: string): string {
  return /^[\p{L}\p{N}_@%+=:,./-]+$/u.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}

/** `1 error`, `3.120 errores` */
export function count(number: number, one: string, many: string): string {
  return `${amount(number)} ${number === 1 ? one : many}`
}

/** `3.120` */
export function amount(count: number): string {
  return decimal(count, 0)
}

/** `2,9`, `1.234,5`: at most so many digits after the comma. By hand, as loading what Intl knows takes longer than a command. */
export function decimal(value: number, digits: number): string {
  const [whole = '', rest = ''] = Math.abs(value).toFixed(digits).split('.')
  const fraction = rest.replace(/0+$/, '')
  const sign = value < 0 && (Number(whole) > 0 || fraction !== '') ? '-' : ''
  return `${sign}${whole.replace(/\B(?=(\d{3})+$)/g, '.')}${fraction === '' ? '' : `,${fraction}`}`
}

/** `2026-11-24 17:00:00.123 -03:00`, in the zone of the machine (TZ). */
export function localTime(date: Date): string {
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
  return `${localDay(date)} ${time}.${String(date.getMilliseconds()).padStart(3, '0')} ${zoneOf(date)}`
}

/** `2026-11-24`, in the zone of the machine (TZ). */
export function localDay(date: Date): string {
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
}

/** `-03:00` */
export function zoneOf(date: Date): string {
  const offset = -date.getTimezoneOffset()
  return `${offset < 0 ? '-' : '+'}${two(Math.abs(offset) / 60)}:${two(Math.abs(offset) % 60)}`
}

function two(number: number): string {
  return String(Math.floor(number)).padStart(2, '0')
}

/** As short as it can be understood at `now`: `08:36:10` the same day, `26/11 08:36:10` the same year, else `26/11/2026 08:36:10`. */
export function shortTime(date: Date, now = new Date()): string {
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
  if (date.toDateString() === now.toDateString()) return time
  const day = `${two(date.getDate())}/${two(date.getMonth() + 1)}`
  return date.getFullYear() === now.getFullYear() ? `${day} ${time}` : `${day}/${date.getFullYear()} ${time}`
}

/** `1,5 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`: two units at most. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${decimal(ms / 1000, 1)} s`
  const seconds = Math.round(ms / 1000)
  const units: [number, string][] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ]
  const first = units.findIndex(([amount]) => amount > 0)
  return units
    .slice(first, first + 2)
    .filter(([amount]) => amount > 0)
    .map(([amount, unit]) => `${amount} ${unit}`)
    .join(' ')
}
