/**
 * What a command line names, for every command alike: listeners by their name, deliveries by ids and filters; and what became
 * of them.
 */
import type { Command } from 'commander'
import type { DeliveryStateName } from '../audit/event.ts'
import type { DeliveryFilters } from '../audit/queries.ts'
import type { ListenerConfig } from '../config/config.ts'
import { UsageError } from '../errors.ts'
import { parseInstant, rangeText } from '../model/instant.ts'
import { suggestion } from '../model/nearest.ts'
import type { Tally } from '../recovery/maintenance.ts'
import type { Selection } from '../recovery/selection.ts'
import * as print from './print.ts'

/** @throws UsageError when none is named, or one that is not configured */
export function selectListeners(
  listeners: ReadonlyMap<string, ListenerConfig>,
  names: readonly string[],
  all: boolean,
): string[] {
  if (all && names.length > 0) throw new UsageError('use nombres de listeners o --todos, no ambos')
  if (all) return [...listeners.keys()]
  if (names.length === 0) throw new UsageError('indique uno o más listeners, o --todos')
  for (const name of names) requireListener(listeners, name)
  return [...new Set(names)]
}

/** @throws UsageError with the names there are */
export function requireListener(listeners: ReadonlyMap<string, ListenerConfig>, name: string): ListenerConfig {
  const listener = listeners.get(name)
  if (listener) return listener
  const known = [...listeners.keys()]
  throw new UsageError(
    `el listener «${name}» no está en resthooks.ini; hay: ${known.join(', ') || 'ninguno'}.${suggestion(name, known)}`,
  )
}

export interface FilterOptions {
  readonly evento?: string
  readonly listener?: string
  readonly estado?: string
  readonly desde?: string
  readonly hasta?: string
  readonly mensaje?: string
  readonly limite?: string
}

const STATES = ['pendiente', 'reintentando', 'exitosa', 'fallida', 'descartada'] as const

/** Adds them to a command. */
export function addFilterOptions(command: Command): Command {
  return command
    .option('--evento <patrón>', 'solo las de este evento; * es cualquier texto (proveedor.*)')
    .option('--listener <nombre>', 'solo las de este listener')
    .option('--estado <estado>', `solo las de este estado, o varios separados por comas: ${STATES.join(', ')}`)
    .option('--desde <cuándo>', 'creadas desde: cuánto hace (2h, 7d), hoy, ayer, 08:30, 24/11/2026 o ISO 8601')
    .option('--hasta <cuándo>', 'creadas antes de; una fecha sola incluye todo ese día')
    .option('--mensaje <id>', 'solo las de este mensaje')
    .option('--limite <n>', 'a lo sumo n')
}

/**
 * Says on stderr which instants it understood.
 * @throws UsageError naming the option, what was found and what is accepted
 */
export function parseFilters(options: FilterOptions): DeliveryFilters {
  const since = options.desde === undefined ? undefined : parseInstant(options.desde, '--desde', 'start')
  const until = options.hasta === undefined ? undefined : parseInstant(options.hasta, '--hasta', 'end')
  if (since && until && since >= until) {
    throw new UsageError(`--desde no es anterior a --hasta (${rangeText(since, until)}): así no queda ninguna entrega.`)
  }
  if (since || until) print.note(`${rangeText(since, until)}.`)
  return {
    event: options.evento,
    listener: options.listener,
    states: options.estado === undefined ? undefined : parseStates(options.estado),
    since,
    until,
    messageId: options.mensaje,
  }
}

/** @returns the limit, or `otherwise` when none was given */
export function parseLimit(options: FilterOptions, otherwise: number): number {
  if (options.limite === undefined) return otherwise
  const limit = /^\d{1,9}$/.test(options.limite) ? Number(options.limite) : 0
  if (limit === 0) throw new UsageError(`--limite: «${options.limite}» no es un número entero mayor que cero.`)
  return limit
}

function parseStates(text: string) {
  const names = text.split(',').map((name) => name.trim())
  const states = STATES.filter((state) => names.includes(state))
  const unknown = names.find((name) => !(STATES as readonly string[]).includes(name))
  if (unknown !== undefined) {
    throw new UsageError(`--estado: «${unknown}» no es un estado. Se acepta: ${STATES.join(', ')}.`)
  }
  return states
}

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
  if (!chosen) throw new UsageError('indique uno o más ID, o --fallidas, o --estado; vea las demás formas con --help.')
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
  noteProblems(tally, `Omitidas: ${count}`)
}

/** The first thousand of what was not done, each with its reason, and how many more there are. */
export function noteProblems(
  { problems, problemCount }: Pick<Tally, 'problems' | 'problemCount'>,
  title: string,
): void {
  if (problemCount === 0) return
  print.note(title)
  for (const { mensaje_id, listener, motivo } of problems) {
    print.note(`  ${mensaje_id}${listener ? ` → ${listener}` : ''}: ${motivo}`)
  }
  if (problemCount > problems.length) print.note(`  … y ${problemCount - problems.length} más`)
}
