/**
 * What people do to deliveries: put back what was lost, send again what had ended, give up what waits. Each batch is one
 * script; what the operations mean is written at the head of each script in `lua/`.
 *
 * Only one of the commands that do so works at a time in a project: each decides from what the audit says, and must not decide
 * from what another is just changing. Workers never ask for that lock.
 */

import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import type { ActionRecord } from '../audit/event.ts'
import { OperationFailed } from '../errors.ts'
import type { Millis } from '../model/message.ts'
import { parts } from '../model/parts.ts'
import { writeDispatched, writeRecord, writeState } from './audit-format.ts'
import { CALLBACK_LANE } from './keys.ts'
import { LaneNumbers, type Queue } from './queue.ts'
import { type Scripts, scriptsOf } from './scripts.ts'

export interface RestoredMessage {
  readonly id: string
  readonly envelope: Buffer
  /** Of one that lost any: its unfinished deliveries that are not among the items. */
  readonly others: number
  readonly items: readonly RestoredItem[]
}

export type RestoredItem =
  /** Its `demora` still runs, until `dueAt`. */
  | { readonly kind: 'delayed'; readonly dueAt: number }
  /** `dueAt` null: it waits for its turn, else for its retry. */
  | (ItemState & { readonly kind: 'lost'; readonly dueAt: number | null })
  /** Redis lost it after the listener had accepted it: only the audit is told, and the callback queued. */
  | (ItemState & {
      readonly kind: 'accepted'
      readonly reason: string
      readonly callback: string | null
    })
  /** It had ended; its attempts go on counting, its strategy starts anew. */
  | (ItemState & { readonly kind: 'again'; readonly reason: string })

interface ItemState {
  readonly listener: string
  /** Attempts that count for the strategy. */
  readonly made: number
  /** The last attempt number given out. */
  readonly number: number
  /** Of the newest state that the audit has. */
  readonly version: number
}

/** `held`: Redis has it. `delayed`: another message of that id waits for its demora. `ended`: it had failed for good. */
type RestoreResult = 'done' | 'held' | 'delayed' | 'ended'
const RESTORE_RESULTS: readonly RestoreResult[] = ['held', 'done', 'delayed', 'ended']

export interface DiscardedItem {
  readonly id: string
  readonly listener: string
  readonly number: number
  readonly version: number
  /** `waiting`: only where Redis holds it. `ended`: it had failed, or is lost: only where Redis does not. */
  readonly kind: 'waiting' | 'ended'
}

/** `running`: done, and a request of it was under way. `other`: it is not as `kind` says. */
type DiscardResult = 'done' | 'running' | 'other'
const DISCARD_RESULTS: readonly DiscardResult[] = ['other', 'done', 'running']

/** What one script does of them: a moment's work. */
const DISCARD_AT_ONCE = 200
const SLICE = 400

/**
 * Tells the audit what a person does: when it begins, with `count` 0, and again with what is done.
 * Beside `QueueAdmin`, which also says so of each delivery, for what touches none.
 */
export async function tellAction(queue: Queue, action: ActionRecord): Promise<void> {
  await scriptsOf(queue.redis).action(1, queue.keys.audit, writeRecord(action))
}

export class QueueAdmin {
  readonly #queue: Queue
  readonly #scripts: Scripts
  readonly #lock: MaintenanceLock
  #action: ActionRecord | null = null

  constructor(queue: Queue, lock: MaintenanceLock) {
    this.#queue = queue
    this.#scripts = scriptsOf(queue.redis)
    this.#lock = lock
  }

  /** What is changed from here on is told as done by this action. */
  async began(action: ActionRecord): Promise<void> {
    this.#action = action
    await tellAction(this.#queue, action)
  }

  /** @param count deliveries that it touched so far */
  async counted(count: number): Promise<void> {
    if (this.#action) await tellAction(this.#queue, { ...this.#action, count })
  }

  #stateEvent(id: string, listener: string): string {
    return writeState(id, listener, this.#action?.id ?? null)
  }

  /**
   * @param messages a few hundred items, a few megabytes: one script
   * @returns for each message, one result an item
   * @throws OperationFailed when the lock was lost
   */
  async restore(messages: readonly RestoredMessage[]): Promise<readonly (readonly RestoreResult[])[]> {
    if (messages.length === 0) return []
    const { maintenance, remaining, delayed, listeners, fence, audit, messagePrefix } = this.#queue.keys
    const lanes = new LaneNumbers()
    const args: (string | number | Buffer)[] = []
    for (const { id, envelope, others, items } of messages) {
      args.push(id, envelope, others, items.length)
      for (const item of items) args.push(...this.#itemArguments(id, item, lanes))
    }
    const callbacks = this.#queue.lane(CALLBACK_LANE)
    const shared = [maintenance, remaining, delayed, listeners, fence, audit, callbacks.queue, callbacks.retries]
    const keys = [...shared, ...lanes.keys(this.#queue)]
    const head = [this.#lock.value, messagePrefix, lanes.names.length, ...lanes.names]
    const codes = checked(await this.#scripts.restore(keys.length, ...keys, ...head, ...args))
    const results = codes.map((code) => RESTORE_RESULTS[code]!)
    let at = 0
    return messages.map(({ items }) => {
      at += items.length
      return results.slice(at - items.length, at)
    })
  }

  /**
   * Gives up deliveries that run, wait for their retry, or are not in Redis at all; `sift` is for those in the list.
   * @param reason goes into the audit; without `|`
   * @throws OperationFailed when the lock was lost
   */
  async discard(items: readonly DiscardedItem[], reason: string): Promise<readonly DiscardResult[]> {
    const { maintenance, remaining, audit, fanOut, messagePrefix } = this.#queue.keys
    const results: DiscardResult[] = []
    for (const part of parts(items, DISCARD_AT_ONCE)) {
      const lanes = new LaneNumbers()
      const args = part.flatMap(({ id, listener, number, version, kind }) => [
        ...[lanes.of(listener), id, number, version, this.#stateEvent(id, listener), kind === 'waiting' ? 'w' : 'x'],
      ])
      const keys = [maintenance, remaining, audit, fanOut, ...lanes.keys(this.#queue)]
      const head = [this.#lock.value, messagePrefix, reason]
      const codes = checked(await this.#scripts.discard(keys.length, ...keys, ...head, ...args))
      results.push(...codes.map((code) => DISCARD_RESULTS[code]!))
    }
    return results
  }

  /**
   * Makes deliveries that wait for their retry due now.
   * @returns for each, whether it does wait
   * @throws OperationFailed when the lock was lost
   */
  async hurry(
    items: readonly { readonly id: string; readonly listener: string }[],
    reason: string,
  ): Promise<boolean[]> {
    const { maintenance, audit } = this.#queue.keys
    const results: boolean[] = []
    for (const part of parts(items, DISCARD_AT_ONCE)) {
      const lanes = new LaneNumbers()
      const args = part.flatMap(({ id, listener }) => [lanes.of(listener), id, this.#stateEvent(id, listener)])
      const keys = [maintenance, audit, ...lanes.keys(this.#queue, ({ deliveries, retries }) => [deliveries, retries])]
      const codes = checked(await this.#scripts.hurry(keys.length, ...keys, this.#lock.value, reason, ...args))
      results.push(...codes.map((code) => code === 1))
    }
    return results
  }

  /**
   * Gives up deliveries that wait in a listener's list, walking through it once, a slice a call, and no further than needed.
   * @param wanted by message id
   * @param tell   told which of them were in a slice, after each
   * @returns the ids that were found, and given up
   * @throws OperationFailed when the lock was lost
   */
  async sift(
    listener: string,
    wanted: ReadonlyMap<string, DiscardedItem>,
    reason: string,
    tell: (found: readonly string[]) => Promise<void> = async () => {},
  ): Promise<Set<string>> {
    const { redis, keys } = this.#queue
    const { queue, front, deliveries } = this.#queue.lane(listener)
    const lists = [keys.maintenance, keys.remaining, keys.audit, queue, front, deliveries]
    const found = new Set<string>()
    try {
      // One that was cut short may have left its front behind.
      await this.#pour(listener)
      // What comes in meanwhile was not meant.
      for (let left = await redis.llen(queue); left > 0 && found.size < wanted.size; ) {
        const slice = await redis.lrange(queue, 0, SLICE - 1)
        if (slice.length === 0) break
        const going = [...new Set(slice)].filter((id) => wanted.has(id))
        const args = going.flatMap((id) => {
          const { number, version } = wanted.get(id)!
          return [id, number, version, this.#stateEvent(id, listener)]
        })
        const head = [this.#lock.value, keys.messagePrefix, reason, SLICE, slice.at(-1)!]
        const [walked = 0] = checked(await this.#scripts.sift(6, ...lists, ...head, ...args))
        left -= walked
        if (walked === 0) continue
        for (const id of going) found.add(id)
        await tell(going)
      }
    } finally {
      await this.#pour(listener)
    }
    return found
  }

  /** Makes one list of a lane's two again. */
  async #pour(listener: string): Promise<void> {
    const { queue, front, deliveries } = this.#queue.lane(listener)
    while (((await this.#scripts.pour(3, queue, front, deliveries, SLICE)) as number) > 0);
  }

  /**
   * Gives up a message whose demora runs.
   * @param receivedAt when it was first taken, ms since epoch
   * @param listeners  those that would get it
   * @returns false when it does not wait any more
   * @throws OperationFailed when the lock was lost
   */
  async cancel(id: string, receivedAt: number, listeners: readonly string[], reason: string): Promise<boolean> {
    const { maintenance, delayed, audit, messagePrefix } = this.#queue.keys
    const dispatched = writeDispatched({ id, listeners, keepBody: true, receivedAt })
    const states = listeners.map((listener) => this.#stateEvent(id, listener))
    const args = [this.#lock.value, messagePrefix, id, dispatched, reason, ...states]
    const [code] = checked([await this.#scripts.cancel(3, maintenance, delayed, audit, ...args)])
    return code === 1
  }

  #itemArguments(id: string, item: RestoredItem, lanes: LaneNumbers): (string | number)[] {
    if (item.kind === 'delayed') return ['d', 0, item.dueAt, 0, 0, 0, '', '', '']
    const { listener, made, number, version } = item
    const state = [made, number, version]
    switch (item.kind) {
      case 'lost':
        return [item.dueAt === null ? 'q' : 'r', lanes.of(listener), item.dueAt ?? 0, ...state, '', '', '']
      case 'again':
        return ['e', lanes.of(listener), 0, ...state, this.#stateEvent(id, listener), item.reason, '']
      case 'accepted':
        return ['s', lanes.of(listener), 0, ...state, this.#stateEvent(id, listener), item.reason, item.callback ?? '']
    }
  }

  /** Tells the workers that there is something to claim, and to dispatch. */
  wake(): void {
    void this.#queue.wake('claim')
    void this.#queue.wake('dispatch')
  }
}

function checked(answer: unknown): number[] {
  const codes = answer as number[]
  if (codes[0] === -1) {
    throw new OperationFailed('se perdió el turno sobre las colas (¿Redis se detuvo un momento?): repita el comando.')
  }
  return codes
}

interface MaintenanceLock {
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
