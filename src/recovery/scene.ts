/** What every maintenance command works with, and the lock under which it changes anything. */
import type { AuditBackend } from '../audit/backend.ts'
import type { AuditReader } from '../audit/queries.ts'
import type { Config } from '../config/config.ts'
import type { Millis } from '../model/message.ts'
import { QueueAdmin } from '../queue/admin.ts'
import { takeMaintenanceLock } from '../queue/maintenance-lock.ts'
import type { Queue } from '../queue/queue.ts'

export interface MaintenanceScene {
  readonly config: Config
  readonly queue: Queue
  readonly audit: AuditReader
  readonly backend: AuditBackend
  /** Count only; nothing is changed in Redis. */
  readonly simulate: boolean
  /** Told to the person, on the way. */
  readonly note: (text: string) => void
}

/**
 * Runs `work` while no other maintenance command changes anything; a simulation needs no lock and gets no admin.
 * @param patience ms to wait for another one
 * @throws OperationFailed when the other one does not end in time
 */
export async function underLock<T>(
  scene: MaintenanceScene,
  command: string,
  patience: Millis,
  work: (admin: QueueAdmin | null) => Promise<T>,
): Promise<T> {
  if (scene.simulate) return work(null)
  const lock = await takeMaintenanceLock(scene.queue, command, patience, scene.note)
  try {
    return await work(new QueueAdmin(scene.queue, lock))
  } finally {
    await lock.release()
  }
}
