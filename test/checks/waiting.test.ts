/** Why a delivery waits: the sentence as a table of cases, and where Redis holds it. */
import { ulid } from 'ulid'
import { describe, expect } from 'vitest'
import { type DeliveryFacts, whyDeliveryWaits, whyUndispatched } from '../../src/checks/waiting.ts'
import { newId } from '../../src/id.ts'
import { deliveryPlace, laneState, messagePlace, pendingEvents } from '../../src/queue/whereabouts.ts'
import { dispatched, envelopeOf, laneOf, settlementOf, test } from '../queue/scene.ts'

const NOW = new Date(2026, 10, 26, 8, 35)
const at = (seconds: number) => new Date(NOW.getTime() + seconds * 1000)
const around = { now: NOW, active: true, workers: 1, stopped: null } as const
const lane = {
  waiting: 5,
  running: 0,
  runningId: null,
  nextRetry: null,
  breaker: { state: 'closed', until: null },
} as const
const listener = { active: true, order: 'libre', rateLimit: null, breaker: { pause: 30_000 } } as NonNullable<
  DeliveryFacts['listener']
>
const queued = { kind: 'queued', before: 3120 } as const
const pause = { until: null, reason: 'manual', since: at(-60), by: 'root@vm' }

describe('a delivery waits because', () => {
  test.each<[string, Partial<DeliveryFacts>, string, string | null]>([
    ['it is next', { place: { kind: 'queued', before: 0 } }, 'es la próxima de la cola', null],
    ['of its turn', {}, 'espera su turno. Delante: 3.120', null],
    ['it runs', { place: { kind: 'running' }, pause }, 'se está entregando en este momento', null],
    [
      'of its retry',
      { place: { kind: 'retry', dueAt: at(70) } },
      'se reintenta a las 08:36:10',
      'resthooks reenviar --ahora M --listener compras',
    ],
    [
      'of a retry another day',
      { place: { kind: 'retry', dueAt: at(86_400) } },
      'se reintenta el 27/11 08:35:00',
      'resthooks reenviar --ahora M --listener compras',
    ],
    [
      'its retry found no slot',
      { place: { kind: 'retry', dueAt: at(-10) } },
      'su reintento toca desde las 08:34:50: espera un lugar libre',
      null,
    ],
    [
      'somebody paused it',
      { pause },
      'pausado por root@vm desde las 08:34:00, sin fin. Delante: 3.120',
      'resthooks reanudar compras',
    ],
    [
      'of a pause of the version before, with an end',
      { pause: { ...pause, until: at(60), since: null, by: null } },
      'pausado, hasta las 08:36:00. Delante: 3.120',
      'resthooks reanudar compras',
    ],
    [
      'of a pause that is over: its turn',
      { pause: { ...pause, until: at(-1) } },
      'espera su turno. Delante: 3.120',
      null,
    ],
    [
      'of a 410',
      { pause: { ...pause, reason: '410', by: null } },
      'respondió 410 (ya no existe) y quedó pausado desde las 08:34:00. Delante: 3.120',
      'resthooks reanudar compras',
    ],
    [
      'of the open breaker',
      { lane: { ...lane, breaker: { state: 'open', until: at(70) } } },
      'corte abierto: falla tanto que no se le envía; próxima prueba a las 08:36:10. Delante: 3.120',
      'resthooks probar compras',
    ],
    [
      'of the breaker on trial',
      { lane: { ...lane, running: 1, breaker: { state: 'half', until: null } } },
      'corte a prueba: se le envía de a poco hasta que acepte. Delante: 3.120',
      null,
    ],
    [
      'of the head of a strict order',
      { listener: { ...listener, order: 'estricto' }, lane: { ...lane, nextRetry: { id: 'A', dueAt: at(70) } } },
      'orden estricto: la frena A, que se reintenta a las 08:36:10. Delante: 3.120',
      'resthooks ver A',
    ],
    [
      'it is itself that head',
      {
        listener: { ...listener, order: 'estricto' },
        place: { kind: 'retry', dueAt: at(70) },
        lane: { ...lane, nextRetry: { id: 'M', dueAt: at(70) } },
      },
      'se reintenta a las 08:36:10',
      'resthooks reenviar --ahora M --listener compras',
    ],
    [
      'of the rate limit',
      { listener: { ...listener, rateLimit: { count: 20, per: 1000 } } },
      'espera su turno al límite de 20 cada 1 s: le toca hacia las 08:37:36. Delante: 3.120',
      null,
    ],
    ['nobody works', { workers: 0 }, 'no hay ningún worker en marcha. Delante: 3.120', 'resthooks iniciar-workers'],
    [
      'it is switched off',
      { active: false },
      'resthooks_activo = 0: no se entrega nada. Delante: 3.120',
      'póngalo en 1',
    ],
    [
      'too much audit waits',
      { stopped: 'max_pendientes' },
      'la auditoría pendiente pasó max_pendientes: las entregas están detenidas. Delante: 3.120',
      'resthooks verificar',
    ],
    [
      'its listener is gone',
      { listener: null },
      '«compras» no está en resthooks.ini: nadie la entrega. Delante: 3.120',
      'vuelva a definirlo, o resthooks descartar M --listener compras',
    ],
    [
      'Redis lost it',
      { place: { kind: 'unknown' } },
      'Redis no la tiene: terminó hace un instante, o Redis la perdió',
      'si sigue así: resthooks recuperar',
    ],
  ])('%s', (_, changes, motivo, que_hacer) => {
    const facts = { ...around, id: 'M', name: 'compras', place: queued, lane, pause: null, listener, ...changes }
    expect(whyDeliveryWaits(facts)).toEqual({ motivo, que_hacer })
  })

  test('it is nobody’s yet', () => {
    const why = (...args: Parameters<typeof whyUndispatched>) => whyUndispatched(...args)?.motivo
    expect(why({ kind: 'inbox', before: 2 }, { ...around, workers: 0 })).toBe(
      'todavía en la entrada, detrás de 2: no hay ningún worker en marcha',
    )
    expect(why({ kind: 'inbox', before: 0 }, around)).toBe('todavía en la entrada')
    expect(why({ kind: 'delayed', dueAt: at(70) }, around)).toBe('enviado con demora: se reparte a las 08:36:10')
    expect(why({ kind: 'unknown' }, around)).toBeUndefined()
  })
})

test('Redis tells where a message is on its way, and what is before it', async ({ queue }) => {
  const ids = Array.from({ length: 5 }, () => newId())
  await queue.enqueue(ids.map(envelopeOf))
  expect(await messagePlace(queue, ids[3]!)).toEqual({ kind: 'inbox', before: 3 })
  expect(await messagePlace(queue, 'ajeno')).toEqual({ kind: 'unknown' })
  await queue.redis.del(queue.keys.inbox)
  await dispatched(queue, ids, ['a'])
  expect(await messagePlace(queue, ids[3]!)).toEqual({ kind: 'unknown' })
  expect(await deliveryPlace(queue, ids[3]!, 'a')).toEqual({ kind: 'queued', before: 3 })
  const spec = laneOf('a')
  const { lanes } = await queue.claim([{ lane: spec, n: 2 }], 60_000, 1e6)
  const [first, second] = lanes[0]!.items
  expect(await deliveryPlace(queue, ids[0]!, 'a')).toEqual({ kind: 'running' })
  expect(await laneState(queue, 'a')).toMatchObject({ waiting: 3, running: 2, breaker: { state: 'closed' } })
  await queue.settle([
    settlementOf(spec, first!, 'retry', { delay: 60_000 }),
    settlementOf(spec, second!, 'failed', { reason: 'HTTP 422' }),
  ])
  const now = await queue.now()
  const retry = await deliveryPlace(queue, ids[0]!, 'a')
  expect(retry).toMatchObject({ kind: 'retry' })
  expect((retry as { dueAt: Date }).dueAt.getTime()).toBeGreaterThan(now + 30_000)
  expect(await deliveryPlace(queue, ids[1]!, 'a')).toEqual({ kind: 'failed' })
  expect((await laneState(queue, 'a')).nextRetry?.id).toBe(ids[0])
  await queue.redis.zadd(queue.keys.delayed, now + 5000, 'demorado')
  expect(await messagePlace(queue, 'demorado')).toEqual({ kind: 'delayed', dueAt: new Date(now + 5000) })
})

test('in an inbox of thousands one is found by its age, and told of when that is impossible', async ({ queue }) => {
  const idAt = (n: number) => ulid(1_700_000_000_000 + n * 1000)
  const ids = Array.from({ length: 3000 }, (_, n) => idAt(n))
  await queue.enqueue(ids.map(envelopeOf))
  for (const n of [0, 1500, 2999]) expect(await messagePlace(queue, ids[n]!)).toEqual({ kind: 'inbox', before: n })
  expect(await messagePlace(queue, idAt(7))).toEqual({ kind: 'unknown' })
  expect(await messagePlace(queue, 'ajeno')).toEqual({ kind: 'inbox', before: null })
})

test('what Postgres does not know yet is read from the stream, of one message alone', async ({ queue }) => {
  const [one, other] = [newId(), newId()]
  await dispatched(queue, [one, other], ['a'])
  const { events, isWhole } = await pendingEvents(queue, one)
  expect(isWhole).toBe(true)
  expect(events).toMatchObject([{ type: 'message', message: { id: one }, listeners: ['a'] }])
})
