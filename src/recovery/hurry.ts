/** `reenviar --ahora`: deliveries that wait for their retry are tried at once; their attempts and their strategy go on. */
import { drainAudit, LOCK_PATIENCE, type Maintenance, type Run, Tally, Told, underLock } from './maintenance.ts'
import { requireExpected } from './plan.ts'
import { explainIds, type Hints, otherState, partsOf, type Selection } from './selection.ts'

const REASON = 'reintento adelantado a mano'
const NOT_WAITING = 'ya no espera un reintento en Redis: está en curso, o terminó recién'

export async function hurry(maintenance: Maintenance, selection: Selection, run: Run): Promise<Tally> {
  return underLock(maintenance, 'reenviar', LOCK_PATIENCE, async (admin) => {
    const { queue, backend, audit } = maintenance
    await drainAudit(queue, backend)
    await requireExpected(maintenance, 'hurry', selection, run)
    const tally = new Tally(maintenance.progress)
    for (const { mensaje_id, listener, motivo } of await explainIds(audit, selection, HINTS)) {
      tally.problem(mensaje_id, listener, motivo)
    }
    const told = new Told(maintenance, admin, selection)
    for await (const part of partsOf(audit, selection, run.limit)) {
      await told.begin()
      const items = part.map(({ messageId, listener }) => ({ id: messageId, listener }))
      const waited = admin ? await admin.hurry(items, REASON) : items.map(() => true)
      for (const [i, { id, listener }] of items.entries()) {
        if (waited[i]) tally.done(listener)
        else tally.problem(id, listener, NOT_WAITING)
      }
    }
    await told.end(tally.total)
    admin?.wake()
    return tally
  })
}

const HINTS: Hints = {
  delayed: 'espera su demora: se entrega sola',
  ended: (states, wanted) =>
    states.includes('pendiente') ? 'espera su turno, no un reintento: se entrega sola' : otherState(states, wanted),
}
