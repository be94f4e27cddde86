import { connect, createServer } from 'node:net'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, inject } from 'vitest'
import { AuditReader } from '../../src/queue/audit-stream.ts'
import { readBacklog, whyStopped } from '../../src/queue/backlog.ts'
import { dispatch, take } from '../../src/queue/inbox.ts'
import { Queue } from '../../src/queue/queue.ts'
import { settle } from '../../src/queue/settle.ts'
import { readWorkers, writeHeartbeat } from '../../src/queue/workers.ts'
import { freePort } from '../support/ports.ts'
import { type RedisServer, startRedis } from '../support/redis-server.ts'
import { until } from '../support/until.ts'
import { expect, test } from '../support/world.ts'
import { dispatched, envelopeOf, expireLeases, laneOf, settlementOf } from './scene.ts'

let server: RedisServer
let redis: Redis
const lane = laneOf('a')

beforeAll(async () => {
  server = await startRedis()
  redis = new Redis({ host: server.host, port: server.port })
})
afterAll(async () => {
  redis.disconnect()
  await server.stop()
})

/** Less than what the server needs for itself. */
const fill = () => redis.config('SET', 'maxmemory', '1')
const empty = () => redis.config('SET', 'maxmemory', '0')

async function full<T>(work: () => Promise<T>): Promise<T> {
  await fill()
  try {
    return await work()
  } finally {
    await empty()
  }
}

test('sending is refused, and what is there already drains', async () => {
  const queue = new Queue(redis, 'llena', 'uno')
  await dispatched(queue, ['m1', 'm2', 'm3', 'm4'], ['a', 'b'])
  await queue.enqueue([envelopeOf('m5')])
  await full(async () => {
    await expect(queue.enqueue([envelopeOf('m6')])).rejects.toThrow(/OOM/)
    await expect(queue.enqueueOnce('clave', 'm6', envelopeOf('m6'))).rejects.toThrow(/OOM/)
    const { envelopes, fence } = await take(queue)
    expect(envelopes.map(String)).toEqual([envelopeOf('m5')])
    const item = { kind: 'dispatch', id: 'm5', event: '{}', listeners: ['a'] } as const
    expect(await dispatch(queue, { envelopes, fence }, [item])).toMatchObject({ duplicates: 0 })
    const { lanes } = await queue.claim([{ lane, n: 3 }], 30_000, 1e6)
    const [one, two, three] = lanes[0]!.items
    expect(await queue.begin(one!.fence)).toBe(true)
    expect(await queue.renew(lanes[0]!.items, 30_000)).toEqual([])
    await queue.release([three!])
    expect(
      await settle(queue, [settlementOf(lane, one!, 'ok'), settlementOf(lane, two!, 'retry', { delay: 1000 })]),
    ).toEqual([true, true])
    expect(await redis.xlen(queue.keys.audit)).toBe(7)
    const reader = new AuditReader(queue, 'w')
    const stretch = (await reader.take())!
    expect(stretch.entries).toHaveLength(7)
    await reader.renew(stretch)
    await reader.acknowledge(stretch)
    expect(await redis.xlen(queue.keys.audit)).toBe(0)
    await expireLeases(queue, 'a')
    const again = await queue.claim([{ lane, n: 10 }], 30_000, 1e6)
    expect(again.lanes[0]!.items.map(({ id }) => id)).toEqual(['m3', 'm4', 'm5'])
  })
})

test('workers are alive, and take over the audit of the dead, so that it can be freed', async () => {
  const queue = new Queue(redis, 'llena', 'dos')
  await dispatched(queue, ['m1'], ['a'])
  const dead = new AuditReader(queue, 'muerto')
  await dead.giveBack((await dead.take())!)
  const own = { worker: 'vivo', host: 'h', pid: 1, version: '1', desde: Date.now(), en_curso: 0 }
  await full(async () => {
    await writeHeartbeat(queue, own, false)
    expect((await readWorkers(queue)).map(({ worker }) => worker)).toEqual(['vivo'])
    const reader = new AuditReader(queue, 'vivo')
    const stretch = (await reader.take())!
    expect(stretch.entries).toHaveLength(1)
    await reader.acknowledge(stretch)
    expect(await redis.xlen(queue.keys.audit)).toBe(0)
  })
})

const MB = 1024 ** 2
const free = { events: 10, bytes: MB, used: 5 * MB, maxMemory: 60 * MB }
test.each([
  ['nothing is near its limit', free, {}, null],
  ['no limits at all', { ...free, bytes: 900 * MB, maxMemory: 0 }, {}, null],
  ['too many rows', { ...free, events: 101 }, { maxPending: 100 }, 'max_pendientes'],
  ['rows without a limit', { ...free, events: 1e9 }, { maxPending: 0 }, null],
  ['half of the memory there is', { ...free, bytes: 31 * MB }, {}, 'max_pendientes_bytes'],
  ['less than that', { ...free, bytes: 30 * MB }, {}, null],
  ['more than was set', { ...free, bytes: 9 * MB }, { maxPendingBytes: 8 * MB }, 'max_pendientes_bytes'],
  [
    'set, and no limit of the server',
    { ...free, bytes: 9 * MB, maxMemory: 0 },
    { maxPendingBytes: 8 * MB },
    'max_pendientes_bytes',
  ],
  ['set higher than half', { ...free, bytes: 40 * MB }, { maxPendingBytes: 50 * MB }, null],
  ['a memory so small that half of it is nothing', { ...free, bytes: 9_000, maxMemory: 1 }, {}, null],
  ['full memory, Postgres at work: that is what frees it', { ...free, used: 61 * MB }, {}, null],
  ['full memory, Postgres away', { ...free, used: 61 * MB }, { away: true }, 'memoria'],
  ['full memory, Postgres away, nothing waits', { ...free, events: 0, used: 61 * MB }, { away: true }, null],
  ['still nearly full', { ...free, used: 55 * MB }, { away: true, stopped: true }, 'memoria'],
  ['a little less rows after a stop', { ...free, events: 95 }, { maxPending: 100, stopped: true }, 'max_pendientes'],
  ['a lot less', { ...free, events: 90 }, { maxPending: 100, stopped: true }, null],
  ['nobody may ask about memory', { ...free, bytes: null, used: null, maxMemory: 0 }, { away: true }, null],
] as const)('whether deliveries stop: %s', (_, backlog, state, reason) => {
  const { maxPending = 1000, maxPendingBytes = 0, away = false, stopped = false } = state as Record<string, never>
  expect(whyStopped(backlog, { maxPending, maxPendingBytes }, { away, stopped })).toBe(reason)
})

test('while Postgres is away nothing is taken beyond the memory there is, and all of it once it is back', async ({
  world,
}) => {
  const listener = await world.listener(() => ({ status: 200 }), { concurrencia: 50 })
  const port = await freePort()
  await world.setEnv({ REST_HOOKS_DB_PORT: String(port) })
  await world.setEnv({ REST_HOOKS_REDIS_HOST: server.host, REST_HOOKS_REDIS_PORT: String(server.port) })
  const queue = new Queue(redis, world.instancia, world.proyecto)
  const datos = JSON.stringify({ relleno: 'x'.repeat(50_000) })
  // More than what is delivered between two looks at the memory.
  const count = 1200
  await queue.enqueue(Array.from({ length: count }, (_, n) => `{"id":"m${n}","evento":"x","datos":${datos}}`))
  const { used } = await readBacklog(queue)
  await redis.config('SET', 'maxmemory', String(used! + 6 * MB))
  const back = createServer()
  try {
    const worker = await world.worker()
    // Half of it is the audit's, or it is full.
    await worker.logged('se dejan de tomar mensajes')
    const { queue: waiting, inFlight } = queue.lane('escucha1')
    await until(async () => (await redis.zcard(inFlight)) === 0, { what: 'the end of what was under way' })
    const left = (await redis.llen(queue.keys.inbox)) + (await redis.llen(waiting))
    expect(left).toBeGreaterThan(0)
    expect(listener.requests.length).toBe(count - left)
    const postgres = inject('postgres')
    back.listen(port, '127.0.0.1')
    back.on('connection', (socket) => {
      const upstream = connect(postgres.port, postgres.host)
      for (const each of [socket, upstream]) each.on('error', () => {})
      socket.pipe(upstream).pipe(socket)
    })
    await until(() => listener.requests.length === count, { timeout: 30_000, what: 'the rest' })
    await until(async () => (await redis.xlen(queue.keys.audit)) === 0, { what: 'the audit in Postgres' })
  } finally {
    await empty()
    back.close()
  }
})
