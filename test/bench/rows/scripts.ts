/**
 * How long one call of each script holds Redis, as Redis measures it (SLOWLOG), at the sizes that hurt. The parts of the worker
 * that bound a call by its work are the real ones, on a Redis that nobody else uses and that never rewrites its AOF meanwhile.
 */
import { setImmediate as turn } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { ulid } from 'ulid'
import { parts } from '../../../src/model/parts.ts'
import { writeAttempt, writeDispatched } from '../../../src/queue/audit-format.ts'
import { AuditReader } from '../../../src/queue/audit-stream.ts'
import { readGauges } from '../../../src/queue/gauges.ts'
import { dispatch, take } from '../../../src/queue/inbox.ts'
import { CALLBACK_LANE } from '../../../src/queue/keys.ts'
import { type Claimed, type LaneSpec, Queue } from '../../../src/queue/queue.ts'
import type { Settlement } from '../../../src/queue/settle.ts'
import { writeHeartbeat } from '../../../src/queue/workers.ts'
import { Claimer } from '../../../src/worker/claimer.ts'
import type { WorkerContext } from '../../../src/worker/context.ts'
import { Lane } from '../../../src/worker/lane.ts'
import { Leases, RENEWED_AT_ONCE } from '../../../src/worker/leases.ts'
import type { Logger } from '../../../src/worker/log.ts'
import { BrokenLanes, Outage } from '../../../src/worker/outage.ts'
import { Settler } from '../../../src/worker/settler.ts'
import { startRedis } from '../../support/redis-server.ts'
import { until } from '../../support/until.ts'
import { attempt, envelope } from '../payload.ts'
import { type Contender, median, percentile, type Readings, type Row } from '../row.ts'

const KB = 1024
/** What no call may exceed, µs. */
const GOAL = 3_000
/** Shorter ones are not looked at, µs: logging every command of a script would take as long as the script. */
const SHORT = 25
/** Rounds of the same work; the first ones are not counted: memory is fetched, scripts are loaded. */
const WARM_UP = 2
const TIMES = 8
/** Requests that end at the same moment: more than a call settles. */
const ENDING = 200
/** Claims and what becomes of them, in one round: the work of all deliveries would be the same again and again. */
const CLAIMS = 12
const LEASE = 60_000

interface Setting {
  readonly who: string
  readonly messages: number
  /** Of a body. */
  readonly bytes: number
  /** Each message is for all of them. */
  readonly listeners: number
  /** Bytes of what a listener answers. */
  readonly answer?: number
  readonly verdict?: 'ok' | 'retry' | 'failed'
  /** A callback for each delivery. */
  readonly callbacks?: boolean
  /** The worker that had begun so many of each listener died. */
  readonly orphans?: number
}

const SETTINGS: readonly Setting[] = [
  { who: '500 mensajes de 100 B', messages: 500, bytes: 100, listeners: 1 },
  { who: '500 mensajes de 1 KB', messages: 500, bytes: KB, listeners: 1 },
  { who: '100 mensajes de 64 KB', messages: 100, bytes: 64 * KB, listeners: 1 },
  { who: '8 mensajes de 1 MB', messages: 8, bytes: 1024 * KB, listeners: 1 },
  { who: '500 mensajes de 1 KB × 20 listeners', messages: 500, bytes: KB, listeners: 20 },
  { who: '500 mensajes de 1 KB × 200 listeners', messages: 500, bytes: KB, listeners: 200 },
  { who: '100 mensajes de 1 KB × 1000 listeners', messages: 100, bytes: KB, listeners: 1000 },
  {
    who: 'respuestas de 20 KB, con callback',
    messages: 400,
    bytes: KB,
    listeners: 1,
    answer: 20 * KB,
    callbacks: true,
  },
  { who: 'lo mismo, de 100 listeners', messages: 20, bytes: KB, listeners: 100, answer: 20 * KB, callbacks: true },
  { who: 'respuestas de 64 KB', messages: 400, bytes: KB, listeners: 1, answer: 64 * KB },
  { who: 'reintentos de 100 listeners', messages: 20, bytes: KB, listeners: 100, verdict: 'retry' },
  {
    who: 'fallidas de 1000 listeners, con callback',
    messages: 5,
    bytes: KB,
    listeners: 1000,
    verdict: 'failed',
    callbacks: true,
  },
  { who: 'arriendos vencidos de 64 listeners', messages: 40, bytes: KB, listeners: 64, orphans: 20 },
]

/** Of the scripts, those that a worker calls over and over; and the two commands that read and write much. */
const CALLS = {
  take: 'take',
  dispatch: 'dispatch',
  claim: 'claim',
  renew: 'renew',
  release: 'release',
  settle: 'settle',
  stretch: 'stretch',
  xrange: 'XRANGE de la auditoría',
  look: 'look',
  heartbeat: 'heartbeat',
  gauge: 'gauge',
} as const

export const scripts: Row = {
  name: 'scripts',
  title: 'La llamada más larga de cada script, según Redis',
  lines: Object.entries(CALLS).map(([key, label]) => ({ key, label, unit: 'us' })),
  goals: () =>
    Object.keys(CALLS).flatMap((line) =>
      SETTINGS.map(({ who }) => ({ kind: 'at most', line, who, value: GOAL }) as const),
    ),
  contenders: async () => SETTINGS.map(contender),
}

function contender(setting: Setting): Contender {
  return {
    who: setting.who,
    role: 'own',
    measure: async () => {
      const flags = ['--slowlog-log-slower-than', String(SHORT), '--slowlog-max-len', '1000000']
      const server = await startRedis([...flags, '--auto-aof-rewrite-percentage', '0'])
      const redis = new Redis({ host: server.host, port: server.port })
      try {
        const rounds: Map<string, number[]>[] = []
        for (let time = -WARM_UP; time < TIMES; time++) {
          await redis.flushall()
          await redis.slowlog('RESET')
          await new Work(new Queue(redis, 'banco', 'scripts'), setting).run()
          if (time >= 0) rounds.push(await callsOf(redis))
        }
        return readingsOf(rounds)
      } finally {
        redis.disconnect()
        await server.stop()
      }
    },
  }
}

/**
 * Of each script the longest call, each call being the median of the rounds, which all make the same ones: what the machine did besides
 * is in none of them. For whoever watches also how many there were, and percentiles of all as they were.
 */
function readingsOf(rounds: readonly Map<string, number[]>[]): Readings {
  const readings: Record<string, number> = {}
  for (const name of Object.keys(CALLS)) {
    const made = rounds.map((round) => round.get(name) ?? [])
    const calls = Math.min(...made.map(({ length }) => length))
    if (calls === 0) continue
    readings[name] = Math.max(...Array.from({ length: calls }, (_, i) => median(made.map((round) => round[i]!))))
    const all = made.flat()
    readings[`${name}.n`] = calls
    readings[`${name}.p50`] = median(all)
    readings[`${name}.p99`] = percentile(all, 0.99)
    readings[`${name}.max`] = Math.max(...all)
  }
  return readings
}

/** How long each call took, µs, by the name of its script or command. */
async function callsOf(redis: Redis): Promise<Map<string, number[]>> {
  // As the client keeps the scripts that it was told of.
  const { scriptsSet } = redis as unknown as { scriptsSet: Record<string, { sha: string }> }
  const names = new Map(Object.entries(scriptsSet).map(([name, { sha }]) => [sha, name.replace('resthooks_', '')]))
  const calls = new Map<string, number[]>()
  const logged = (await redis.slowlog('GET', 1_000_000)) as [number, number, number, string[]][]
  for (const [, , duration, [command, sha]] of logged.reverse()) {
    const name = /^evalsha$/i.test(command!) ? names.get(sha!) : command!.toLowerCase()
    if (name !== undefined && name in CALLS) calls.set(name, [...(calls.get(name) ?? []), duration])
  }
  return calls
}

/** One round of a worker's work, from the inbox to the end of the audit stream. */
class Work {
  readonly #queue: Queue
  readonly #setting: Setting
  readonly #specs: readonly LaneSpec[]
  readonly #claimer: Claimer
  readonly #settler: Settler
  readonly #leases: Leases
  /** Requests that are under way end when this is called. */
  #end: () => void = () => {}
  #ended = Promise.resolve()

  constructor(queue: Queue, setting: Setting) {
    this.#queue = queue
    this.#setting = setting
    this.#specs = Array.from({ length: setting.listeners }, (_, n) => laneOf(`listener_${n}`))
    const log = { error: () => {}, warn: () => {}, info: () => {} } as unknown as Logger
    const context = {
      log,
      redisOutage: new Outage(log, 'Redis'),
      brokenLanes: new BrokenLanes(log),
      sightings: { breaker: () => {} },
      config: () => ({ workers: { concurrency: ENDING, lease: LEASE } }),
      inFlight: () => this.#leases.size,
      now: () => Date.now(),
    } as unknown as WorkerContext
    this.#leases = new Leases(queue, context)
    this.#settler = new Settler(queue, context, (_, __, lease) => this.#leases.drop(lease))
    this.#claimer = new Claimer(queue, context, this.#leases, this.#settler, {
      active: () => {},
      freed: () => {},
      clock: () => {},
      failed: (error) => {
        throw error
      },
    })
    for (const spec of [...this.#specs, laneOf(CALLBACK_LANE)]) {
      const execute = async (claimed: Claimed) => {
        await this.#ended
        return this.#outcome(spec, claimed)
      }
      this.#claimer.lanes.set(spec.name, new Lane({ spec, execute, close: async () => {} }))
    }
  }

  async run(): Promise<void> {
    await this.#enqueue()
    const straight = await this.#dispatch()
    for (const held of parts(straight, RENEWED_AT_ONCE)) {
      await this.#queue.renew(held, LEASE)
      await this.#queue.release(held)
    }
    if (this.#setting.orphans) await this.#abandon(this.#setting.orphans)
    await this.#deliver()
    await this.#audit()
    const names = [...this.#claimer.lanes.keys()]
    const own = { worker: ulid(), host: 'servidor', pid: 1, version: '1', desde: 0, en_curso: 0 }
    for (let i = 0; i < 10; i++) {
      await this.#queue.look(names)
      await readGauges(
        this.#queue,
        this.#specs.map(({ name }) => ({ name, active: true, order: 'libre' })),
      )
      await writeHeartbeat(this.#queue, { ...own, worker: `servidor:${i}` }, true)
    }
  }

  async #enqueue(): Promise<void> {
    const text = JSON.stringify({ texto: 'x'.repeat(this.#setting.bytes - 12) })
    for (let i = 0; i < this.#setting.messages; i++) await this.#queue.enqueue([envelope('compra.alta', text)])
  }

  /** As the dispatcher does it, with some slots free at first. @returns what may begin at once */
  async #dispatch(): Promise<Claimed[]> {
    const names = this.#specs.map(({ name }) => name)
    const straight: Claimed[] = []
    let slots = new Map(names.map((name) => [name, { n: Math.ceil(500 / names.length), hasBreaker: true }]))
    for (;;) {
      const taken = await take(this.#queue)
      if (taken.fence === 0) return straight
      const items = taken.envelopes.map((raw) => {
        const { id } = JSON.parse(raw.toString('utf8')) as { id: string }
        const event = writeDispatched({ id, listeners: names, keepBody: true, receivedAt: taken.now })
        return { kind: 'dispatch', id, event, listeners: names } as const
      })
      const stepped = (begun: readonly Claimed[]) => void straight.push(...begun)
      if (
        (await dispatch(this.#queue, taken, items, { slots, lease: LEASE, until: taken.now + LEASE, stepped })) === null
      ) {
        throw new Error('the dispatch lease was lost')
      }
      slots = new Map()
    }
  }

  /** Leases of a worker that died. */
  async #abandon(each: number): Promise<void> {
    const claim = await this.#queue.claim(
      this.#specs.map((lane) => ({ lane, n: each })),
      LEASE,
      Number.MAX_SAFE_INTEGER,
    )
    const items = claim.lanes.flatMap((lane) => lane.items)
    await this.#queue.begin(items[0]!.fence)
    for (const { lane, id } of items) await this.#queue.redis.zadd(this.#queue.lane(lane).inFlight, 1, id)
    await this.#queue.redis.slowlog('RESET')
  }

  async #deliver(): Promise<void> {
    for (let claims = 0; claims < CLAIMS; ) {
      this.#ended = new Promise((resolve) => {
        this.#end = resolve
      })
      const before = this.#leases.size
      for (let claimed = -1; claimed !== 0 && claims < CLAIMS; claims++) {
        this.#claimer.hint()
        claimed = (await this.#claimer.pass()).claimed
      }
      if (this.#leases.size === before) return
      this.#end()
      await until(() => this.#leases.size === 0, { what: 'the end of all requests' })
      await this.#settler.drain()
      await turn()
    }
  }

  async #audit(): Promise<void> {
    const reader = new AuditReader(this.#queue, 'servidor:1')
    for (let stretch = await reader.take(); stretch !== null; stretch = await reader.take()) {
      await reader.renew(stretch)
      await reader.acknowledge(stretch)
    }
  }

  #outcome(lane: LaneSpec, { id, fence, number }: Claimed): Settlement {
    const { answer = 11, callbacks = false } = this.#setting
    const isDelivery = lane.name !== CALLBACK_LANE
    const verdict = isDelivery ? (this.#setting.verdict ?? 'ok') : 'ok'
    const told = { id, fence, number: number + 1, verdict, lane, message: null }
    const reason = verdict === 'ok' ? '' : 'el listener contestó 503'
    return {
      ...told,
      reason,
      delay: LEASE,
      health: verdict === 'ok' ? 'ok' : 'ko',
      callback: callbacks && isDelivery ? JSON.stringify({ v: 1, mensaje: id, respuesta: 'x'.repeat(4 * KB) }) : null,
      events: [
        isDelivery ? { type: 'a', json: eventOf(id, lane.name, answer) } : { type: 'c', json: `{"id":"${id}"}` },
      ],
    }
  }
}

function eventOf(id: string, listener: string, answer: number): string {
  const made = attempt(id, listener, Date.now(), 'x'.repeat(answer))
  return writeAttempt(made, { ...made, attemptMs: 12, keepResponse: true, toRedisTime: 0 })
}

function laneOf(name: string): LaneSpec {
  const breaker = { threshold: 50, minimum: 20, window: 60_000, pause: 30_000 }
  return { name, concurrency: ENDING, strict: false, rateLimit: null, breaker, failureJob: null }
}
