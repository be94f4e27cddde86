/** Changing the configuration under a running worker: nothing is dropped, and a broken file changes nothing. */
import { appendFile, readFile, writeFile } from 'node:fs/promises'
import { closedGate } from '../support/gate.ts'
import { until } from '../support/until.ts'
import { expect, test } from '../support/world.ts'

test('resthooks_activo = 0 stops running workers from taking messages, and 1 lets them go on', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 200 }))
  const worker = await world.worker()
  await world.settled(await world.send('x', { n: 1 }))

  await world.set('', { resthooks_activo: 0 })
  await worker.logged(/recarg/i)
  await world.push({ id: 'espera', evento: 'x', datos: { n: 2 } })
  await new Promise((resolve) => setTimeout(resolve, 700))
  expect(listener.requests).toHaveLength(1)
  expect(worker.child.exitCode).toBeNull()

  await world.set('', { resthooks_activo: 1 })
  await world.settled('espera')
  expect(listener.requests).toHaveLength(2)
})

test('a changed file is obeyed without a restart', async ({ world }) => {
  const before = await world.listener(() => ({ status: 200 }), { nombre: 'antes' })
  await world.worker()
  await world.settled(await world.send('x', { n: 1 }))

  const added = await world.listener(() => ({ status: 200 }), { nombre: 'agregado' })
  await world.set('listener antes', { activo: 0 })
  await until(async () => {
    await world.settled(await world.send('x', { n: 2 }))
    return added.requests.length > 0
  })
  const count = before.requests.length
  await world.settled(await world.send('x', { n: 3 }))
  expect(before.requests).toHaveLength(count)
})

test('SIGHUP reloads at once, and a request in the middle is finished', async ({ world }) => {
  const gate = closedGate()
  const slow = await world.listener(() => gate.opened.then(() => ({ status: 200 })), {
    nombre: 'lento',
    eventos: 'lento',
  })
  const worker = await world.worker()
  const inTheMiddle = await world.send('lento', {})
  await slow.received(1)
  const added = await world.listener(() => ({ status: 200 }), { nombre: 'nuevo', eventos: 'nuevo' })
  worker.kill('SIGHUP')
  await worker.logged(/recarg/i)
  await world.settled(await world.send('nuevo', {}))
  expect(added.requests).toHaveLength(1)
  gate.open()
  await world.settled(inTheMiddle)
  expect(slow.requests).toHaveLength(1)
})

test('a file with errors is reported and the old one stays in force', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 200 }))
  const worker = await world.worker()
  await world.settled(await world.send('x', { n: 1 }))

  const good = await readFile(world.ini, 'utf8')
  await appendFile(world.ini, '\n[listener roto]\nurll = http://127.0.0.1:1\n')
  worker.kill('SIGHUP')
  await worker.logged('urll')
  await world.push({ id: 'sigue', evento: 'x', datos: {} })
  await world.settled('sigue')
  expect(listener.requests).toHaveLength(2)

  await writeFile(world.ini, good)
  worker.kill('SIGHUP')
  await world.settled(await world.send('x', { n: 3 }))
  expect(listener.requests).toHaveLength(3)
})
