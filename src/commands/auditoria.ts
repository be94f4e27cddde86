/** `auditoria`: lists deliveries, counts them, or follows them as they change. */
import { type Command, Option } from 'commander'
import {
  type AuditQueries,
  type ChangeFeed,
  COUNTED_BY,
  type Count,
  type CountedBy,
  type DeliveryFilters,
  type DeliveryListing,
  type OnProgress,
} from '../audit/queries.ts'
import { AUDIT_PART } from '../config/config.ts'
import { Unavailable, UsageError } from '../errors.ts'
import { authorName } from '../model/author.ts'
import { amount, localTime } from '../model/words.ts'
import type { Context } from './context.ts'
import { CSV_BEGINNING, commandLine, csvRow, paged } from './formats.ts'
import { cleaned, type Fit, isInteractive, json, jsonLine, knownWidth, line, note, tableText, text } from './print.ts'
import { withProgress } from './progress.ts'
import { addFilterOptions, type FilterOptions, parseFilters, parseLimit, requireKnown } from './select.ts'

const COLUMNS = [
  'creado',
  'evento',
  'listener',
  'estado',
  'intentos',
  'proximo_intento',
  'motivo',
  'por',
  'mensaje_id',
] as const
const FIT: Fit = {
  less: ['proximo_intento', 'intentos', 'por', 'motivo', 'evento', 'creado'],
  whole: ['mensaje_id'],
}
const LIMIT = 50
const PAGE = 1_000
const POLL = 1_000
const LONGEST_PAUSE = 30_000

const FORMATS = ['tabla', 'json', 'jsonl', 'csv'] as const
const ORDERS = { nuevas: 'newest', viejas: 'oldest' } as const

interface Options extends FilterOptions {
  readonly json?: boolean
  readonly formato?: (typeof FORMATS)[number]
  readonly orden: keyof typeof ORDERS
  readonly contar?: CountedBy
  readonly despuesDe?: string
  readonly seguir?: boolean
  readonly sinListener?: boolean
}

export function auditoria(program: Command, context: Context): void {
  addFilterOptions(
    program
      .command('auditoria')
      .description('lista las entregas, las más nuevas primero (50 si no se indica --limite)')
      .option('--seguir', 'queda mostrando las entregas a medida que cambian, hasta Ctrl+C')
      .option(
        '--sin-listener',
        'los mensajes que ningún listener recibió (se envían con: resthooks reenviar --sin-listener)',
      )
      .addOption(
        new Option('--contar <qué>', 'cuántas hay de cada uno; error: intentos que no fueron exitosos').choices(
          COUNTED_BY,
        ),
      )
      .addOption(new Option('--orden <orden>', 'por fecha de creación').choices(Object.keys(ORDERS)).default('nuevas'))
      .option('--despues-de <cursor>', 'la página que sigue: como la muestra, al final, la anterior')
      .addOption(
        new Option('--formato <formato>', 'csv: para una planilla de cálculo; jsonl: un objeto JSON por línea')
          .choices(FORMATS)
          .default(undefined, 'tabla'),
      )
      .option('--json', 'lo mismo que --formato json; con --seguir, un objeto JSON por línea'),
  ).action(async (options: Options) => {
    const format = formatOf(options)
    checkTogether(options)
    const filters = parseFilters(options)
    const limit = parseLimit(options, options.seguir ? 10 : LIMIT)
    await context.configToLook(AUDIT_PART)
    const audit = await context.audit()
    if (!options.sinListener) await requireKnown(context, filters)
    if (options.seguir) {
      await context.tellStray({ queue: false })
      return follow(audit, filters, limit, format === 'json' || format === 'jsonl')
    }
    const shown = options.sinListener
      ? await showPages(unheardPages(audit, filters, options), UNHEARD, limit, format)
      : options.contar
        ? await showCounts(audit, filters, options.contar, format)
        : await showPages(deliveryPages(audit, filters, options), DELIVERIES, limit, format)
    if (shown === 0) await context.tellStray({ queue: false })
  })
}

type Format = (typeof FORMATS)[number]

function formatOf({ json, formato }: Options): Format {
  if (json && formato !== undefined && formato !== 'json') throw new UsageError('use --json o --formato, no ambos.')
  return formato ?? (json ? 'json' : 'tabla')
}

function checkTogether(options: Options): void {
  if (options.sinListener && (options.seguir || options.estado || options.listener !== undefined || options.contar)) {
    throw new UsageError(
      '--sin-listener no se combina con --seguir, --contar, --estado ni --listener: no son entregas.',
    )
  }
  const apart = options.seguir ? '--seguir' : options.contar ? '--contar' : null
  if (apart && (options.despuesDe !== undefined || options.orden !== 'nuevas')) {
    throw new UsageError(`${apart} no se combina con --despues-de ni --orden.`)
  }
  if (options.contar && (options.seguir || options.limite !== undefined)) {
    throw new UsageError('--contar no se combina con --seguir ni --limite.')
  }
  if (options.contar === 'error' && options.buscar !== undefined) {
    throw new UsageError('--contar error cuenta intentos: no se combina con --buscar.')
  }
  if (options.seguir && (options.buscar !== undefined || options.formato === 'csv')) {
    throw new UsageError('--seguir no se combina con --buscar ni --formato csv.')
  }
}

interface ShownPage {
  readonly rows: readonly object[]
  readonly next: string | null
}

/** One page. */
type Pages = (limit: number, cursor: string | undefined, tell: OnProgress) => Promise<ShownPage>

/** What is listed. */
interface Listed {
  readonly columns: readonly string[]
  readonly fit: Fit
  readonly nothing: string
}

const DELIVERIES: Listed = { columns: COLUMNS, fit: FIT, nothing: 'No hay entregas que cumplan esas condiciones.' }
const UNHEARD: Listed = {
  columns: ['recibido', 'evento', 'solo_listener', 'origen', 'mensaje_id'],
  fit: { less: ['solo_listener', 'origen'], whole: ['mensaje_id'] },
  nothing: 'No hay mensajes sin listener que cumplan esas condiciones.',
}

function deliveryPages(audit: AuditQueries, filters: DeliveryFilters, { orden, despuesDe }: Options): Pages {
  return async (limit, cursor = despuesDe, tell) => {
    const { rows, next } = await audit.deliveries(filters, { order: ORDERS[orden], limit, cursor }, tell)
    return {
      rows: rows.map((row) => ({
        ...row,
        por: row.accion && authorName({ user: row.accion.quien, host: row.accion.equipo }),
      })),
      next,
    }
  }
}

function unheardPages(audit: AuditQueries, filters: DeliveryFilters, { orden, despuesDe }: Options): Pages {
  return async (limit, cursor = despuesDe, tell) => {
    const { rows, next } = await audit.unheard(filters, { order: ORDERS[orden], limit, cursor }, tell)
    return { rows: rows.map(({ id, ...rest }) => ({ mensaje_id: id, ...rest })), next }
  }
}

/** Page after page: what is exported row by row never has to fit into memory. @returns how many there were */
async function showPages(
  pages: Pages,
  { columns, fit, nothing }: Listed,
  limit: number,
  format: Format,
): Promise<number> {
  const gathered: object[] = []
  if (format === 'csv') cleaned(CSV_BEGINNING + csvRow(columns))
  let next: string | null = null
  let left = limit
  while (left > 0) {
    const cursor: string | undefined = next ?? undefined
    const page: ShownPage = await withProgress('Buscando', (tell) => pages(Math.min(left, PAGE), cursor, tell))
    if (format === 'csv') cleaned(page.rows.map((row) => csvRow(columns.map((name) => cellOf(row, name)))).join(''))
    else if (format === 'jsonl') for (const row of page.rows) jsonLine(row)
    else gathered.push(...page.rows)
    left -= page.rows.length
    next = page.next
    if (next === null) break
  }
  if (format === 'json') json(gathered)
  else if (format === 'tabla' && gathered.length === 0) note(nothing)
  else if (format === 'tabla') {
    const options = { painted: isInteractive(), fit, most: knownWidth() }
    const shown = columns.filter((name) => name !== 'por' || gathered.some((row) => cellOf(row, name)))
    await paged(await tableText(gathered, shown as never, options))
  }
  if (next !== null) {
    note(`Hay más: se muestran ${limit}. Siguiente página:`)
    note(`  ${commandLine(process.argv.slice(2), '--despues-de', ['--despues-de', next])}`)
  }
  return limit - left
}

function cellOf(row: object, name: string): unknown {
  return (row as Record<string, unknown>)[name]
}

const COUNT_COLUMNS = ['entregas', 'exitosas', 'en_espera', 'fallidas', 'descartadas', 'primera', 'ultima'] as const

/** @returns how many rows there were */
async function showCounts(
  audit: AuditQueries,
  filters: DeliveryFilters,
  by: CountedBy,
  format: Format,
): Promise<number> {
  const counts = await withProgress('Contando', (tell) => audit.count(filters, by, tell))
  const columns = [
    by,
    ...(by === 'error' ? ['intentos', 'primera', 'ultima'] : by === 'estado' ? ['entregas'] : COUNT_COLUMNS),
  ]
  const rows = counts.map((count) => countRow(count, by, columns))
  if (format === 'json') json(rows)
  else if (format === 'jsonl') rows.forEach(jsonLine)
  else if (format === 'csv') {
    const cells = rows.map((row) => columns.map((name) => row[name]))
    cleaned(CSV_BEGINNING + [columns, ...cells].map(csvRow).join(''))
  } else if (rows.length === 0) {
    note(by === 'error' ? 'No hay intentos sin éxito en esas condiciones.' : DELIVERIES.nothing)
  } else {
    const fit = {
      less: ['descartadas', 'primera', 'exitosas', 'en_espera', 'ultima', 'entregas'],
      whole: [by],
    }
    const shown = rows.map((row) => mapFigures(row))
    await paged(await tableText(shown, columns, { painted: isInteractive(), fit, most: knownWidth() }))
    const [what, total] =
      by === 'error'
        ? (['intentos', sumOf(counts, 'intentos')] as const)
        : (['entregas', sumOf(counts, 'entregas')] as const)
    note(`${amount(total)} ${what}.`)
  }
  return rows.length
}

function countRow(count: Count, by: CountedBy, columns: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    columns.map((name) => [name, name === by ? (count.de ?? '(sin dato)') : cellOf(count, name)]),
  )
}

/** `12.431`, as everywhere else that a person reads. */
function mapFigures(row: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name, typeof value === 'number' ? amount(value) : value]),
  )
}

function sumOf(counts: readonly Count[], name: 'entregas' | 'intentos'): number {
  return counts.reduce((sum, count) => sum + count[name], 0)
}

/** The last few first, as `tail -f` does; then what changes. An outage of Postgres is said once and waited out. */
async function follow(audit: AuditQueries, filters: DeliveryFilters, limit: number, asJson: boolean): Promise<never> {
  const show = (row: DeliveryListing) => (asJson ? jsonLine(row) : line(changeLine(row)))
  const feed: ChangeFeed = await audit.changes(filters)
  for (const row of (await audit.deliveries(filters, { limit })).rows.toReversed()) show(row)
  for (let failures = 0; ; ) {
    try {
      for (const row of await feed.next()) show(row)
      if (failures > 0) note('La base volvió a responder.')
      failures = 0
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error
      if (failures++ === 0) note(`${error.message} Se sigue intentando.`)
    }
    await new Promise((resolve) => setTimeout(resolve, Math.min(POLL * 2 ** failures, LONGEST_PAUSE)))
  }
}

function changeLine(row: DeliveryListing): string {
  const next = row.proximo_intento ? `próximo ${localTime(row.proximo_intento)}` : ''
  const attempts = row.intentos === 1 ? '1 intento' : `${row.intentos} intentos`
  return [localTime(row.actualizado), row.mensaje_id, row.evento, row.listener, row.estado, attempts, next, row.motivo]
    .map(text)
    .filter(Boolean)
    .join('  ')
}
