/**
 * Outcomes on their way back to Redis, several in one script call.
 *
 * While one call is under way the next batch gathers, so the batches grow with the load by themselves; under load a
 * couple of milliseconds are waited for more. A batch that could not be written stays, in order, until Redis is back, and an
 * outcome whose lane has a key of another type until that is repaired: none is ever thrown away.
 */
import { parts } from '../model/parts.ts'
import type { Queue } from '../queue/queue.ts'
import { causeOf, isRedisOutage, redisTrouble } from '../queue/redis.ts'
import { type Settlement, settle } from '../queue/settle.ts'
import type { WorkerContext } from './context.ts'
import type { Lease } from './leases.ts'
import { logBreaker } from './log.ts'
import { sleep } from './waiting.ts'

/** What one call may take of Redis's time, µs, and what of it goes to what, measured. */
const AT_MOST = 2_000
const COST = { attempt: 16, kilobyte: 6, lane: 48, callback: 30 }
/** So many are a call for themselves. */
const FULL = 150
const GATHER_MS = 2
/** Fewer requests in flight than this: nothing to gather. */
const BUSY = 8
/** What no lane took is told again after this. */
const TELL_AGAIN_MS = 1_000

/** An outcome, and the lease under which it came about. */
interface Ended {
  readonly settlement: Settlement
  readonly lease: Lease
}

type Settled = (settlement: Settlement, applied: boolean, lease: Lease) => void

export class Settler {
  readonly #queue: Queue
  readonly #context: WorkerContext
  readonly #settled: Settled
  #waiting: Ended[] = []
  /** Their lane has a key of another type. */
  #stuck: Ended[] = []
  #running: Promise<void> | null = null
  #abandoned = false

  constructor(queue: Queue, context: WorkerContext, settled: Settled) {
    this.#queue = queue
    this.#context = context
    this.#settled = settled
  }

  get size(): number {
    return this.#waiting.length + this.#stuck.length
  }

  get stuck(): number {
    return this.#stuck.length
  }

  /** @param lease held until the outcome is in Redis */
  add(settlement: Settlement, lease: Lease): void {
    this.#add({ settlement, lease })
  }

  #add(ended: Ended): void {
    this.#waiting.push(ended)
    this.#running ??= this.#run()
  }

  /** Resolves when everything is written. */
  async drain(): Promise<void> {
    while (this.#running) await this.#running
  }

  /** Stops trying (second signal, end of the shutdown's patience): what is left is delivered again by its lease. */
  abandon(): void {
    this.#abandoned = true
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0 && !this.#abandoned) {
      if (this.#context.inFlight() >= BUSY && this.#waiting.length < FULL) await sleep(GATHER_MS)
      else await null
      const [batch = []] = parts(this.#waiting, FULL, AT_MOST, costs())
      try {
        await this.#write(batch)
        this.#context.redisOutage.worked(this)
        this.#waiting.splice(0, batch.length)
      } catch (error) {
        const trouble = redisTrouble(causeOf(error, this.#queue.redis), this.#context.config().redis)
        await sleep(this.#context.redisOutage.failed(trouble, this))
      }
    }
    this.#running = null
  }

  #setAside(ended: Ended): void {
    if (this.#stuck.push(ended) > 1) return
    const again = () => {
      const stuck = this.#stuck
      this.#stuck = []
      if (!this.#abandoned) for (const each of stuck) this.#add(each)
    }
    setTimeout(again, TELL_AGAIN_MS).unref()
  }

  /** One that Redis refuses for itself is set apart by halving, so that it does not hold up the rest. */
  async #write(batch: readonly Ended[]): Promise<void> {
    try {
      const settlements = batch.map(({ settlement }) => settlement)
      const applied = await settle(this.#queue, settlements, (lane, change) => {
        const cause = settlements.findLast((each) => each.lane.name === lane && each.health === 'ko')
        logBreaker(this.#context.log, lane, change, cause?.reason ?? '')
        if (change !== 'reopened') this.#context.sightings.breaker(lane, change === 'opened')
      })
      batch.forEach((ended, i) => {
        const result = applied[i]
        if (typeof result === 'boolean') this.#settled(ended.settlement, result, ended.lease)
        else this.#setAside(ended)
      })
    } catch (error) {
      if (isRedisOutage(error)) throw error
      if (batch.length > 1) {
        const middle = batch.length >> 1
        await this.#write(batch.slice(0, middle))
        await this.#write(batch.slice(middle))
        return
      }
      // Where it refuses nothing at all too, as when its slot of a cluster has moved, this outcome is not what it refuses.
      await settle(this.#queue, []).catch(() => {
        throw error
      })
      const [{ settlement, lease }] = batch as [Ended]
      const { id, lane } = settlement
      this.#context.log.error(
        { err: error, id, listener: lane.name },
        'Redis rechazó un resultado; la entrega se repetirá al vencer su arriendo',
      )
      this.#settled(settlement, false, lease)
    }
  }
}

/** Of one outcome after the other of a batch: with the first of each lane comes what the lane costs. */
function costs(): (ended: Ended) => number {
  const seen = new Set<string>()
  return ({ settlement: { lane, events, callback, message } }) => {
    const bytes = events.reduce((sum, { json }) => sum + json.length, (callback?.length ?? 0) + (message?.length ?? 0))
    const cost = COST.attempt + (COST.kilobyte * bytes) / 1024 + (callback === null ? 0 : COST.callback)
    const first = !seen.has(lane.name)
    seen.add(lane.name)
    return cost + (first ? COST.lane : 0)
  }
}
