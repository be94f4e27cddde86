/**
 * What stays within bounds whatever happens: memory, log, processor time, and the time until work goes on. Measured on one
 * worker, printed, and held against what was promised.
 */
import { readFile } from 'node:fs/promises'
import type { Worker } from '../support/cli.ts'
import { until } from '../support/until.ts'
import { Arena, LEASE_MS } from './arena.ts'
import type { Cast } from './cast.ts'
import { sleep } from './faults/fault.ts'
import type { Stage } from './play.ts'

export interface Bound {
  readonly what: string
  readonly measured: string
  readonly promised: string
  readonly holds: boolean
}

export interface BoundsOptions {
  /** Waiting messages of the large case. */
  readonly waiting: number
  /** Attempts made while Postgres is away. */
  readonly attempts: number
}

const FEW = 1_000
const MEMORY_SLACK = 1.2
const SAMPLE_MS = 8_000
const PAGE = 4096
/** Kernel ticks a second, as /proc counts processor time. */
const TICKS = 100

const fast: Cast = {
  roles: [
    {
      name: 'rapido',
      behaviour: () => ({ status: 200 }),
      settings: { eventos: 'rapido', concurrencia: 40, espera_total: '10s' },
      wants: () => true,
      expects: () => 'exitosa',
    },
    {
      name: 'lento',
      behaviour: () => ({ status: 200, delay: 50 }),
      settings: { eventos: 'lento', concurrencia: 10 },
      wants: () => true,
      expects: () => 'exitosa',
    },
  ],
  names: ['rapido', 'lento'],
  events: ['rapido'],
}

export async function measureBounds(stage: Stage, { waiting, attempts }: BoundsOptions): Promise<Bound[]> {
  const arena = new Arena(stage.program, stage.postgres, stage.dice, {
    cast: fast,
    ini: { workers: { sondeo: '1s', concurrencia: 60 } },
  })
  try {
    await arena.build()
    const [worker] = arena.start(1) as [Worker]
    await arena.up([worker])
    const bounds: Bound[] = []
    // Warm: code compiled, buffers grown, connections open.
    await push(arena, 'rapido', 20_000)
    await arena.quiet(120_000)
    await push(arena, 'lento', FEW)
    const few = await memoryOf(arena, worker)
    await arena.quiet(60_000)

    await push(arena, 'lento', waiting)
    const dispatched = async () =>
      (await arena.depths()).entrada === 0 && (await arena.client.xlen(arena.keys.audit)) < 1000
    await until(dispatched, { timeout: 900_000, every: 500, what: 'everything dispatched and audited' })
    const many = await memoryOf(arena, worker)
    bounds.push(memoryBound(`memoria con ${waiting} mensajes en espera (contra ${FEW})`, few, many))
    await empty(arena)

    bounds.push(...(await withoutPostgres(arena, worker, few, attempts)))
    bounds.push(...(await withoutAnything(arena, worker)))
    bounds.push(await redelivery(arena, worker))
    return bounds
  } finally {
    await arena.tearDown()
  }
}

async function withoutPostgres(arena: Arena, worker: Worker, few: number, attempts: number): Promise<Bound[]> {
  const before = worker.log.length
  const start = Date.now()
  await arena.postgres.kill('SIGKILL')
  const seen = arena.wire.requests.length
  await push(arena, 'rapido', attempts)
  await until(() => arena.wire.requests.length >= seen + attempts, {
    timeout: 900_000,
    every: 200,
    what: `${attempts} deliveries without Postgres`,
  })
  const away = await memoryOf(arena, worker)
  const minutes = Math.floor((Date.now() - start) / 60_000)
  await arena.postgres.start()
  await until(async () => (await arena.client.xlen(arena.keys.audit)) === 0, {
    timeout: 600_000,
    every: 500,
    what: 'the audit written once Postgres is back',
  })
  const lines = worker.log.length - before
  const promised = 2 + minutes + 1
  const [row] = (await arena.sql`
    SELECT count(*)::int AS n FROM ${arena.sql(arena.schema)}.intento WHERE listener = 'rapido'`) as unknown as [
    { n: number },
  ]
  const made = arena.wire.requests.filter(({ listener }) => listener === 'rapido').length
  return [
    memoryBound(`memoria tras ${attempts} intentos sin Postgres`, few, away),
    {
      what: `líneas de log en ese corte (${minutes} min)`,
      measured: String(lines),
      promised: `≤ ${promised}`,
      holds: lines <= promised,
    },
    {
      what: 'filas de intento después, contra pedidos vistos',
      measured: `${row.n} de ${made}`,
      promised: 'iguales',
      holds: row.n === made,
    },
  ]
}

async function withoutAnything(arena: Arena, worker: Worker): Promise<Bound[]> {
  await arena.postgres.kill('SIGKILL')
  await arena.redis.kill('SIGTERM')
  await sleep(3000)
  const before = worker.log.length
  const [cpu, start] = [await ticksOf(worker), performance.now()]
  await sleep(10_000)
  const share = ((await ticksOf(worker)) - cpu) / TICKS / ((performance.now() - start) / 1000)
  const lines = worker.log.length - before
  await arena.postgres.start()
  await arena.redis.start()
  const back = Date.now()
  await push(arena, 'rapido', 10)
  const first = await until(() => arena.wire.requests.find(({ at }) => at >= back), {
    what: 'a delivery after Redis is back',
  })
  const delay = (first.at - back) / 1000
  await arena.quiet()
  return [
    {
      what: 'procesador sin Redis ni Postgres',
      measured: `${(share * 100).toFixed(1)} %`,
      promised: '< 5 %',
      holds: share < 0.05,
    },
    { what: 'líneas de log en 10 s de ese corte', measured: String(lines), promised: '≤ 1', holds: lines <= 1 },
    {
      what: 'desde que vuelve Redis a la primera entrega',
      measured: `${delay.toFixed(2)} s`,
      promised: '< 3 s',
      holds: delay < 3,
    },
  ]
}

async function redelivery(arena: Arena, worker: Worker): Promise<Bound> {
  arena.start(1)
  await arena.up(arena.workers)
  const busy = arena.wire.listeners.find(({ name }) => name === 'lento')!
  busy.behave(() => ({ status: 200, delay: 1500 }))
  await push(arena, 'lento', 40)
  await sleep(1200)
  const open = new Set(
    arena.wire.requests.filter(({ listener, status }) => listener === 'lento' && status === null).map(({ id }) => id),
  )
  const killed = Date.now()
  await arena.killHard([worker])
  const again = await until(
    () => arena.wire.requests.find(({ id, at, attempt }) => at > killed && attempt > 1 && open.has(id)),
    { what: 'a redelivery' },
  )
  const delay = (again.at - killed) / 1000
  const limit = LEASE_MS / 1000 + 2
  return {
    what: `de kill -9 a la primera reentrega (arriendo ${LEASE_MS / 1000} s)`,
    measured: `${delay.toFixed(2)} s`,
    promised: `< ${limit} s`,
    holds: delay < limit,
  }
}

function memoryBound(what: string, few: number, many: number): Bound {
  const megabytes = (bytes: number) => Math.round(bytes / 1024 / 1024)
  return {
    what,
    measured: `${megabytes(many)} MB contra ${megabytes(few)} MB`,
    promised: '+20 % como mucho',
    holds: many <= few * MEMORY_SLACK,
  }
}

/** Largest resident memory while messages are being delivered. */
async function memoryOf(arena: Arena, worker: Worker): Promise<number> {
  const end = Date.now() + SAMPLE_MS
  let largest = 0
  while (Date.now() < end) {
    const [, resident] = (await readFile(`/proc/${worker.child.pid}/statm`, 'utf8')).split(' ')
    largest = Math.max(largest, Number(resident) * PAGE)
    await sleep(200)
  }
  if (arena.wire.requests.length === 0) throw new Error('nothing was delivered')
  return largest
}

/** Processor time of a process so far, in ticks. */
async function ticksOf(worker: Worker): Promise<number> {
  const stat = await readFile(`/proc/${worker.child.pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return Number(fields[11]) + Number(fields[12])
}

async function push(arena: Arena, event: string, count: number): Promise<void> {
  const entry = `{"evento":"${event}","datos":{"texto":"${'x'.repeat(200)}"}}`
  const block: string[] = Array.from({ length: 1000 }, () => entry)
  for (let left = count; left > 0; left -= block.length) {
    await arena.client.lpush(arena.keys.inbox, ...(left >= block.length ? block : block.slice(0, left)))
  }
}

/** Gives up what waits: nobody needs a million deliveries. */
async function empty(arena: Arena): Promise<void> {
  const waiting = arena.keys.lane('lento').queue
  for (;;) {
    const ids = (await arena.client.lpop(waiting, 5000)) ?? []
    if (ids.length === 0) break
    await arena.client.unlink(...ids.map((id) => arena.keys.messagePrefix + id))
  }
  await arena.quiet(120_000)
}
