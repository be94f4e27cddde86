/** The options that choose deliveries, the same for every command that lists or moves them. */
import type { Command } from 'commander'
import type { DeliveryFilters } from '../audit/queries.ts'
import { UsageError } from '../errors.ts'
import { parseInstant, rangeText } from './instant.ts'
import { note } from './print.ts'

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
  if (since || until) note(`${rangeText(since, until)}.`)
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
