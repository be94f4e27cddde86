/**
 * How a long listing leaves: through the person's pager, as rows of a CSV for a spreadsheet, and with the command that shows what
 * comes after it.
 */
import { localTime, shellWord } from '../model/words.ts'
import { cleaned, text } from './print.ts'

/**
 * A text through the person's `$PAGER` where there is one and a terminal; else as it is.
 * @param whole what passed the cleaner, and may be painted
 */
export async function paged(whole: string): Promise<void> {
  const pager = process.env.PAGER
  if (process.stdout.isTTY !== true || !pager) {
    cleaned(`${whole}\n`)
    return
  }
  const { spawn } = await import('node:child_process')
  // less's own: no pager for what fits, colours as they are, the screen left as it was.
  const child = spawn(pager, {
    shell: true,
    stdio: ['pipe', 'inherit', 'inherit'],
    env: { LESS: 'FRX', ...process.env },
  })
  // Whoever has read enough leaves, and the rest is not wanted.
  child.stdin.on('error', () => {})
  child.stdin.end(`${whole}\n`)
  await new Promise((resolve) => child.once('close', resolve).once('error', resolve))
}

const FORMULA = /^[=+\-@\t\r\uFF1D\uFF0B\uFF0D\uFF20]/

/**
 * A row of a CSV that a spreadsheet with Spanish settings opens rightly: `;` between cells, a comma in numbers of seconds. What
 * would be a formula there is text: it came from outside.
 */
export function csvRow(values: readonly unknown[]): string {
  return `${values.map(csvCell).join(';')}\r\n`
}

/** Before the first row: that it is UTF-8. */
export const CSV_BEGINNING = '\ufeff'

function csvCell(value: unknown): string {
  if (typeof value === 'number') return String(value)
  const plain = value instanceof Date ? localTime(value).replace(/\.(\d{3}) .*$/, ',$1') : text(value)
  const safe = FORMULA.test(plain) ? `'${plain}` : plain
  return /[";\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

/** `resthooks` and the words of a command line, as a shell reads them back: without one of its options, and with `more` words. */
export function commandLine(words: readonly string[], without?: string, more: readonly string[] = []): string {
  const isGone = (word: string, before: string | undefined) =>
    without !== undefined && (word === without || before === without || word.startsWith(`${without}=`))
  const kept = words.filter((word, i) => !isGone(word, words[i - 1]))
  return ['resthooks', ...kept, ...more].map(shellWord).join(' ')
}
