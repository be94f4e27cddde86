/**
 * One listener's slots in one worker: what it may start, what runs, and what becomes of it. A lane never waits for another.
 */
import type { StopSignal } from '../delivery/deadline.ts'
import type { Bytes } from '../model/message.ts'
import type { Claimed, LaneSpec } from '../queue/queue.ts'
import type { Settlement } from '../queue/settle.ts'
import type { Logger } from './log.ts'
import type { Outage } from './outage.ts'
import { Signal } from './waiting.ts'

/** Does the work of one claimed delivery; never rejects. */
export interface Executor {
  /** What the queue is told of its lane. */
  readonly spec: LaneSpec
  execute(claimed: Claimed, signal: StopSignal): Promise<Settlement>
  close(): Promise<void>
}

export class Lane {
  executor: Executor
  running = 0
  /** Bytes of the envelopes of what runs. */
  bytes = 0
  /** It could start more if it were not for the bytes. */
  hungry = false
  /** There may be something to claim right now. */
  hinted = true
  /** Redis time from which there may be something again; null: only a hint or the poll will tell. */
  nextAt: number | null = null
  /** Entries that stayed in the queue after the last claim. */
  left = 0
  /** Goes up by one for each claim, so that the lanes take turns. */
  servedAt = 0

  constructor(executor: Executor) {
    this.executor = executor
  }

  get spec(): LaneSpec {
    return this.executor.spec
  }

  get free(): number {
    return Math.max(0, this.spec.concurrency - this.running)
  }
}

/**
 * How many each lane may claim so that all of them together start at most `slots`.
 *
 * Up to its even share of all slots a lane takes what is free, the longest unserved first. Beyond that it must leave a
 * quarter to those below theirs: otherwise one listener that hangs, with a `concurrencia` as large as the worker's, would
 * hold every slot until its time-out, and the others wait for it.
 * @param lanes those that may have work
 * @param slots free ones
 * @param all   those that share the slots, with work or without
 * @param most  lanes at most. Where there are more of them than slots, those that come too late for one are among them, with
 *   what their even share would be: they get it where the others turn out to have no work
 */
export function shareSlots(
  lanes: readonly Lane[],
  slots: number,
  all: readonly Lane[] = lanes,
  most = 0,
): { lane: Lane; n: number }[] {
  const total = all.reduce((sum, { running }) => sum + running, slots)
  const even = Math.max(1, Math.floor(total / all.length))
  const shares = lanes
    .filter((lane) => lane.free > 0)
    .sort((a, b) => a.servedAt - b.servedAt)
    .map((lane) => ({ lane, n: 0 }))
  const left = spread(shares, slots, (lane) => Math.min(lane.free, even - lane.running))
  const below = all.reduce((sum, lane) => sum + Math.max(0, Math.min(lane.spec.concurrency, even) - lane.running), 0)
  // What was just given went to those below their share, and to nobody else.
  const kept = Math.min(Math.ceil(total / 4), below - (slots - left))
  spread(shares, left - kept, (lane) => lane.free)
  const served = shares.filter(({ n }) => n > 0)
  if (most === 0 || slots <= 0) return served
  const spare = shares.filter(({ lane, n }) => n === 0 && lane.running < even)
  const late = spare.map(({ lane }) => ({ lane, n: Math.min(lane.free, even - lane.running) }))
  return [...served, ...late].slice(0, most)
}

/** Envelopes in the memory of one worker at most, but for one more and the lanes' own shares. */
export const BYTES_IN_FLIGHT: Bytes = 64 * 1024 * 1024

/**
 * How many bytes of envelopes a lane may start: half of what the others leave, so that there is always something left, one
 * large envelope in any case; and, even when they hold everything, small ones up to its even share.
 * @param held bytes in flight of all lanes
 */
export function shareBytes(lane: Lane, held: Bytes, lanes: number): { readonly room: Bytes; readonly own: Bytes } {
  const free = Math.max(0, BYTES_IN_FLIGHT - held)
  const room = lanes === 1 ? free : Math.floor((free - lane.bytes) / 2)
  return { room: Math.max(0, room), own: Math.max(0, Math.floor(BYTES_IN_FLIGHT / lanes) - lane.bytes) }
}

/** Adds to the shares in even parts, up to what each has room for. @returns what is left of `slots` */
function spread(shares: readonly { lane: Lane; n: number }[], slots: number, room: (lane: Lane) => number): number {
  let left = slots
  while (left > 0) {
    const open = shares.filter(({ lane, n }) => n < room(lane))
    if (open.length === 0) break
    const each = Number.isFinite(left) ? Math.max(1, Math.floor(left / open.length)) : left
    for (const share of open) {
      const more = Math.min(each, room(share.lane) - share.n, left)
      share.n += more
      left -= more
    }
  }
  return left
}

/** How long it waits for a worker of the version that wrote it. */
const NOT_OURS_MS = 60_000

/**
 * The outcome of what lies in the queue in a form that this version does not understand: it waits, whole and uncounted, among
 * the retries. While two versions run side by side the other one takes it; nothing of it is thrown away.
 */
export function notUnderstood(lane: LaneSpec, { id, fence, number }: Claimed, why: Error, log: Logger): Settlement {
  log.error(
    { id, listener: lane.name, motivo: why.message },
    'esta versión no entiende una entrada de la cola: queda, entera, en reintentos',
  )
  return {
    lane,
    id,
    fence,
    verdict: 'wait',
    number,
    delay: NOT_OURS_MS,
    reason: `esta versión no entiende lo que hay en la cola (${why.message})`,
    health: null,
    callback: null,
    message: null,
    events: [],
  }
}

/**
 * Said once an outage; and the slot is held for a moment, a few seconds at most, so that nothing is tried in a hot loop.
 * @param signal ends the wait: the drain, or a lost lease
 */
export async function waitForDescriptors(outage: Outage, detail: string, signal: StopSignal): Promise<void> {
  const end = new Signal()
  const stop = { handleEvent: () => end.notify() }
  signal.addEventListener('abort', stop)
  if (signal.aborted) end.notify()
  await end.wait(outage.failed(new Error(detail)) * 5)
  signal.removeEventListener('abort', stop)
}
