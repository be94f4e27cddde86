/**
 * How results reach the terminal or the next program: results on stdout, everything else on stderr, colour only where
 * a person looks at it.
 *
 * Whatever a text is made of (a certificate, an answer, a queue entry), it passes here: secrets are replaced, and what could
 * command the terminal is escaped.
 */
import { writeSync } from 'node:fs'
import type Table from 'cli-table3'
import { EXIT_CODES, systemReason } from '../errors.ts'
import { Secrets, visible } from '../model/secrets.ts'
import { localTime } from '../model/words.ts'

export { count, duration, localTime } from '../model/words.ts'

let secrets = new Secrets()

/** From now on these are replaced in all that is printed. */
export function withhold(known: Secrets): void {
  secrets = known
}

/** As it may be shown, with its line feeds and tabs. */
function shown(text: string): string {
  return visible(secrets.hide(text))
}

/** The same on one line: for what strangers wrote inside a line of ours. */
export function oneLine(text: string): string {
  return shown(text).replaceAll('\n', '\\n').replaceAll('\t', '\\t')
}

let watched = false

/**
 * What happens when stdout takes no more. The next program of a pipe that has read enough (`resthooks auditoria | head`) is the
 * ordinary end of a listing; anything else (a full disk) is a result that nobody gets.
 */
let onOutputLost = (error: NodeJS.ErrnoException): void => {
  if (error.code === 'EPIPE') process.exit()
  note(`resthooks: ${lostOutput(error)}`)
  process.exit(EXIT_CODES.FALLO)
}

/** Our stdout. */
export function stdout(): NodeJS.WriteStream {
  if (!watched) {
    watched = true
    process.stdout.on('error', (error: NodeJS.ErrnoException) => onOutputLost(error))
  }
  return process.stdout
}

/** For a command that has something to say or to finish when its output is lost: it may be called several times. */
export function whenOutputIsLost(act: (error: NodeJS.ErrnoException) => void): void {
  onOutputLost = act
}

/** Why the results do not arrive, for a sentence. */
export function lostOutput(error: unknown): string {
  return `no se pudo escribir en la salida estándar: ${systemReason(error) ?? String(error)}`
}

/**
 * A result line on stdout.
 * @param label before it, as it is: ours, and painted
 */
export function line(text = '', label = ''): void {
  stdout().write(`${label}${shown(text)}\n`)
}

/** Result lines that passed `oneLine`, painted or not. */
export function lines(cleaned: readonly string[]): void {
  stdout().write(cleaned.map((each) => `${each}\n`).join(''))
}

/** For the next program alone, to the letter: what it is made of is ours, and one word replaced would make it something else. */
export function verbatim(text: string): void {
  stdout().write(`${text}\n`)
}

let atOnce = false

/** Whether `onlyLine` has written its line, past the stream. */
export function wroteAtOnce(): boolean {
  return atOnce
}

/**
 * The one result line of a command that must start fast: making Node's stream for it costs more than the line.
 * @throws the system's error where it cannot be written
 */
export function onlyLine(text: string): void {
  try {
    writeSync(1, `${visible(text)}\n`)
    atOnce = true
  } catch (error) {
    // A pipe that is full: the stream knows how to wait.
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
    line(text)
  }
}

let deaf = false

/** Something to know that is not the result, on stderr. Where that is full or closed, there is nowhere left to say it. */
export function note(text: string): void {
  if (!deaf) {
    deaf = true
    process.stderr.on('error', () => {})
  }
  process.stderr.write(`${shown(text)}\n`)
}

/** One JSON document on stdout. Dates become ISO 8601, Buffers base64, bigints strings. */
export function json(value: unknown): void {
  stdout().write(`${visible(JSON.stringify(value, jsonValue, 2))}\n`)
}

/** One JSON object on a line of its own. */
export function jsonLine(value: unknown): void {
  stdout().write(`${jsonText(value)}\n`)
}

/** The same, without the end of the line. */
export function jsonText(value: unknown): string {
  return visible(JSON.stringify(value, jsonValue))
}

function jsonValue(this: unknown, key: string, value: unknown): unknown {
  const original = (this as Record<string, unknown>)[key]
  if (Buffer.isBuffer(original)) return original.toString('base64')
  if (original instanceof Map) return Object.fromEntries(original)
  if (typeof value === 'string') return secrets.hide(value)
  return typeof value === 'bigint' ? value.toString() : value
}

/** True where colour and redrawing serve a person: a terminal, and no NO_COLOR (https://no-color.org). */
export function isInteractive(): boolean {
  return process.stdout.isTTY === true && !process.env.NO_COLOR
}

const [DEFAULT_WIDTH, NARROWEST] = [100, 40]

/** How many characters a line of a screen may have: the terminal's, `COLUMNS` where there is none, else a hundred. */
export function width(): number {
  const asked = process.stdout.columns ?? Number(process.env.COLUMNS)
  return asked > 0 ? Math.max(NARROWEST, asked) : DEFAULT_WIDTH
}

/** Lines of at most so many characters, broken at blanks where there are any. @param text what was cleaned (`oneLine`) */
export function wrap(text: string, most: number): string[] {
  const lines: string[] = []
  let line = ''
  for (let word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > most) {
      lines.push(line)
      line = ''
    }
    for (; word.length > most; word = word.slice(most)) lines.push(word.slice(0, most))
    line = line === '' ? word : `${line} ${word}`
  }
  return line === '' && lines.length > 0 ? lines : [...lines, line]
}

/**
 * Rows as a table whose columns are keys of the rows. Nothing is cut: the lines are as wide as their content.
 * @param rows    values are shown by `text`
 * @param columns keys, in order, also the headings
 */
export async function table<Row extends object>(
  rows: readonly Row[],
  columns: readonly (keyof Row & string)[],
): Promise<void> {
  // Painted, so past the cleaner, which each cell has passed.
  stdout().write(`${await tableText(rows, columns, isInteractive())}\n`)
}

/** @param painted headings in bold, for whoever writes it past `line` */
export async function tableText<Row extends object>(
  rows: readonly Row[],
  columns: readonly (keyof Row & string)[],
  painted = false,
): Promise<string> {
  const [{ default: CliTable }, { default: widthOf }] = await Promise.all([
    import('cli-table3'),
    import('string-width'),
  ])
  const cells = rows.map((row) => columns.map((column) => text(row[column])))
  // One column width for all slices: cli-table3 takes a time that grows with the square of the rows of one table.
  const colWidths = columns.map(
    (name, at) => PADDING + cells.reduce((most, row) => Math.max(most, widthOf(row[at]!)), widthOf(name)),
  )
  const draw = (head: readonly string[], slice: readonly (readonly string[])[]) => {
    const drawn: Table.Table = new CliTable({
      head: [...head],
      colWidths,
      style: { head: painted ? ['bold'] : [], border: [], compact: true },
      chars: isInteractive() ? {} : PLAIN,
    })
    drawn.push(...slice.map((row) => [...row]))
    return drawn.toString().split('\n')
  }
  const lines = draw(columns, cells.slice(0, ROWS_A_DRAWING))
  // Each further drawing without the frame that would part it from the one before.
  const [above, below] = isInteractive() ? [1, -1] : [0, undefined]
  const bottom = lines.at(-1)!
  if (isInteractive()) lines.pop()
  for (let from = ROWS_A_DRAWING; from < cells.length; from += ROWS_A_DRAWING) {
    lines.push(...draw([], cells.slice(from, from + ROWS_A_DRAWING)).slice(above, below))
  }
  if (isInteractive()) lines.push(bottom)
  return lines.map((each) => each.trimEnd()).join('\n')
}

const ROWS_A_DRAWING = 100
/** Blanks that a cell has around its text. */
const PADDING = 2

/** Columns parted by blanks alone, for `awk` and e-mail. */
const PLAIN = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: ' ',
}

/** A value as a cell: local time with its zone, lists comma-separated, nothing for null. */
export function text(value: unknown): string {
  if (value === null || value === undefined) return ''
  if (value instanceof Date) return localTime(value)
  if (typeof value === 'boolean') return value ? 'sí' : 'no'
  if (Array.isArray(value)) return value.map(text).join(', ')
  return oneLine(typeof value === 'object' ? JSON.stringify(value) : String(value))
}
