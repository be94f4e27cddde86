/**
 * From the listeners' queues to running requests: claims only what can start now, for all lanes with a free slot in one
 * call, and starts it. Then it sleeps until it is woken, until a retry is due, or a good while.
 */
import type { StopSignal } from '../delivery/exchange.ts'
import type { Bytes, Millis } from '../model/message.ts'
import { CALLBACK_LANE } from '../queue/keys.ts'
import type { Claimed, Queue } from '../queue/queue.ts'
import { mistypedText } from '../queue/redis.ts'
import type { WorkerContext } from './context.ts'
import { BYTES_IN_FLIGHT, type Lane, shareBytes, shareSlots } from './lane.ts'
import type { Leases } from './leases.ts'
import { LONGEST_SLEEP, Loop, type LoopEvents } from './loop.ts'
import type { Settler } from './settler.ts'
import { sleep } from './waiting.ts'

/** Lanes that one claim asks: bounds the time of the script. */
const LANES_AT_ONCE = 64
const NOTHING = { started: 0, more: false }
/** With so many requests under way, a free slot waits a moment for others: one claim for many costs as much as for one. */
const BUSY = 16
const GATHER_MS: Millis = 1

export class Claimer extends Loop {
  readonly lanes = new Map<string, Lane>()
  /** HTTP requests under way; callbacks have slots of their own. */
  running = 0
  /** False: claim nothing (deactivated, audit backlog too long, shutting down). */
  open = true
  readonly #queue: Queue
  readonly #leases: Leases
  readonly #settler: Settler
  #bytes = 0
  #turn = 0
  #lookedAt = Number.NEGATIVE_INFINITY

  constructor(queue: Queue, context: WorkerContext, leases: Leases, settler: Settler, events: LoopEvents) {
    super(context, events)
    this.#queue = queue
    this.#leases = leases
    this.#settler = settler
  }

  /** There may be something to claim in these lanes; in all of them where none is named. */
  hint(names: Iterable<string> = this.lanes.keys()): void {
    for (const name of names) {
      const lane = this.lanes.get(name)
      if (lane) lane.hinted = true
    }
    this.wake()
  }

  /** Something of a lane is due then. @param at Redis time */
  dueAt(name: string, at: number): void {
    const lane = this.lanes.get(name)
    if (lane && (lane.nextAt === null || at < lane.nextAt)) lane.nextAt = at
  }

  /** Redis time of the earliest known work of a lane with a free slot, null: none is known. */
  nextAt(): number | null {
    let next: number | null = null
    for (const lane of this.lanes.values()) {
      if (lane.nextAt !== null && lane.free > 0 && (next === null || lane.nextAt < next)) next = lane.nextAt
    }
    return next
  }

  /** What runs by lane, the fullest first; of very many lanes those. */
  runningBy(): Readonly<Record<string, number>> {
    const busy = [...this.lanes.values()].filter(({ running }) => running > 0)
    const fullest = busy.sort((a, b) => b.running - a.running).slice(0, LANES_AT_ONCE)
    return Object.fromEntries(fullest.map(({ spec, running }) => [spec.name, running]))
  }

  /**
   * One claim for the lanes that have a free slot and may have work, the longest unserved first.
   *
   * More of them than there are slots: most have nothing, and which ones only the claim finds out. A lane whose share is
   * nothing is asked all the same, and gets what those before it leave.
   * @returns how many were started, and whether there are lanes that were not asked yet
   */
  async pass(): Promise<{ readonly started: number; readonly more: boolean }> {
    const { workers } = this.context.config()
    if (!this.open) return NOTHING
    const now = this.context.now()
    const candidates = [...this.lanes.values()].filter(
      (lane) =>
        lane.free > 0 && (lane.hinted || (lane.nextAt !== null && lane.nextAt <= now)) && this.#hasBytesFor(lane),
    )
    if (candidates.length === 0) return NOTHING
    const isCallbacks = (lane: Lane) => lane.spec.name === CALLBACK_LANE
    const isDelivering = (lane: Lane) => !isCallbacks(lane)
    const all = [...this.lanes.values()].filter(isDelivering)
    const slots = workers.concurrency - this.running
    const shares = [
      ...shareSlots(candidates.filter(isCallbacks), Number.POSITIVE_INFINITY),
      ...shareSlots(candidates.filter(isDelivering), slots, all, LANES_AT_ONCE),
    ]
    if (shares.length === 0) return NOTHING
    const free = BYTES_IN_FLIGHT - this.#bytes
    const wants = shares.map(({ lane, n }) => ({ lane: lane.spec, n, ...this.#bytesFor(lane) }))
    for (const { lane } of shares) {
      lane.hinted = false
      lane.servedAt = ++this.#turn
    }
    try {
      const { lanes } = await this.#queue.claim(wants, workers.lease, free, slots)
      const starting: Start[] = []
      const unstarted: Claimed[] = []
      const taken = lanes.reduce((sum, { items }) => sum + bytesOf(items), 0)
      lanes.forEach(({ items, nextAt, left, failed, broken, looked }, i) => {
        const { lane, n } = shares[i]!
        if (!looked) {
          lane.hinted = true
          return
        }
        this.context.brokenLanes.told(lane.spec.name, broken && mistypedText({ message: broken }))
        if (failed > 0) {
          this.context.log.error(
            { listener: lane.spec.name, cantidad: failed },
            'entregas dadas por fallidas: arriendo vencido tres veces o cuerpo perdido',
          )
        }
        lane.nextAt = nextAt
        lane.left = left
        lane.hungry = items.length < n && left > 0 && (taken >= free || bytesOf(items) >= wants[i]!.room)
        // A full answer, or one cut short by the bytes, means that there may be more.
        if (items.length === n || (items.length > 0 && left > 0 && !lane.spec.strict)) lane.hinted = true
        for (const item of items) {
          if (this.#mayStart(lane)) {
            starting.push({ lane, claimed: item, signal: this.#occupy(lane, item) })
          } else unstarted.push(item)
        }
      })
      void this.#begin(starting)
      if (unstarted.length > 0) await this.#queue.release(unstarted)
      return { started: starting.length, more: shares.length < candidates.length && starting.length < slots }
    } catch (error) {
      for (const { lane } of shares) lane.hinted = true
      throw error
    }
  }

  protected async turn(): Promise<void> {
    if (this.turnedAt - this.#lookedAt >= LONGEST_SLEEP) {
      this.#lookedAt = this.turnedAt
      for (const lane of this.lanes.values()) lane.hinted = true
    }
    if (this.running >= BUSY) await sleep(GATHER_MS)
    const { started, more } = await this.pass()
    this.context.redisOutage.worked(this)
    this.found(started > 0)
    if (started > 0 || more) return
    await this.sleep(this.nextAt(), 1, Math.max(1, this.#lookedAt + LONGEST_SLEEP - performance.now()))
  }

  /** Its slot and its lease are taken. */
  #occupy(lane: Lane, claimed: Claimed): StopSignal {
    lane.running += 1
    this.running += slotsOf(lane)
    this.#addBytes(lane, claimed.raw.length)
    return this.#leases.add(claimed)
  }

  /** Nobody waits for it: the loop goes on while Redis is told that the claims arrived. */
  async #begin(starting: readonly Start[]): Promise<void> {
    const begun = await this.#leases.begin(starting.map(({ claimed }) => claimed))
    const unstarted: Claimed[] = []
    for (const { lane, claimed, signal } of starting) {
      if (begun.has(claimed) && this.#mayStart(lane)) {
        this.#start(lane, claimed, signal)
        continue
      }
      if (begun.has(claimed)) unstarted.push(claimed)
      this.#leases.drop(claimed)
      this.#vacate(lane, claimed)
    }
    // Where that fails too, they come back when their leases run out.
    if (unstarted.length > 0) await this.#queue.release(unstarted).catch(() => {})
  }

  /** The worker takes work, and the listener was not taken out of the configuration meanwhile. */
  #mayStart(lane: Lane): boolean {
    return this.open && this.lanes.get(lane.spec.name) === lane
  }

  #start(lane: Lane, claimed: Claimed, signal: StopSignal): void {
    lane.executor
      .execute(claimed, signal)
      .then((settlement) => this.#settler.add(settlement))
      .catch((error) => {
        // A fault of ours: without an outcome the lease runs out, and after the third time the delivery is failed.
        this.#leases.drop(claimed)
        this.context.log.error(
          { err: error, id: claimed.id, listener: lane.spec.name },
          'error interno al ejecutar una entrega',
        )
      })
      .finally(() => this.#vacate(lane, claimed))
  }

  #vacate(lane: Lane, claimed: Claimed): void {
    lane.running -= 1
    this.running -= slotsOf(lane)
    this.#addBytes(lane, -claimed.raw.length)
    for (const each of this.lanes.values()) {
      if (each.hungry) each.hinted = true
    }
    this.wake()
  }

  #bytesFor(lane: Lane): ReturnType<typeof shareBytes> {
    return shareBytes(lane, this.#bytes, this.lanes.size)
  }

  /** A lane that has none waits until something ends, whatever is due. */
  #hasBytesFor(lane: Lane): boolean {
    const { room, own } = this.#bytesFor(lane)
    if (room > 0 || own > 0) return true
    lane.hungry = true
    lane.hinted = false
    lane.nextAt = null
    return false
  }

  #addBytes(lane: Lane, bytes: Bytes): void {
    this.#bytes += bytes
    lane.bytes += bytes
  }
}

function bytesOf(items: readonly Claimed[]): Bytes {
  return items.reduce((sum, { raw }) => sum + raw.length, 0)
}

/** A claim whose requests are made once Redis knows that it arrived. */
interface Start {
  readonly lane: Lane
  readonly claimed: Claimed
  readonly signal: StopSignal
}

/** Callbacks have slots of their own. */
function slotsOf(lane: Lane): number {
  return lane.spec.name === CALLBACK_LANE ? 0 : 1
}
