/** What `ver` shows a person, at any width: the pure part of it. */
import { describe, expect, test } from 'vitest'
import type { MessageReport } from '../../src/checks/message-report.ts'
import { screen } from '../../src/commands/ver-screen.ts'
import { NOON } from '../audit/scenery.ts'

const attemptColumns = {
  id: 'x',
  listener: 'mapuche',
  numero: 1,
  pedido: 1,
  inicio: new Date('2026-11-26T08:30:56.998'),
  duracion_ms: 8,
  fases: { dns: 1, conexion: 1, primer_byte: 5 },
  metodo: 'POST',
  url: 'https://mapuche.example/rest/legajos',
  ip: '10.1.2.3',
  pedido_cabeceras: { 'webhook-id': 'x' },
  http_estado: 422,
  respuesta_cabeceras: { 'content-type': 'text/plain' },
  respuesta_cuerpo: Buffer.from('legajo inexistente'),
  respuesta_truncada: false,
  error: null,
  error_detalle: null,
  resultado: 'fallo',
  proximo_intento: null,
  worker: 'vm:4231:abc',
}

describe('the screen', () => {
  const at = (t: string) => new Date(`2026-11-26T${t}`)
  const attempted = (more: object) => ({ ...attemptColumns, ...more })
  const delivery = (listener: string, estado: string, intentos: number, more: object = {}) => ({
    listener,
    estado,
    intentos,
    proximo_intento: null,
    motivo: null,
    creado: at('08:30:56.800'),
    actualizado: at('08:30:57'),
    ...more,
  })
  const ID = '01M8BSYY317RCX9E4FH99V2VBT'
  const report = {
    pending: 0,
    troubles: [],
    undispatched: null,
    waiting: new Map([
      [
        'rectorado',
        {
          motivo:
            'corte abierto desde las 08:27:41: su certificado venció; próxima prueba a las 08:36:10. Delante: 3.120',
          que_hacer: 'probar rectorado',
        },
      ],
    ]),
    timeline: {
      message: {
        id: ID,
        instancia: 'produccion',
        proyecto: 'pilaga',
        evento: 'pago.emitido',
        metodo: null,
        ruta: null,
        cabeceras: {},
        tipo_contenido: 'application/json',
        cuerpo: Buffer.from(
          JSON.stringify({ id: 999, expediente: 'EXP-159996/2026', detalle: { a: 1 }, importe: 12.5, token: 'abc' }),
        ),
        clave: null,
        origen: 'siu@vm resthooks send',
        listeners: 4,
        creado: at('08:30:56.737'),
        recibido: at('08:30:56.801'),
        no_antes_de: null,
        solo_listener: null,
        profundidad: 0,
      },
      deliveries: [
        delivery('contable', 'exitosa', 1),
        delivery('kolla', 'exitosa', 1),
        delivery('mapuche', 'exitosa', 2),
        delivery('rectorado', 'pendiente', 0),
      ],
      attempts: [
        attempted({
          listener: 'contable',
          http_estado: 200,
          resultado: 'exito',
          duracion_ms: 95,
          fases: { dns: 2, conexion: 10, tls: 20, primer_byte: 50 },
          inicio: at('08:30:56.990'),
        }),
        attempted({}),
        attempted({
          listener: 'kolla',
          http_estado: 201,
          resultado: 'exito',
          duracion_ms: 31,
          fases: { primer_byte: 30 },
        }),
        attempted({
          id: 'y',
          numero: 2,
          http_estado: 200,
          resultado: 'exito',
          duracion_ms: 14,
          inicio: at('08:35:51.091'),
          fases: { dns: 1, conexion: 3, primer_byte: 10 },
        }),
      ],
      actions: [
        {
          listener: 'mapuche',
          id: 'A',
          fecha: at('08:35:47.012'),
          quien: 'root',
          equipo: 'vm',
          orden: 'resthooks reenviar --fallidas --listener mapuche',
        },
      ],
      callbacks: [
        {
          id: 'c',
          listener: 'mapuche',
          tipo: 'on_failure',
          destino: 'exec:/opt/siu/avisar.sh',
          intento: 1,
          resultado: 'exito',
          detalle: 'salida 0',
          fecha: at('08:30:57.100'),
        },
      ],
    },
  } as unknown as MessageReport

  const drawn = async (width: number) => screen(ID, report, { width, now: at('08:35:58'), all: false })

  test('at a hundred columns', async () => {
    expect((await drawn(100)).join('\n').replaceAll(/ -\d\d:\d\d/g, ' -03:00')).toMatchInlineSnapshot(`
      "Mensaje 01M8BSYY317RCX9E4FH99V2VBT · pago.emitido                             3 entregadas, 1 espera
       enviado   26/11 08:30:56.737 +00:00 por siu@vm (resthooks send)   tomado +64 ms, primer pedido por
                 vm:4231
       cuerpo    88 bytes JSON, sha256 ebecd5…6d9d   id=999   expediente=EXP-159996/2026   importe=12.5
                 token=***   (--cuerpo)
       listener     estado     intentos  último                 por qué / qué sigue
       ✔ contable   entregada         1  200 en 95 ms 08:30:56
       ✔ kolla      entregada         1  201 en 31 ms 08:30:56
       ✔ mapuche    entregada         2  200 en 14 ms 08:35:51  reenviada por root@vm 08:35:47
       … rectorado  espera            0  -                      corte abierto desde las 08:27:41: su
                                                                certificado venció; próxima prueba a las
                                                                08:36:10. Delante: 3.120 → resthooks
                                                                probar rectorado
       Historia (--todo: cabeceras y cuerpos)          0        50    100 ms
       08:30:56.990  contable  intento 1   200  95 ms  ▕░░▒▒▒▒█████████████
       08:30:56.998  mapuche   intento 1   422   8 ms  ▕░█                   «legajo inexistente» → no se
                                                                             reintenta
       08:30:56.998  kolla     intento 1   201  31 ms  ▕██████
       08:30:57.100  mapuche   on_failure  exec:/opt/siu/avisar.sh: éxito · salida 0
       08:35:47.012  mapuche   reenvío  por root@vm: «reenviar --fallidas --listener mapuche»
       08:35:51.091  mapuche   intento 2   200  14 ms  ▕░██"
    `)
  })

  test('the newest attempt took what all of its requests took', async () => {
    const timeline = {
      ...report.timeline!,
      deliveries: [delivery('kolla', 'exitosa', 2)],
      attempts: [
        attempted({ id: 'a', listener: 'kolla', inicio: at('08:30:50'), duracion_ms: 900 }),
        attempted({ id: 'b', listener: 'kolla', numero: 2, inicio: at('08:31:00'), duracion_ms: 40, http_estado: 401 }),
        attempted({ id: 'b', listener: 'kolla', numero: 2, pedido: 2, inicio: at('08:31:01'), http_estado: 200 }),
      ],
    } as unknown as MessageReport['timeline']
    const lines = await screen(ID, { ...report, timeline }, { width: 100, now: at('08:35:58'), all: false })
    expect(lines.find((line) => line.includes('✔ kolla'))).toContain('200 en 48 ms 08:31:01')
  })

  test.each([60, 80, 200])('at %i columns no line is longer, and nothing is missing', async (width) => {
    const lines = await drawn(width)
    expect(lines.filter((line) => line.length > width)).toEqual([])
    // What only one of them has room for: a heading, the ruler.
    const words = (text: readonly string[]) => {
      const found = text
        .join(' ')
        .replace('por qué / qué sigue', '')
        .match(/[\w.:…«»✔✘]+/g)!
      return found.filter((word) => !/^(50|100|ms|0)$/.test(word)).sort()
    }
    expect(words(lines)).toEqual(words(await drawn(400)))
  })
})

test('a name, an event and an address of any length: no line of a narrow screen is longer than it', async () => {
  const long = 'x'.repeat(90)
  const attempt = {
    ...attemptColumns,
    listener: long,
    error: 'timeout',
    error_detalle: long,
    http_estado: null,
    url: `https://${long}/`,
  }
  const timeline = {
    message: null,
    deliveries: [
      {
        listener: long,
        estado: 'reintentando',
        intentos: 3,
        proximo_intento: new Date(NOON),
        motivo: long,
        creado: new Date(NOON),
        actualizado: new Date(NOON),
      },
    ],
    attempts: [attempt],
    callbacks: [
      {
        id: 'c',
        listener: long,
        tipo: 'on_failure',
        destino: long,
        intento: 1,
        resultado: 'exito',
        detalle: long,
        fecha: new Date(NOON),
      },
    ],
    actions: [
      {
        listener: long,
        id: 'A',
        fecha: new Date(NOON),
        quien: long,
        equipo: long,
        orden: `resthooks reenviar ${long}`,
      },
    ],
  }
  const report = {
    pending: 0,
    troubles: [],
    undispatched: null,
    waiting: new Map(),
    timeline,
  } as unknown as MessageReport
  const lines = await screen('M', report, { width: 60, now: new Date(NOON), all: false })
  expect(lines.filter((line) => line.length > 60)).toEqual([])
  expect(lines.join('').split('x').length - 1).toBeGreaterThanOrEqual(90 * 7)
})
