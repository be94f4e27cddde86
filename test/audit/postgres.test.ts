/** Writing batches: whole, again, out of order, with rows that the database refuses. */
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { AuditBackend } from '../../src/audit/backend.ts'
import type { AuditEvent } from '../../src/audit/event.ts'
import { createPostgresBackend } from '../../src/audit/postgres.ts'
import {
  actionEvent,
  attempt,
  attemptEvent,
  callbackEvent,
  message,
  messageEvent,
  NOON,
  SCOPE,
  type Sql,
  sharedSchema,
  state,
  stateEvent,
} from './scenery.ts'

const { config, sql, truncate } = sharedSchema()
let backend: AuditBackend

beforeEach(() => {
  backend = createPostgresBackend(config, SCOPE)
})
afterEach(async () => {
  await backend.close()
  await truncate()
})

/** Every row of every table, to compare two databases' contents. */
async function tables(connection: Sql = sql) {
  return {
    mensaje: [...(await connection`SELECT * FROM mensaje ORDER BY id, recibido`)],
    entrega: [...(await connection`SELECT * FROM entrega ORDER BY mensaje_id, listener`)],
    intento: [...(await connection`SELECT * FROM intento ORDER BY mensaje_id, id, pedido`)],
    callback: [...(await connection`SELECT * FROM callback ORDER BY mensaje_id, id, intento`)],
    accion: [...(await connection`SELECT * FROM accion ORDER BY id`)],
    resumen: [...(await connection`SELECT * FROM resumen_hora WHERE enviados <> 0 ORDER BY hora, listener, evento`)],
    rechazada: [...(await connection`SELECT huella, evento_json, sqlstate FROM auditoria_rechazada ORDER BY huella`)],
  }
}

describe('a batch', () => {
  test('fills every column', async () => {
    const sent = message({
      body: Buffer.from([0, 1, 0xff]),
      key: 'clave-1',
      onlyListener: 'a',
      notBefore: new Date(NOON - 10),
      depth: 2,
    })
    const made = attempt(sent.id, 'a', { error: 'timeout', errorDetail: 'sin respuesta', nextAttemptAt: NOON + 60_000 })
    await backend.write([
      messageEvent(sent, ['a', 'b']),
      attemptEvent(made, state(sent.id, 'a', 1, { state: 'reintentando', nextAttemptAt: NOON + 60_000, reason: 'x' })),
      callbackEvent(sent.id, 'a'),
    ])

    expect(await tables()).toEqual({
      mensaje: [
        {
          id: sent.id,
          ...SCOPE,
          evento: 'proveedor.alta',
          metodo: 'PUT',
          ruta: 'proveedores/7',
          cabeceras: { 'X-A': 'b' },
          tipo_contenido: 'application/json',
          cuerpo: Buffer.from([0, 1, 0xff]),
          clave: 'clave-1',
          origen: 'servidor1 php',
          listeners: 2,
          creado: new Date(NOON - 1_000),
          recibido: new Date(NOON),
          no_antes_de: new Date(NOON - 10),
          solo_listener: 'a',
          profundidad: 2,
          original: null,
        },
      ],
      entrega: [
        {
          mensaje_id: sent.id,
          listener: 'a',
          ...SCOPE,
          evento: 'proveedor.alta',
          estado: 'reintentando',
          intentos: 1,
          proximo_intento: new Date(NOON + 60_000),
          motivo: 'x',
          creado: new Date(NOON),
          actualizado: new Date(NOON + 542),
          version: '1',
          accion: null,
        },
        {
          mensaje_id: sent.id,
          listener: 'b',
          ...SCOPE,
          evento: 'proveedor.alta',
          estado: 'pendiente',
          intentos: 0,
          proximo_intento: null,
          motivo: null,
          creado: new Date(NOON),
          actualizado: new Date(NOON),
          version: '0',
          accion: null,
        },
      ],
      intento: [
        {
          id: made.id,
          mensaje_id: sent.id,
          listener: 'a',
          ...SCOPE,
          numero: 1,
          pedido: 1,
          inicio: new Date(NOON + 500),
          duracion_ms: 42,
          fases: { dns: 1, conexion: 2.5, primer_byte: 30 },
          metodo: 'PUT',
          url: 'https://proveedores.example.edu.ar/proveedores/7',
          ip: '10.1.2.3',
          pedido_cabeceras: { authorization: '***', 'webhook-id': sent.id },
          http_estado: 200,
          respuesta_cabeceras: { 'content-type': 'text/plain', 'set-cookie': ['a=1', 'b=2'] },
          respuesta_cuerpo: Buffer.from('hecho'),
          respuesta_truncada: false,
          error: 'timeout',
          error_detalle: 'sin respuesta',
          resultado: 'exito',
          proximo_intento: new Date(NOON + 60_000),
          worker: 'servidor2:123:abc',
        },
      ],
      callback: [
        {
          id: `${sent.id}/a/on_success`,
          mensaje_id: sent.id,
          listener: 'a',
          ...SCOPE,
          tipo: 'on_success',
          destino: 'exec:/opt/siu/avisar.sh --ok',
          intento: 1,
          resultado: 'exito',
          detalle: 'salida 0',
          fecha: new Date(NOON + 5_001),
        },
      ],
      accion: [],
      resumen: [
        {
          ...SCOPE,
          hora: new Date(NOON),
          listener: 'a',
          evento: 'proveedor.alta',
          parte: 0,
          ...{ enviados: '1', exitosos: '1', fallidos: '0', reintentos: '0' },
          // 42 ms: up to 50.
          duraciones: [...Array(11).fill('0'), '1'],
        },
      ],
      rechazada: [],
    })
  })

  test('of nothing is nothing', async () => {
    await backend.write([])
    expect((await tables()).mensaje).toEqual([])
  })

  test('larger than one statement is written whole', async () => {
    const many = Array.from({ length: 2_500 }, () => messageEvent(message({ body: Buffer.alloc(10_000, 7) }), ['a']))
    await backend.write(many)
    expect(await sql`SELECT count(*)::int AS n, sum(length(cuerpo))::int AS bytes FROM mensaje`).toMatchObject([
      { n: 2_500, bytes: 25_000_000 },
    ])
  })

  test('keeps text as it is, quotes, backslashes, braces and all', async () => {
    const awkward = '{"a",\\"b\\",NULL}\n\t\'; DROP TABLE mensaje --'
    const sent = message({ origin: awkward, headers: { [awkward]: awkward } })
    await backend.write([messageEvent(sent, [])])
    expect(await sql`SELECT origen, cabeceras, listeners FROM mensaje`).toMatchObject([
      { origen: awkward, cabeceras: { [awkward]: awkward }, listeners: 0 },
    ])
  })

  test('does not keep a body that nobody wants kept, and tells it from an empty one', async () => {
    await backend.write([
      messageEvent(message({ id: '1' }), ['a'], { keepBody: false }),
      messageEvent(message({ id: '2', body: Buffer.alloc(0) }), ['a']),
    ])
    expect(await sql`SELECT cuerpo FROM mensaje ORDER BY id`).toMatchObject([
      { cuerpo: null },
      { cuerpo: Buffer.alloc(0) },
    ])
  })

  test('two writers with the same rows in opposite order both finish', async () => {
    const other = createPostgresBackend(config, SCOPE)
    const events = Array.from({ length: 300 }, (_, n) => {
      const sent = message()
      return [messageEvent(sent, ['a']), stateEvent(state(sent.id, 'a', (n % 3) + 1))]
    }).flat()
    for (let round = 0; round < 5; round++) {
      await Promise.all([backend.write(events), other.write([...events].reverse())])
    }
    await other.close()
    expect((await tables()).mensaje).toHaveLength(300)
  })
})

describe('an id that comes again', () => {
  const round = (n: number) => {
    const at = NOON + n * 60_000
    const sent = message({ id: 'otra-vez', body: Buffer.from(String(n)) })
    const end = state('otra-vez', 'a', at + 100, { state: n === 1 ? 'fallida' : 'exitosa', attempts: n })
    return [messageEvent(sent, ['a'], { at, receivedAt: at }), stateEvent(end, at + 100)] as const
  }
  const [begun, failed] = round(1)
  const [again, delivered] = round(2)
  /** Of the time when versions were counted from 1. */
  const counted = stateEvent(state('otra-vez', 'a', 2, { state: 'fallida', attempts: 1 }), failed.at)
  const countedAgain = stateEvent(state('otra-vez', 'a', 1), delivered.at)
  const [waits, ended] = [
    { estado: 'pendiente', intentos: 0 },
    { estado: 'exitosa', intentos: 2 },
  ]

  test.each([
    ['and waits', [[begun, failed, again]], waits],
    ['and waits, written one by one', [[begun], [failed], [again]], waits],
    ['and waits, written twice', [[begun, failed, again], [begun, failed], [again]], waits],
    ['and waits, told before the end of the first', [[begun], [again], [failed]], waits],
    ['and waits, told before all of the first', [[again], [begun, failed]], waits],
    ['and waits, told backwards in one batch', [[again, failed, begun]], waits],
    ['and waits, after one of the time before', [[begun, counted], [again]], waits],
    ['and ends', [[begun, failed, again, delivered]], ended],
    [
      'and ends, written one by one and twice',
      [[begun], [failed], [again], [delivered], [again], [begun, failed]],
      ended,
    ],
    ['and ends, told backwards', [[delivered], [again], [failed], [begun]], ended],
    ['and ended in the time before, told late', [[begun], [countedAgain], [again]], { estado: 'exitosa' }],
  ])('%s: the state is that of the last round', async (_, batches, expected) => {
    for (const batch of batches) await backend.write(batch)
    const { entrega } = await tables()
    expect(entrega).toMatchObject([{ ...expected, creado: new Date(begun.at) }])
  })
})

describe('a delayed message', () => {
  const sent = message({ notBefore: new Date(NOON + 60_000) })
  const first = messageEvent(sent, null, { keepBody: true })
  const second = messageEvent(sent, ['a'], { at: NOON + 60_000, keepBody: false })

  test.each([
    ['in order', [[first], [second]]],
    ['in one batch', [[first, second]]],
    ['backwards', [[second], [first]]],
    ['backwards in one batch', [[second, first]]],
  ])('gets its listeners when the delay ends: %s', async (_, batches) => {
    for (const batch of batches) await backend.write(batch)
    const { mensaje, entrega } = await tables()
    expect(mensaje).toMatchObject([{ listeners: 1, cuerpo: null }])
    expect(entrega).toMatchObject([{ estado: 'pendiente', creado: new Date(NOON + 60_000) }])
  })
})

describe('a delivery', () => {
  test('whose state came before its message keeps it, and is as old as the message', async () => {
    const sent = message()
    await backend.write([stateEvent(state(sent.id, 'a', 3, { state: 'fallida' }))])
    await backend.write([messageEvent(sent, ['a'])])
    expect(await sql`SELECT estado, intentos, creado, actualizado, version::int FROM entrega`).toMatchObject([
      { estado: 'fallida', intentos: 3, creado: new Date(NOON), actualizado: new Date(NOON + 3_000), version: 3 },
    ])
  })

  test('is not moved by an attempt whose lease was lost, and that attempt is kept', async () => {
    const sent = message()
    await backend.write([messageEvent(sent, ['a']), stateEvent(state(sent.id, 'a', 2))])
    await backend.write([attemptEvent(attempt(sent.id, 'a', { result: 'fallo' }), null)])
    const { entrega, intento } = await tables()
    expect(entrega).toMatchObject([{ estado: 'exitosa', version: '2' }])
    expect(intento).toMatchObject([{ resultado: 'fallo' }])
  })

  test('takes the place of the row that stood for it while its worker was given up', async () => {
    const { id } = message()
    const lost = attempt(id, 'a', { id: `${id}~a~1`, error: 'sin_resultado', worker: '' })
    const told = attempt(id, 'a')
    await backend.write([attemptEvent(lost, null)])
    await backend.write([{ ...attemptEvent(told, null), replaces: lost.id }])
    expect(await sql`SELECT id, error FROM intento`).toMatchObject([{ id: told.id, error: null }])
  })

  test('of one project is not another project’s', async () => {
    const other = createPostgresBackend(config, { ...SCOPE, proyecto: 'otro' })
    await backend.write([messageEvent(message({ id: 'mismo' }), ['a']), stateEvent(state('mismo', 'a', 1))])
    await other.write([messageEvent(message({ id: 'mismo' }), ['a'])])
    await other.close()
    expect(await sql`SELECT proyecto, estado FROM entrega ORDER BY proyecto`).toMatchObject([
      { proyecto: 'otro', estado: 'pendiente' },
      { proyecto: 'resthooks', estado: 'exitosa' },
    ])
    expect((await tables()).mensaje).toHaveLength(2)
  })
})

test('any order, any repetition and any cut into batches leave the same tables', async () => {
  const named = { event: 'proveedor.alta' }
  const [one, two] = [message({ id: 'uno' }), message({ id: 'dos', notBefore: new Date(NOON + 1) })]
  const events: AuditEvent[] = [
    messageEvent(one, ['a', 'b']),
    attemptEvent(attempt('uno', 'a', { ...named, id: 'i1', request: 1, status: 401, durationMs: 0 }), null),
    attemptEvent(
      attempt('uno', 'a', { ...named, id: 'i2', request: 2, result: 'reintento' }),
      state('uno', 'a', 1, { state: 'reintentando' }),
    ),
    attemptEvent(attempt('uno', 'a', { ...named, id: 'i3', number: 2 }), state('uno', 'a', 2)),
    actionEvent('acción1', 0, NOON + 900),
    stateEvent(state('uno', 'b', 1, { state: 'descartada', reason: 'a pedido', action: 'acción1' })),
    actionEvent('acción1', 1, NOON + 1_100),
    stateEvent(state('uno', 'b', 2, { state: 'pendiente', action: 'acción2' })),
    stateEvent(state('uno', 'b', 3)),
    callbackEvent('uno', 'a', 1),
    callbackEvent('uno', 'a', 2),
    messageEvent(two, null),
    messageEvent(two, ['a'], { at: NOON + 100 }),
    stateEvent(state('dos', 'a', 1)),
    // Refused for its content, and set aside however it comes.
    stateEvent(state('uno', 'c', 1, { attempts: 3e9 })),
  ]
  await backend.write(events)
  const expected = await tables()
  expect(expected.rechazada).toHaveLength(1)
  expect(expected.entrega).toMatchObject([
    { mensaje_id: 'dos', accion: null },
    { listener: 'a', accion: null },
    { listener: 'b', estado: 'exitosa', accion: 'acción2' },
  ])
  expect(expected.accion).toMatchObject([
    { id: 'acción1', fecha: new Date(NOON + 900), quien: 'ana', equipo: 'servidor1', filtro: null, cantidad: '1' },
  ])
  const counts = { enviados: '2', exitosos: '1', fallidos: '0', reintentos: '1', parte: 0 }
  expect(expected.resumen).toMatchObject([{ listener: 'a', evento: 'proveedor.alta', ...counts }])

  const disorder = fc.tuple(
    fc.shuffledSubarray(events, { minLength: events.length }),
    fc.array(fc.constantFrom(...events), { maxLength: 10 }),
    fc.integer({ min: 1, max: 22 }),
  )
  await fc.assert(
    fc.asyncProperty(disorder, async ([shuffled, repeated, size]) => {
      await truncate()
      const all = [...repeated, ...shuffled]
      for (let start = 0; start < all.length; start += size) await backend.write(all.slice(start, start + size))
      expect(await tables()).toEqual(expected)
    }),
    { numRuns: 40 },
  )
})

describe('a row that the database refuses', () => {
  const good = () => messageEvent(message(), ['a'])

  test.each([
    ['a number out of range', '22003', stateEvent(state('malo', 'a', 1, { attempts: 3e9 }))],
    ['a date beyond the calendar', '22008', stateEvent(state('malo', 'a', 1, { nextAttemptAt: 8.64e18 }))],
    ['a state that does not exist', '23514', stateEvent(state('malo', 'a', 1, { state: 'perdida' as never }))],
    ['a missing value', '23502', stateEvent(state('malo', 'a', 1, { attempts: null as never }))],
    ['a key too long for an index', '54000', messageEvent(message({ id: randomText(9_000) }), ['a'])],
  ])('%s is set aside and the rest is written', async (_, sqlstate, bad) => {
    const before = [good(), good(), good()]
    const after = [good(), good()]
    await backend.write([...before, bad, ...after])
    await backend.write([bad])
    const { mensaje, rechazada } = await tables()
    expect(mensaje.map(({ id }) => id).sort()).toEqual([...before, ...after].map(({ message }) => message.id).sort())
    expect(rechazada).toMatchObject([{ sqlstate }])
    expect(JSON.parse(rechazada[0]!.evento_json)).toMatchObject({ type: bad.type, at: bad.at })
  })

  test('is kept whole: bytes as base64, letters as escapes', async () => {
    const body = Buffer.from([0, 255, 10])
    const bad = messageEvent(message({ event: 'año\u0000😀', body, depth: 1e6 }), ['a'])
    await backend.write([bad])
    const [{ evento_json, motivo, instancia, proyecto }] = (await sql`SELECT * FROM auditoria_rechazada`) as never as [
      Record<string, string>,
    ]
    expect(evento_json).toMatch(/^[\x20-\x7e]+$/)
    expect(JSON.parse(evento_json!).message).toMatchObject({
      event: 'año\u0000😀',
      body: { base64: body.toString('base64') },
    })
    expect({ instancia, proyecto }).toEqual(SCOPE)
    expect(motivo).toMatch(/out of range/)
  })
})

/** Text that does not compress. */
function randomText(length: number): string {
  return Array.from({ length }, () => String.fromCharCode(33 + Math.floor(Math.random() * 90))).join('')
}
