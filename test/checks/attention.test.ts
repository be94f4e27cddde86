/** The judgements of `estado`: a listener's problem, the plugin's thresholds, the screen's widths; and what Redis remembers. */
import { describe, expect } from 'vitest'
import type { Attention } from '../../src/checks/attention.ts'
import { summaryOf } from '../../src/checks/attention.ts'
import { failureRemedy, failureSentence, toBeTyped } from '../../src/checks/causes.ts'
import { healthyOf, listenerProblem, type Problem } from '../../src/checks/listener-problem.ts'
import { inTime, parseThreshold, pluginAnswer, pluginFailure } from '../../src/checks/plugin.ts'
import { mistypedPatterns, nearestPattern } from '../../src/checks/system-problems.ts'
import { screenOf } from '../../src/commands/estado-screen.ts'
import type { ListenerConfig } from '../../src/config/config.ts'
import { decimal } from '../../src/model/words.ts'
import { type Lane, readDepths } from '../../src/queue/depths.ts'
import { parsePauses, pause } from '../../src/queue/pauses.ts'
import { type Failure, parseSituations, remember } from '../../src/queue/situation.ts'
import { laneOf, test } from '../queue/scene.ts'

const NOW = new Date(2026, 10, 26, 8, 35).getTime()
const ago = (seconds: number) => NOW - seconds * 1000

const lane: Lane = {
  ...{ listener: 'compras', en_cola: 0, en_curso: 0, reintentos: 0, fallidas: 0, mas_antigua_ms: null },
  ...{ proximo_reintento: null, primer_reintento: null, pausado: 'no', pausa: null, corte: 'no', corte_hasta: null },
  situacion: null,
}
const listener = {
  name: 'compras',
  active: true,
  order: 'libre',
  rateLimit: null,
  auth: { kind: 'basic' },
} as ListenerConfig
const failure = (more: Partial<Failure>): Failure => ({
  codigo: null,
  http: null,
  detalle: null,
  cuando: ago(1),
  ...more,
})
const failing = (more: Partial<Failure>, since = 60) => ({
  ...{ exito: ago(600), error: failure(more), desde: ago(since), fallas: 5, corte: null },
})
const refused = { codigo: 'conexion', detalle: 'nadie atiende en ese puerto (connect ECONNREFUSED 127.0.0.1:9)' }

describe('a listener has one problem at most', () => {
  test.for<[string, Partial<Lane>, Partial<ListenerConfig> | null, Partial<Problem> | null]>([
    ['none', { en_cola: 3, mas_antigua_ms: 900 }, {}, null],
    ['gone from the files, with nothing left', {}, null, null],
    ['gone from the files', { reintentos: 2 }, null, { clase: 'sin_configurar', gravedad: 'atencion', esperan: 2 }],
    [
      'a run of failures',
      { en_cola: 7, situacion: failing(refused) },
      {},
      { clase: 'falla', gravedad: 'mal', causa: 'nadie atiende en el puerto', desde: new Date(ago(60)), esperan: 7 },
    ],
    ['one that has just begun', { situacion: failing(refused, 2) }, {}, null],
    ['too few', { situacion: { ...failing(refused), fallas: 2 } }, {}, null],
    [
      'that never worked',
      { situacion: { ...failing({ http: 401 }), exito: null } },
      {},
      { causa: '401: rechaza usuario o clave (nunca entregó)', que_hacer: 'corregir auth_password en resthooks.ini' },
    ],
    [
      'an open breaker tells which error, not the newest',
      {
        ...{ corte: 'abierto', corte_hasta: new Date(NOW + 9000) },
        situacion: {
          ...failing({ http: 503 }),
          corte: { desde: ago(300), error: { codigo: 'tls', http: null, detalle: 'CERT_HAS_EXPIRED' } },
        },
      },
      {},
      {
        ...{ clase: 'corte', causa: 'su certificado venció', desde: new Date(ago(300)) },
        sigue: { que: 'próxima prueba', cuando: new Date(NOW + 9000) },
      },
    ],
    [
      'one that failed for a while before its breaker opened fails since then',
      {
        corte: 'abierto',
        situacion: { ...failing({ http: 503 }, 900), corte: { desde: ago(300), error: failure({ http: 503 }) } },
      },
      {},
      { clase: 'corte', desde: new Date(ago(900)) },
    ],
    [
      'opened by a worker of the version before',
      { corte: 'abierto', corte_hasta: new Date(NOW + 9000) },
      {},
      { clase: 'corte', causa: 'falla demasiado, y su corte está abierto', desde: null },
    ],
    [
      'a rejection, until an hour after the last',
      { fallidas: 8333, situacion: failing({ http: 422 }) },
      {},
      {
        clase: 'rechaza',
        causa: '422: rechaza el contenido',
        que_hacer: 'auditoria --listener compras --estado fallida',
      },
    ],
    ['that is history', { fallidas: 9, situacion: failing({ http: 422, cuando: ago(3700) }, 4000) }, {}, null],
    [
      'strict order, with the message that holds it up',
      {
        en_cola: 5,
        primer_reintento: 'M1',
        reintentos: 1,
        proximo_reintento: new Date(NOW + 1000),
        situacion: failing({ http: 503 }),
      },
      { order: 'estricto' },
      { clase: 'estricto', causa: 'orden estricto: lo frena M1 (503: su servicio no responde)', que_hacer: 'ver M1' },
    ],
    ['no strict order', { primer_reintento: 'M1', reintentos: 1 }, {}, null],
    [
      'a pause without an end',
      { en_cola: 2, pausa: { until: null, reason: 'manual', since: new Date(ago(9)), by: 'root@vm' } },
      {},
      { clase: 'pausa', gravedad: 'atencion', causa: 'pausado por root@vm, sin fin', desde: new Date(ago(9)) },
    ],
    [
      'a pause with one passes by itself',
      { pausa: { until: new Date(NOW + 5000), reason: 'manual', since: null, by: null } },
      {},
      { gravedad: 'nota', causa: 'pausado', sigue: { que: 'se reanuda', cuando: new Date(NOW + 5000) } },
    ],
    [
      'a 410 says since when by its error',
      { pausa: { until: null, reason: '410', since: null, by: null }, situacion: failing({ http: 410 }) },
      {},
      { clase: '410', gravedad: 'mal', desde: new Date(ago(1)) },
    ],
    [
      'a limit, and when it will have caught up',
      { en_cola: 1200, mas_antigua_ms: 60_000 },
      { rateLimit: { count: 20, per: 1000 } },
      {
        clase: 'limite',
        gravedad: 'nota',
        causa: 'límite 20/s',
        sigue: { que: 'se pone al día', cuando: new Date(NOW + 63_000) },
      },
    ],
    ['a limit that hardly holds up', { en_cola: 20 }, { rateLimit: { count: 20, per: 1000 } }, null],
    ['too slow', { en_cola: 9, mas_antigua_ms: 400_000 }, {}, { clase: 'demora', desde: new Date(ago(400)) }],
  ])('%s', ([, state, settings, expected]) => {
    const problem = listenerProblem(
      { ...lane, ...state },
      settings === null ? undefined : { ...listener, ...settings },
      NOW,
    )
    if (expected === null) expect(problem).toBeNull()
    else expect(problem).toMatchObject(expected)
  })

  test('what fails often, between successes, is told with its share', () => {
    const state = { ...lane, situacion: { ...failing({ http: 500 }), desde: null } }
    expect(listenerProblem(state, listener, NOW, { errors: 0.5 })).toMatchObject({
      ...{
        clase: 'errores',
        causa: '500: falla por dentro, en el 50 % de los intentos; el último anduvo',
        desde: null,
      },
    })
    const fails = { ...lane, situacion: { ...failing({ http: 500 }), fallas: 2 } }
    expect(listenerProblem(fails, listener, NOW, { errors: 0.5 })).toMatchObject({
      ...{ clase: 'errores', causa: '500: falla por dentro, en el 50 % de los intentos', desde: new Date(ago(60)) },
    })
    expect(listenerProblem(state, listener, NOW, { errors: 0.1 })).toBeNull()
  })
})

test.for<[Partial<Failure>, string, string]>([
  [refused, 'nadie atiende en el puerto', 'probar compras'],
  [{ codigo: 'dns', detalle: 'ENOTFOUND' }, 'su nombre no existe en el DNS', 'probar compras'],
  [{ codigo: 'timeout', detalle: 'espera_total' }, 'acepta la conexión y no responde a tiempo', 'probar compras'],
  [{ codigo: 'nuevo', detalle: 'algo' }, 'falla: algo', 'probar compras'],
  [{ http: 401 }, '401: rechaza usuario o clave', 'corregir auth_password en resthooks.ini'],
  [{ http: 418 }, '418: se cuenta como falla', 'probar compras'],
  [{ http: 599 }, '599: falla por dentro', 'avisar a quien administra ese servidor'],
  [{ http: 302 }, '302: redirige, y no se sigue', 'corregir url en resthooks.ini'],
])('%o is said in one sentence', ([failed, says, helps]) => {
  expect(failureSentence(failure(failed))).toBe(says)
  expect(failureRemedy(failure(failed), listener)).toBe(helps)
})

test.for([
  ['auditoria --sin-listener', 'resthooks auditoria --sin-listener'],
  ['corregir su url; luego: reanudar x', 'corregir su url; luego: resthooks reanudar x'],
  ['iniciar-workers, o mirar su registro', 'resthooks iniciar-workers, o mirar su registro'],
  ['verificar', 'resthooks verificar'],
  ['avisar a quien administra ese servidor', 'avisar a quien administra ese servidor'],
  ['resthooks recuperar', 'resthooks recuperar'],
] as const)('of «%s» a command is shown as it is typed', ([remedy, typed]) => {
  expect(toBeTyped(remedy)).toBe(typed)
})

test('whoever waits for a retry is not up to date, though it asks for nobody', () => {
  const lanes = [lane, { ...lane, listener: 'tropero', reintentos: 1 }]
  const listeners = new Map(lanes.map(({ listener: name }) => [name, { ...listener, name }]))
  expect(healthyOf(lanes, [], { listeners })).toEqual(['compras'])
})

test.for<[string, Partial<Lane>, boolean]>([
  ['failed once, and nobody saw to it', { fallidas: 1, situacion: { ...failing({ http: 302 }), fallas: 1 } }, false],
  ['a rejection that is history', { fallidas: 9, situacion: failing({ http: 422, cuando: ago(3700) }, 4000) }, false],
  ['failed before its last success', { fallidas: 1, situacion: { ...failing({ http: 302 }), desde: null } }, true],
  ['resent or discarded', { fallidas: 0, situacion: { ...failing({ http: 302 }), fallas: 1 } }, true],
])('up to date, though it has no problem? %s', ([, more, healthy], { expect }) => {
  const failed = { ...lane, ...more }
  const listeners = new Map([['compras', listener]])
  expect(listenerProblem(failed, listener, NOW)).toBeNull()
  expect(healthyOf([failed], [], { listeners })).toEqual(healthy ? ['compras'] : [])
  const al_dia = healthyOf([failed], [], { listeners })
  const seen = { ...attention, problemas: [], al_dia, listeners: [{ ...failed, configurado: true }] }
  const text = screenOf(seen, { width: 100, all: false }).map(({ mark, text }) => mark + text)
  const line = healthy ? ' ✔ 1 al día   compras' : ' · 1 falló   compras   → auditoria --estado fallida'
  expect(text.join('\n')).toContain(line)
})

const problem = (more: Partial<Problem>): Problem => ({
  ...{ clase: 'falla', gravedad: 'mal', listener: 'compras', asunto: 'compras', causa: 'nadie atiende en el puerto' },
  ...{ desde: new Date(ago(99)), esperan: 25_010, sigue: null, que_hacer: 'probar compras' },
  ...more,
})
const attention: Attention = {
  ...{ formato: 2, version: '0.2.0', instancia: 'produccion', proyecto: 'pilaga', resthooks_activo: true },
  ...{ veredicto: 'mal', al_dia: ['archivo', 'correo', 'diaguita'], esperan: 67_535, faltan: 0, postgres: 'ok' },
  problemas: [
    problem({}),
    problem({
      listener: 'mapuche',
      asunto: 'mapuche',
      esperan: 0,
      ...{ clase: 'rechaza', que_hacer: 'auditoria --listener mapuche --estado fallida' },
    }),
    problem({
      ...{ clase: 'estricto', gravedad: 'atencion', listener: 'contable', asunto: 'contable' },
      ...{ causa: 'orden estricto: lo frena 01M8BSRGF9JQ0000000000000X', que_hacer: 'ver 01M8BSRGF9JQ0000000000000X' },
      sigue: { que: 'próximo intento', cuando: new Date(NOW + 60_000) },
    }),
    problem({ clase: 'worker_muerto', gravedad: 'nota', listener: null, asunto: 'workers', causa: 'vm:1 murió' }),
  ],
  ...{
    postgres_ms: 8,
    sin_listener: 0,
    auditoria_rechazada: 0,
    entrada: 0,
    entrada_invalida: 0,
    en_despacho: 0,
    demoradas: 0,
  },
  ...{
    auditoria_pendiente: 0,
    auditoria_atraso_ms: null,
    mas_antigua_ms: 120_000,
    claves_rotas: [],
    fecha: new Date(NOW),
  },
  ritmo: {
    minutos_5: { por_minuto: 3120, con_error: 0.029, p95_ms: 395 },
    hora: { por_minuto: 2.5, con_error: 0.5, p95_ms: 1500 },
    dia: { por_minuto: 0, con_error: null, p95_ms: null },
  },
  redis: {
    memoria: 118_000_000,
    memoria_maxima: 0,
    memoria_maquina: 25_000_000_000,
    appendfsync: 'everysec',
    aof: true,
  },
  continuidad: { kind: 'whole' },
  callbacks: lane,
  workers: [
    {
      ...{
        worker: 'vm:4231:a',
        nombre: 'vm:4231',
        host: 'vm',
        pid: 4231,
        version: '0.2.0',
        en_curso: 10,
        vivo: true,
        estado: 'vivo',
      },
      ...{
        desde: new Date(ago(500)),
        visto: new Date(NOW),
        distinta: true,
        heredado: null,
        heredadas: null,
        configuracion: '93c0aa',
      },
      en_curso_por: { pilaga: 7, correo: 3 },
    },
    {
      ...{
        worker: 'vm:1:b',
        nombre: 'vm:1',
        host: 'vm',
        pid: 1,
        version: '0.2.0',
        en_curso: 57,
        vivo: false,
        estado: 'muerto',
      },
      ...{
        desde: new Date(ago(900)),
        visto: new Date(ago(300)),
        distinta: false,
        heredadas: 57,
        heredado: null,
        configuracion: 'a41faa',
      },
    },
  ],
  listeners: [
    { ...lane, listener: 'compras', en_cola: 25_010, fallidas: 4, mas_antigua_ms: 90_000, configurado: true },
  ],
}

test.for([60, 80, 100, 200])('the screen fits %i columns, and leaves nothing out', (width) => {
  const listeners = [
    ...attention.listeners,
    { ...lane, listener: 'mapuche', fallidas: 8333, configurado: true },
    { ...lane, listener: 'tropero', reintentos: 1, configurado: true },
  ]
  const lines = screenOf({ ...attention, listeners }, { width, all: true }).map(({ mark, text }) => mark + text)
  // A message's id is never broken.
  for (const line of lines) expect(line.length, line).toBeLessThanOrEqual(Math.max(width, 60))
  const text = lines.join('\n')
  for (const part of [
    'MAL',
    '25.010',
    '01M8BSRGF9JQ0000000000000X',
    'pilaga 7, correo 3',
    '93c0 ≠ !',
    '2,9 %',
    'al día',
    '1 reintenta   tropero',
  ])
    expect(text).toContain(part)
  expect(text.replace(/\s+/g, ' ')).toMatch(/murió 08:30:00, heredadas 57/)
  expect(text.match(/8\.333/g)).toHaveLength(2)
  expect(lines.length).toBeLessThan(width >= 100 ? 27 : 50)
})

test.for([60, 100, 200])('on %i columns a path that is longer than any column has a line of its own', (width) => {
  const path = `/${'datos/'.repeat(20)}resthooks.ini`
  const problemas = attention.problemas.map((each) => ({ ...each, que_hacer: `iniciar-workers --config ${path}` }))
  const lines = screenOf({ ...attention, problemas }, { width, all: false }).map(({ mark, text }) => mark + text)
  expect(lines.join('').replace(/\s+/g, '')).toContain(`iniciar-workers--config${path}`)
})

test('a few attempts in a day are not none', () => {
  const ritmo = { ...attention.ritmo!, dia: { por_minuto: 0, con_error: 1, p95_ms: 7 } }
  const lines = screenOf({ ...attention, ritmo }, { width: 100, all: false }).map(({ text }) => text)
  expect(lines.join('\n')).toMatch(/1 día +<0,1 +100 % +7 ms/)
  expect(
    screenOf(attention, { width: 100, all: false })
      .map(({ text }) => text)
      .join('\n'),
  ).toMatch(/1 día +0 +- +-/)
})

test('the summary names what asks, and whether Redis and the audit agree', () => {
  expect(summaryOf(attention)).toBe(
    'MAL · 3 listeners piden atención · esperan 67.535 entregas · Redis y auditoría coinciden',
  )
  const lost = problem({ listener: null, asunto: 'Redis', clase: 'faltan' })
  expect(summaryOf({ ...attention, problemas: [lost], esperan: 0, faltan: 42_045 })).toBe(
    'MAL · Redis pide atención · no espera nada · faltan 42.045: resthooks recuperar',
  )
  expect(summaryOf({ ...attention, problemas: [], esperan: 1, veredicto: 'bien', faltan: null })).toBe(
    'BIEN · nada pide atención · espera 1 entrega · Redis y auditoría sin comparar',
  )
})

describe('thresholds are ranges as Nagios reads them', () => {
  const bien = { ...attention, veredicto: 'bien', problemas: [] } as Attention
  const none = { edad: null, fallidas: null, auditoria: null }
  // The oldest that waits is 120 s old, 4 have failed.
  test.for<[string, 'duration' | 'count', number]>([
    ['1,10', 'count', 1],
    ['1,3', 'count', 2],
    ['4,4', 'count', 0],
    ['5:', 'count', 1],
    [',5:', 'count', 2],
    ['~:3', 'count', 1],
    ['2:6', 'count', 0],
    ['@2:6', 'count', 1],
    ['0', 'count', 1],
    ['1m,5m', 'duration', 1],
    ['10s,1m30s', 'duration', 2],
    ['300,900', 'duration', 0],
  ])('%s of a %s', ([text, unit, code]) => {
    const threshold = parseThreshold(text, '--umbral', unit)
    expect(pluginAnswer(bien, { ...none, [unit === 'count' ? 'fallidas' : 'edad']: threshold }).code).toBe(code)
  })

  test.for(['', 'x', '5:1', '1,2,3', '1:2:3', ':'])('«%s» is none', (text) => {
    if (text === '' || text === ':') expect(parseThreshold(text, '--umbral', 'count')).toBeDefined()
    else expect(() => parseThreshold(text, '--umbral', 'count')).toThrow(/--umbral: .*no es un umbral/)
  })

  test('one line, whose figures come after the only bar', () => {
    const thresholds = {
      ...{ edad: parseThreshold('5m,15m', '', 'duration'), fallidas: parseThreshold('1,10', '', 'count') },
      auditoria: parseThreshold('10m,1h', '', 'duration'),
    }
    const { code, line } = pluginAnswer({ ...attention, problemas: [problem({ causa: 'a|b\nc' })] }, thresholds)
    expect(code).toBe(2)
    expect(line).toBe(
      'RESTHOOKS CRITICAL - fallidas sin atender: 4; compras: a/b c (desde 08:33:21, esperan 25.010) | esperan=67535;;;0 ' +
        'edad=120s;300;900;0 fallidas=4;1;10;0 auditoria=0s;600;3600;0 auditoria_filas=0;;;0 faltan=0;;;0 problemas=1;;;0 ' +
        'workers=1;;;0 redis_memoria=118000000B;;;0',
    )
    expect(pluginAnswer(bien, none)).toMatchObject({
      code: 0,
      line: expect.stringMatching(/^RESTHOOKS OK - 3 listeners al día \|/),
    })
    expect(pluginFailure(2, 'Redis no responde')).toEqual({ code: 2, line: 'RESTHOOKS CRITICAL - Redis no responde' })
  })
})

test.for<[number, number, string]>([
  [0, 0, '0'],
  [999, 0, '999'],
  [1000, 0, '1.000'],
  [67_535, 0, '67.535'],
  [1_234_567.891, 1, '1.234.567,9'],
  [2.95, 1, '3'],
  [0.04, 1, '0'],
  [-0.04, 1, '0'],
  [-1234.5, 1, '-1.234,5'],
])('%f with %i digits is %s, as Intl writes it', ([value, digits, text]) => {
  expect(decimal(value, digits)).toBe(text)
})

test('a subscription that no message fits, but for a letter, is noticed', () => {
  const listeners = new Map(
    [
      ['guarani', ['pagos.emitido', 'alumno.*']],
      ['compras', ['pago.*', 'provedores.*']],
      ['ajeno', ['otra.cosa']],
    ].map(([name, events]) => [name, { name, active: true, events }]),
  ) as never
  const events = ['pago.emitido', 'alumno.alta', 'proveedores.alta']
  expect(mistypedPatterns(events, { listeners })).toEqual([
    { listener: 'guarani', pattern: 'pagos.emitido', event: 'pago.emitido' },
    { listener: 'compras', pattern: 'provedores.*', event: 'proveedores.*' },
  ])
  expect(nearestPattern('pagos.emitidos', { listeners })).toEqual({ listener: 'guarani', pattern: 'pagos.emitido' })
})

test('a pause of the version before is read, and the version before reads ours', async ({ queue }) => {
  const held = parsePauses({ a: '0 manual', b: '1234 410', c: 'hasta-el-jueves', d: '0 manual {roto' })
  expect(held.get('a')).toEqual({ until: null, reason: 'manual', since: null, by: null })
  expect(held.get('b')).toMatchObject({ until: new Date(1234), reason: '410' })
  expect(held.get('c')).toMatchObject({ until: null, reason: 'hasta-el-jueves' })
  expect(held.get('d')).toMatchObject({ until: null, reason: 'manual', by: null })
  await pause(queue, ['x'], new Date(NOW), undefined, { user: 'ana', host: 'vm' })
  const [until, reason] = (await queue.redis.hget(queue.keys.paused, 'x'))!.split(' ')
  expect([until, reason]).toEqual([String(NOW), 'manual'])
  const [pausa] = [...parsePauses(await queue.redis.hgetall(queue.keys.paused)).values()]
  expect(pausa).toMatchObject({ by: 'ana@vm', since: expect.any(Date) })
})

test('what several workers saw of a listener becomes one run of failures', async ({ queue }) => {
  const known = async () => parseSituations(await queue.redis.hgetall(queue.keys.situation)).get('a')
  const tell = (sighting: object) => remember(queue, new Map([['a', sighting]]))
  await tell({ error: failure({ http: 503, cuando: 100 }), desde: 100, fallas: 1 })
  await tell({ error: failure({ http: 500, cuando: 130 }), desde: 120, fallas: 2 })
  expect(await known()).toMatchObject({ exito: null, error: { http: 500 }, desde: 100, fallas: 3 })
  // An older failure that another worker tells late is not the newest.
  await tell({ error: failure({ http: 404, cuando: 90 }), desde: 90, fallas: 1 })
  expect(await known()).toMatchObject({ error: { http: 500 }, desde: 90 })
  await tell({ exito: 200, fallas: 0 })
  expect(await known()).toMatchObject({ exito: 200, error: { http: 500 }, desde: null, fallas: 0 })
  // Of a worker whose own run is older than another's success, what came after that counts.
  await tell({ error: failure({ http: 503, cuando: 250 }), desde: 120, fallas: 4 })
  expect(await known()).toMatchObject({ exito: 200, desde: 250 })
  await tell({ corte: { desde: 260, error: { codigo: 'tls', http: null, detalle: null } } })
  expect(await known()).toMatchObject({ corte: { desde: 260, error: { codigo: 'tls' } } })
  await tell({ corte: false })
  expect((await known())?.corte).toBeNull()
  await queue.redis.hset(queue.keys.situation, 'a', '{"v":2,"otra":"cosa"}')
  await tell({ exito: 900 })
  expect(await queue.redis.hget(queue.keys.situation, 'a')).toBe('{"v":2,"otra":"cosa"}')
  expect(await known()).toBeUndefined()
})

test('thousands of listeners are surveyed without a command for each, and a key of another type is told beside the rest', async ({
  queue,
}) => {
  const names = Array.from({ length: 1000 }, (_, n) => laneOf(`l${n}`).name)
  await queue.redis.rpush(queue.lane('l7').queue, '01M8BSYY317RCX9E4FH99V2VBT')
  await queue.redis.zadd(queue.lane('l8').retries, 1234, 'M')
  await queue.redis.set(queue.lane('l9').queue, 'no es una lista')
  await queue.redis.sadd(queue.keys.listeners, 'ido')
  const depths = await readDepths(queue, names)
  expect(depths.listeners).toHaveLength(1001)
  const of = (name: string) => depths.listeners.find(({ listener }) => listener === name)
  expect(of('l7')).toMatchObject({ en_cola: 1, mas_antigua_ms: expect.any(Number) })
  expect(of('l8')).toMatchObject({ reintentos: 1, primer_reintento: 'M', proximo_reintento: new Date(1234) })
  expect(of('l9')).toMatchObject({ en_cola: 0 })
  expect(depths.claves_rotas).toMatchObject([{ listener: 'l9', tipo: 'string', debe_ser: 'list' }])
})

test('a plugin answers before monitoring gives it up, whatever hangs', async () => {
  await expect(inTime(new Promise(() => {}), 20)).rejects.toThrow(/Redis no respondió/)
  expect(await inTime(Promise.resolve(7), 20)).toBe(7)
})
