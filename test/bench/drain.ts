/** How long a contender takes from "go" until the last delivery is made and on record, and what that cost in CPU. */
import { until } from '../support/until.ts'
import { cpuOfTree, hasProc } from './proc.ts'
import type { Bench } from './scene.ts'

export interface Drain {
  /** Deliveries that must come. */
  readonly count: number
  /** The process (with its children) that delivers. */
  readonly pid: number
  go(): Promise<unknown>
  /** Deliveries on record so far; null: none are kept. */
  readonly audited: (() => Promise<number>) | null
}

export interface Drained {
  readonly seconds: number
  /** CPU per delivery in µs: of the contender, and of everything (with Redis, Postgres and nginx). */
  readonly ownCpu: number
  readonly allCpu: number
}

const PATIENCE_MS = 180_000

/** @throws when it does not end, or when more came than should: then it was not the same work */
export async function drain(bench: Bench, { count, pid, go, audited }: Drain): Promise<Drained> {
  const { nginx, redis, postgres } = bench
  const requestsBefore = await nginx.requests()
  const auditedBefore = audited ? await audited() : 0
  const pids = [pid, redis.process.pid!, await postgres.pid(), nginx.pid]
  const cpu = () => (hasProc ? pids.map(cpuOfTree) : pids.map(() => Number.NaN))
  const cpuBefore = cpu()
  const start = performance.now()
  await go()
  await until(async () => (await nginx.requests()) - requestsBefore >= count, {
    timeout: PATIENCE_MS,
    what: `${count} requests at nginx`,
  })
  if (audited) {
    await until(async () => (await audited()) - auditedBefore >= count, {
      timeout: PATIENCE_MS,
      every: 5,
      what: `${count} deliveries on record`,
    })
  }
  const seconds = (performance.now() - start) / 1000
  const spent = cpu().map((ms, i) => ((ms - cpuBefore[i]!) * 1000) / count)
  const requests = (await nginx.requests()) - requestsBefore
  const onRecord = audited ? (await audited()) - auditedBefore : count
  if (requests !== count || onRecord !== count) {
    throw new Error(`${count} deliveries were due: ${requests} came to nginx, ${onRecord} are on record`)
  }
  return { seconds, ownCpu: spent[0]!, allCpu: spent.reduce((sum, each) => sum + each, 0) }
}

/** How many messages to measure with, so that one measurement takes about as long as it should. */
export class Sizer {
  #rate: number
  readonly #seconds: number

  /** @param guess per second, for the first round */
  constructor(seconds: number, guess: number) {
    this.#seconds = seconds
    this.#rate = guess
  }

  get count(): number {
    return Math.max(500, Math.round((this.#rate * this.#seconds) / 100) * 100)
  }

  learn(rate: number): void {
    this.#rate = rate
  }
}
