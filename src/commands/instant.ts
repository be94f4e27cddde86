/** Instants as people type them: `--desde 2h`, `--hasta 2026-11-24`, `--desde '2026-11-24 10:30'`. */
import { parseDuration } from '../config/quantities.ts'
import { UsageError } from '../errors.ts'

const WRITTEN =
  /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,3})\d*)?)?\s*(Z|[+-]\d{2}(?::?\d{2})?)?)?$/i

/**
 * An instant, of a duration back from now or of an ISO 8601 date with or without time; without a zone it is local time.
 * @param option the option's name, for the message
 * @param edge   a date alone means its first instant, or (`end`) the first one after it: `--hasta` includes the day
 * @throws UsageError when it is neither
 */
export function parseInstant(text: string, option: string, edge: 'start' | 'end', now = new Date()): Date {
  const trimmed = text.trim()
  // A bare number is not taken as seconds here: `--desde 2026` is a year that lacks its month.
  const back = /[a-z]$/i.test(trimmed) ? parseDuration(trimmed) : null
  const instant = back === null ? parseWritten(trimmed, edge) : new Date(now.getTime() - back)
  if (instant && !Number.isNaN(instant.getTime())) return instant
  throw new UsageError(
    `${option}: «${text}» no es una fecha ni una duración. ` +
      'Se acepta, por ejemplo: 2h, 7d, 2026-11-24, «2026-11-24 10:30», 2026-11-24T10:30:00-03:00.',
  )
}

function parseWritten(text: string, edge: 'start' | 'end'): Date | null {
  const match = WRITTEN.exec(text)
  if (!match) return null
  const [year, month, day, hour = 0, minute = 0, second = 0] = match
    .slice(1, 7)
    .map((part) => part && Number(part)) as [number, number, number, number?, number?, number?]
  const exists = new Date(Date.UTC(year, month - 1, day)).getUTCDate() === day && month >= 1 && month <= 12
  if (!exists || hour > 24 || minute > 59 || second > 59) return null
  const zone = match[8]
  const millis = Number((match[7] ?? '0').padEnd(3, '0'))
  if (match[4] === undefined) return new Date(year, month - 1, day + (edge === 'end' ? 1 : 0))
  if (zone === undefined) return new Date(year, month - 1, day, hour, minute, second, millis)
  return new Date(Date.UTC(year, month - 1, day, hour, minute, second, millis) - offset(zone))
}

/** `-03:00`, `-0300`, `-03`, `Z` → ms east of Greenwich. */
function offset(zone: string): number {
  if (/^z$/i.test(zone)) return 0
  const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(3).replace(':', '') || 0)
  return (zone.startsWith('-') ? -minutes : minutes) * 60_000
}
