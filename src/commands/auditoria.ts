/** `auditoria`: lists deliveries, or follows them as they change. */
import type { Command } from 'commander'
import type { AuditReader, ChangeFeed, DeliveryFilters, DeliveryListing } from '../audit/queries.ts'
import { Unavailable, UsageError } from '../errors.ts'
import { eventFilter } from '../recovery/selection.ts'
import type { Context } from './context.ts'
import { json, jsonLine, line, localTime, note, table, text } from './print.ts'
import { addFilterOptions, type FilterOptions, parseFilters, parseLimit } from './select.ts'

const COLUMNS = [
  'creado',
  'evento',
  'listener',
  'estado',
  'intentos',
  'proximo_intento',
  'motivo',
  'mensaje_id',
] as const
const LIMIT = 50
const POLL = 1_000
const LONGEST_PAUSE = 30_000

interface Options extends FilterOptions {
  readonly json?: boolean
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
      .option('--json', 'un documento JSON; con --seguir, un objeto JSON por línea'),
  ).action(async (options: Options) => {
    const filters = parseFilters(options)
    const limit = parseLimit(options, options.seguir ? 10 : LIMIT)
    if (options.sinListener && (options.seguir || filters.states || filters.listener !== undefined)) {
      throw new UsageError('--sin-listener no se combina con --seguir, --estado ni --listener: no son entregas.')
    }
    const audit = await context.audit()
    if (options.sinListener) return showUnheard(audit, filters, limit, options)
    if (options.seguir) return follow(audit, filters, limit, options.json === true)
    // One more than shown, to know whether there are more.
    const found = await audit.deliveries(filters, { limit: limit + 1 })
    const shown = found.slice(0, limit)
    if (options.json) return json(shown)
    if (shown.length === 0) return note('No hay entregas que cumplan esas condiciones.')
    await table(shown, COLUMNS)
    if (found.length > limit) note(`Hay más: se muestran ${limit}. Use --limite o más condiciones.`)
  })
}

const UNHEARD_COLUMNS = ['recibido', 'evento', 'solo_listener', 'origen', 'mensaje_id'] as const

/** Newest first. */
async function showUnheard(audit: AuditReader, filters: DeliveryFilters, limit: number, options: Options) {
  const { since, until, messageId } = filters
  const asked = eventFilter(filters)
  const rows: Record<string, unknown>[] = []
  let more = false
  for await (const message of audit.missed({ listener: null, since, until, messageId }, 'newest')) {
    if (!asked(message.evento)) continue
    more = rows.length === limit
    if (more) break
    const { id, ...rest } = message
    rows.push({ mensaje_id: id, ...rest })
  }
  if (options.json) return json(rows)
  if (rows.length === 0) return note('No hay mensajes sin listener que cumplan esas condiciones.')
  await table(rows, UNHEARD_COLUMNS)
  if (more) note(`Hay más: se muestran ${limit}. Use --limite o más condiciones.`)
}

/** The last few first, as `tail -f` does; then what changes. An outage of Postgres is said once and waited out. */
async function follow(audit: AuditReader, filters: DeliveryFilters, limit: number, asJson: boolean): Promise<never> {
  const show = (row: DeliveryListing) => (asJson ? jsonLine(row) : line(changeLine(row)))
  const feed: ChangeFeed = await audit.changes(filters)
  for (const row of (await audit.deliveries(filters, { limit })).reverse()) show(row)
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
