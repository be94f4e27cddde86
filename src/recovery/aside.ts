/**
 * What was set aside, of whatever kind, as a person deals with it: seen, taken away whole, put back, or deleted. What is deleted is
 * audited where it was a message; the rest was never one.
 */
import { type AuditEvent, idsOf } from '../audit/event.ts'
import { type AttemptColumns, type AuditQueries, keptIn, type RejectedRow } from '../audit/queries.ts'
import { callbackJob } from '../model/callback-job.ts'
import type { Bytes } from '../model/message.ts'
import {
  delayedEnvelope,
  delayedMessages,
  endDelay,
  failedCallbacks,
  forgetCallback,
  invalidEntries,
  recallCallback,
  refileInvalid,
  returnAuditEntry,
} from '../queue/aside.ts'
import { discard } from './discard.ts'
import type { Maintenance } from './maintenance.ts'

export type AsideKind = 'invalidas' | 'demoradas' | 'callbacks' | 'rechazadas'

export interface Aside {
  readonly id: string
  /** When it was set aside, or is due; null: nobody knows. */
  readonly fecha: Date | null
  readonly mensaje_id: string | null
  readonly listener: string | null
  readonly motivo: string | null
  readonly bytes: Bytes | null
  /** All of it: text where it is text. */
  whole(): Promise<Buffer | object>
  /** @returns null: done; else why not */
  putBack(): Promise<string | null>
  remove(): Promise<string | null>
}

const GONE = 'ya no está: otro la tomó, o le llegó su hora'

export async function* asideOf(maintenance: Maintenance, kind: AsideKind): AsyncGenerator<Aside> {
  const { queue, audit } = maintenance
  switch (kind) {
    case 'invalidas':
      for await (const { id, raw, why } of invalidEntries(queue)) {
        yield {
          ...{ id, fecha: null, mensaje_id: null, listener: null, bytes: raw.length },
          motivo: why ?? 'esta versión ya la entiende: se puede devolver',
          whole: async () => raw,
          putBack: async () => gone(await refileInvalid(queue, raw, true)),
          remove: async () => gone(await refileInvalid(queue, raw, false)),
        }
      }
      return
    case 'demoradas':
      for await (const { id, dueAt, bytes } of delayedMessages(queue)) {
        yield {
          ...{ id, fecha: dueAt, mensaje_id: id, listener: null, motivo: 'espera su demora', bytes },
          whole: async () => (await delayedEnvelope(queue, id)) ?? Buffer.alloc(0),
          putBack: async () => gone(await endDelay(queue, id)),
          remove: () => cancel(maintenance, id),
        }
      }
      return
    case 'callbacks':
      for await (const { id, messageId, listener, at } of failedCallbacks(queue)) {
        const runs = async () =>
          (await audit.message(messageId))?.callbacks.filter((run) => run.listener === listener && isOf(run.id, id)) ??
          []
        yield {
          ...{ id, fecha: at, mensaje_id: messageId, listener, bytes: null },
          motivo: (await runs()).at(-1)?.detalle ?? null,
          whole: runs,
          putBack: () => recall(maintenance, id, messageId, listener),
          remove: async () => gone(await forgetCallback(queue, id)),
        }
      }
      return
    case 'rechazadas':
      yield* rejectedRows(audit, async () => maintenance)
  }
}

/** Of `rechazadas`, whose rows are Postgres's alone. @param maintenance asked for where one is put back */
export async function* rejectedRows(
  audit: AuditQueries,
  maintenance: () => Promise<Maintenance>,
): AsyncGenerator<Aside> {
  for await (const row of audit.rejected()) {
    const { messageId = null, listener = null } = ofRow(row)
    yield {
      ...{ id: row.huella.slice(0, 12), fecha: row.fecha, mensaje_id: messageId, listener },
      motivo: row.sqlstate === null ? row.motivo : `${row.motivo} (${row.sqlstate})`,
      bytes: row.evento_json.length,
      whole: async () => row,
      putBack: async () => writeAgain(await maintenance(), row),
      remove: async () => gone(await audit.deleteRejected(row.huella)),
    }
  }
}

function gone(wasThere: boolean): string | null {
  return wasThere ? null : GONE
}

/** The audit names the runs of a callback as Redis names the callback. */
function isOf(run: string, callback: string): boolean {
  return run === callback || run === `callback ${callback}`
}

async function cancel(maintenance: Maintenance, id: string): Promise<string | null> {
  const selection = { kind: 'ids', ids: [id], filters: { states: ['pendiente'] } } as const
  const { tally } = await discard(maintenance, selection, { limit: 1 })
  return tally.problems[0]?.motivo ?? null
}

/** Its job went when it was given up: it is made anew from what the audit knows. */
async function recall(
  { audit, queue }: Maintenance,
  id: string,
  messageId: string,
  listener: string,
): Promise<string | null> {
  const timeline = await audit.message(messageId)
  const delivery = timeline?.deliveries.find((each) => each.listener === listener)
  if (!timeline || !delivery) return 'la auditoría no tiene la entrega de la que avisa'
  const runs = timeline.callbacks.filter((run) => isOf(run.id, id))
  const type = runs.at(-1)?.tipo ?? (delivery.estado === 'exitosa' ? 'on_success' : 'on_failure')
  let message = null
  for await (const found of audit.storedMessages([messageId])) message = found.get(messageId)?.message ?? message
  const attempts = timeline.attempts.filter((each) => each.listener === listener)
  const job = callbackJob.forOutcome({
    ...{ id: messageId, message, listener, attempts: delivery.intentos, reason: delivery.motivo ?? '' },
    succeeded: type === 'on_success',
    last: lastRequest(attempts.at(-1)),
  })
  const lastRun = runs.reduce((most, { intento }) => Math.max(most, intento), 0)
  return gone(await recallCallback(queue, id, job, lastRun))
}

function lastRequest(attempt: AttemptColumns | undefined) {
  return (
    attempt && {
      status: attempt.http_estado,
      error: attempt.error,
      errorDetail: attempt.error_detalle,
      responseBody: attempt.respuesta_cuerpo,
      startedAt: attempt.inicio.getTime(),
      durationMs: attempt.duracion_ms,
    }
  )
}

function ofRow(row: RejectedRow): { messageId?: string; listener?: string } {
  const kept = keptIn(row)
  return kept.kind === 'event' ? idsOf(kept.event) : {}
}

/** What is refused again lies aside again, as it did. */
async function writeAgain({ audit, backend, queue }: Maintenance, row: RejectedRow): Promise<string | null> {
  const kept = keptIn(row)
  if (kept.kind === 'lost') return 'sólo se guardó su principio: no alcanza para escribirla'
  if (kept.kind === 'entry') {
    await returnAuditEntry(queue, kept.fields)
    return gone(await audit.deleteRejected(row.huella))
  }
  const meanwhile = `devuelta ${row.huella}`
  await audit.renameRejected(row, meanwhile)
  await backend.write([kept.event as AuditEvent])
  await audit.deleteRejected(meanwhile)
  for await (const other of audit.rejected()) {
    if (other.huella === row.huella) return `la base la rechazó otra vez: ${other.motivo}`
    if (other.fecha < row.fecha) break
  }
  return null
}
