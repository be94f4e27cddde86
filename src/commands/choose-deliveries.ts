/** From ids and filters on the command line to the deliveries that `reenviar` and `descartar` work on. */
import type { DeliveryStateName } from '../audit/event.ts'
import { UsageError } from '../errors.ts'
import type { Tally } from '../recovery/maintenance.ts'
import type { Selection } from '../recovery/selection.ts'
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

/** Prints what was done, in words or as JSON. @param verb past participle: `reenviadas` */
export async function showTally(
  tally: Tally,
  verb: string,
  options: Pick<ChooseOptions, 'json' | 'simulacro'>,
  extra: Readonly<Record<string, number>> = {},
): Promise<void> {
  const { problems, problemCount: count } = tally
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
