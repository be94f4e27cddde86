/**
 * Durations and sizes as people write them (INTERFACE §1), for the files and for the options of the commands.
 *
 * `parse-duration` does the arithmetic; it also reads `5 potatoes` as nothing and `5,5` as 55, so what may reach it
 * is decided here.
 */
import parse from 'parse-duration'
import type { Bytes, Millis } from './message.ts'

const DURATION = /^(?:\d{1,15}(?:\.\d{1,6})?|(?:\d{1,15}(?:\.\d{1,6})?\s*(?:ms|s|m|h|d)\s*)+)$/i
const SIZE = /^(\d{1,15}(?:\.\d{1,6})?)\s*([kmg]?)(?:i?b)?$/i
const SIZE_UNITS: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 }

/** `500ms`, `5s`, `10m`, `2h`, `7d`, `1h30m`; a bare number is seconds. Null when it is none of these. */
export function parseDuration(text: string): Millis | null {
  const trimmed = text.trim()
  if (!DURATION.test(trimmed)) return null
  const seconds = parse(trimmed, 's')
  if (seconds === null) return null
  const millis = Math.round(seconds * 1000)
  return Number.isSafeInteger(millis) ? millis : null
}

const LONGEST_DELAY: Millis = 3650 * 86_400_000

/** Like `parseDuration`, for how long a message waits: null also beyond ten years, as a date would soon be none any more. */
export function parseDelay(text: string): Millis | null {
  const delay = parseDuration(text)
  return delay === null || delay > LONGEST_DELAY ? null : delay
}

/** `64k`, `1M`, `2G` (powers of 1024); bare is bytes. Null when it is none of these. */
export function parseSize(text: string): Bytes | null {
  const match = SIZE.exec(text.trim())
  if (!match) return null
  const bytes = Math.round(Number(match[1]) * SIZE_UNITS[match[2]!.toLowerCase()]!)
  return Number.isSafeInteger(bytes) ? bytes : null
}

/** The shortest of the spellings above, for messages: 90000 → `90s`, 3600000 → `1h`. */
export function formatDuration(millis: Millis): string {
  const units: readonly (readonly [string, number])[] = [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1000],
  ]
  for (const [unit, size] of units) if (millis > 0 && millis % size === 0) return `${millis / size}${unit}`
  return millis === 0 ? '0' : `${millis}ms`
}

/** 65536 → `64k`. */
export function formatSize(bytes: Bytes): string {
  const units: readonly (readonly [string, number])[] = [
    ['G', 1024 ** 3],
    ['M', 1024 ** 2],
    ['k', 1024],
  ]
  for (const [unit, size] of units) if (bytes > 0 && bytes % size === 0) return `${bytes / size}${unit}`
  return String(bytes)
}
