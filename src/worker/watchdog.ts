/**
 * Whether this worker is alive: its loops turn, and nothing lies there that it could take and does not. A worker that has nothing
 * to do is well, and so is one whose work is held back on purpose (pause, breaker, limit, no free slot).
 */
import type { Millis } from '../model/message.ts'
import { type Due, type Gauges, readGauges } from '../queue/gauges.ts'
import { CALLBACK_LANE } from '../queue/keys.ts'
import type { Queue } from '../queue/queue.ts'
import type { WorkerContext } from './context.ts'
import type { Lane } from './lane.ts'

/** A loop that waits for Redis turns at least this often. */
const STILL_MS: Millis = 30_000
const LOOK_MS: Millis = 10_000
/** The same thing, first in its line for so long, is taken by nobody. */
export const STALLED_MS: Millis = 60_000

/** What a worker could do at this moment. */
interface Ability {
  /** It takes work at all: active, not stopping, not held up by the audit. */
  readonly open: boolean
  readonly freeSlots: number
  readonly lanes: ReadonlyMap<string, Pick<Lane, 'free' | 'hungry' | 'spec'>>
}

interface Seen extends Due {
  /** When it was first seen there, on the monotonic clock. */
  readonly at: number
}

/** What is first in line, by lane; '' is the inbox. */
export type Memory = ReadonlyMap<string, Seen>

/** What is due, and this worker could take. @param before what was so at the last look */
export function takeable(gauges: Gauges, { open, freeSlots, lanes }: Ability, before: Memory, at: number): Memory {
  const memory = new Map<string, Seen>()
  const see = (line: string, due: Due | null) => {
    if (due === null) return
    const seen = before.get(line)
    memory.set(line, seen?.id === due.id && seen.since === due.since ? seen : { ...due, at })
  }
  if (!open) return memory
  see('', gauges.inboxOverdue)
  for (const { listener, overdue, broken } of [...gauges.lanes, gauges.callbacks]) {
    const lane = lanes.get(listener)
    const slots = listener === CALLBACK_LANE ? 1 : freeSlots
    // What a limit lets through may take its time.
    if (lane && !broken && slots > 0 && lane.free > 0 && !lane.hungry && lane.spec.rateLimit === null) {
      see(listener, overdue)
    }
  }
  return memory
}

/** What has lain there for too long, in a sentence; null: nothing has. */
export function stallIn(memory: Memory, at: number): string | null {
  for (const [line, { id, at: since }] of memory) {
    if (at - since < STALLED_MS) continue
    const seconds = Math.round((at - since) / 1000)
    const what = line === '' ? 'un mensaje de la entrada' : `una entrega de «${line}»`
    return `${what} (${id || 'demorado'}) espera hace ${seconds} s, se podría tomar y nadie la toma`
  }
  return null
}

export class Watchdog {
  readonly #queue: Queue
  readonly #context: WorkerContext
  readonly #able: () => Ability
  readonly #loops: () => Readonly<Record<string, Millis>>
  #memory: Memory = new Map()
  #timer: NodeJS.Timeout | undefined

  /** @param loops ms since each of the worker's loops last turned */
  constructor(
    queue: Queue,
    context: WorkerContext,
    able: () => Ability,
    loops: () => Readonly<Record<string, Millis>>,
  ) {
    this.#queue = queue
    this.#context = context
    this.#able = able
    this.#loops = loops
  }

  /** From now on somebody wants to know. */
  start(): void {
    if (this.#timer) return
    this.#timer = setInterval(() => void this.#look(), LOOK_MS)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** ms since all of the loops have turned, and what is wrong with this worker, null: nothing is. */
  get state(): { readonly age: Millis; readonly trouble: string | null } {
    const age = Math.round(Math.max(...Object.values(this.#loops())))
    const late = age > Math.max(STILL_MS, this.#context.config().workers.poll * 3)
    return {
      age,
      trouble: late ? 'el worker está detenido o sobrecargado' : stallIn(this.#memory, performance.now()),
    }
  }

  async #look(): Promise<void> {
    try {
      const gauges = await readGauges(this.#queue, this.#context.config().listeners.values())
      this.#memory = takeable(gauges, this.#able(), this.#memory, performance.now())
    } catch {
      // Without Redis nobody takes anything; the loops tell of that.
      this.#memory = new Map()
    }
  }
}
