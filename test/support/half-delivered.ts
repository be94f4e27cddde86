/** A state to look at: one listener is done, the other waits, and no worker works any more. */
import { until } from './until.ts'
import type { World } from './world.ts'

/** A message that `sano` has taken and that waits for a retry to `caido`, in Postgres as in Redis. @returns its id */
export async function halfDelivered(world: World): Promise<string> {
  await world.listener(() => ({ status: 200 }), { nombre: 'sano' })
  await world.listener(() => ({ status: 503 }), { nombre: 'caido' })
  await world.set('reintentos', { esperas: '1h' })
  const worker = await world.worker()
  const id = await world.send('compra.alta', { n: 1 })
  await until(async () => {
    const states = (await world.audit(id)).map(({ estado }) => estado)
    return states.includes('reintentando') && states.includes('exitosa')
  })
  worker.kill()
  await worker.waitExit()
  return id
}
