/** From ids and filters on the command line to the deliveries that `reenviar` and `descartar` work on. */
import type { DeliveryStateName } from '../audit/event.ts'
import type { DeliveryFilters } from '../audit/queries.ts'
import { UsageError } from '../errors.ts'
import type { Problem, Tally } from '../recovery/maintenance.ts'
import type { Selection } from '../recovery/selection.ts'
import type { AuditReader } from './context.ts'
import { type FilterOptions, parseFilters } from './delivery-filters.ts'
import * as print from './print.ts'

export interface ChooseOptions extends FilterOptions {
  readonly fallidas?: boolean
  readonly simulacro?: boolean
  readonly json?: boolean
}

/**
 * @param states those that the command takes; of an id alone, `byDefault`
 * @throws UsageError when nothing is chosen: no command works on everything by accident
 */
export function chooseDeliveries(
  ids: readonly string[],
  options: ChooseOptions,
  states: readonly DeliveryStateName[],
  byDefault: readonly DeliveryStateName[],
): Selection {
  const filters = parseFilters(options)
  if (options.fallidas && filters.states) throw new UsageError('use --fallidas o --estado, no ambos.')
  const refused = filters.states?.find((state) => !states.includes(state))
  if (refused) throw new UsageError(`--estado: aquí no se acepta «${refused}»; se acepta: ${states.join(', ')}.`)
  const chosen = options.fallidas ? (['fallida'] as const) : filters.states
  const named = [...new Set([...ids, ...(filters.messageId === undefined ? [] : [filters.messageId])])]
  if (named.length > 0) {
    const { messageId: _, ...rest } = filters
    return { kind: 'ids', ids: named, filters: { ...rest, states: chosen ?? byDefault } }
  }
  if (!chosen) throw new UsageError('indique uno o más ID, o --fallidas, o --estado.')
  return { kind: 'filters', filters: { ...filters, states: chosen } }
}

/** Why nothing was done with these ids, each that has nothing in the wanted states. */
export async function explainIds(audit: AuditReader, ids: readonly string[], filters: DeliveryFilters, hints: Hints) {
  const problems: Problem[] = []
  for (const id of ids) {
    const deliveries = (await audit.storedDeliveries([id])).filter(
      ({ listener }) => filters.listener === undefined || listener === filters.listener,
    )
    if (deliveries.some(({ state }) => filters.states?.includes(state))) continue
    const states = [...new Set(deliveries.map(({ state }) => state))]
    const motivo =
      deliveries.length > 0
        ? hints.ended(states, filters.states ?? [])
        : await withoutDeliveries(audit, id, filters, hints)
    if (motivo !== null) problems.push({ mensaje_id: id, listener: filters.listener ?? '', motivo })
  }
  return problems
}

export interface Hints {
  /** Of a message whose deliveries are in these states, none of them wanted. */
  readonly ended: (states: readonly DeliveryStateName[], wanted: readonly DeliveryStateName[]) => string
  /** Of a message whose demora runs; null: the command deals with it. */
  readonly delayed: string | null
  /** Of a message that no listener got; null: the command deals with it. */
  readonly unheard?: (event: string, only: string | null) => string | null
}

async function withoutDeliveries(
  audit: AuditReader,
  id: string,
  { listener }: DeliveryFilters,
  { delayed, unheard }: Hints,
): Promise<string | null> {
  const timeline = await audit.message(id)
  if (timeline === null) return 'la auditoría no conoce ese mensaje: revise el id'
  if (timeline.message?.listeners === null) return delayed
  const { message } = timeline
  if (unheard && message?.listeners === 0) return unheard(message.evento, listener ?? message.solo_listener)
  return listener === undefined ? 'ningún listener lo recibe' : `no tiene entrega para «${listener}»`
}

/** Prints what was done, in words or as JSON. @param verb past participle: `reenviadas` */
export async function showTally(
  tally: Tally,
  more: readonly Problem[],
  verb: string,
  options: Pick<ChooseOptions, 'json' | 'simulacro'>,
  extra: Readonly<Record<string, number>> = {},
): Promise<void> {
  const problems = [...more, ...tally.problems]
  const count = more.length + tally.problemCount
  if (options.json) {
    print.json({
      simulacro: options.simulacro === true,
      [verb]: tally.total,
      ...extra,
      omitidas: count,
      listeners: tally.listeners,
      problemas: problems,
    })
    return
  }
  if (tally.total === 0 && count === 0) print.line('No hay entregas que cumplan esas condiciones.')
  else print.line(`${options.simulacro ? `Simulacro: serían ${verb}` : `Entregas ${verb}`}: ${tally.total}`)
  if (tally.listeners.length > 0) await print.table(tally.listeners, ['listener', 'cantidad'])
  if (count === 0) return
  print.note(`Omitidas: ${count}`)
  for (const { mensaje_id, listener, motivo } of problems) {
    print.note(`  ${mensaje_id}${listener ? ` → ${listener}` : ''}: ${motivo}`)
  }
  if (count > problems.length) print.note(`  … y ${count - problems.length} más`)
}
