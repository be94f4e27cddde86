/** `send --esperar`: waits for the outcome of every delivery, as the audit tells it. */
import { OperationFailed } from '../errors.ts'
import type { Context } from './context.ts'

const LOOK_EVERY_MS = 100

/**
 * Returns when every delivery of every message succeeded.
 * @param patience ms
 * @throws OperationFailed when one failed or was given up, or the time ran out
 */
export async function awaitOutcomes(context: Context, ids: readonly string[], patience: number): Promise<void> {
  const audit = await context.audit()
  const end = Date.now() + patience
  let open = [...ids]
  const failures: string[] = []
  for (;;) {
    const still: string[] = []
    for (const id of open) {
      const found = await audit.message(id)
      const expected = found?.message?.listeners
      if (!found || expected === undefined || expected === null || found.deliveries.length < expected) {
        still.push(id)
        continue
      }
      if (found.deliveries.some(({ estado }) => estado === 'pendiente' || estado === 'reintentando')) still.push(id)
      for (const { listener, estado, motivo } of found.deliveries) {
        if (estado === 'fallida' || estado === 'descartada')
          failures.push(`${id} → ${listener}: ${estado}${motivo ? ` (${motivo})` : ''}`)
      }
    }
    if (failures.length > 0)
      throw new OperationFailed(
        `${[...new Set(failures)].join('\n')}\nDetalle: resthooks ver ${failures[0]!.split(' ')[0]}`,
      )
    if (still.length === 0) return
    open = still
    if (Date.now() > end) {
      throw new OperationFailed(
        `${open.length === 1 ? 'un mensaje sigue' : `${open.length} mensajes siguen`} sin resultado final y se agotó el plazo; la entrega continúa. Véalo con: resthooks ver ${open[0]}`,
      )
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS))
  }
}
