/** `entradas`: what was set aside, of every kind: seen, exported, put back, deleted. */

import { type Command, Option } from 'commander'
import { OperationFailed, ResthooksError, together, UsageError } from '../errors.ts'
import { typed } from '../model/typed.ts'
import { amount } from '../model/words.ts'
import type { Aside, AsideKind } from '../recovery/aside.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'
import { withProgress } from './progress.ts'
import { parseLimit } from './select.ts'

const KINDS = ['invalidas', 'demoradas', 'callbacks', 'rechazadas'] as const satisfies readonly AsideKind[]
const LIMIT = 50

interface Options {
  readonly tipo?: AsideKind
  readonly todas?: boolean
  readonly exportar?: boolean
  readonly devolver?: boolean
  readonly borrar?: boolean
  readonly limite?: string
  readonly json?: boolean
}

export function entradas(program: Command, context: Context): void {
  program
    .command('entradas')
    .description('lo que quedó aparte: se ve, se exporta entero, se devuelve a su lugar o se borra')
    .argument('[ids...]', 'cuáles, como se listan')
    .addOption(
      new Option(
        '--tipo <tipo>',
        'invalidas: lo que no se entendió; demoradas; callbacks: los abandonados; rechazadas: auditoría que la base no aceptó',
      ).choices(KINDS),
    )
    .option('--todas', 'todas las del --tipo, en vez de ID')
    .option('--exportar', 'las muestra enteras, un objeto JSON por línea')
    .option('--devolver', 'de vuelta: a la cola, a la auditoría; de una demorada, que termine su demora')
    .option('--borrar', 'las elimina (una demorada queda en la auditoría como descartada)')
    .option('--limite <n>', `a lo sumo n; al listar, ${LIMIT} si no se indica`)
    .option('--json', 'un documento JSON')
    .action(async (ids: string[], options: Options) => {
      const deed = deedOf(ids, options)
      if (deed === 'list' || deed === 'export') await context.configToLook()
      if (options.tipo === undefined) return summary(context, options)
      const limit = parseLimit(options, deed === 'list' ? LIMIT : Number.POSITIVE_INFINITY)
      const chosen = some(asideFrom(context, options.tipo), ids, limit)
      if (deed === 'list') return list(chosen, limit, options)
      if (deed === 'export') return exportAll(chosen, ids, options.tipo)
      await act(chosen, deed, ids, options, options.tipo)
      if (deed === 'putBack') await wake(context)
    })
}

type Deed = 'list' | 'export' | 'putBack' | 'remove'

function deedOf(ids: readonly string[], { tipo, todas, exportar, devolver, borrar }: Options): Deed {
  const asked = [exportar && 'export', devolver && 'putBack', borrar && 'remove'].filter(Boolean) as Deed[]
  if (asked.length > 1) throw new UsageError('use --exportar, --devolver o --borrar: uno por vez.')
  if (tipo === undefined && (ids.length > 0 || asked.length > 0 || todas)) {
    throw new UsageError(`indique de qué --tipo: ${KINDS.join(', ')}.`)
  }
  if (todas && ids.length > 0) throw new UsageError('use ID o --todas, no ambos.')
  if (asked[0] !== undefined && asked[0] !== 'export' && ids.length === 0 && !todas) {
    throw new UsageError('indique uno o más ID, o --todas.')
  }
  return asked[0] ?? 'list'
}

/** One more than the limit is not given: whoever wants to know whether there are more asks for one more. */
async function* some(all: AsyncGenerator<Aside>, ids: readonly string[], limit: number): AsyncGenerator<Aside> {
  const wanted = new Set(ids)
  let left = limit
  for await (const each of all) {
    if (ids.length > 0 && !wanted.has(each.id)) continue
    yield each
    left -= 1
    wanted.delete(each.id)
    if (left <= 0 || (ids.length > 0 && wanted.size === 0)) return
  }
}

const WHAT: Readonly<Record<AsideKind, string>> = {
  invalidas: 'entradas de la cola que no se entendieron',
  demoradas: 'mensajes que esperan su --demora',
  callbacks: 'on_success y on_failure abandonados tras sus reintentos',
  rechazadas: 'filas de auditoría que Postgres no aceptó',
}
/** Beyond this it does not matter any more how many there are. */
const MOST_COUNTED = 10_000

/** Redis is not asked for what Postgres alone has. */
async function* asideFrom(context: Context, kind: AsideKind): AsyncGenerator<Aside> {
  const { asideOf, rejectedRows } = await import('../recovery/aside.ts')
  const maintenance = () => context.maintenance(false)
  if (kind === 'rechazadas') yield* rejectedRows(await context.audit(), maintenance)
  else yield* asideOf(await maintenance(), kind)
}

async function summary(context: Context, { json }: Options): Promise<void> {
  const troubles = new Map<string, ResthooksError>()
  const countOf = async (tipo: AsideKind) => {
    let cantidad: number | null = 0
    try {
      for await (const _ of asideFrom(context, tipo)) if (++cantidad >= MOST_COUNTED) break
    } catch (error) {
      const trouble = await context.explain(error)
      if (trouble === null) throw error
      troubles.set(trouble.message, trouble)
      cantidad = null
    }
    return { tipo, cantidad, que_son: WHAT[tipo] }
  }
  const rows = await Promise.all(KINDS.map(countOf))
  const [trouble, ...others] = troubles.values()
  // Nothing is known: there is no list.
  if (trouble && rows.every(({ cantidad }) => cantidad === null)) throw together(trouble, ...others)
  if (json) print.json(rows)
  else {
    const shown = rows.map((row) => ({ ...row, cantidad: row.cantidad ?? 'no se sabe' }))
    await print.table(shown, ['tipo', 'cantidad', 'que_son'])
    const first = rows.find(({ cantidad }) => cantidad !== null && cantidad > 0)
    if (first) print.note(`Cuáles son: ${typed(`entradas --tipo ${first.tipo}`)}`)
  }
  if (rows.every(({ cantidad }) => cantidad === 0)) await context.tellStray({ queue: true })
  if (trouble) throw new ResthooksError(trouble.code, `falta lo que no se pudo preguntar: ${trouble.message}`)
}

const COLUMNS = ['fecha', 'mensaje_id', 'listener', 'bytes', 'motivo', 'id'] as const

async function list(chosen: AsyncGenerator<Aside>, limit: number, { json }: Options): Promise<void> {
  const rows: Pick<Aside, (typeof COLUMNS)[number]>[] = []
  for await (const { whole: _, putBack: __, remove: ___, ...row } of chosen) rows.push(row)
  if (json) return print.json(rows)
  if (rows.length === 0) return print.note('No hay ninguna.')
  const columns = COLUMNS.filter((name) => rows.some((row) => row[name] !== null))
  await print.table(rows, columns, { less: ['bytes', 'fecha', 'listener', 'mensaje_id'], whole: ['id'] })
  if (rows.length === limit) print.note(`Se muestran ${limit}: puede haber más, con --limite. Enteras: --exportar.`)
}

async function exportAll(chosen: AsyncGenerator<Aside>, ids: readonly string[], tipo: AsideKind): Promise<void> {
  const missing = new Set(ids)
  for await (const { whole, putBack: _, remove: __, ...row } of chosen) {
    missing.delete(row.id)
    const entry = await whole()
    print.jsonLine({ ...row, entrada: Buffer.isBuffer(entry) ? textOrBytes(entry) : entry })
  }
  requireFound(missing, tipo)
}

/** Text where it is text; else `{ base64 }`, which an entry of the queue may hold too. */
function textOrBytes(bytes: Buffer): unknown {
  const text = bytes.toString('utf8')
  return Buffer.from(text).equals(bytes) ? text : { base64: bytes.toString('base64') }
}

async function act(
  chosen: AsyncGenerator<Aside>,
  deed: 'putBack' | 'remove',
  ids: readonly string[],
  { json }: Options,
  tipo: AsideKind,
): Promise<void> {
  const missing = new Set(ids)
  const problems: { id: string; motivo: string }[] = []
  let done = 0
  await withProgress(deed === 'putBack' ? 'Devolviendo' : 'Borrando', async (tell) => {
    for await (const each of chosen) {
      missing.delete(each.id)
      const motivo = await each[deed]()
      if (motivo === null) done += 1
      else problems.push({ id: each.id, motivo })
      if (ids.length > 0) tell(done + problems.length, ids.length)
    }
  })
  const verb = deed === 'putBack' ? 'devueltas' : 'borradas'
  if (json) print.json({ [verb]: done, omitidas: problems.length, problemas: problems })
  else print.line(`Entradas ${verb}: ${amount(done)}`)
  if (!json) for (const { id, motivo } of problems) print.note(`  ${id}: ${motivo}`)
  requireFound(missing, tipo)
  if (problems.length > 0) throw new OperationFailed(`No fueron ${verb}: ${amount(problems.length)}.`)
}

function requireFound(missing: ReadonlySet<string>, tipo: AsideKind): void {
  if (missing.size > 0)
    throw new OperationFailed(`No están: ${[...missing].join(', ')}. Cuáles hay: ${typed(`entradas --tipo ${tipo}`)}`)
}

async function wake(context: Context): Promise<void> {
  const queue = await context.queue()
  await Promise.all([queue.wake('claim'), queue.wake('dispatch')])
}
