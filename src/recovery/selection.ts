/** Which deliveries a person means, as a stream of parts, oldest first: what `reenviar` and `descartar` work through. */
import { original } from '../audit/encoding.ts'
import type { AuditReader, DeliveryFilters } from '../audit/queries.ts'
import type { ListenerConfig } from '../config/config.ts'
import { eventMatcher } from '../worker/match.ts'

export interface DeliveryKey {
  readonly messageId: string
  readonly listener: string
}

export type Selection =
  /** Of these messages, what the filters leave. */
  | { readonly kind: 'ids'; readonly ids: readonly string[]; readonly filters: DeliveryFilters }
  | { readonly kind: 'filters'; readonly filters: DeliveryFilters }
  /** Messages whose event the listener wants, and that it never got. */
  | { readonly kind: 'missed'; readonly listener: ListenerConfig; readonly filters: DeliveryFilters }

const PART = 500

/** @param limit deliveries at most */
export async function* partsOf(
  audit: AuditReader,
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

async function* keysOf(audit: AuditReader, selection: Selection): AsyncGenerator<DeliveryKey> {
  switch (selection.kind) {
    case 'filters':
      for await (const row of audit.eachDelivery(selection.filters, 'oldest')) yield keyOf(row)
      return
    case 'ids':
      for (const messageId of selection.ids) {
        for await (const row of audit.eachDelivery({ ...selection.filters, messageId }, 'oldest')) yield keyOf(row)
      }
      return
    case 'missed': {
      const { listener, filters } = selection
      const wants = eventMatcher(listener.events)
      const asked = filters.event === undefined ? () => true : eventMatcher([filters.event])
      const { since, until, messageId } = filters
      for await (const { id, evento } of audit.missed({ listener: listener.name, since, until, messageId })) {
        if (wants(evento) && asked(evento)) yield { messageId: id, listener: listener.name }
      }
    }
  }
}

function keyOf(row: { readonly mensaje_id: string; readonly listener: string }): DeliveryKey {
  return { messageId: original(row.mensaje_id), listener: original(row.listener) }
}
