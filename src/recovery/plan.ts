/**
 * What would be done, before it is: how many deliveries of each listener, and the first of them. Counted in one query wherever the
 * audit can; what a person was shown is counted again once nobody else changes anything, and only then is it done.
 */
import type { DeliveryListing, OnProgress } from '../audit/queries.ts'
import { OperationFailed } from '../errors.ts'
import { amount } from '../model/words.ts'
import type { QueueAdmin } from '../queue/maintenance.ts'
import {
  drainAudit,
  LOCK_PATIENCE,
  type Maintenance,
  NO_LISTENER,
  type Run,
  Tally,
  Told,
  underLock,
} from './maintenance.ts'
import { type DeliveryKey, explainIds, type Hints, missedFilters, partsOf, type Selection } from './selection.ts'

export interface Plan {
  readonly total: number
  readonly listeners: readonly { readonly listener: string; readonly cantidad: number }[]
  /** The oldest, at most so many as a person reads; of a message that its listener never got, its id alone. */
  readonly first: readonly (Pick<DeliveryListing, 'mensaje_id' | 'listener'> & Partial<DeliveryListing>)[]
  /** Chosen, and left as they are. */
  readonly skipped: readonly { readonly listener: string; readonly cantidad: number; readonly motivo: string }[]
}

/** `resend` needs a listener that is configured; whoever is given up or hurried does not. */
export type Purpose = 'resend' | 'discard' | 'hurry'

const FIRST = 5

export async function planOf(
  { config, queue, backend, audit }: Maintenance,
  purpose: Purpose,
  selection: Selection,
  limit: number,
  onProgress?: OnProgress,
): Promise<Plan> {
  await drainAudit(queue, backend)
  const counts = new Map<string, number>()
  const isWhole = limit === Number.POSITIVE_INFINITY
  if (isWhole && selection.kind === 'missed') {
    counts.set(selection.listener.name, await audit.missedCount(missedFilters(selection), onProgress))
  } else if (isWhole && selection.kind === 'filters') {
    for (const { de, entregas } of await audit.count(selection.filters, 'listener', onProgress)) {
      counts.set(String(de), entregas)
    }
  } else {
    // Few: those that were named, or those that nobody got.
    for await (const part of partsOf(audit, selection, limit)) {
      for (const { listener } of part) counts.set(listener, (counts.get(listener) ?? 0) + 1)
    }
  }
  const listeners: { listener: string; cantidad: number }[] = []
  const skipped: { listener: string; cantidad: number; motivo: string }[] = []
  for (const [listener, cantidad] of counts) {
    if (cantidad === 0) continue
    if (purpose !== 'resend' || config.listeners.get(listener)?.active) listeners.push({ listener, cantidad })
    else skipped.push({ listener, cantidad, motivo: NO_LISTENER })
  }
  const total = listeners.reduce((sum, { cantidad }) => sum + cantidad, 0)
  return { total, listeners, skipped, first: total === 0 ? [] : await firstOf(audit, selection, limit) }
}

async function firstOf(audit: Maintenance['audit'], selection: Selection, limit: number): Promise<Plan['first']> {
  const most = Math.min(FIRST, limit)
  if (selection.kind === 'filters') {
    return (await audit.deliveries(selection.filters, { order: 'oldest', limit: most })).rows
  }
  const keys: DeliveryKey[] = []
  for await (const part of partsOf(audit, selection, most)) keys.push(...part)
  return keys.map(({ messageId, listener }) => ({ mensaje_id: messageId, listener }))
}

/** What `work` has to do its work with. */
export interface Chosen {
  readonly maintenance: Maintenance
  /** Null: only counted. */
  readonly admin: QueueAdmin | null
  readonly selection: Selection
  readonly told: Told
  readonly tally: Tally
  /** Deliveries at most. */
  readonly limit: number
}

/**
 * Does `work` on what was chosen: alone, with the audit up to date, told to it, and with the reasons why some of the messages that
 * were named are left as they are.
 * @throws OperationFailed where they are not as many as a person agreed to
 */
export async function onChosen(
  maintenance: Maintenance,
  purpose: Purpose,
  selection: Selection,
  { limit, expected }: Run,
  hints: Hints,
  work: (chosen: Chosen) => Promise<void>,
): Promise<Tally> {
  return underLock(maintenance, purpose === 'discard' ? 'descartar' : 'reenviar', LOCK_PATIENCE, async (admin) => {
    await drainAudit(maintenance.queue, maintenance.backend)
    if (expected !== undefined) {
      const { total } = await planOf(maintenance, purpose, selection, limit)
      if (total !== expected) {
        throw new OperationFailed(
          `No se hizo nada: eran ${amount(expected)} entregas y ahora son ${amount(total)}. Mire otra vez cuáles, y confirme.`,
        )
      }
    }
    const tally = new Tally(maintenance.progress)
    for (const { mensaje_id, listener, motivo } of await explainIds(maintenance.audit, selection, hints)) {
      tally.problem(mensaje_id, listener, motivo)
    }
    const told = new Told(maintenance, admin, selection)
    await work({ maintenance, admin, selection, told, tally, limit })
    if (purpose !== 'discard') admin?.wake()
    return tally
  })
}
