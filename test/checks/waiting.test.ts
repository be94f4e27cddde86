/** Why a delivery waits: the sentence as a table of cases, and where Redis holds it. */
import { ulid } from 'ulid'
import { describe, expect } from 'vitest'
import { type DeliveryFacts, whyDeliveryWaits, whyUndispatched } from '../../src/checks/waiting.ts'
import { newId } from '../../src/id.ts'
import type { Lane } from '../../src/queue/depths.ts'
import { settle } from '../../src/queue/settle.ts'
import { deliveryPlace, messagePlace, pendingEvents } from '../../src/queue/whereabouts.ts'
import { dispatched, envelopeOf, laneOf, settlementOf, test } from '../queue/scene.ts'

const NOW = new Date(2026, 10, 26, 8, 35)
const at = (seconds: number) => new Date(NOW.getTime() + seconds * 1000)
const around = { now: NOW, active: true, workers: 1, stopped: null } as const
const lane: Lane = {
  listener: 'compras',
  en_cola: 5,
  en_curso: 0,
  reintentos: 0,
  proximo_reintento: null,
  primer_reintento: null,
  fallidas: 0,
  mas_antigua_ms: null,
  pausado: 'no',
  pausa: null,
  corte: 'no',
  corte_hasta: null,
  situacion: null,
}
const listener = { name: 'compras', active: true, order: 'libre', rateLimit: null } as NonNullable<
  DeliveryFacts['listener']
>
const strict = { ...listener, order: 'estricto' } as typeof listener
const queued = { kind: 'queued', before: 3120 } as const
const pausa = { until: null, reason: 'manual', since: at(-60), by: 'root@vm' }
const expired = { codigo: 'tls', http: null, detalle: 'CERT_HAS_EXPIRED' }
const situacion = {
  exito: at(-9000).getTime(),
  error: null,
  desde: null,
  fallas: 0,
  corte: { desde: at(-60).getTime(), error: expired },
}

describe('a delivery waits because', () => {
  test.each<[string, Partial<DeliveryFacts>, string, string | null]>([
    ['it is next', { place: { kind: 'queued', before: 0 } }, 'es la próxima de la cola', null],
    ['of its turn', {}, 'espera su turno. Delante: 3.120', null],
    ['it runs', { place: { kind: 'running' }, lane: { ...lane, pausa } }, 'se está entregando en este momento', null],
    [
      'of its retry',
      { place: { kind: 'retry', dueAt: at(70) } },
      'se reintenta a las 08:36:10',
      'reenviar --ahora M --listener compras',
    ],
    [
      'of a retry another day',
      { place: { kind: 'retry', dueAt: at(86_400) } },
      'se reintenta el 27/11 08:35:00',
      'reenviar --ahora M --listener compras',
    ],
    [
      'its retry found no slot',
      { place: { kind: 'retry', dueAt: at(-10) } },
      'su reintento toca desde las 08:34:50: espera un lugar libre',
      null,
    ],
    [
      'somebody paused it',
      { lane: { ...lane, pausa } },
      'pausado por root@vm, sin fin, desde las 08:34:00. Delante: 3.120',
      'reanudar compras',
    ],
    [
      'of a pause of the version before, with an end',
      { lane: { ...lane, pausa: { ...pausa, until: at(60), since: null, by: null } } },
      'pausado; se reanuda a las 08:36:00. Delante: 3.120',
      'reanudar compras',
    ],
    [
      'of a 410',
      { lane: { ...lane, pausa: { ...pausa, reason: '410', by: null } } },
      '410: dice que ya no existe; quedó pausado, desde las 08:34:00. Delante: 3.120',
      'corregir su url; luego: reanudar compras',
    ],
    [
      'of the open breaker',
      { lane: { ...lane, corte: 'abierto', corte_hasta: at(70), situacion } },
      'corte abierto desde las 08:34:00: su certificado venció; próxima prueba a las 08:36:10. Delante: 3.120',
      'avisar a quien administra ese servidor',
    ],
    [
      'of the breaker on trial',
      { lane: { ...lane, corte: 'a prueba', situacion } },
      'corte a prueba desde las 08:34:00: su certificado venció. Delante: 3.120',
      'avisar a quien administra ese servidor',
    ],
    [
      'of the head of a strict order',
      { listener: strict, lane: { ...lane, primer_reintento: 'A', proximo_reintento: at(70) } },
      'orden estricto: lo frena A; próximo intento a las 08:36:10. Delante: 3.120',
      'ver A',
    ],
    [
      'another one of a strict order runs',
      { listener: strict, lane: { ...lane, en_curso: 1 } },
      'orden estricto: antes termina la que se está entregando. Delante: 3.120',
      null,
    ],
    [
      'it is itself that head',
      {
        listener: strict,
        place: { kind: 'retry', dueAt: at(70) },
        lane: { ...lane, primer_reintento: 'M', proximo_reintento: at(70) },
      },
      'se reintenta a las 08:36:10',
      'reenviar --ahora M --listener compras',
    ],
    [
      'of the rate limit',
      { listener: { ...listener, rateLimit: { count: 20, per: 1000 } } },
      'espera su turno por su límite: le toca hacia las 08:37:43. Delante: 3.120',
      null,
    ],
    ['nobody works', { workers: 0 }, 'no hay ningún worker en marcha. Delante: 3.120', 'iniciar-workers'],
    [
      'it is switched off',
      { active: false },
      'resthooks_activo = 0: no se entrega nada. Delante: 3.120',
      'ponerlo en 1',
    ],
    [
      'too much audit waits',
      { stopped: 'max_pendientes' },
      'la auditoría pendiente pasó max_pendientes: las entregas están detenidas. Delante: 3.120',
      'verificar',
    ],
    [
      'its listener is gone',
      { listener: undefined },
      'ya no está en resthooks.ini, y algo espera. Delante: 3.120',
      'definirlo, o: descartar --listener compras --estado pendiente,reintentando',
    ],
    [
      'Redis lost it',
      { place: { kind: 'unknown' } },
      'Redis no la tiene: terminó hace un instante, o Redis la perdió',
      'si sigue así: recuperar',
    ],
  ])('%s', (_, changes, motivo, que_hacer) => {
    const facts = { ...around, id: 'M', place: queued, lane, broken: undefined, listener, ...changes }
    expect(whyDeliveryWaits(facts)).toMatchObject({ motivo, que_hacer })
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
  await settle(queue, [
    settlementOf(spec, first!, 'retry', { delay: 60_000 }),
    settlementOf(spec, second!, 'failed', { reason: 'HTTP 422' }),
  ])
  const now = await queue.now()
  const retry = await deliveryPlace(queue, ids[0]!, 'a')
  expect(retry).toMatchObject({ kind: 'retry' })
  expect((retry as { dueAt: Date }).dueAt.getTime()).toBeGreaterThan(now + 30_000)
  expect(await deliveryPlace(queue, ids[1]!, 'a')).toEqual({ kind: 'failed' })
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
