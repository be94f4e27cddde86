/** `entradas`: what was set aside is seen, exported, put back and deleted. */
import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { until } from '../support/until.ts'
import { expect, test } from '../support/world.ts'

test('what lies aside, of every kind, is dealt with', async ({ world }) => {
  const script = join(world.folder, 'avisar.sh')
  await writeFile(script, '#!/bin/sh\nexit 3\n')
  await chmod(script, 0o755)
  const listener = await world.listener(() => ({ status: 422 }), { nombre: 'niega', on_failure: `exec:${script}` })
  const [id, late] = [
    await world.send('compra.alta', { n: 1 }),
    await world.send('compra.alta', { n: 2 }, ['--demora', '1h']),
  ]
  await world.push('{"evento": ñ')
  await world.push({ v: 9, evento: 'compra.alta' })
  await world.worker()
  await world.redis.xadd(world.keys.audit, '*', 'z', '12 {"v":7}')
  const run = async (...args: string[]) => {
    const { code, stdout, stderr } = await world.cli(['entradas', ...args])
    return {
      code,
      stdout,
      stderr,
      rows: stdout.startsWith('[') ? (JSON.parse(stdout) as Record<string, string>[]) : [],
    }
  }
  const counts = async () => (await run('--json')).rows.map(({ tipo, cantidad }) => [tipo, cantidad])
  await until(
    async () => (await counts()).every(([tipo, cantidad]) => Number(cantidad) === (tipo === 'invalidas' ? 2 : 1)),
    {
      what: 'everything aside',
    },
  )

  const plain = await run()
  expect(plain).toMatchObject({ code: 0, stderr: 'Cuáles son: resthooks entradas --tipo invalidas\n' })
  expect(plain.stdout).toMatch(/callbacks +1 +on_success y on_failure abandonados/)
  const list = async (tipo: string) => (await run('--tipo', tipo, '--json')).rows
  const [broken, newer] = await list('invalidas')
  expect([broken, newer]).toMatchObject([
    { motivo: expect.stringContaining('JSON') },
    { motivo: expect.stringContaining('v = 9') },
  ])
  expect(await list('demoradas')).toMatchObject([{ mensaje_id: late, id: late }])
  const [callback] = await list('callbacks')
  expect(callback).toMatchObject({ mensaje_id: id, listener: 'niega', motivo: expect.stringContaining('3') })
  const [rejected] = await list('rechazadas')
  expect(rejected).toMatchObject({ motivo: expect.stringContaining('no entiende') })

  // Whole, to the letter.
  const exported = await run('--tipo', 'invalidas', broken!.id!, '--exportar')
  expect(JSON.parse(exported.stdout)).toMatchObject({ entrada: '{"evento": ñ' })
  expect(await run('--tipo', 'invalidas', 'nadie', '--exportar')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('No están: nadie'),
  })

  // One that is still not understood comes back; deleted, it does not.
  expect(await run('--tipo', 'invalidas', newer!.id!, '--devolver')).toMatchObject({
    code: 0,
    stdout: 'Entradas devueltas: 1\n',
  })
  await until(async () => (await list('invalidas')).length === 2, { what: 'the entry aside again' })
  expect(await run('--tipo', 'invalidas', '--todas', '--borrar')).toMatchObject({
    code: 0,
    stdout: 'Entradas borradas: 2\n',
  })
  expect(await list('invalidas')).toEqual([])

  // The delay ends, and the listener gets it.
  expect(await run('--tipo', 'demoradas', late, '--devolver')).toMatchObject({ code: 0 })
  await listener.received(2)
  // The callback runs once more, counted on, and this time it works.
  await writeFile(script, '#!/bin/sh\nexit 0\n')
  expect(await run('--tipo', 'callbacks', callback!.id!, '--devolver')).toMatchObject({ code: 0 })
  await until(async () => (await world.callbacks(id)).at(-1)?.resultado === 'exito', { what: 'the callback' })
  expect((await world.callbacks(id)).map(({ intento }) => intento)).toEqual([1, 2, 3, 4])
  // What this version does not understand is refused once more.
  expect(await run('--tipo', 'rechazadas', '--todas', '--devolver')).toMatchObject({ code: 0 })
  await until(async () => (await list('rechazadas')).length === 1, { what: 'the row aside again' })
  expect(await run('--tipo', 'rechazadas', '--todas', '--borrar')).toMatchObject({ code: 0 })
  expect(await list('rechazadas')).toEqual([])

  const again = await world.send('compra.alta', { n: 3 }, ['--demora', '1h'])
  await until(async () => (await list('demoradas')).length === 1)
  expect(await run('--tipo', 'demoradas', again, '--borrar')).toMatchObject({ code: 0 })
  await until(async () => (await world.audit(again))[0]?.estado === 'descartada', { what: 'the audit of it' })
})

test.each([
  [['--borrar'], /--tipo: invalidas/],
  [['--tipo', 'invalidas', '--borrar'], /--todas/],
  [['--tipo', 'invalidas', 'x', '--todas', '--borrar'], /no ambos/],
  [['--tipo', 'invalidas', 'x', '--devolver', '--borrar'], /uno por vez/],
])('%j is wrong usage', async (args, words) => {
  const { runCli } = await import('../support/cli.ts')
  expect(await runCli(['entradas', ...args])).toMatchObject({
    code: 2,
    stdout: '',
    stderr: expect.stringMatching(words),
  })
})
