/** How long a contender takes from "go" until the last delivery is made and on record, and what that cost in CPU. */
import { until } from '../support/until.ts'
import { cpuOfTree, hasProc, threadTimes } from './processes.ts'
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
  readonly cpu: CpuParts
}

/** CPU per delivery in µs, by where it was spent. */
export interface CpuParts {
  /** The contender's processes, by thread (`ThreadTimes`). */
  readonly main: number
  readonly helpers: number
  readonly later: number
  readonly redis: number
  readonly postgres: number
  readonly nginx: number
}

/** Of the contender alone, and of everything. */
export function ownCpu({ main, helpers, later }: CpuParts): number {
  return main + helpers + later
}

export function allCpu(parts: CpuParts): number {
  return ownCpu(parts) + parts.redis + parts.postgres + parts.nginx
}

/** So far, in ms. @param pid of the contender */
export async function cpuSoFar({ redis, postgres, nginx }: Bench, pid: number): Promise<CpuParts> {
  const server = (each: number) => (hasProc ? cpuOfTree(each) : Number.NaN)
  const unknown = { main: Number.NaN, helpers: Number.NaN, later: Number.NaN }
  return {
    ...(hasProc ? threadTimes(pid) : unknown),
    redis: server(redis.process.pid!),
    postgres: server(await postgres.pid()),
    nginx: server(nginx.pid),
  }
}

/** What each of `count` deliveries cost between two readings, in µs. */
export function cpuEach(before: CpuParts, after: CpuParts, count: number): CpuParts {
  const each = (part: keyof CpuParts) => ((after[part] - before[part]) * 1000) / count
  return {
    main: each('main'),
    helpers: each('helpers'),
    later: each('later'),
    redis: each('redis'),
    postgres: each('postgres'),
    nginx: each('nginx'),
  }
}

const PATIENCE_MS = 180_000

/** @throws when it does not end, or when more came than should: then it was not the same work */
export async function drain(bench: Bench, { count, pid, go, audited }: Drain): Promise<Drained> {
  const { nginx } = bench
  const requestsBefore = await nginx.requests()
  const auditedBefore = audited ? await audited() : 0
  const before = await cpuSoFar(bench, pid)
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
  const cpu = cpuEach(before, await cpuSoFar(bench, pid), count)
  const requests = (await nginx.requests()) - requestsBefore
  const onRecord = audited ? (await audited()) - auditedBefore : count
  if (requests !== count || onRecord !== count) {
    throw new Error(`${count} deliveries were due: ${requests} came to nginx, ${onRecord} are on record`)
  }
  return { seconds, cpu }
}

/**
 * Measures a contender over a fixed number of deliveries, after a warm-up that is not counted: V8 compiles for about 1.2 s of
 * CPU in each process, which in a short run is most of what one would see, and what is called once a batch comes last: after
 * 10,000 deliveries half of what its helper threads do is still compiling.
 * @param processes that share the work: each has to be warm
 * @param run       works through so many
 * @param between   what the contender needs before it can be loaded again
 */
export async function measureWarm(
  count: number,
  processes: number,
  run: (count: number) => Promise<Drained>,
  between: () => Promise<unknown> = async () => {},
): Promise<Drained> {
  await run(Math.min(count, WARM_UP * processes))
  await between()
  return run(count)
}

const WARM_UP = 30_000

/** A shorter warm-up, for what compares a contender with itself. */
const SHORT_WARM_UP = 1_000
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
    const warmUp = this.#rounded(SHORT_WARM_UP)
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
