/** What an attempt counts as, how long what is due has waited, and when a worker counts as stalled. */
import { ulid } from 'ulid'
import { describe, expect } from 'vitest'
import { type Gauges, type LaneGauge, readGauges } from '../../src/queue/gauges.ts'
import { CALLBACK_LANE } from '../../src/queue/keys.ts'
import { classOf } from '../../src/worker/metrics.ts'
import { type Memory, STALLED_MS, stallIn, takeable } from '../../src/worker/watchdog.ts'
import { dispatched, expireLeases, laneOf, test } from '../queue/scene.ts'

const status = (code: number) => ({ error: null, status: code, phases: null })
const trouble = (error: string, phases: Record<string, number> = {}) => ({ error, status: null, phases })

test.for([
  [status(204), '2xx'],
  [status(302), '3xx'],
  [status(404), '4xx'],
  [status(599), '5xx'],
  [status(777), 'other'],
  [trouble('timeout'), 'timeout'],
  [trouble('dns'), 'dns'],
  [trouble('tls'), 'tls'],
  [trouble('conexion', { dns: 1, total: 2 }), 'connect'],
  [trouble('conexion', { dns: 1, conexion: 1, total: 2 }), 'cut'],
  // On a socket that was used before.
  [trouble('conexion', { total: 2 }), 'cut'],
  [{ ...trouble('respuesta'), status: 200 }, 'cut'],
  [trouble('interrumpido'), 'cut'],
  [{ ...trouble('desafio'), status: 401 }, '4xx'],
  [trouble('bloqueada'), 'other'],
] as const)('%j is %s', ([request, wanted]) => {
  expect(classOf(request)).toBe(wanted)
})

describe('what is due waits since', () => {
  const free = (name: string) => ({ name, active: true, order: 'libre' as const })
  const read = async (queue: Parameters<typeof readGauges>[0], ...rules: Parameters<typeof readGauges>[1][]) => {
    const gauges = await readGauges(
      queue,
      rules.flatMap((some) => [...some]),
    )
    const age = (name: string) => {
      const due = gauges.lanes.find(({ listener }) => listener === name)!.overdue
      return due === null ? null : gauges.now - due.since
    }
    return { ...gauges, age }
  }
  const MINUTE = 60_000

  test('its message came, its demora was over, or it was last changed; not while it is held back', async ({
    queue,
  }) => {
    const now = await queue.now()
    const old = ulid(now - 10 * MINUTE)
    const delayed = ulid(now - 10 * MINUTE)
    await dispatched(queue, [old], ['cola', 'pausa', 'corte', 'estricto', 'inactivo'])
    const due = new Date(now - MINUTE).toISOString()
    const stamped = `{"evento":"e","cuerpo":"x","id":"${delayed}","demora":null,"no_antes_de":"${due}","recibido":${now - 9 * MINUTE}}`
    await queue.redis.set(queue.keys.messagePrefix + delayed, stamped)
    await queue.redis.rpush(queue.lane('demorado').queue, delayed)
    const foreign = `{"id":"ajeno","creado":"${new Date(now - 2 * MINUTE).toISOString()}","evento":"e","datos":{"no_antes_de":"2001-01-01"}}`
    await queue.redis.set(`${queue.keys.messagePrefix}ajeno`, foreign)
    await queue.redis.rpush(queue.lane('ajeno').queue, 'ajeno')
    // Sent again three minutes ago, though its message is old.
    await queue.redis.rpush(queue.lane('reenviado').queue, old)
    await queue.redis.hset(queue.lane('reenviado').deliveries, old, `0:1:0:${now - 3 * MINUTE}:0`)
    await queue.redis.zadd(queue.lane('reintento').retries, now - 4 * MINUTE, old)
    await queue.redis.zadd(queue.lane('futuro').retries, now + MINUTE, old)
    await queue.redis.zadd(queue.lane('estricto').retries, now + MINUTE, 'otro')
    await queue.redis.hset(queue.keys.paused, 'pausa', '0 manual', 'antes', `${now - 1} manual`)
    await queue.redis.hset(queue.lane('corte').breaker, 'state', 'open')
    await queue.redis.set(queue.lane('rota').queue, 'no es una lista')

    const some = ['cola', 'demorado', 'ajeno', 'reenviado', 'reintento', 'futuro', 'pausa', 'antes', 'corte', 'rota']
    const gauges = await read(queue, some.map(free), [
      { name: 'estricto', active: true, order: 'estricto' },
      { name: 'inactivo', active: false, order: 'libre' },
    ])
    const ages = Object.fromEntries(gauges.lanes.map(({ listener }) => [listener, gauges.age(listener)]))
    const around = (minutes: number) => expect.closeTo(minutes * MINUTE, -4)
    expect(ages).toEqual({
      ...{ cola: around(10), demorado: around(1), ajeno: around(2), reenviado: around(3), reintento: around(4) },
      ...{ futuro: null, pausa: null, antes: null, corte: null, rota: null, estricto: null, inactivo: null },
    })
    const of = (name: string) => gauges.lanes.find(({ listener }) => listener === name)
    expect(of('pausa')).toMatchObject({ waiting: 1, paused: true })
    expect(of('antes')).toMatchObject({ paused: false })
    expect(of('corte')).toMatchObject({ breaker: 'open' })
    expect(of('rota')).toMatchObject({ broken: true, waiting: 0 })
    expect(of('futuro')).toMatchObject({ retrying: 1 })
  })

  test('a lease ran out; the inbox by its first entry, and the audit by its first row', async ({ queue }) => {
    const lane = laneOf('l')
    await dispatched(queue, [ulid()], ['l'])
    await queue.claim([{ lane, n: 1 }], MINUTE, 1e9)
    expect(await read(queue, [free('l')])).toMatchObject({ lanes: [{ running: 1, overdue: null }] })
    await expireLeases(queue, 'l')
    const now = await queue.now()
    const entry = (minutes: number) => JSON.stringify({ evento: 'e', creado: new Date(now - minutes * MINUTE) })
    await queue.enqueue([entry(7), entry(6), 'esto no es JSON'])
    // What a worker of the version before left is older.
    await queue.redis.xadd(queue.keys.auditBefore, `${now - 5 * MINUTE}-0`, 'm', '1')
    const gauges = await read(queue, [free('l')])
    expect(gauges.age('l')).toBeGreaterThan(MINUTE)
    expect(gauges).toMatchObject({ inbox: 3, inboxOverdue: { since: now - 7 * MINUTE }, auditRows: 2 })
    expect(gauges.auditOldest).toBeGreaterThanOrEqual(5 * MINUTE)
    expect(gauges.memory!.used).toBeGreaterThan(0)
  })

  test('two hundred listeners cost one round trip, as one does', async ({ queue }) => {
    const asked: string[] = []
    const send = queue.redis.sendCommand.bind(queue.redis)
    queue.redis.sendCommand = (command, stream) => {
      asked.push(command.name)
      return send(command, stream)
    }
    const listeners = Array.from({ length: 200 }, (_, i) => free(`l${i}`))
    for (const [some, commands] of [
      [listeners.slice(0, 1), 7],
      [listeners, 15],
    ] as const) {
      // The script may have to be loaded the first time.
      await readGauges(queue, some)
      asked.length = 0
      const reading = readGauges(queue, some)
      const atOnce = asked.length
      expect((await reading).lanes).toHaveLength(some.length)
      expect([atOnce, asked.length]).toEqual([commands, commands])
    }
  })
})

describe('the watchdog', () => {
  const due = { id: 'a', since: 5 }
  const laneGauge = (listener: string, overdue: LaneGauge['overdue'], broken = false): LaneGauge => ({
    ...{ listener, waiting: 1, running: 0, retrying: 0, failed: 0, paused: false, breaker: 'closed' },
    ...{ broken, overdue },
  })
  const gaugesOf = (...lanes: LaneGauge[]) =>
    ({ inboxOverdue: null, lanes, callbacks: laneGauge(CALLBACK_LANE, null) }) as unknown as Gauges
  const laneState = (more = {}) => ({ free: 1, hungry: false, spec: laneOf('l'), ...more })
  const able = (lane = laneState(), more = {}) => ({
    ...{ open: true, freeSlots: 1, lanes: new Map([['l', lane]]) },
    ...more,
  })
  const nothing: Memory = new Map()
  const stalls = (gauges: Gauges, ability = able()) =>
    stallIn(takeable(gauges, ability, takeable(gauges, ability, nothing, 0), STALLED_MS), STALLED_MS)

  test.for([
    ['the same thing is first in line all the time', gaugesOf(laneGauge('l', due)), able(), /«l».*espera hace 60 s/],
    ['a message of the inbox', { ...gaugesOf(), inboxOverdue: due }, able(), /un mensaje de la entrada/],
    ['nothing is due', gaugesOf(laneGauge('l', null)), able(), null],
    ['nothing is to be taken now', gaugesOf(laneGauge('l', due)), able(laneState(), { open: false }), null],
    ['every slot is busy', gaugesOf(laneGauge('l', due)), able(laneState(), { freeSlots: 0 }), null],
    ['every slot of the listener is busy', gaugesOf(laneGauge('l', due)), able(laneState({ free: 0 })), null],
    ['what runs is too large for more', gaugesOf(laneGauge('l', due)), able(laneState({ hungry: true })), null],
    [
      'a limit lets it wait',
      gaugesOf(laneGauge('l', due)),
      able(laneState({ spec: laneOf('l', { rateLimit: { count: 1, per: 1000 } }) })),
      null,
    ],
    ['somebody made something else of its queue', gaugesOf(laneGauge('l', due, true)), able(), null],
    ['another worker has that listener', gaugesOf(laneGauge('otro', due)), able(), null],
  ] as const)('%s', ([, gauges, ability, wanted]) => {
    if (wanted === null) expect(stalls(gauges as Gauges, ability)).toBeNull()
    else expect(stalls(gauges as Gauges, ability)).toMatch(wanted)
  })

  test('a line that moves does not stall, however long it is', () => {
    const first = takeable(gaugesOf(laneGauge('l', due)), able(), nothing, 0)
    const moved = takeable(gaugesOf(laneGauge('l', { id: 'b', since: 6 })), able(), first, STALLED_MS)
    expect(stallIn(moved, STALLED_MS)).toBeNull()
    expect(stallIn(first, STALLED_MS - 1)).toBeNull()
  })
})
