/**
 * From the listeners' queues to running requests: claims only what can start now, for all lanes with a free slot in one
 * call, and starts it. Then it sleeps until it is woken, until a retry is due, or a good while.
 *
 * The slots are its own: it also says how many of them new messages may take, which the dispatcher leases straight away.
 */
import type { Bytes, Millis } from '../model/message.ts'
import { CALLBACK_LANE } from '../queue/keys.ts'
import { bytesOf, type Claimed, type Queue } from '../queue/queue.ts'
import { mistypedText, SILENCE_TIMEOUT } from '../queue/redis.ts'
import type { WorkerContext } from './context.ts'
import { BYTES_IN_FLIGHT, type Lane, shareBytes, shareSlots } from './lane.ts'
import type { Lease, Leases } from './leases.ts'
import { LONGEST_SLEEP, Loop, type LoopEvents } from './loop.ts'
import type { Settler } from './settler.ts'
import { sleep } from './waiting.ts'

/** Lanes that one claim asks, and deliveries that it takes: bounds the time of the script. */
const LANES_AT_ONCE = 64
const CLAIMS_AT_ONCE = 100
const NOTHING = { claimed: 0, more: false }
/** With so many requests under way, a free slot waits a moment for others: one claim for many costs as much as for one. */
export const BUSY = 16
export const GATHER_MS: Millis = 1
/** Leases that ran out while Redis was away, so long are left to whoever lives and renews them: it is connected again in half a second. */
const LENIENT: Millis = 3_000

export class Claimer extends Loop<ClaimEvents> {
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
  #awayAt = Number.NEGATIVE_INFINITY

  constructor(queue: Queue, context: WorkerContext, leases: Leases, settler: Settler, events: ClaimEvents) {
    super(context, events)
    this.#queue = queue
    this.#leases = leases
    this.#settler = settler
  }

  /** Redis was away until now, or is so still. */
  wasAway(): void {
    this.#awayAt = performance.now()
  }

  /** There may be something to claim in these lanes; in all of them where none is named. */
  hint(names: Iterable<string> = this.lanes.keys()): void {
    let any = false
    for (const name of names) {
      const lane = this.lanes.get(name)
      if (!lane) continue
      lane.hinted = true
      any = true
    }
    if (any) this.wake()
  }

  /** Something of a lane is due then. @param at Redis time */
  dueAt(name: string, at: number): void {
    const lane = this.lanes.get(name)
    if (lane && (lane.nextAt === null || at < lane.nextAt)) lane.nextAt = at
  }

  /** Deliveries of these lanes are on their way into their queues. Behind what could not be claimed there is nothing to claim. */
  queueing(names: readonly string[]): void {
    this.hint(names.filter((name) => this.lanes.get(name)?.left === 0))
  }

  /**
   * New deliveries of a lane wait in its queue.
   * @param left how many wait there now
   * @param news nothing waited there before
   */
  queued(name: string, left: number, news: boolean): void {
    if (news) this.hint([name])
    else this.queueing([name])
    const lane = this.lanes.get(name)
    if (lane) lane.left = left
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

  /** How many deliveries could start now of lanes in which nothing waits; null: there is no lane but the callbacks'. */
  demand(): number | null {
    let demand: number | null = null
    for (const lane of this.lanes.values()) {
      if (!isCallbacks(lane)) demand = (demand ?? 0) + (lane.left > 0 ? 0 : lane.free)
    }
    return demand && Math.max(0, Math.min(demand, this.#slots))
  }

  /**
   * Takes slots for new messages, which go straight to work where Redis agrees; `begin` and `giveBack` get rid of them again.
   * @param wanted by listener: the bytes of its envelopes in all
   * @returns how many each has; those that are not among them have to be claimed
   */
  reserve(wanted: ReadonlyMap<string, Bytes>): Reserved {
    const lanes: Lane[] = []
    for (const [name, bytes] of wanted) {
      const lane = this.lanes.get(name)
      if (!lane || lane.left > 0 || lane.spec.strict || lane.spec.rateLimit) continue
      const { room, own } = this.#bytesFor(lane)
      if (bytes <= Math.max(room, own)) lanes.push(lane)
    }
    return this.#reserve(shareSlots(lanes, this.open ? this.#slots : 0, this.#delivering))
  }

  /** The claims of meanwhile have passed over a lane whose slots were spoken for, whatever was hinted or came to be due. */
  giveBack(reserved: Reserved): void {
    this.#unreserve(reserved)
    if ([...reserved.values()].some(({ lane, n }) => n > 0 && (lane.hinted || lane.nextAt !== null))) this.wake()
  }

  /**
   * What was claimed together takes its slots and leases, and begins as soon as Redis knows that the claim arrived.
   * @param askedAt  when the claim was sent, on the monotonic clock
   * @param reserved what was taken for it
   */
  begin(claims: readonly Claimed[], askedAt: number, reserved: Reserved): void {
    const starting: Start[] = []
    const unstarted: Claimed[] = []
    for (const claimed of claims) {
      const share = reserved.get(claimed.lane)
      if (share && share.n > 0) {
        share.n -= 1
        this.#count(share.lane, -1)
      }
      const lane = this.lanes.get(claimed.lane)
      if (lane && this.open) starting.push({ lane, claimed, lease: this.#occupy(lane, claimed, askedAt) })
      else unstarted.push(claimed)
    }
    if (starting.length > 0) void this.#begin(starting)
    // Where that fails, they come back when their leases run out.
    if (unstarted.length > 0) this.#queue.release(unstarted).catch(() => {})
  }

  /**
   * One claim for the lanes that have a free slot and may have work, the longest unserved first.
   *
   * More of them than there are slots: most have nothing, and which ones only the claim finds out. A lane whose share is
   * nothing is asked all the same, and gets what those before it leave.
   * @returns how many were claimed, and whether there are lanes that were not asked yet
   */
  async pass(): Promise<{ readonly claimed: number; readonly more: boolean }> {
    if (!this.open) return NOTHING
    // Or this claim would take what this worker holds for a dead one's.
    if (await this.#leases.catchUp()) this.wasAway()
    const now = this.context.now()
    const candidates = [...this.lanes.values()].filter(
      (lane) =>
        lane.free > 0 && (lane.hinted || (lane.nextAt !== null && lane.nextAt <= now)) && this.#hasBytesFor(lane),
    )
    if (candidates.length === 0) return NOTHING
    const slots = Math.min(this.#slots, CLAIMS_AT_ONCE)
    const shares = [
      ...shareSlots(candidates.filter(isCallbacks), CLAIMS_AT_ONCE),
      ...shareSlots(candidates.filter(isDelivering), slots, this.#delivering, LANES_AT_ONCE),
    ]
    if (shares.length === 0) return NOTHING
    const free = BYTES_IN_FLIGHT - this.#bytes
    const wants = shares.map(({ lane, n }) => ({ lane: lane.spec, n, ...this.#bytesFor(lane) }))
    for (const { lane } of shares) lane.hinted = false
    const reserved = this.#reserve(shares)
    const askedAt = performance.now()
    try {
      const { lease } = this.context.config().workers
      const lenient = askedAt - this.#awayAt < Math.min(LENIENT, lease)
      const { now: then, lanes } = await this.#queue.claim(wants, lease, free, slots, lenient, now + SILENCE_TIMEOUT)
      if (!lanes[0]!.looked) {
        // By Redis's clock it came too late: that one was put forward since it was last read, and nothing was looked at.
        for (const { lane } of shares) lane.hinted = true
        this.events.clock(then)
        return { claimed: 0, more: true }
      }
      const claims: Claimed[] = []
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
        claims.push(...items)
      })
      this.begin(claims, askedAt, reserved)
      return { claimed: claims.length, more: shares.length < candidates.length && claims.length < slots }
    } catch (error) {
      for (const { lane } of shares) lane.hinted = true
      this.wasAway()
      throw error
    } finally {
      this.#unreserve(reserved)
    }
  }

  protected async turn(): Promise<void> {
    if (this.turnedAt - this.#lookedAt >= LONGEST_SLEEP) {
      this.#lookedAt = this.turnedAt
      for (const lane of this.lanes.values()) lane.hinted = true
    }
    if (this.running >= BUSY) await sleep(GATHER_MS)
    const { claimed, more } = await this.pass()
    this.context.redisOutage.worked(this)
    this.found(claimed > 0)
    if (claimed > 0 || more) return
    await this.sleep(this.nextAt(), 1, Math.max(1, this.#lookedAt + LONGEST_SLEEP - performance.now()))
  }

  /** Slots for HTTP requests that nothing has or is about to get. */
  get #slots(): number {
    return this.context.config().workers.concurrency - this.running
  }

  get #delivering(): readonly Lane[] {
    return [...this.lanes.values()].filter(isDelivering)
  }

  /** Slots are spoken for while Redis is asked; of those that come too late for one there are none. */
  #reserve(shares: readonly { readonly lane: Lane; readonly n: number }[]): Reserved {
    return new Map(
      shares.map(({ lane, n: wanted }) => {
        lane.servedAt = ++this.#turn
        const n = isCallbacks(lane) ? wanted : Math.max(0, Math.min(wanted, this.#slots))
        this.#count(lane, n)
        return [lane.spec.name, { lane, n }]
      }),
    )
  }

  #unreserve(reserved: Reserved): void {
    for (const { lane, n } of reserved.values()) this.#count(lane, -n)
  }

  /** Callbacks have slots of their own. */
  #count(lane: Lane, slots: number): void {
    lane.running += slots
    if (isDelivering(lane)) this.running += slots
  }

  /** Its slot and its lease are taken. */
  #occupy(lane: Lane, claimed: Claimed, askedAt: number): Lease {
    this.#count(lane, 1)
    this.#addBytes(lane, claimed.raw.length)
    return this.#leases.add(claimed, askedAt)
  }

  /** Nobody waits for it: the loop goes on while Redis is told that the claims arrived. */
  async #begin(starting: readonly Start[]): Promise<void> {
    await this.#leases.begin(starting.map(({ lease }) => lease))
    const unstarted: Claimed[] = []
    for (const { lane, claimed, lease } of starting) {
      const held = lease.place >= 0
      if (held && this.#mayStart(lane)) {
        void this.#run(lane, claimed, lease)
        continue
      }
      if (held) unstarted.push(claimed)
      this.#leases.drop(lease)
      this.#vacate(lane, claimed)
    }
    // Where that fails too, they come back when their leases run out.
    if (unstarted.length > 0) await this.#queue.release(unstarted).catch(() => {})
  }

  /** The worker takes work, and the listener was not taken out of the configuration meanwhile. */
  #mayStart(lane: Lane): boolean {
    return this.open && this.lanes.get(lane.spec.name) === lane
  }

  /** One delivery, from its start to its outcome; never rejects. */
  async #run(lane: Lane, claimed: Claimed, lease: Lease): Promise<void> {
    try {
      this.#settler.add(await lane.executor.execute(claimed, lease), lease)
    } catch (error) {
      // A fault of ours: without an outcome the lease runs out, and after the third time the delivery is failed.
      this.#leases.drop(lease)
      this.context.log.error(
        { err: error, id: claimed.id, listener: lane.spec.name },
        'error interno al ejecutar una entrega',
      )
    }
    this.#vacate(lane, claimed)
  }

  #vacate(lane: Lane, claimed: Claimed): void {
    this.#count(lane, -1)
    this.#addBytes(lane, -claimed.raw.length)
    let more = false
    for (const each of this.lanes.values()) {
      if (each.hungry) each.hinted = true
      more ||= each.hinted || each.nextAt !== null
    }
    if (more) this.wake()
    this.events.freed()
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

/** A claim whose requests are made once Redis knows that it arrived. */
interface Start {
  readonly lane: Lane
  readonly claimed: Claimed
  readonly lease: Lease
}

/** Slots of lanes that are spoken for while Redis is asked, by the lane's name. */
type Reserved = ReadonlyMap<string, { readonly lane: Lane; n: number }>

interface ClaimEvents extends LoopEvents {
  /** @param now Redis time, ms since epoch */
  clock(now: number): void
  /** Something ended. */
  freed(): void
}

const isCallbacks = (lane: Lane) => lane.spec.name === CALLBACK_LANE
const isDelivering = (lane: Lane) => !isCallbacks(lane)
