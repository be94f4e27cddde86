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
  expect(run).toMatchObject({ code: 0, stderr: expect.stringMatching(/Hay más.*2.*--limite/) })
  const lines = run.stdout.trimEnd().split('\n')
  expect(lines).toHaveLength(3)
  expect(lines[0]).toMatch(/creado\s+evento\s+listener\s+estado\s+intentos\s+proximo_intento\s+motivo\s+mensaje_id/)
  expect(lines[1]).toMatch(/2026-11-17 09:00:00\.000 -03:00\s+proveedor\.alta\s+a\s+pendiente\s+0\s+tres/)
  expect(lines[2]).toContain('dos')
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
