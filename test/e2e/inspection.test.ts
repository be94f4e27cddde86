/** Seeing what happened: ver, auditoria and estado, for people and for programs. */
import { expect, test } from '../support/world.ts'

test('ver tells the whole story of a retried message', async ({ world }) => {
  await world.listener((_, n) => ({ status: n < 2 ? 503 : 200, body: n < 2 ? 'En mantenimiento' : 'listo' }), {
    nombre: 'compras',
  })
  const id = await world.send('compra.alta', { total: '12345678901234567890' })
  await world.settled(id)

  const plain = await world.cli(['ver', id])
  expect(plain).toMatchObject({ code: 0, stderr: '' })
  for (const part of [id, 'compra.alta', 'compras', '503', '200', '12345678901234567890', 'En mantenimiento']) {
    expect(plain.stdout).toContain(part)
  }
  expect(plain.stdout).not.toContain('\u001b[')

  const document = await world.cli(['ver', id, '--json'])
  expect(document).toMatchObject({ code: 0, stderr: '' })
  const text = JSON.stringify(JSON.parse(document.stdout))
  for (const part of [
    '"http_estado":503',
    '"http_estado":200',
    '"resultado":"reintento"',
    '"estado":"exitosa"',
    '"numero":2',
  ]) {
    expect(text).toContain(part)
  }
})

test('auditoria lists the deliveries, and its filters choose among them', async ({ world }) => {
  await world.listener(() => ({ status: 200 }), { nombre: 'bien' })
  await world.listener(() => ({ status: 422 }), { nombre: 'mal', eventos: 'compra.*' })
  const [purchase, supplier] = [await world.send('compra.alta', { n: 1 }), await world.send('proveedor.alta', { n: 2 })]
  await world.settled(purchase)
  await world.settled(supplier)

  const rows = async (...filters: string[]) => {
    const run = await world.cli(['auditoria', '--json', ...filters])
    expect(run).toMatchObject({ code: 0, stderr: '' })
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

test('estado counts what waits, what is retried and what failed, and names the workers alive', async ({ world }) => {
  await world.listener(() => ({ status: 503 }), { nombre: 'caido', eventos: 'a' })
  await world.listener(() => ({ status: 422 }), { nombre: 'terco', eventos: 'b' })
  const listener = await world.listener(() => 'silence', { nombre: 'lento', eventos: 'c' })
  await world.set('reintentos', { esperas: '1h' })
  await world.settled(await world.send('b', {}))
  await world.send('a', {})
  await world.send('c', {})
  await listener.received(1)

  const run = await world.cli(['estado', '--json'])
  expect(run).toMatchObject({ code: 0, stderr: '' })
  const text = JSON.stringify(JSON.parse(run.stdout))
  for (const name of ['caido', 'terco', 'lento']) expect(text).toContain(`"${name}"`)
  const plain = await world.cli(['estado'])
  expect(plain).toMatchObject({ code: 0, stderr: '' })
  for (const name of ['caido', 'terco', 'lento']) expect(plain.stdout).toContain(name)
})

test('reading a project that has no schema yet is explained', async ({ world }) => {
  const run = await world.cli(['auditoria'])
  expect(run.code).toBe(3)
  expect(run.stderr).toContain('crear-base')
})
