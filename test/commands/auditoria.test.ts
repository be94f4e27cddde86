/** `auditoria`: lists and follows; its filters' words. */
import { spawn } from 'node:child_process'
import { attempt, attemptEvent, message, messageEvent, NOON, state, stateEvent } from '../audit/scenery.ts'
import { BIN, cleanEnvironment } from '../support/cli.ts'
import { until } from '../support/until.ts'
import { expect, test } from '../support/world.ts'
import { writeAudit } from './audit-world.ts'

const day = (n: number) => NOON + n * 86_400_000

test('is a table with the newest first, and says when there is more', async ({ world }) => {
  await writeAudit(
    world,
    ['uno', 'dos', 'tres'].flatMap((id, n) => [
      messageEvent(message({ id }), ['a'], { at: day(n), receivedAt: day(n) }),
    ]),
  )
  const run = await world.cli(['auditoria', '--limite', '2'])
  expect(run).toMatchObject({ code: 0, stderr: expect.stringMatching(/Hay más.*2/) })
  const lines = run.stdout.trimEnd().split('\n')
  expect(lines).toHaveLength(3)
  expect(lines[0]).toMatch(/creado\s+evento\s+listener\s+estado\s+intentos\s+proximo_intento\s+motivo\s+mensaje_id/)
  expect(lines[1]).toMatch(/2026-11-17 09:00:00\.000 -03:00\s+proveedor\.alta\s+a\s+pendiente\s+0\s+tres/)
  expect(lines[2]).toContain('dos')
  // The command of the next page, as it is shown.
  const [, words = ''] = /^ {2}resthooks (.*)$/m.exec(run.stderr) ?? []
  const next = await world.cli(words.split(' '))
  expect(next).toMatchObject({ code: 0, stderr: '' })
  expect(next.stdout).toContain('uno')
  expect(next.stdout).not.toContain('dos')
  expect(await world.cli([...words.split(' '), '--orden', 'viejas'])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('otro orden'),
  })
})

test('is searched, counted and exported; a name that nobody knows is wrong usage', async ({ world }) => {
  const now = Date.now()
  const sent = (id: string, body: string, at: number, key: string | null = null) =>
    messageEvent(message({ id, body: Buffer.from(body), key }), ['a', 'b'], { at, receivedAt: at })
  await world.set('listener a', { url: 'http://127.0.0.1:1' })
  await writeAudit(world, [
    sent('m1', '{"p":"Ñandú"}', now - 3_000_000, '=K-1'),
    sent('m2', '{"p":"\\u00f1and\\u00fa\\/7"}', now - 2_000_000),
    sent('m3', '{"p":"avestruz"}', now - 1_000_000, 'K-3'),
    sent('m4', '{"p":"ñandú"}', now - 48 * 3_600_000),
    messageEvent(message({ id: 'm5', event: 'pago.emitido', body: Buffer.from('ñandú') }), [], {
      at: now,
      receivedAt: now,
    }),
    attemptEvent(
      attempt('m3', 'b', { startedAt: now - 900_000, status: 503, result: 'fallo' }),
      state('m3', 'b', 1, { state: 'fallida', attempts: 1, reason: '=HYPERLINK("http://x";"y")' }),
    ),
  ])
  const run = async (...args: string[]) => {
    const { code, stdout, stderr } = await world.cli(['auditoria', ...args])
    return { code, stdout, stderr, ids: [...stdout.matchAll(/"mensaje_id": ?"(m\d)"/g)].map(([, id]) => id) }
  }
  const found = await run('--buscar', 'ñandÚ', '--json', '--listener', 'a')
  expect(found.ids).toEqual(['m2', 'm1'])
  expect(found.stderr).toMatch(
    /^Se busca «ñandÚ» en el cuerpo, la clave y el id de los mensajes recibidos desde .* hasta .*\.\n$/,
  )
  expect(
    (await run('--buscar', 'ñandú', '--desde', '7d', '--orden', 'viejas', '--json', '--listener', 'a')).ids,
  ).toEqual([...['m4', 'm1', 'm2']])
  expect((await run('--buscar', 'ú/7', '--formato', 'jsonl', '--listener', 'b')).ids).toEqual(['m2'])
  expect((await run('--buscar', 'k-3', '--json', '--listener', 'b')).ids).toEqual(['m3'])
  expect((await run('--buscar', 'ñandú', '--sin-listener', '--json')).ids).toEqual(['m5'])
  expect((await run('--clave', '=K-1', '--json', '--listener', 'a')).ids).toEqual(['m1'])
  expect((await run('--intentado-desde', '20m', '--json')).ids).toEqual(['m3'])
  expect((await run('--intentado-hasta', '20m', '--json')).ids).toEqual([])

  expect(JSON.parse((await run('--contar', 'listener', '--json')).stdout)).toMatchObject([
    { listener: 'a', entregas: 4, en_espera: 4, fallidas: 0 },
    { listener: 'b', entregas: 4, en_espera: 3, fallidas: 1 },
  ])
  expect(JSON.parse((await run('--contar', 'error', '--json')).stdout)).toMatchObject([
    { error: 'HTTP 503', intentos: 1 },
  ])
  const csv = await run('--formato', 'csv', '--estado', 'fallida')
  expect(csv.stdout).toMatch(
    /^\ufeffcreado;evento;listener;estado;intentos;proximo_intento;motivo;por;mensaje_id\r\n[\d-]+ [\d:]+,\d{3};proveedor\.alta;b;fallida;1;;"'=HYPERLINK\(""http:\/\/x"";""y""\)";;m3\r\n$/,
  )
  for (const [args, words] of [
    [['--listener', 'aa'], /--listener: «aa».*¿Quiso decir «a»\?/],
    [['--evento', 'provedor.alta'], /--evento: .*«provedor\.alta».*¿Quiso decir «proveedor\.alta»\?/],
    [['--evento', 'pago.*'], /resthooks auditoria --sin-listener --evento 'pago\.\*'/],
    [['--estado', 'falida'], /¿Quiso decir «fallida»\?/],
    [['--despues-de', 'x'], /--despues-de/],
  ] as const) {
    expect(await run(...args)).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(words) })
  }
  // Not configured any more, and still in the audit.
  expect((await run('--listener', 'b', '--evento', '*.alta', '--json')).ids).toHaveLength(4)
})

test('what is counted has its thousands apart for a person, and for no program', async ({ world }) => {
  const at = Date.now()
  await world.set('listener a', { url: 'http://127.0.0.1:1' })
  await writeAudit(
    world,
    Array.from({ length: 1001 }, (_, n) => messageEvent(message({ id: `n${n}` }), ['a'], { at, receivedAt: at })),
  )
  const counted = async (...args: string[]) => (await world.cli(['auditoria', '--contar', 'listener', ...args])).stdout
  expect(await counted()).toMatch(/^ ?a\s+1\.001\s+0\s+1\.001\s/m)
  expect(await counted('--formato', 'csv')).toContain('a;1001;0;1001;')
  expect(JSON.parse(await counted('--json'))).toMatchObject([{ listener: 'a', entregas: 1001 }])
})

test('nothing found is said on stderr; as JSON it is an empty list', async ({ world }) => {
  await world.createSchema()
  expect(await world.cli(['auditoria'])).toMatchObject({
    code: 0,
    stdout: '',
    stderr: expect.stringContaining('No hay'),
  })
  expect(await world.cli(['auditoria', '--json'])).toMatchObject({ code: 0, stdout: '[]\n', stderr: '' })
})

test('dates are local, a day given to --hasta is included, states may be several', async ({ world }) => {
  await writeAudit(
    world,
    [1, 2, 3].flatMap((n) => {
      const id = `d${n}`
      return [
        messageEvent(message({ id }), ['a'], { at: day(n), receivedAt: day(n) }),
        stateEvent(state(id, 'a', 1, { state: n === 1 ? 'fallida' : n === 2 ? 'descartada' : 'exitosa' }), day(n)),
      ]
    }),
  )
  const ids = async (...filters: string[]) => {
    const run = await world.cli(['auditoria', '--json', ...filters])
    // The instants that it understood are told, and nothing else.
    expect(run.stderr).toMatch(
      filters.includes('--desde') ? /^Desde 2026-11-17 [\d:.]+ -03:00(, hasta .* -03:00)?\.\n$/ : /^$/,
    )
    expect(run.code).toBe(0)
    return JSON.parse(run.stdout).map((row: { mensaje_id: string }) => row.mensaje_id)
  }
  expect(await ids('--desde', '2026-11-17', '--hasta', '2026-11-17')).toEqual(['d2'])
  expect(await ids('--desde', '2026-11-17 09:00', '--hasta', '2026-11-18T12:00:00Z')).toEqual(['d2'])
  expect(await ids('--desde', '17/11/2026', '--hasta', '17/11/2026 09:00:01')).toEqual(['d2'])
  expect(await ids('--desde', '2026-11-17 09:00:00.001')).toEqual(['d3'])
  expect(await ids('--estado', 'fallida, descartada')).toEqual(['d2', 'd1'])
})

test.each([
  [['--estado', 'rota'], /--estado: «rota».*pendiente.*descartada/],
  [['--desde', 'anteayer'], /--desde: «anteayer».*2h.*2026-11-24/],
  [['--desde', '2099'], /--desde: «2099».*hoy, ayer/],
  [['--desde', '9999999d'], /--desde: «9999999d» queda fuera de los años/],
  [['--desde', '2026-02-30'], /--desde: «2026-02-30»/],
  [['--hasta', '5'], /--hasta: «5»/],
  [['--limite', '0'], /--limite: «0»/],
  [['--limite', '1e3'], /--limite: «1e3»/],
  [['--sin-listener', '--seguir'], /no son entregas/],
  [['--sin-listener', '--listener', 'a'], /no son entregas/],
  [['--contar', 'color'], /--contar/],
  [['--contar', 'hora', '--limite', '2'], /--contar no se combina/],
  [['--contar', 'error', '--buscar', 'x'], /--contar error cuenta intentos/],
  [['--json', '--formato', 'csv'], /no ambos/],
  [['--seguir', '--orden', 'viejas'], /--seguir no se combina/],
  [['--buscar', ' '], /--buscar: indique/],
  [['--desde', '1h', '--hasta', '2h'], /no es anterior a --hasta/],
])('%j is wrong usage', async (args, words) => {
  const { runCli } = await import('../support/cli.ts')
  expect(await runCli(['auditoria', ...args])).toMatchObject({
    code: 2,
    stdout: '',
    stderr: expect.stringMatching(words),
  })
})

test('--seguir shows the last ones, then what changes, and ends at Ctrl+C', async ({ world }) => {
  await writeAudit(world, [messageEvent(message({ id: 'antes' }), ['a'])])
  const child = spawn(process.execPath, [BIN, 'auditoria', '--seguir', '--json'], {
    env: cleanEnvironment(world.environment),
    cwd: world.folder,
  })
  let out = ''
  let err = ''
  child.stdout.on('data', (chunk) => {
    out += chunk
  })
  child.stderr.on('data', (chunk) => {
    err += chunk
  })
  const ended = new Promise((resolve) => child.once('close', (code, signal) => resolve(signal ?? code)))
  try {
    await until(() => out.includes('antes'), { what: 'what was there before' })
    const now = Date.now()
    const made = attempt('nuevo', 'a', { startedAt: now })
    await writeAudit(world, [
      messageEvent(message({ id: 'nuevo' }), ['a'], { at: now, receivedAt: now }),
      attemptEvent(made, state('nuevo', 'a', 1, { state: 'reintentando' })),
    ])
    await until(() => out.includes('nuevo'), { what: 'the change' })
  } finally {
    child.kill('SIGINT')
  }
  expect(await ended).toSatisfy((end) => end === 'SIGINT' || end === 130)
  expect(err).toBe('')
  const rows = out
    .trimEnd()
    .split('\n')
    .map((each) => JSON.parse(each))
  expect(rows).toMatchObject([
    { mensaje_id: 'antes', estado: 'pendiente' },
    { mensaje_id: 'nuevo', estado: 'reintentando', evento: 'proveedor.alta' },
  ])
})

test('what workers delivered is listed, and the filters choose among it', async ({ world }) => {
  await world.listener(() => ({ status: 200 }), { nombre: 'bien' })
  await world.listener(() => ({ status: 422 }), { nombre: 'mal', eventos: 'compra.*' })
  const [purchase, supplier] = [await world.send('compra.alta', { n: 1 }), await world.send('proveedor.alta', { n: 2 })]
  await world.settled(purchase)
  await world.settled(supplier)

  const rows = async (...filters: string[]) => {
    const run = await world.cli(['auditoria', '--json', ...filters])
    expect(run.code).toBe(0)
    return JSON.parse(run.stdout) as Record<string, unknown>[]
  }
  expect(await rows()).toHaveLength(3)
  expect(await rows('--evento', 'proveedor.*')).toMatchObject([
    { mensaje_id: supplier, listener: 'bien', estado: 'exitosa' },
  ])
  expect(await rows('--estado', 'fallida')).toMatchObject([{ mensaje_id: purchase, listener: 'mal', intentos: 1 }])
  expect(await rows('--listener', 'bien')).toHaveLength(2)
  expect(await rows('--mensaje', purchase)).toHaveLength(2)
  expect(await rows('--limite', '1')).toHaveLength(1)
  expect(await rows('--desde', '1h')).toHaveLength(3)
  expect(await rows('--hasta', '1h')).toHaveLength(0)

  const plain = await world.cli(['auditoria', '--estado', 'fallida'])
  expect(plain).toMatchObject({ code: 0, stderr: '' })
  expect(plain.stdout).toContain(purchase)
  expect(plain.stdout).not.toContain(supplier)
})

test('reading a project that has no schema yet is explained', async ({ world }) => {
  const run = await world.cli(['auditoria'])
  expect(run.code).toBe(3)
  expect(run.stderr).toContain('crear-base')
})
