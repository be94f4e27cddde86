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
import { localTime, shortTime } from '../model/words.ts'

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

/** What is put together of texts that each have passed the cleaner (`text`), and may be painted. */
export function cleaned(whole: string): void {
  stdout().write(whole)
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
export function wrap(text: string, room: number): string[] {
  // However narrow: it goes on, a character a line.
  const most = Math.max(1, room)
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

/** What of a table may go where a screen is too narrow for it. */
export interface Fit {
  /** Columns that are left out, the first one first. */
  readonly less?: readonly string[]
  /** Columns whose text is never cut: what a person copies. */
  readonly whole?: readonly string[]
}

/**
 * Rows as a table whose columns are keys of the rows. On a screen whose width is known it fits; for the next program nothing is cut.
 * @param rows    values are shown by `text`
 * @param columns keys, in order, also the headings
 */
export async function table<Row extends object>(
  rows: readonly Row[],
  columns: readonly (keyof Row & string)[],
  fit: Fit = {},
): Promise<void> {
  cleaned(`${await tableText(rows, columns, { painted: isInteractive(), fit, most: knownWidth() })}\n`)
}

/** Of the terminal, or the `COLUMNS` that somebody set for us; null: a file or a pipe, whose lines are as long as they are. */
export function knownWidth(): number | null {
  return process.stdout.isTTY || Number(process.env.COLUMNS) > 0 ? width() : null
}

interface TableOptions {
  /** Headings in bold, for whoever writes it past `line`. */
  readonly painted?: boolean
  readonly fit?: Fit
  /** Characters a line may have. */
  readonly most?: number | null
}

export async function tableText<Row extends object>(
  rows: readonly Row[],
  columns: readonly (keyof Row & string)[],
  { painted = false, fit = {}, most = null }: TableOptions = {},
): Promise<string> {
  const [{ default: CliTable }, { default: widthOf }] = await Promise.all([
    import('cli-table3'),
    import('string-width'),
  ])
  const now = new Date()
  const measured = (name: keyof Row & string, short: boolean): Column => {
    const cells = rows.map((row) => {
      const value: unknown = row[name]
      return short && value instanceof Date ? shortTime(value, now) : text(value)
    })
    const isTime = rows.some((row) => row[name] instanceof Date)
    return {
      name,
      isTime,
      cells,
      width: cells.reduce((widest, cell) => Math.max(widest, widthOf(cell)), widthOf(name)),
    }
  }
  let shown = columns.map((name) => measured(name, false))
  if (most !== null && lineWidth(shown) > most) {
    shown = fitted(
      columns.map((name) => measured(name, true)),
      fit,
      most,
    )
  }
  const colWidths = shown.map((column) => PADDING + column.width)
  const draw = (head: readonly string[], from: number, to: number) => {
    const drawn: Table.Table = new CliTable({
      head: [...head],
      colWidths,
      style: { head: painted ? ['bold'] : [], border: [], compact: true },
      chars: PLAIN,
    })
    for (let row = from; row < Math.min(to, rows.length); row++) drawn.push(shown.map(({ cells }) => cells[row]!))
    return drawn.toString().split('\n')
  }
  const names = shown.map(({ name }) => name)
  const lines = draw(names, 0, ROWS_A_DRAWING)
  // cli-table3 takes a time that grows with the square of the rows of one table.
  for (let from = ROWS_A_DRAWING; from < rows.length; from += ROWS_A_DRAWING) {
    lines.push(...draw([], from, from + ROWS_A_DRAWING))
  }
  return lines.map((each) => each.trimEnd()).join('\n')
}

interface Column {
  readonly name: string
  /** Half a time says nothing: it is not cut. */
  readonly isTime: boolean
  readonly cells: readonly string[]
  readonly width: number
}

const ROWS_A_DRAWING = 100
/** Blanks that a cell has around its text. */
const PADDING = 2
/** A column that is cut shows at least so much. */
const NARROWEST_COLUMN = 12

function lineWidth(columns: readonly Column[]): number {
  return columns.reduce((sum, column) => sum + column.width + PADDING + 1, -1)
}

/** Leaves out what may go until the rest can be cut to fit; then cuts the widest ones alike. */
function fitted(columns: readonly Column[], { less = [], whole = [] }: Fit, most: number): Column[] {
  const isWhole = ({ name, isTime }: Column) => isTime || whole.includes(name)
  const least = (column: Column) => (isWhole(column) ? column.width : Math.min(column.width, NARROWEST_COLUMN))
  let left = columns.filter(({ name, cells }) => !less.includes(name) || cells.some((cell) => cell !== ''))
  for (const name of less) {
    if (lineWidth(left.map((column) => ({ ...column, width: least(column) }))) <= most) break
    left = left.filter((column) => column.name !== name)
  }
  const widest = () => Math.max(0, ...left.filter((column) => column.width > least(column)).map(({ width }) => width))
  for (let cut = widest(); lineWidth(left) > most && cut > NARROWEST_COLUMN; cut = widest()) {
    left = left.map((column) => (column.width === cut && !isWhole(column) ? { ...column, width: cut - 1 } : column))
  }
  return left
}

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
