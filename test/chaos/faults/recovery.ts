/** Redis loses everything in the middle of a run: `recuperar` brings back what Postgres knows as unfinished, and only that. */
import { cp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { until } from '../../support/until.ts'
import type { Arena } from '../arena.ts'
import { type Fault, sleep } from './fault.ts'

interface Known {
  readonly mensaje_id: string
  readonly listener: string
  readonly estado: string
}

export const recoveryFaults: readonly Fault[] = [
  {
    name: 'recuperar: FLUSHALL en medio de todo',
    short: true,
    traffic: { messages: 400, over: 4000 },
    inflict: (arena) => flushAndRecover(arena, 1),
    rules: { flushed: true },
    verify: checkKnown,
  },
  {
    name: 'recuperar: FLUSHALL, kill -9 de todos, y recuperar dos veces a la vez',
    traffic: { messages: 400, over: 4000 },
    inflict: async (arena) => {
      await someUnfinished(arena)
      await arena.killHard([...arena.workers])
      await flushAndRecover(arena, 2)
      arena.start(2)
    },
    rules: { flushed: true },
    verify: checkKnown,
  },
  {
    name: 'recuperar: Redis vuelve sin sus últimos segundos',
    traffic: { messages: 400, over: 4000 },
    inflict: async (arena) => {
      await someUnfinished(arena)
      // An older copy of its data, as after a failover or a cut AOF.
      await arena.client.bgrewriteaof()
      const settled = async () => (await arena.client.info('persistence')).includes('aof_rewrite_in_progress:0')
      await until(settled, { what: 'the rewrite of the AOF' })
      const copy = join(arena.folder, 'copia')
      await cp(arena.redis.folder, copy, { recursive: true })
      await sleep(1500)
      arena.noteCrash(Math.max(2, arena.workers.length))
      await arena.redis.kill('SIGKILL')
      await rm(arena.redis.folder, { recursive: true })
      await cp(copy, arena.redis.folder, { recursive: true })
      await sleep(1000)
      await arena.redis.start()
      await sleep(1000)
      await recoverKnown(arena, 1)
    },
    rules: { flushed: true, rewound: true },
    // What Redis had finished since comes again by itself: nobody told it.
    verify: async (arena) => (await checkKnown(arena)).filter((each) => !each.endsWith(SENT_AGAIN)),
  },
]

/** Until Postgres knows of deliveries that have ended and of some that have not. */
async function someUnfinished(arena: Arena): Promise<void> {
  const enough = async () => {
    const [row] = (await arena.sql`
      SELECT count(*) FILTER (WHERE estado IN ('pendiente', 'reintentando'))::int AS open,
             count(*) FILTER (WHERE estado = 'exitosa')::int AS ended
        FROM ${arena.sql(arena.schema)}.entrega`) as unknown as [{ open: number; ended: number }]
    return row.open >= 10 && row.ended >= 10
  }
  await until(enough, { timeout: 20_000, every: 20, what: 'unfinished deliveries in Postgres' })
}

async function flushAndRecover(arena: Arena, times: number): Promise<void> {
  await someUnfinished(arena)
  arena.noteCrash(Math.max(2, arena.workers.length))
  await arena.client.flushall()
  // Rows that were on their way to Postgres in this moment may still arrive.
  await sleep(1000)
  await recoverKnown(arena, times)
}

async function recoverKnown(arena: Arena, times: number): Promise<void> {
  const at = Date.now()
  const known = (await arena.sql`
    SELECT mensaje_id, listener, estado FROM ${arena.sql(arena.schema)}.entrega`) as unknown as Known[]
  arena.flush = { at, known }
  const ids = new Set(known.map(({ mensaje_id }) => mensaje_id))
  // What Postgres never heard of went with Redis: nobody can bring it back.
  arena.judges = (id) => ids.has(id)
  const runs = await Promise.all(Array.from({ length: times }, () => arena.cli(['recuperar'])))
  if (!runs.some(({ code }) => code === 0)) throw new Error(`recuperar: ${JSON.stringify(runs)}`)
  arena.noteCrash(Math.max(2, arena.workers.length))
}

const SENT_AGAIN = 'was sent again'

async function checkKnown(arena: Arena): Promise<readonly string[]> {
  const { at, known } = arena.flush!
  const now = (await arena.sql`
    SELECT mensaje_id, listener, estado FROM ${arena.sql(arena.schema)}.entrega`) as unknown as Known[]
  const states = new Map(now.map(({ mensaje_id, listener, estado }) => [`${mensaje_id} ${listener}`, estado]))
  const found: string[] = []
  let unfinished = 0
  for (const { mensaje_id, listener, estado } of known) {
    const key = `${mensaje_id} ${listener}`
    const isFinal = ['exitosa', 'fallida', 'descartada'].includes(estado)
    if (!isFinal) {
      unfinished += 1
      if (!['exitosa', 'fallida'].includes(states.get(key) ?? ''))
        found.push(`${key} was ${estado} and is ${states.get(key)}`)
    } else if (
      arena.wire.requests.some((each) => each.id === mensaje_id && each.listener === listener && each.at > at)
    ) {
      found.push(`${key} was ${estado} and ${SENT_AGAIN}`)
    }
  }
  if (unfinished === 0) found.push('nothing was unfinished: the fault did not happen')
  return found
}
