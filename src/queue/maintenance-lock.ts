/**
 * Only one of the commands that put deliveries back or give them up works at a time in a project: each decides from what
 * the audit says, and must not decide from what another is just changing. Workers never ask for it.
 */
import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { OperationFailed } from '../errors.ts'
import type { Millis } from '../model/message.ts'
import type { Queue } from './queue.ts'
import { scriptsOf } from './scripts.ts'

export interface MaintenanceLock {
  /** What the scripts compare. */
  readonly value: string
  release(): Promise<void>
}

const LIFE: Millis = 30_000
const RENEW: Millis = 10_000
const ASK_AGAIN: Millis = 200

interface Holder {
  readonly comando: string
  readonly host: string
  readonly pid: number
}

/**
 * Takes the lock, waiting for whoever has it.
 * @param command  its name, for those who wait
 * @param patience ms to wait at most
 * @param waiting  told once, when there is a wait
 * @throws OperationFailed when the other one takes longer
 */
export async function takeMaintenanceLock(
  queue: Queue,
  command: string,
  patience: Millis,
  waiting: (message: string) => void,
): Promise<MaintenanceLock> {
  const { redis, keys } = queue
  const holder: Holder = { comando: command, host: hostname(), pid: process.pid }
  const value = JSON.stringify({ ...holder, id: randomBytes(6).toString('hex') })
  const end = Date.now() + patience
  for (let told = false; ; ) {
    if ((await redis.set(keys.maintenance, value, 'PX', LIFE, 'NX')) === 'OK') break
    const who = whoIs(await redis.get(keys.maintenance))
    if (Date.now() > end) throw new OperationFailed(`${who} está trabajando sobre estas colas; repita cuando termine.`)
    if (!told) waiting(`${who} está trabajando sobre estas colas: se espera a que termine.`)
    told = true
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN))
  }
  const { hold } = scriptsOf(redis)
  // A renewal that fails shows in the next script, which finds the lock lost.
  const timer = setInterval(() => void hold(1, keys.maintenance, value, LIFE).catch(() => {}), RENEW)
  timer.unref()
  return {
    value,
    release: async () => {
      clearInterval(timer)
      await hold(1, keys.maintenance, value, 0).catch(() => {})
    },
  }
}

function whoIs(value: string | null): string {
  try {
    const { comando, host, pid } = JSON.parse(value ?? '') as Holder
    return `Otro «resthooks ${comando}» (${host}, proceso ${pid})`
  } catch {
    return 'Otro comando'
  }
}
