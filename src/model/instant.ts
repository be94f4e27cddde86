/**
 * Instants as people type them, one grammar for every option, field of the page and listing that takes one: `hoy`, `ayer`, `2h`,
 * `08:30`, `24/11/2026`, `2026-11-24 10:00`, ISO 8601. Without a zone of their own they are in the machine's.
 */
import { UsageError } from '../errors.ts'
import { parseDuration } from './quantities.ts'
import { localTime } from './words.ts'

const TIME = String.raw`(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,3})\d*)?)?`
const ZONE = String.raw`\s*(Z|[+-]\d{2}(?::?\d{2})?)?`
const WRITTEN = new RegExp(
  String.raw`^(?:(hoy|ayer|ma(?:ñ|n)ana)|(\d{4})-(\d{2})-(\d{2})|(\d{1,2})/(\d{1,2})/(\d{4}))?(?:(?:^|[T ]\s*)${TIME}${ZONE})?$`,
  'iu',
)
const DAYS: Readonly<Record<string, number>> = { hoy: 0, ayer: -1, mañana: 1, manana: 1 }
const [FIRST_YEAR, LAST_YEAR] = [1900, 9999]

/**
 * What a day alone means, and which way a duration or a time of day goes: `start` its first instant, back from now; `end`
 * (`--hasta` includes the day) the first one after it, back from now; `future` the same, from now on.
 */
export type Edge = 'start' | 'end' | 'future'

/**
 * @param option the option's name, for the message
 * @throws UsageError when it is none, or one that has passed where only a future one makes sense
 */
export function parseInstant(text: string, option: string, edge: Edge, now = new Date()): Date {
  const instant = read(text.trim(), edge, now)
  if (instant === null) {
    throw new UsageError(
      `${option}: «${text}» no es una fecha ni una duración. Se acepta, por ejemplo: 2h, 7d, hoy, ayer, 08:30, 24/11/2026, ` +
        '2026-11-24, «2026-11-24 10:30», 2026-11-24T10:30:00-03:00.',
    )
  }
  const year = instant.getFullYear()
  if (!(year >= FIRST_YEAR && year <= LAST_YEAR)) {
    throw new UsageError(
      `${option}: «${text}» queda fuera de los años ${FIRST_YEAR} a ${LAST_YEAR}: indique una fecha más cercana.`,
    )
  }
  if (edge === 'future' && instant <= now)
    throw new UsageError(`${option}: «${text}» es ${localTime(instant)}, que ya pasó.`)
  return instant
}

/** What was understood, for whoever typed it: `Desde 2026-11-24 00:00:00.000 -03:00, hasta …`. */
export function rangeText(since: Date | undefined, until: Date | undefined): string {
  const ends = [since && `desde ${localTime(since)}`, until && `hasta ${localTime(until)}`].filter(Boolean).join(', ')
  return ends.charAt(0).toUpperCase() + ends.slice(1)
}

function read(text: string, edge: Edge, now: Date): Date | null {
  // A bare number is not taken as seconds here: `--desde 2026` is a year that lacks its month.
  const span = /[a-z]$/i.test(text) ? parseDuration(text) : null
  if (span !== null) return new Date(now.getTime() + (edge === 'future' ? span : -span))
  const match = text === '' ? null : WRITTEN.exec(text)
  if (match === null) return null
  const [word, isoYear, isoMonth, isoDay, day, month, year, hour, minute, second, fraction, zone] = match.slice(1)
  const time = hour === undefined ? null : timeOf(hour, minute, second, fraction)
  if (hour !== undefined && time === null) return null
  if (isoYear !== undefined || year !== undefined) {
    const date = [Number(isoYear ?? year), Number(isoMonth ?? month), Number(isoDay ?? day)] as const
    return exists(date) ? at(date, time, zone, edge) : null
  }
  // Of days that have a name only this machine knows which they are.
  if (zone !== undefined) return null
  const named = word === undefined ? 0 : DAYS[word.toLowerCase()]!
  const today = (days: number) =>
    at([now.getFullYear(), now.getMonth() + 1, now.getDate() + days], time, undefined, edge)
  const instant = today(named)
  if (word !== undefined) return instant
  // A time alone is the last one, or the next.
  if (edge === 'start' && instant > now) return today(-1)
  return edge === 'future' && instant <= now ? today(1) : instant
}

type Time = readonly [hour: number, minute: number, second: number, millis: number]

function timeOf(hour: string, minute = '0', second = '0', fraction = '0'): Time | null {
  const time = [Number(hour), Number(minute), Number(second), Number(fraction.padEnd(3, '0'))] as const
  const isMidnight = time[0] === 24 && time[1] === 0 && time[2] === 0 && time[3] === 0
  return (time[0] < 24 || isMidnight) && time[1] < 60 && time[2] < 60 ? time : null
}

function exists([year, month, day]: readonly [number, number, number]): boolean {
  const date = new Date(Date.UTC(2000, month - 1, day))
  date.setUTCFullYear(year, month - 1, day)
  return month >= 1 && month <= 12 && date.getUTCDate() === day && date.getUTCMonth() === month - 1
}

function at(
  [year, month, day]: readonly [number, number, number],
  time: Time | null,
  zone: string | undefined,
  edge: Edge,
): Date {
  // Set apart: the constructors take the years 0 to 99 for those of the last century.
  const date = new Date(0)
  if (zone !== undefined) {
    date.setUTCFullYear(year, month - 1, day)
    date.setUTCHours(...(time ?? [0, 0, 0, 0]))
    return new Date(date.getTime() - offset(zone))
  }
  date.setHours(0, 0, 0, 0)
  date.setFullYear(year, month - 1, time === null && edge !== 'start' ? day + 1 : day)
  date.setHours(...(time ?? ([0, 0, 0, 0] as const)))
  return date
}

/** `-03:00`, `-0300`, `-03`, `Z` → ms east of Greenwich. */
function offset(zone: string): number {
  if (/^z$/i.test(zone)) return 0
  const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(3).replace(':', '') || 0)
  return (zone.startsWith('-') ? -minutes : minutes) * 60_000
}
