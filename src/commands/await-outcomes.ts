/**
 * `send --esperar`: waits for the outcome of every delivery, as the audit tells it.
 *
 * The messages are in by then. Whatever keeps the outcome from being known (Postgres away, the time that ran out) is exit 1 and
 * says so: exit 4 means that nothing happened, and a script that then repeats would send twice.
 */
import type { AuditReader } from '../audit/queries.ts'
import { OperationFailed, ResthooksError, Unavailable } from '../errors.ts'
import { isUnfinished } from '../recovery/selection.ts'
import type { Context } from './context.ts'

const LOOK_EVERY_MS = 100

/**
 * Returns when every message had a delivery, and all succeeded.
 * @param patience ms
 * @throws OperationFailed when one failed or was given up, none was to be made, or the outcome is not known in time
 */
export async function awaitOutcomes(context: Context, ids: readonly string[], patience: number): Promise<void> {
  const audit = await context.audit()
  const end = Date.now() + patience
  let open = ids
  for (;;) {
    let trouble: ResthooksError | null = null
    try {
      const { still, failures } = await look(audit, open)
      open = still
      if (failures.length > 0)
        throw new OperationFailed(`${failures.join('\n')}\nDetalle: resthooks ver ${failures[0]!.split(' ')[0]}`)
    } catch (error) {
      if (!(error instanceof ResthooksError) || error instanceof OperationFailed) throw error
      trouble = error
    }
    if (open.length === 0) return
    // Postgres may be back in time; what only a person can change will not.
    if (Date.now() > end || (trouble !== null && !(trouble instanceof Unavailable)))
      throw await unknown(context, open, trouble)
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS))
  }
}

async function look(audit: AuditReader, ids: readonly string[]): Promise<{ still: string[]; failures: string[] }> {
  const still: string[] = []
  const failures: string[] = []
  for (const id of ids) {
    const found = await audit.message(id)
    const expected = found?.message?.listeners
    if (!found || expected === undefined || expected === null || found.deliveries.length < expected) {
      still.push(id)
      continue
    }
    if (expected === 0)
      failures.push(`${id} → ningún listener recibe «${found.message?.evento}»: no se entregó a nadie`)
    if (found.deliveries.some(({ estado }) => isUnfinished({ state: estado }))) still.push(id)
    for (const { listener, estado, motivo } of found.deliveries) {
      if (estado === 'fallida' || estado === 'descartada')
        failures.push(`${id} → ${listener}: ${estado}${motivo ? ` (${motivo})` : ''}`)
    }
  }
  return { still, failures }
}

/** @param trouble why the audit could not be asked; null: it was, and the time ran out */
async function unknown(context: Context, ids: readonly string[], trouble: ResthooksError | null) {
  const [first, ...more] = ids
  const which = more.length === 0 ? `el mensaje ${first} está encolado` : `${ids.length} mensajes están encolados`
  const why = trouble?.message ?? 'sigue sin resultado final y se agotó el plazo.'
  const redis = await redisOutage(context)
  const then = redis === null ? 'La entrega continúa' : `${redis.message}. La entrega sigue cuando Redis vuelva`
  return new OperationFailed(
    `${which}: no lo envíe otra vez. No se sabe cómo terminó: ${why} ${then}. Véalo después con: resthooks ver ${first}`,
    { cause: trouble },
  )
}

/** Asked with a connection of its own: ours may have been cut when Redis was away, and it be back. */
async function redisOutage(context: Context): Promise<ResthooksError | null> {
  const { connectOnce } = await import('../queue/redis.ts')
  try {
    const redis = await connectOnce((await context.config()).redis)
    redis.disconnect()
    return null
  } catch (error) {
    if (error instanceof ResthooksError) return error
    throw error
  }
}
