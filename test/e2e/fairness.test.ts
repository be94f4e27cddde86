/** What keeps a listener from being flooded, and the others from waiting for it: slots, rate, order, breaker, pauses. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { LANE_KEYS, type LaneKeys } from '../../src/queue/keys.ts'
import { closedGate } from '../support/gate.ts'
import type { ReceivedRequest } from '../support/listener.ts'
import { until } from '../support/until.ts'
import { expect, test, type World } from '../support/world.ts'
import { waitingRoom } from './waiting-room.ts'

/** Long enough for a worker that polls every 100 ms to do what it must not do. */
const A_WHILE = 600

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** Sends numbered messages with one command; their ids in order. */
async function sendMany(world: World, count: number, event = 'x'): Promise<string[]> {
  const input = Array.from({ length: count }, (_, n) => `{"evento":"${event}","datos":${n}}`).join('\n')
  const run = await world.cli(['send', '--lote'], { input })
  expect(run).toMatchObject({ code: 0 })
  return run.stdout.trimEnd().split('\n')
}

const numberIn = ({ body }: ReceivedRequest) => Number(body.toString())

async function statesOf(world: World, listener: string): Promise<Record<string, number>> {
  const rows = await world.sql`
    SELECT estado, count(*)::int AS cuantas FROM ${world.sql(world.schema)}.entrega
    WHERE listener = ${listener} GROUP BY estado`
  return Object.fromEntries(rows.map(({ estado, cuantas }) => [estado, cuantas]))
}

/** The line of a listener in `estado`. */
async function shown(world: World, listener: string): Promise<Record<string, unknown>> {
  const run = await world.cli(['estado', '--json'])
  expect(run).toMatchObject({ code: 0 })
  const { listeners } = JSON.parse(run.stdout) as { listeners: Record<string, unknown>[] }
  return listeners.find((lane) => lane.listener === listener)!
}

// Those that are concurrent wait most of their time, and nothing in them is measured by the clock.
test.concurrent('concurrencia is each listener’s own, and the worker’s is the sum of all', async ({ world }) => {
  const [narrow, wide] = [waitingRoom(), waitingRoom()]
  const one = await world.listener(narrow.script, { nombre: 'angosto', concurrencia: 2 })
  const other = await world.listener(wide.script, { nombre: 'ancho', concurrencia: 9 })
  await world.set('workers', { concurrencia: 8 })
  await world.worker()
  await sendMany(world, 20)
  await until(() => one.pending === 2 && other.pending === 6)
  await pause(A_WHILE)
  expect([one.pending, other.pending]).toEqual([2, 6])
  wide.open(200)
  narrow.open(200)
  await until(async () => (await statesOf(world, 'angosto')).exitosa === 20)
  await until(async () => (await statesOf(world, 'ancho')).exitosa === 20)
  expect(narrow.peak).toBe(2)
  expect(wide.peak).toBeLessThanOrEqual(8)
})

test.concurrent('a listener that hangs cannot hold every slot of the worker', async ({ world }) => {
  const dead = await world.listener(() => 'silence', { nombre: 'colgado', eventos: 'a', concurrencia: 50 })
  const fine = await world.listener(() => ({ status: 200 }), { nombre: 'sano', eventos: 'b' })
  await world.set('workers', { concurrencia: 8 })
  await world.worker()
  await sendMany(world, 20, 'a')
  await until(() => dead.pending >= 4)
  await pause(A_WHILE)
  const held = dead.requests.length
  await sendMany(world, 20, 'b')
  await fine.received(20)
  // Not because the dead one was given up: its requests are still the same.
  expect(dead.pending).toBe(held)
})

test.concurrent('large messages for a listener that hangs leave memory for the others', async ({ world }) => {
  const dead = await world.listener(() => 'silence', { nombre: 'colgado', eventos: 'a' })
  const fine = await world.listener(() => ({ status: 200 }), { nombre: 'sano', eventos: 'b' })
  await world.worker()
  const body = 'x'.repeat(8 * 1024 * 1024)
  for (let n = 0; n < 9; n++) await world.push({ id: `grande${n}`, evento: 'a', cuerpo: body })
  await until(() => dead.pending >= 4)
  await pause(A_WHILE)
  const held = dead.pending
  expect(held).toBeLessThan(8)
  await world.push({ id: 'grande', evento: 'b', cuerpo: body })
  await sendMany(world, 20, 'b')
  await fine.received(21)
  expect(dead.pending).toBe(held)
})

test('callbacks of one listener that hang do not hold up another’s', async ({ world }) => {
  const hanging = join(world.folder, 'colgado.sh')
  await writeFile(hanging, '#!/bin/sh\nexec sleep 60\n', { mode: 0o755 })
  const refuse = () => ({ status: 422 })
  await world.listener(refuse, { nombre: 'colgado', eventos: 'a', on_failure: `exec:${hanging}` })
  await world.listener(refuse, { nombre: 'sano', eventos: 'b' })
  await world.worker()
  const { inFlight } = world.keys.lane('@callbacks')
  await sendMany(world, 40, 'a')
  await until(async () => (await statesOf(world, 'colgado')).fallida === 40 && (await world.redis.zcard(inFlight)) > 0)
  await sendMany(world, 20, 'b')
  const done = () => world.sql`SELECT 1 FROM ${world.sql(world.schema)}.callback WHERE listener = 'sano'`
  await until(async () => (await done()).length === 20, { timeout: 15_000 })
  const run = JSON.parse((await world.cli(['estado', '--json'])).stdout)
  expect(run.callbacks.en_cola + run.callbacks.en_curso).toBe(40)
})

test('limite holds for two workers together', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 200 }), { nombre: 'lento', limite: '20/s' })
  await Promise.all([world.worker(), world.worker()])
  await sendMany(world, 70)
  await listener.received(70)
  await until(async () => (await statesOf(world, 'lento')).exitosa === 70)
  const rows = await world.sql`SELECT inicio, worker FROM ${world.sql(world.schema)}.intento ORDER BY inicio`
  expect(new Set(rows.map(({ worker }) => worker)).size).toBe(2)
  const times = rows.map(({ inicio }) => inicio.getTime())
  // The margin is for a worker that is held up between its claim and its start.
  for (const since of times) {
    expect(times.filter((at) => at >= since && at < since + 1000).length).toBeLessThanOrEqual(20 + 4)
  }
  expect(times.at(-1)! - times[0]!).toBeGreaterThan((69 / 20) * 1000 - 300)
})

test('orden = estricto keeps the order of arrival through two workers, and a retry holds those behind it', async ({
  world,
}) => {
  let [running, peak] = [0, 0]
  const fails = new Map([
    [0, 1],
    [100, 2],
    [199, 1],
  ])
  const listener = await world.listener(
    async (request) => {
      running += 1
      peak = Math.max(peak, running)
      await pause(1)
      running -= 1
      const left = fails.get(numberIn(request)) ?? 0
      fails.set(numberIn(request), left - 1)
      return { status: left > 0 ? 503 : 200 }
    },
    { nombre: 'ordenado', orden: 'estricto' },
  )
  await Promise.all([world.worker(), world.worker()])
  await sendMany(world, 200)
  await until(async () => (await statesOf(world, 'ordenado')).exitosa === 200, { timeout: 25_000 })
  const expected = Array.from({ length: 200 }, (_, n) => Array(n === 100 ? 3 : n === 0 || n === 199 ? 2 : 1).fill(n))
  expect(listener.requests.map(numberIn)).toEqual(expected.flat())
  expect(peak).toBe(1)
})

test('the breaker opens for all workers, lets one request try, and recovers step by step', { timeout: 60_000 }, async ({
  world,
}) => {
  const room = waitingRoom()
  await world.set('reintentos', { esperas: Array(30).fill('100ms').join(', ') })
  const listener = await world.listener(room.script, {
    nombre: 'cortado',
    concurrencia: 4,
    corte_minimo: 4,
    corte_pausa: '1h',
  })
  const { breaker, inFlight } = world.keys.lane('cortado')
  const state = () => world.redis.hget(breaker, 'state')
  const inState = (wanted: string | null) =>
    until(async () => (await state()) === wanted, { what: `breaker ${wanted ?? 'closed'}` })
  const pausePasses = () => world.redis.hset(breaker, 'until', 1)
  const idle = () => until(async () => listener.pending === 0 && (await world.redis.zcard(inFlight)) === 0)
  await Promise.all([world.worker(), world.worker()])

  room.open(503)
  const ids = await sendMany(world, 40)
  await inState('open')
  await idle()
  room.close()
  const before = listener.requests.length
  // Four in each worker when the fourth failure came in; whatever came back meanwhile was held.
  expect(before).toBeLessThanOrEqual(16)
  expect(await shown(world, 'cortado')).toMatchObject({ corte: 'abierto', en_curso: 0 })
  expect(listener.requests).toHaveLength(before)

  await pausePasses()
  await inState('half')
  await listener.received(before + 1)
  await pause(A_WHILE)
  expect(listener.requests).toHaveLength(before + 1)
  expect(await shown(world, 'cortado')).toMatchObject({ corte: 'a prueba', en_curso: 1 })
  room.answer(503)
  await inState('open')
  await pause(A_WHILE)
  expect(listener.requests).toHaveLength(before + 1)

  await pausePasses()
  await inState('half')
  await listener.received(before + 2)
  for (const allowed of [2, 4]) {
    room.answer(200)
    await until(() => listener.pending === allowed, { what: `${allowed} under way` })
    await pause(A_WHILE)
    expect(listener.pending).toBe(allowed)
  }
  room.answer(200)
  await inState(null)
  room.open(200)
  await until(async () => (await statesOf(world, 'cortado')).exitosa === 40)
  expect(await shown(world, 'cortado')).toMatchObject({ corte: 'no', en_cola: 0, reintentos: 0 })

  // What the breaker held cost nobody an attempt: there are as many as requests.
  const [sum] = await world.sql`
    SELECT sum(intentos)::int AS intentos, count(*)::int AS entregas FROM ${world.sql(world.schema)}.entrega`
  expect(sum).toEqual({ intentos: listener.requests.length, entregas: ids.length })
})

test.concurrent('redes_bloqueadas is checked on the address that the name resolves to; nothing is sent', async ({
  world,
}) => {
  const listener = await world.listener(() => ({ status: 200 }), { nombre: 'interno' })
  const url = listener.url.replace('127.0.0.1', 'localhost')
  await world.set('listener interno', { url, redes_bloqueadas: '127.0.0.0/8, ::1/128' })
  const id = await world.send('x', { n: 1 })
  await world.settled(id)
  expect(listener.requests).toHaveLength(0)
  expect(await world.audit(id)).toMatchObject([
    { estado: 'fallida', intentos: [1, 2, 3].map((numero) => ({ numero, error: 'bloqueada', http_estado: null })) },
  ])
})

test.concurrent('pausar holds what waits and what comes, lets what runs finish, and reanudar releases it', async ({
  world,
}) => {
  const room = waitingRoom()
  const held = await world.listener(room.script, { nombre: 'retenido', concurrencia: 1 })
  const free = await world.listener(() => ({ status: 200 }), { nombre: 'libre' })
  await world.worker()
  const ids = await sendMany(world, 3)
  await held.received(1)
  expect(await world.cli(['pausar', 'retenido'])).toMatchObject({ code: 0, stderr: '' })
  room.open(200)
  await until(async () => (await statesOf(world, 'retenido')).exitosa === 1)
  ids.push(await world.send('x', 4))
  await free.received(4)
  await pause(A_WHILE)
  expect(held.requests).toHaveLength(1)
  expect(await shown(world, 'retenido')).toMatchObject({ en_cola: 3, en_curso: 0, pausado: 'manual' })
  expect(await shown(world, 'libre')).toMatchObject({ en_cola: 0, pausado: 'no' })

  expect(await world.cli(['reanudar', 'retenido'])).toMatchObject({ code: 0, stderr: '' })
  await world.settled(ids)
  expect(held.requests).toHaveLength(4)

  expect(await world.cli(['pausar', '--todos'])).toMatchObject({ code: 0 })
  const last = await world.send('x', 5)
  await until(async () => (await world.redis.llen(world.keys.lane('retenido').queue)) === 1)
  await pause(A_WHILE)
  expect([held.requests.length, free.requests.length]).toEqual([4, 4])
  // What somebody holds without an end was held for a reason.
  const spared = await world.cli(['reanudar', '--todos'])
  expect(spared.stdout).toMatch(/retenido .*pausado por \S+@\S+ .*sigue pausado/)
  expect(spared.stderr).toContain('--tambien-sin-fin')
  const released = await world.cli(['reanudar', '--todos', '--tambien-sin-fin', '--json'])
  expect(JSON.parse(released.stdout)).toMatchObject([
    { listener: 'retenido', reanudado: true, a_prueba: false, suelta: 1 },
    { listener: 'libre', reanudado: true, suelta: 1 },
  ])
  await world.settled(last)
  expect([held.requests.length, free.requests.length]).toEqual([5, 5])
  const done = () =>
    world.sql`SELECT orden, cantidad::int, quien <> '' AS by FROM ${world.sql(world.schema)}.accion ORDER BY id`
  await until(async () => (await done()).length === 4)
  expect(await done()).toMatchObject([
    { orden: 'resthooks pausar retenido', cantidad: 2, by: true },
    { orden: 'resthooks reanudar retenido', cantidad: 3 },
    { orden: 'resthooks pausar --todos', cantidad: 0 },
    { orden: 'resthooks reanudar --todos --tambien-sin-fin --json', cantidad: 2 },
  ])
})

test.concurrent('pausar: until an instant in the future; with --todos, longer pauses and a 410 stay, which only a name replaces', async ({
  world,
}) => {
  for (const name of ['libre', 'retenido', 'breve', 'ido'])
    await world.set(`listener ${name}`, { url: 'http://127.0.0.1:1/' })
  for (const [when, words] of [
    ['2099', /«2099» no es una fecha/],
    ['ayer', /«ayer» es .*, que ya pasó/],
  ] as const) {
    const run = await world.cli(['pausar', 'libre', '--hasta', when])
    expect(run).toMatchObject({ code: 2, stderr: expect.stringMatching(words) })
  }
  await world.cli(['pausar', 'retenido'])
  await world.cli(['pausar', 'breve', '--hasta', '10m'])
  await world.redis.hset(world.keys.paused, 'ido', '0 410')
  const paused = async (...args: string[]) => {
    const run = await world.cli(['pausar', ...args, '--json'])
    expect(run.code).toBe(0)
    return { stderr: run.stderr, rows: JSON.parse(run.stdout) as Record<string, unknown>[] }
  }
  const all = await paused('--todos', '--hasta', '2099-01-01 00:00 Z')
  const until2099 = { hasta: '2099-01-01T00:00:00.000Z', motivo: 'manual', cambiada: true }
  expect(all.rows).toMatchObject([
    { listener: 'libre', ...until2099 },
    { listener: 'retenido', hasta: null, motivo: 'manual', cambiada: false },
    { listener: 'breve', ...until2099 },
    { listener: 'ido', hasta: null, motivo: '410', cambiada: false },
  ])
  expect(all.stderr).toMatch(/^Hasta 2098-12-31 21:00:00\.000 -03:00\.\n.*: retenido, ido\./)
  expect((await paused('--todos', '--hasta', '1s')).rows.every(({ cambiada }) => cambiada === false)).toBe(true)
  expect(await world.redis.hget(world.keys.paused, 'ido')).toBe('0 410')
  expect((await paused('ido', '--hasta', '1h')).rows).toMatchObject([
    { listener: 'ido', motivo: 'manual', cambiada: true },
  ])
})

test.concurrent('410 fails the delivery and holds the listener until somebody resumes it', async ({ world }) => {
  let isGone = true
  const listener = await world.listener(() => ({ status: isGone ? 410 : 200 }), { nombre: 'ido', concurrencia: 1 })
  const worker = await world.worker()
  const first = await world.send('x', 1)
  await world.settled(first)
  const second = await world.send('x', 2)
  await until(async () => (await world.redis.llen(world.keys.lane('ido').queue)) === 1)
  await pause(A_WHILE)
  expect(listener.requests).toHaveLength(1)
  expect(await world.audit(first)).toMatchObject([{ estado: 'fallida', intentos: [{ http_estado: 410 }] }])
  expect(await shown(world, 'ido')).toMatchObject({ pausado: '410', en_cola: 1, fallidas: 1 })
  await worker.logged('reanudar')

  isGone = false
  expect(await world.cli(['reanudar', 'ido'])).toMatchObject({ code: 0 })
  await world.settled(second)
  expect(await shown(world, 'ido')).toMatchObject({ pausado: 'no', en_cola: 0 })
})

test.concurrent('a 410 that is released lets one delivery through first: no hundred fails where it is still gone', async ({
  world,
}) => {
  let isGone = true
  const script = () => ({ status: isGone ? 410 : 200 })
  const gone = [
    await world.listener(script, { nombre: 'ido', concurrencia: 20 }),
    await world.listener(script, { nombre: 'sin_corte', concurrencia: 20, corte_porcentaje: 0 }),
  ]
  const names = ['ido', 'sin_corte']
  await world.redis.hset(world.keys.paused, 'ido', '0 410', 'sin_corte', '0 410')
  await world.worker()
  const ids = await sendMany(world, 40)
  for (const name of names) await until(async () => (await world.redis.llen(world.keys.lane(name).queue)) === 40)
  expect((await world.cli(['reanudar', '--todos'])).stdout).not.toContain('a prueba')
  const released = await world.cli(['reanudar', '--todos', '--tambien-410'])
  expect(released.stdout).toMatch(/sin_corte .*pausado por un 410 .*a prueba: pasa una primero +40/)
  for (const [n, name] of names.entries()) {
    await until(async () => (await world.redis.hget(world.keys.paused, name))?.startsWith('0 410'))
    expect(gone[n]!.requests).toHaveLength(1)
  }
  isGone = false
  expect(await world.cli(['reanudar', ...names])).toMatchObject({ code: 0 })
  await world.settled(ids)
  for (const { requests } of gone) expect(requests).toHaveLength(40)
  for (const name of names) expect(await world.redis.hget(world.keys.lane(name).breaker, 'state')).toBeNull()
})

test('a key that another program overwrote stops its own listener, is said once, and after its repair all goes on', async ({
  world,
}) => {
  const broken = Object.keys(LANE_KEYS) as (keyof LaneKeys)[]
  const sound = await world.listener(() => ({ status: 200 }), { nombre: 'sano' })
  const target = await world.listener(() => ({ status: 200 }), { nombre: 'otro' })
  for (const name of broken) await world.set(`listener ${name.toLowerCase()}`, { url: target.url })
  await world.set('workers', { arriendo: '1s' })
  const keys = broken.map((name) => world.keys.lane(name.toLowerCase())[name])
  // This one is overwritten while its requests are under way.
  const gate = closedGate()
  const late = await world.listener(() => gate.opened.then(() => ({ status: 200 })), { nombre: 'tarde' })
  for (const key of keys) await world.redis.set(key, 'x')
  const worker = await world.worker()
  const ids = await sendMany(world, 3)
  await late.received(3)
  keys.push(world.keys.lane('tarde').failed)
  await world.redis.set(keys.at(-1)!, 'x')
  gate.open()
  await until(async () => (await statesOf(world, 'sano')).exitosa === 3)
  const said = () => worker.log.filter(({ mensaje }) => String(mensaje).includes('una cola no se puede trabajar'))
  await until(() => said().length === broken.length)
  // Longer than a lease: what nobody could begin is no attempt.
  await pause(1_500)
  expect(said()).toHaveLength(broken.length)
  expect(await statesOf(world, 'tarde')).toEqual({ pendiente: 3 })
  expect(worker.output).not.toContain('disponible')
  const estado = await world.cli(['estado', '--json'])
  const told = JSON.parse(estado.stdout).claves_rotas.map(({ clave }: { clave: string }) => clave)
  expect(told.toSorted()).toEqual(keys.toSorted())
  const verificar = await world.cli(['verificar'])
  for (const key of keys) expect(verificar.stdout).toContain(key)

  await world.redis.del(...keys)
  await world.settled(ids)
  for (const id of ids) {
    for (const delivery of await world.audit(id)) {
      expect(delivery).toMatchObject({ estado: 'exitosa', intentos: [{ numero: 1, error: null }] })
      expect(delivery.intentos).toHaveLength(1)
    }
  }
  expect(late.requests).toHaveLength(3)
  expect([sound.requests.length, target.requests.length]).toEqual([3, 3 * (broken.length + 1)])
})
