/**
 * What a command line names, for every command alike: listeners by their name, deliveries by ids and filters; and what became
 * of them.
 */

import type { Command } from 'commander'
import { type AuditQueries, DELIVERY_STATES, type DeliveryFilters, searchRange } from '../audit/queries.ts'
import type { ListenerConfig } from '../config/config.ts'
import { eventMatcher } from '../config/subscriptions.ts'
import { Unavailable, UsageError } from '../errors.ts'
import { parseInstant, rangeText } from '../model/instant.ts'
import { suggestion } from '../model/nearest.ts'
import { typed } from '../model/typed.ts'
import { shellWord } from '../model/words.ts'
import type { Tally } from '../recovery/maintenance.ts'
import type { Context } from './context.ts'
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
  readonly intentadoDesde?: string
  readonly intentadoHasta?: string
  readonly mensaje?: string
  readonly clave?: string
  readonly buscar?: string
  readonly limite?: string
}

/** Adds them to a command. */
export function addFilterOptions(command: Command): Command {
  return command
    .option('--evento <patrón>', 'solo las de este evento; * es cualquier texto (proveedor.*)')
    .option('--listener <nombre>', 'solo las de este listener')
    .option('--estado <estado>', `solo las de este estado, o varios separados por comas: ${DELIVERY_STATES.join(', ')}`)
    .option('--desde <cuándo>', 'creadas desde: cuánto hace (2h, 7d), hoy, ayer, 08:30, 24/11/2026 o ISO 8601')
    .option('--hasta <cuándo>', 'creadas antes de; una fecha sola incluye todo ese día')
    .option('--intentado-desde <cuándo>', 'con algún intento desde entonces')
    .option('--intentado-hasta <cuándo>', 'con algún intento antes de')
    .option('--mensaje <id>', 'solo las de este mensaje')
    .option('--clave <clave>', 'solo las del mensaje que se envió con esa --clave')
    .option(
      '--buscar <texto>',
      'que lo tengan en el cuerpo, la clave o el id: en las últimas 24 h, o de --desde a --hasta',
    )
    .option('--limite <n>', 'a lo sumo n')
}

/**
 * Says on stderr which instants it understood, and where a text is looked for.
 * @throws UsageError naming the option, what was found and what is accepted
 */
export function parseFilters(options: FilterOptions): DeliveryFilters {
  const [since, until] = parseRange('--desde', options.desde, '--hasta', options.hasta)
  const [triedSince, triedUntil] = parseRange(
    ...(['--intentado-desde', options.intentadoDesde] as const),
    ...(['--intentado-hasta', options.intentadoHasta] as const),
  )
  const search = options.buscar?.trim()
  if (search === '') throw new UsageError('--buscar: indique qué texto.')
  const filters = {
    event: options.evento,
    listener: options.listener,
    states: options.estado === undefined ? undefined : parseStates(options.estado),
    ...{ since, until, triedSince, triedUntil },
    messageId: options.mensaje,
    key: options.clave,
    search,
  }
  if (search !== undefined) {
    const range = searchRange(filters)
    print.note(
      `Se busca «${search}» en el cuerpo, la clave y el id de los mensajes recibidos ${lower(rangeText(range.since, range.until))}.`,
    )
    // What was said is what is read, however long it takes.
    return { ...filters, ...range }
  }
  if (since || until) print.note(`${rangeText(since, until)}.`)
  if (triedSince || triedUntil) print.note(`Con intentos ${lower(rangeText(triedSince, triedUntil))}.`)
  return filters
}

function lower(sentence: string): string {
  return sentence.charAt(0).toLowerCase() + sentence.slice(1)
}

function parseRange(since: string, from: string | undefined, until: string, to: string | undefined) {
  const range = [
    from === undefined ? undefined : parseInstant(from, since, 'start'),
    to === undefined ? undefined : parseInstant(to, until, 'end'),
  ] as const
  if (range[0] && range[1] && range[0] >= range[1]) {
    throw new UsageError(`${since} no es anterior a ${until}: así no queda ninguna entrega. ${rangeText(...range)}.`)
  }
  return range
}

/**
 * A listener that the files no longer have may have left deliveries behind; one that nobody knows is a slip.
 * @throws UsageError with the nearest name
 */
export async function requireKnown(context: Context, { listener, event }: DeliveryFilters): Promise<void> {
  const audit = await context.audit()
  const { listeners } = await context.config()
  if (listener !== undefined && !listeners.has(listener)) {
    const audited = (await audit.names('listener')) ?? [listener]
    const queued = audited.includes(listener) ? [] : await queuedListeners(context)
    const known = [...new Set([...listeners.keys(), ...audited, ...queued])]
    if (!known.includes(listener)) {
      throw new UsageError(
        `--listener: «${listener}» no está en resthooks.ini, ni hay entregas suyas.${suggestion(listener, known)}`,
      )
    }
  }
  if (event !== undefined) await requireEvent(audit, event, [...listeners.values()])
}

/** Those that Redis knows; none where it does not answer: then the audit alone is asked. */
async function queuedListeners(context: Context): Promise<string[]> {
  try {
    const { knownListeners } = await import('../queue/depths.ts')
    return await knownListeners(await context.queue())
  } catch (error) {
    const trouble = await context.explain(error)
    if (!(trouble instanceof Unavailable)) throw error
    print.note(`resthooks: aviso: no se sabe si sus colas conocen ese listener. ${trouble.message}`)
    return []
  }
}

async function requireEvent(audit: AuditQueries, event: string, listeners: readonly ListenerConfig[]): Promise<void> {
  const audited = await audit.names('evento')
  if (audited === null || audited.length === 0) return
  const named = listeners.flatMap(({ events }) => events).filter((each) => !each.includes('*'))
  const known = [...new Set([...audited, ...named])]
  if (known.some(eventMatcher([event]))) return
  for await (const _ of audit.missed({ listener: null, event })) {
    throw new UsageError(
      `--evento: ningún listener recibió «${event}»; sus mensajes se ven con: ${typed(`auditoria --sin-listener --evento ${shellWord(event)}`)}.` +
        suggestion(event, known),
    )
  }
  throw new UsageError(
    `--evento: ninguna entrega es de «${event}»; hay: ${known.slice(0, MOST_SHOWN).join(', ')}` +
      `${known.length > MOST_SHOWN ? '…' : ''}.${suggestion(event, known)}`,
  )
}

const MOST_SHOWN = 12

/** @returns the limit, or `otherwise` when none was given */
export function parseLimit(options: FilterOptions, otherwise: number): number {
  if (options.limite === undefined) return otherwise
  const limit = /^\d{1,9}$/.test(options.limite) ? Number(options.limite) : 0
  if (limit === 0) throw new UsageError(`--limite: «${options.limite}» no es un número entero mayor que cero.`)
  return limit
}

function parseStates(text: string) {
  const names = text.split(',').map((name) => name.trim())
  const states = DELIVERY_STATES.filter((state) => names.includes(state))
  const unknown = names.find((name) => !(DELIVERY_STATES as readonly string[]).includes(name))
  if (unknown !== undefined) {
    throw new UsageError(
      `--estado: «${unknown}» no es un estado. Se acepta: ${DELIVERY_STATES.join(', ')}.${suggestion(unknown, DELIVERY_STATES)}`,
    )
  }
  return states
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
