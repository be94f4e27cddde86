/**
 * The queue as it should be, in memory and with nothing but arrays and maps: what the scripts are held against.
 *
 * Time is reduced to what matters: a lease holds or has run out, a retry waits or is due.
 */
import type { Verdict } from '../../src/queue/settle.ts'

export interface ModelDelivery {
  made: number
  number: number
  expiries: number
  /** 0: nothing of it was audited but its beginning. */
  version: 0 | 1
  /** Which claim holds it, null: nobody. */
  claim: number | null
  /** That claim arrived at its worker. */
  begun: boolean
}

export interface ModelLane {
  readonly name: string
  readonly strict: boolean
  queue: string[]
  /** id → whether its lease has run out. */
  inFlight: Map<string, boolean>
  /** id → whether it is due. */
  retries: Map<string, boolean>
  failed: Set<string>
  deliveries: Map<string, ModelDelivery>
  paused: boolean
  /** The pause is a 410's. */
  gone: boolean
  /** A 410 was released: one delivery at a time, until the breaker learns that it went well (here it learns nothing). */
  onTrial: boolean
}

export interface ModelClaim {
  readonly claim: number
  readonly lanes: readonly { readonly ids: readonly string[]; readonly failed: number }[]
}

interface ModelDispatch {
  readonly duplicates: number
  readonly begun: readonly { readonly lane: string; readonly id: string; readonly claim: number }[]
  readonly died: boolean
}

export interface ModelEntry {
  readonly id: string
  readonly targets: readonly string[]
  /** `waits`: its demora begins when it is dispatched; `waited`: it is over. */
  readonly demora: 'none' | 'waits' | 'waited'
}

const LOST_AT_MOST = 3
const NEW: ModelDelivery = { made: 0, number: 0, expiries: 0, version: 0, claim: null, begun: false }

export class Model {
  readonly lanes: ReadonlyMap<string, ModelLane>
  /** Oldest first. */
  inbox: ModelEntry[] = []
  /** The oldest of the inbox, which are leased to a dispatcher. */
  batch: readonly ModelEntry[] = []
  /** Messages whose demora runs, by when it ends → whether it has ended. */
  delayed = new Map<string, { readonly entry: ModelEntry; isOver: boolean }>()
  /** Who is still to get the message that is being handed out. */
  fanOut: { id: string; target: string }[] = []
  /** Deliveries left, by message that has its body in Redis. */
  left = new Map<string, number>()
  /** Events in the audit stream. */
  audited = 0
  #claims = 0
  readonly #told = new Set<number>()

  constructor(lanes: readonly { name: string; strict: boolean }[]) {
    this.lanes = new Map(
      lanes.map(({ name, strict }) => [
        name,
        {
          name,
          strict,
          queue: [],
          inFlight: new Map(),
          retries: new Map(),
          failed: new Set(),
          deliveries: new Map(),
          paused: false,
          gone: false,
          onTrial: false,
        },
      ]),
    )
  }

  take(): void {
    const over = [...this.delayed].filter(([, { isOver }]) => isOver)
    for (const [id, { entry }] of over.toReversed()) {
      this.delayed.delete(id)
      this.inbox.unshift({ ...entry, demora: 'waited' })
    }
    this.batch = this.fanOut.length > 0 ? [] : [...this.inbox]
  }

  /**
   * @param slots    how many deliveries of each lane may go straight to work; taken from
   * @param inSteps  one message a call: one with several listeners is listed by one call, each of them gets it by another, and it is
   *   the last of its batch, also where it is a copy
   * @param calls    after which the dispatcher dies
   * @returns how many were copies of what is still being delivered, and whether it came to its end
   */
  dispatch(slots: Map<string, number>, inSteps: boolean, calls = Number.POSITIVE_INFINITY): ModelDispatch {
    const left = [...this.batch]
    const begun: { lane: string; id: string; claim: number }[] = []
    let duplicates = 0
    let ended = false
    for (let call = 0; !ended || this.fanOut.length > 0; call++) {
      if (call >= calls) return { duplicates, begun, died: true }
      const next = this.fanOut.shift()
      if (next) {
        ended ||= left.length === 0
        this.lanes.get(next.target)!.queue.push(next.id)
        continue
      }
      const claim = ++this.#claims
      const room = new Map(slots)
      for (const lane of this.lanes.values()) if (!this.#isClear(lane)) room.delete(lane.name)
      for (const entry of left.splice(0, inSteps ? 1 : left.length)) {
        const { id, targets, demora } = entry
        const isHandedOut = inSteps && targets.length > 1 && demora !== 'waits'
        this.inbox.shift()
        if (this.left.has(id) || this.delayed.has(id)) {
          duplicates += 1
          if (isHandedOut) left.length = 0
          continue
        }
        this.audited += 1
        if (demora === 'waits') {
          this.delayed.set(id, { entry, isOver: false })
          continue
        }
        if (targets.length > 0) this.left.set(id, targets.length)
        if (isHandedOut) {
          this.fanOut = targets.map((target) => ({ id, target }))
          left.length = 0
          continue
        }
        for (const target of targets) {
          const lane = this.lanes.get(target)!
          const free = room.get(target) ?? 0
          if (free === 0) {
            lane.queue.push(id)
            continue
          }
          room.set(target, free - 1)
          slots.set(target, slots.get(target)! - 1)
          lane.deliveries.set(id, { ...NEW, claim })
          lane.inFlight.set(id, false)
          begun.push({ lane: target, id, claim })
        }
      }
      ended = left.length === 0
    }
    return { duplicates, begun, died: false }
  }

  /** Tells that a claim arrived. @returns false: that was told before */
  begin(claim: number): boolean {
    for (const { deliveries } of this.lanes.values()) {
      for (const delivery of deliveries.values()) if (delivery.claim === claim) delivery.begun = true
    }
    const before = this.#told.size
    return this.#told.add(claim).size > before
  }

  /**
   * @param n at most, of each lane
   * @param lenient leases that ran out are left alone
   */
  claim(names: readonly string[], n: number, lenient = false): ModelClaim {
    const claim = ++this.#claims
    const lanes = names.map((name) => {
      const lane = this.lanes.get(name)!
      const failed = lenient ? 0 : this.#rescue(lane)
      const ids = this.#pick(lane, n)
      for (const id of ids) {
        lane.deliveries.set(id, { ...(lane.deliveries.get(id) ?? NEW), claim, begun: false })
        lane.inFlight.set(id, false)
      }
      return { ids, failed }
    })
    return { claim, lanes }
  }

  /** @returns whether the claim still held */
  settle(name: string, id: string, claim: number, number: number, verdict: Verdict): boolean {
    const lane = this.lanes.get(name)!
    const delivery = lane.deliveries.get(id)
    this.audited += 1
    if (delivery?.claim !== claim) return false
    const { made } = delivery
    lane.inFlight.delete(id)
    switch (verdict) {
      case 'retry':
        lane.deliveries.set(id, { made: made + 1, number, expiries: 0, version: 1, claim: null, begun: false })
        lane.retries.set(id, false)
        break
      case 'requeue':
        lane.deliveries.set(id, { made, number, expiries: 0, version: 1, claim: null, begun: false })
        lane.queue.unshift(id)
        break
      default:
        this.#end(lane, id, verdict !== 'ok')
        if (verdict === 'gone') {
          lane.paused = true
          lane.gone = true
        }
    }
    return true
  }

  /** Released, or paused by a person instead: a 410 leaves a trial behind. */
  pause(name: string, paused: boolean): void {
    const lane = this.lanes.get(name)!
    lane.paused = paused
    lane.onTrial ||= lane.gone
    lane.gone = false
  }

  isHeld(name: string, id: string): boolean {
    const { queue, deliveries } = this.lanes.get(name)!
    return (
      deliveries.has(id) || queue.includes(id) || this.fanOut.some((each) => each.id === id && each.target === name)
    )
  }

  holds(name: string, id: string, claim: number): boolean {
    return this.lanes.get(name)!.deliveries.get(id)?.claim === claim
  }

  renew(name: string, id: string, claim: number): boolean {
    if (!this.holds(name, id, claim)) return false
    this.lanes.get(name)!.inFlight.set(id, false)
    return true
  }

  /** From the last one on, each to the front. */
  release(name: string, ids: readonly string[], claim: number): void {
    const lane = this.lanes.get(name)!
    for (const id of ids.toReversed()) {
      if (!this.holds(name, id, claim)) continue
      const delivery = lane.deliveries.get(id)!
      lane.inFlight.delete(id)
      if (delivery.number === 0 && delivery.version === 0 && delivery.expiries === 0) lane.deliveries.delete(id)
      else lane.deliveries.set(id, { ...delivery, claim: null })
      lane.queue.unshift(id)
    }
  }

  /** @returns those of them that waited in the list, and are given up */
  sift(name: string, ids: readonly string[]): string[] {
    const lane = this.lanes.get(name)!
    const found = lane.queue.filter((id) => ids.includes(id))
    lane.queue = lane.queue.filter((id) => !ids.includes(id))
    for (const id of found) this.#end(lane, id, false)
    this.audited += found.length
    return found
  }

  /** @returns whether it was held, and is given up */
  discard(name: string, id: string): 'done' | 'running' | 'other' {
    const lane = this.lanes.get(name)!
    const running = lane.inFlight.delete(id)
    if (!running && !lane.retries.delete(id)) return 'other'
    this.audited += 1
    this.#end(lane, id, false)
    return running ? 'running' : 'done'
  }

  /** @returns whether it waits for a retry, which is due now */
  hurry(name: string, id: string): boolean {
    const { retries, deliveries } = this.lanes.get(name)!
    if (!retries.has(id)) return false
    retries.set(id, true)
    deliveries.set(id, { ...deliveries.get(id)!, version: 1 })
    this.audited += 1
    return true
  }

  /** One that had failed is sent again. */
  again(name: string, id: string, number: number): 'done' | 'delayed' {
    const lane = this.lanes.get(name)!
    if (this.delayed.has(id)) return 'delayed'
    lane.failed.delete(id)
    lane.deliveries.set(id, { ...NEW, number, version: 1 })
    lane.queue.push(id)
    this.left.set(id, (this.left.get(id) ?? 0) + 1)
    this.audited += 1
    return 'done'
  }

  /** A message whose demora runs is given up. @returns whether it waits */
  cancel(id: string): boolean {
    const waiting = this.delayed.get(id)
    if (!waiting) return false
    this.delayed.delete(id)
    this.audited += 1 + waiting.entry.targets.length
    return true
  }

  expire(name: string): void {
    const { inFlight } = this.lanes.get(name)!
    for (const id of inFlight.keys()) inFlight.set(id, true)
  }

  makeDue(name: string): void {
    const { retries } = this.lanes.get(name)!
    for (const id of retries.keys()) retries.set(id, true)
  }

  /** Nothing can be forgotten: what is not final is somewhere. */
  get unfinished(): number {
    let count = this.fanOut.length
    for (const { queue, inFlight, retries } of this.lanes.values()) count += queue.length + inFlight.size + retries.size
    return count
  }

  /** Nothing waits before what is new, or holds it back. */
  #isClear({ queue, retries, paused, onTrial }: ModelLane): boolean {
    return queue.length === 0 && !paused && !onTrial && ![...retries.values()].includes(true)
  }

  #rescue(lane: ModelLane): number {
    let failed = 0
    for (const id of [...lane.inFlight.keys()].filter((each) => lane.inFlight.get(each)).sort()) {
      const before = lane.deliveries.get(id)!
      // Nothing was begun where the claim never arrived.
      const lost = before.begun ? 1 : 0
      const after = {
        ...before,
        number: before.number + lost,
        expiries: before.expiries + lost,
        version: before.begun ? 1 : before.version,
        claim: null,
        begun: false,
      } as const
      this.audited += lost
      lane.inFlight.delete(id)
      if (after.expiries >= LOST_AT_MOST) {
        this.audited += 1
        this.#end(lane, id, true)
        failed += 1
      } else {
        lane.deliveries.set(id, after)
        if (lane.strict) lane.queue.unshift(id)
        else lane.queue.push(id)
      }
    }
    return failed
  }

  #pick(lane: ModelLane, wanted: number): string[] {
    if (lane.paused) return []
    const n = lane.strict || lane.onTrial ? Math.min(wanted, 1 - lane.inFlight.size) : wanted
    if (n <= 0) return []
    const due = [...lane.retries.keys()].filter((id) => lane.retries.get(id)).sort()
    const holdsBack = lane.strict && lane.retries.size > 0
    const waiting = lane.queue.length
    // Half for the retries, and more where fewer are new.
    const most = holdsBack ? 1 : waiting === 0 ? n : Math.max(Math.ceil(n / 2), n - waiting)
    const ids = due.slice(0, most)
    for (const id of ids) lane.retries.delete(id)
    if (lane.strict && lane.retries.size > 0) return ids
    return [...ids, ...lane.queue.splice(0, n - ids.length)]
  }

  #end(lane: ModelLane, id: string, failed: boolean): void {
    lane.deliveries.delete(id)
    if (failed) lane.failed.add(id)
    const left = this.left.get(id)! - 1
    if (left === 0) this.left.delete(id)
    else this.left.set(id, left)
  }
}
