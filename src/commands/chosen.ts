/**
 * What `reenviar` and `descartar` do alike: options that choose deliveries, a count before, a question where there are many, a bar
 * while it goes on, and what became of it.
 */
import type { Command } from 'commander'
import type { DeliveryStateName } from '../audit/event.ts'
import { OperationFailed, UsageError } from '../errors.ts'
import { amount } from '../model/words.ts'
import type { Maintenance, Run, Tally } from '../recovery/maintenance.ts'
import type { Plan, Purpose } from '../recovery/plan.ts'
import type { Selection } from '../recovery/selection.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'
import { progressOf, withProgress } from './progress.ts'
import { addFilterOptions, type FilterOptions, noteProblems, parseFilters, parseLimit } from './select.ts'
import { openTerminal } from './terminal.ts'

export interface ChooseOptions extends FilterOptions {
  readonly fallidas?: boolean
  readonly simulacro?: boolean
  readonly si?: boolean
  readonly json?: boolean
}

/** Adds what both have. */
export function addChooseOptions(command: Command, infinitive: string): Command {
  return addFilterOptions(command)
    .option('--simulacro', 'cuántas serían y las cinco primeras, sin hacerlo (la auditoría en espera se escribe igual)')
    .option('--si', `${infinitive} más de mil sin preguntar`)
    .option('--json', 'un documento JSON')
}

/** Which deliveries a command takes. */
interface Taken {
  /** With `--estado`. */
  readonly takes: readonly DeliveryStateName[]
  /** Of an id alone. */
  readonly byDefault: readonly DeliveryStateName[]
  /** With `--fallidas`. */
  readonly failed: readonly DeliveryStateName[]
}

/** @throws UsageError when nothing is chosen: no command works on everything by accident */
export function chooseDeliveries(
  ids: readonly string[],
  options: ChooseOptions,
  { takes, byDefault, failed }: Taken,
): Selection & { kind: 'ids' | 'filters' } {
  const filters = parseFilters(options)
  if (options.fallidas && filters.states) throw new UsageError('use --fallidas o --estado, no ambos.')
  const refused = filters.states?.find((state) => !takes.includes(state))
  if (refused) throw new UsageError(`--estado: aquí no se acepta «${refused}»; se acepta: ${takes.join(', ')}.`)
  const chosen = options.fallidas ? failed : filters.states
  const named = [...new Set([...ids, ...(filters.messageId === undefined ? [] : [filters.messageId])])]
  if (named.length > 0) {
    const { messageId: _, ...rest } = filters
    return { kind: 'ids', ids: named, filters: { ...rest, states: chosen ?? byDefault } }
  }
  if (!chosen) throw new UsageError('indique uno o más ID, o --fallidas, o --estado; vea las demás formas con --help.')
  return { kind: 'filters', filters: { ...filters, states: chosen } }
}

/** What a command does to deliveries, and how it says so. */
export interface Deed {
  readonly purpose: Purpose
  /** `reenviar`, `reenviadas`. */
  readonly infinitive: string
  readonly participle: string
  readonly run: (maintenance: Maintenance, selection: Selection, run: Run) => Promise<Done>
}

interface Done {
  readonly tally: Tally
  /** Of a JSON document, beside its counts. */
  readonly extra?: Readonly<Record<string, number>>
}

/** More of them want to be confirmed. */
const MANY = 1_000

/**
 * @returns what was done, or would be
 * @throws OperationFailed where something that was chosen was not done; UsageError where there are many and nobody confirms
 */
export async function doToChosen(
  context: Context,
  selection: Selection,
  options: ChooseOptions,
  deed: Deed,
): Promise<number> {
  const limit = parseLimit(options, Number.POSITIVE_INFINITY)
  const isSimulated = options.simulacro === true
  // A few that were named are looked at one by one, so that each one's reason is known beforehand.
  const isNamed = selection.kind === 'ids'
  const maintenance = await context.maintenance(isSimulated && isNamed)
  let total = 0
  if (!isNamed) {
    const { planOf } = await import('../recovery/plan.ts')
    const plan = await withProgress('Contando', (tell) => planOf(maintenance, deed.purpose, selection, limit, tell))
    if (isSimulated) return showPlan(plan, deed, options)
    total = plan.total
    await confirm(total, deed, options)
  }
  const progress = await progressOf(`${deed.participle[0]!.toUpperCase()}${deed.participle.slice(1)}`)
  const watched = { ...maintenance, progress: (done: number) => progress.tell(done, Math.max(total, done)) }
  const { tally, extra } = await deed.run(watched, selection, { limit }).finally(progress.end)
  await showTally(tally, deed, options, extra)
  if (tally.problemCount > 0) throw new OperationFailed(`No fueron ${deed.participle}: ${amount(tally.problemCount)}.`)
  return tally.total
}

async function confirm(total: number, { infinitive }: Deed, { si }: ChooseOptions): Promise<void> {
  if (total <= MANY || si) return
  const many = `${amount(total)} entregas`
  const terminal = openTerminal()
  if (terminal === null) {
    throw new UsageError(
      `son ${many}: para ${infinitive} más de ${amount(MANY)} agregue --si (cuáles son: --simulacro).`,
    )
  }
  const question = `Son ${many}. ¿${infinitive[0]!.toUpperCase()}${infinitive.slice(1)} todas? (sí/no) `
  const answer = await terminal.ask(question).finally(terminal.close)
  if (!/^s[ií]?$/i.test(answer)) throw new OperationFailed('No se hizo nada.')
}

/** What would be done. */
async function showPlan(plan: Plan, { participle }: Deed, options: ChooseOptions): Promise<number> {
  const { total, listeners, first, skipped } = plan
  const left = skipped.reduce((sum, { cantidad }) => sum + cantidad, 0)
  if (options.json) {
    const problemas = skipped.map(({ listener, cantidad, motivo }) => ({ mensaje_id: '', listener, cantidad, motivo }))
    print.json({ simulacro: true, [participle]: total, omitidas: left, listeners, problemas, primeras: first })
  } else if (total + left === 0) print.line(NOTHING)
  else {
    print.line(`Simulacro: serían ${participle}: ${total}`)
    if (listeners.length > 0) await print.table(listeners, ['listener', 'cantidad'])
    if (first.length > 0) {
      print.line(first.length === total ? '\nSon:' : `\nLas ${first.length} primeras:`)
      const columns = (['creado', 'evento', 'listener', 'estado', 'motivo', 'mensaje_id'] as const).filter((name) =>
        first.some((row) => row[name] !== undefined && row[name] !== null),
      )
      await print.table(first, columns, { less: ['motivo', 'evento', 'creado'], whole: ['mensaje_id'] })
    }
    for (const { listener, cantidad, motivo } of skipped)
      print.note(`Omitidas: ${amount(cantidad)} → ${listener}: ${motivo}`)
  }
  if (left > 0) throw new OperationFailed(`No serían ${participle}: ${amount(left)}.`)
  return total
}

const NOTHING = 'No hay entregas que cumplan esas condiciones.'

/** What was done, in words or as JSON. */
async function showTally(
  tally: Tally,
  { participle }: Deed,
  options: ChooseOptions,
  extra: Done['extra'],
): Promise<void> {
  const { problems, problemCount: count } = tally
  if (options.json) {
    print.json({
      simulacro: options.simulacro === true,
      [participle]: tally.total,
      ...extra,
      omitidas: count,
      listeners: tally.listeners,
      problemas: problems,
    })
    return
  }
  if (tally.total === 0 && count === 0) print.line(NOTHING)
  else print.line(`${options.simulacro ? `Simulacro: serían ${participle}` : `Entregas ${participle}`}: ${tally.total}`)
  if (tally.listeners.length > 0) await print.table(tally.listeners, ['listener', 'cantidad'])
  noteProblems(tally, `Omitidas: ${count}`)
}
