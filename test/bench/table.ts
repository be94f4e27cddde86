/** The table: aligned for a terminal, or in Markdown. Pure. */
import { type Goal, judge, type Line, type Measured, median, type Unit, type Verdict } from './row.ts'

const COLUMNS = ['Qué', 'Quién', 'Mediana', 'Mín.', 'Máx.', 'Meta', 'Resultado'] as const
const NUMERIC = new Set([2, 3, 4])

type Cells = readonly [string, string, string, string, string, string, string]

/** @param heading machine and versions, one a line */
export function terminalTable(heading: readonly string[], results: readonly Measured[]): string {
  const sections = results.map((measured) => ({ title: measured.row.title, rows: cellsOf(measured) }))
  const all = [COLUMNS, ...sections.flatMap(({ rows }) => rows)]
  const widths = COLUMNS.map((_, i) => Math.max(...all.map((cells) => cells[i]!.length)))
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (NUMERIC.has(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join('  ')
      .trimEnd()
  const body = sections.flatMap(({ title, rows }) => ['', title, ...rows.map(line)])
  return [...heading, '', line(COLUMNS), line(widths.map((width) => '─'.repeat(width))), ...body, ''].join('\n')
}

export function markdownTable(heading: readonly string[], results: readonly Measured[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  const rule = COLUMNS.map((_, i) => (NUMERIC.has(i) ? '---:' : '---'))
  const sections = results.flatMap((measured) => [
    line([`**${measured.row.title}**`, ...COLUMNS.slice(1).map(() => '')]),
    ...cellsOf(measured).map(line),
  ])
  return [...heading.map((text) => `* ${text}`), '', line(COLUMNS), line(rule), ...sections, ''].join('\n')
}

/** A file with the table in it: between its marks, where it has them, else as the whole of it. */
export function withTable(file: string, table: string): string {
  const marked = /(<!-- tabla -->\n)[\s\S]*?(<!-- fin de la tabla -->)/
  return marked.test(file) ? file.replace(marked, (_, before, after) => before + table + after) : table
}

/** One row of the table for each line and contender; a contender with several goals goes on in the next one. */
function cellsOf({ row, contenders, samples, goals: all }: Measured): Cells[] {
  return row.lines.flatMap((line) =>
    contenders.flatMap(({ who }, index): Cells[] => {
      const values = samples.get(line.key)?.get(who) ?? []
      if (values.length === 0) return []
      const show = (value: number) => figure(value, line.unit)
      const figures = [median(values), Math.min(...values), Math.max(...values)].map(show) as [string, string, string]
      const goals = all
        .filter((goal) => goal.line === line.key && goal.who === who)
        .map((goal) => goalCells(judge(goal, samples, contenders), line))
      const [first = ['', ''], ...others] = goals
      const isFirst = index === contenders.findIndex((each) => samples.get(line.key)?.has(each.who))
      return [
        [isFirst ? `  ${line.label}` : '', who, ...figures, first[0]!, first[1]!],
        ...others.map((goal): Cells => ['', '', '', '', '', goal[0]!, goal[1]!]),
      ]
    }),
  )
}

function goalCells({ goal, text, value, met }: Verdict, line: Line): [string, string] {
  const meta = goal.kind === 'at most' ? `≤ ${figure(goal.value, line.unit)}` : text
  if (value === null || met === null) return [meta, 'sin medir']
  return [meta, `${met ? 'sí' : 'NO'} (${resultOf(goal, value, line)})`]
}

function resultOf(goal: Goal, value: number, line: Line): string {
  return goal.kind === 'at most' ? figure(value, line.unit) : `${number(value, 2)} ×`
}

/** With its unit. */
export function figure(value: number, unit: Unit): string {
  switch (unit) {
    case 'per second':
      return `${number(value, value < 10 ? 1 : 0)}/s`
    case 'ms':
      return `${number(value, value < 10 ? 2 : value < 100 ? 1 : 0)} ms`
    case 'us':
      return `${number(value, 0)} µs`
    case 'bytes':
      return `${number(value, 0)} B`
    case 'MB':
      return `${number(value, 1)} MB`
    case 'percent':
      return `${number(value, 2)} %`
    case 'count':
      return number(value, value < 10 ? 1 : 0)
  }
}

/** As Spanish writes it: `12 345,6`. */
function number(value: number, decimals: number): string {
  const [whole = '', fraction] = value.toFixed(decimals).split('.')
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, '\u00a0')
  return fraction === undefined ? grouped : `${grouped},${fraction}`
}
