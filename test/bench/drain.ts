/** How long a contender takes from "go" until the last delivery is made and on record, and what that cost in CPU. */
import { until } from '../support/until.ts'
import { cpuOfTree, hasProc } from './processes.ts'
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

/** Deliveries before the measured ones: compiled code, open connections. */
const WARM_UP = 1_000
/** A warm-up is slower than what follows it by about this much. */
const COLD = 1.5
const LEAST = 500

/** Measures a contender so that each measurement takes about as long as it should, as the one before tells. */
export class Pace {
  readonly #seconds: number
  readonly #step: number
  #rate: number | null = null

  /**
   * @param seconds that a measurement should take
   * @param step    counts are multiples of this
   */
  constructor(seconds: number, step = 1) {
    this.#seconds = seconds
    this.#step = step
  }

  /**
   * A warm-up, then what counts.
   * @param run     works through so many
   * @param between what the contender needs before it can be loaded again
   */
  async measure(
    run: (count: number) => Promise<Drained>,
    between: () => Promise<unknown> = async () => {},
  ): Promise<Drained & { readonly count: number }> {
    const warmUp = this.#rounded(WARM_UP)
    const warm = await run(warmUp)
    await between()
    const count = this.#rounded(Math.max(LEAST, (this.#rate ?? (warmUp / warm.seconds) * COLD) * this.#seconds))
    const drained = await run(count)
    this.#rate = count / drained.seconds
    return { ...drained, count }
  }

  #rounded(count: number): number {
    return Math.ceil(count / this.#step) * this.#step
  }
}
