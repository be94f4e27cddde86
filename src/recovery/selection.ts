/**
 * Which deliveries a person means, as a stream of parts, oldest first: what `reenviar` and `descartar` work through; and why
 * there is nothing to do for an id that was named.
 */

import { original } from '../audit/encoding.ts'
import type { DeliveryStateName } from '../audit/event.ts'
import type { AuditQueries, DeliveryFilters, MissedFilters, StoredDelivery } from '../audit/queries.ts'
import type { ListenerConfig } from '../config/config.ts'
import { Subscriptions } from '../config/subscriptions.ts'
import { localTime } from '../model/words.ts'

export interface DeliveryKey {
  readonly messageId: string
  readonly listener: string
  /** When its message was, where there is no delivery yet. */
  readonly receivedAt?: Date
}

/** Why something was not done. */
export interface Problem {
  readonly mensaje_id: string
  readonly listener: string
  readonly motivo: string
}

export type Selection =
  /** Of these messages, what the filters leave; with `listeners`, of one that nobody got, those that would get it now. */
  | {
      readonly kind: 'ids'
      readonly ids: readonly string[]
      readonly filters: DeliveryFilters
      readonly listeners?: readonly ListenerConfig[] | undefined
    }
  | { readonly kind: 'filters'; readonly filters: DeliveryFilters }
  /** These, where they are in one of the states. */
  | {
      readonly kind: 'deliveries'
      readonly keys: readonly DeliveryKey[]
      readonly states: readonly DeliveryStateName[]
    }
  /** Messages whose event the listener wants, and that it never got. */
  | { readonly kind: 'missed'; readonly listener: ListenerConfig; readonly filters: DeliveryFilters }
  /** Messages that no listener got, for those that would get them now. */
  | { readonly kind: 'unheard'; readonly listeners: readonly ListenerConfig[]; readonly filters: DeliveryFilters }

const PART = 500

/** @param limit deliveries at most */
export async function* partsOf(
  audit: AuditQueries,
  selection: Selection,
  limit: number,
): AsyncGenerator<readonly DeliveryKey[]> {
  let part: DeliveryKey[] = []
  let left = limit
  for await (const key of keysOf(audit, selection)) {
    if (left-- <= 0) break
    part.push(key)
    if (part.length < PART) continue
    yield part
    part = []
  }
  if (part.length > 0) yield part
}

async function* keysOf(audit: AuditQueries, selection: Selection): AsyncGenerator<DeliveryKey> {
  switch (selection.kind) {
    case 'filters':
      for await (const row of audit.eachDelivery(selection.filters, 'oldest')) yield keyOf(row)
      return
    case 'deliveries':
      for (const { messageId, listener } of selection.keys) {
        const filters = { messageId, listener, states: selection.states }
        for await (const row of audit.eachDelivery(filters, 'oldest')) yield keyOf(row)
      }
      return
    case 'ids':
      for (const messageId of selection.ids) {
        const filters = { ...selection.filters, messageId }
        for await (const row of audit.eachDelivery(filters, 'oldest')) yield keyOf(row)
        if (selection.listeners) yield* unheard(audit, selection.listeners, filters)
      }
      return
    case 'unheard':
      yield* unheard(audit, selection.listeners, selection.filters)
      return
    case 'missed': {
      for await (const { id, recibido } of audit.missed(missedFilters(selection))) {
        yield { messageId: id, listener: selection.listener.name, receivedAt: recibido }
      }
    }
  }
}

/** What would be delivered of the messages that nobody got, were they sent now. */
async function* unheard(
  audit: AuditQueries,
  listeners: readonly ListenerConfig[],
  filters: DeliveryFilters,
): AsyncGenerator<DeliveryKey> {
  const subscriptions = new Subscriptions(listeners)
  for await (const { id, evento, solo_listener } of audit.missed({ ...messageFilters(filters), listener: null })) {
    for (const { name } of subscriptions.of(evento, solo_listener)) {
      if (filters.listener === undefined || filters.listener === name) yield { messageId: id, listener: name }
    }
  }
}

/** Of what one listener never got. */
export function missedFilters({ listener, filters }: Selection & { kind: 'missed' }): MissedFilters {
  return { ...messageFilters(filters), listener: listener.name, wanted: listener.events }
}

/** What was chosen, in a few words, for whoever asks later. */
export function selectionText(selection: Selection): string {
  const filters: DeliveryFilters = selection.kind === 'deliveries' ? { states: selection.states } : selection.filters
  const time = (date: Date | undefined) => date && localTime(date)
  const words: Readonly<Record<string, string | undefined>> = {
    mensajes: namedIds(selection)?.join(',') ?? filters.messageId,
    faltantes: selection.kind === 'missed' ? selection.listener.name : undefined,
    'sin listener': selection.kind === 'unheard' ? 'sí' : undefined,
    estado: filters.states?.join(','),
    listener: filters.listener,
    evento: filters.event,
    clave: filters.key,
    texto: filters.search === undefined ? undefined : [filters.search].flat().join(' '),
    desde: time(filters.since),
    hasta: time(filters.until),
    'intentado desde': time(filters.triedSince),
    'intentado hasta': time(filters.triedUntil),
  }
  const said = Object.entries(words).flatMap(([name, value]) => (value ? [`${name}: ${value}`] : []))
  return said.join('; ').slice(0, LONGEST_TEXT)
}

function namedIds(selection: Selection): readonly string[] | null {
  if (selection.kind === 'ids') return selection.ids
  return selection.kind === 'deliveries'
    ? selection.keys.map(({ messageId, listener }) => `${messageId}→${listener}`)
    : null
}

const LONGEST_TEXT = 2_000

/** What filters say of a message that has no delivery. */
function messageFilters({ event, since, until, messageId, key, search }: DeliveryFilters) {
  return { event, since, until, messageId, key, search }
}

function keyOf(row: { readonly mensaje_id: string; readonly listener: string }): DeliveryKey {
  return { messageId: original(row.mensaje_id), listener: original(row.listener) }
}

/** Why there is nothing to do for an id, by what became of its message. */
export interface Hints {
  /** Its deliveries are in these states, none of them wanted. */
  readonly ended: (states: readonly DeliveryStateName[], wanted: readonly DeliveryStateName[]) => string
  /** Its demora runs; null: the command deals with it. */
  readonly delayed: string | null
  /** No listener got it; null: the command deals with it. */
  readonly unheard?: (event: string, only: string | null) => string | null
}

/** Of the ids that were named, those without a delivery in the wanted states; asked before anything changes. */
export async function explainIds(audit: AuditQueries, selection: Selection, hints: Hints): Promise<Problem[]> {
  if (selection.kind !== 'ids') return []
  const { ids, filters } = selection
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

async function withoutDeliveries(
  audit: AuditQueries,
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

/** Of a delivery that is in other states than those asked for. */
export function otherState(states: readonly DeliveryStateName[], wanted: readonly DeliveryStateName[]): string {
  return `está ${states.join(', ')}, y se pidió --estado ${wanted.join(',')}: quite --estado, o indique ese`
}

export function isUnfinished({ state }: Pick<StoredDelivery, 'state'>): boolean {
  return state === 'pendiente' || state === 'reintentando'
}
