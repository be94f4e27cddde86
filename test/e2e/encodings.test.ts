/** SIU's databases are often LATIN1 or SQL_ASCII: what the encoding cannot hold is escaped, never refused. */
import { describe } from 'vitest'
import type { ReceivedRequest } from '../support/listener.ts'
import { until } from '../support/until.ts'
import { expect, worldTest } from '../support/world.ts'

// Each has a database of its own and waits more than it works: they do it together.
describe.concurrent.each(['UTF8', 'LATIN1', 'SQL_ASCII'] as const)('on a database encoded %s', (encoding) => {
  const test = worldTest(encoding)

  test('a message, a header and an answer beyond Latin-1 are delivered whole and audited', async ({ world }) => {
    const listener = await world.listener(() => ({ status: 422, body: 'No se acepta: Ω 日本 😀' }))
    const body = '{"razón":"Ñandú — €100 日本 😀"}'
    const id = await world.send('proveedor.alta', body, ['--cabecera', 'X-Nota: a?b', '--clave', 'clave-€-😀'])
    await world.settled(id)
    expect(listener.requests[0]!.body.toString()).toBe(body)

    const [message] = await world.sql`SELECT * FROM ${world.sql(world.schema)}.mensaje WHERE id = ${id}`
    expect(message!.cuerpo.toString()).toBe(body)
    expect(await world.audit(id)).toMatchObject([
      { estado: 'fallida', intentos: [{ http_estado: 422, respuesta_cuerpo: Buffer.from('No se acepta: Ω 日本 😀') }] },
    ])
    const view = await world.cli(['ver', id])
    expect(view).toMatchObject({ code: 0 })
    expect(view.stdout).toContain('Ñandú')
    const rejected = await world.sql`SELECT * FROM ${world.sql(world.schema)}.auditoria_rechazada`
    expect(rejected).toHaveLength(0)
  })

  test('what is sent again, or recovered, is what was sent: route, event, headers in their order', async ({
    world,
  }) => {
    const settings = { nombre: 'a', eventos: 'precio.€' }
    const listener = await world.listener(() => ({ status: 422 }), settings)
    const sent = ['--ruta', 'r/“x”', '--cabecera', 'X-Zeta: 2', '--cabecera', 'X-A: 1']
    const id = await world.send('precio.€', '{"n":"€"}', sent)
    await world.settled(id)
    expect(await world.cli(['ver', id])).toMatchObject({ code: 0, stdout: expect.stringContaining('precio.€') })
    expect(await world.cli(['reenviar', id])).toMatchObject({ code: 0 })
    await listener.received(2)

    const late = await world.listener(() => ({ status: 200 }), { ...settings, nombre: 'b' })
    await until(async () => (await world.cli(['reenviar', '--faltantes', '--listener', 'b'])).stdout.includes(': 1'))
    await late.received(1)

    await world.cli(['pausar', 'a'])
    const waiting = await world.send('precio.€', '{"n":"€"}', [...sent, '--listener', 'a'])
    await until(async () => (await world.audit(waiting)).length === 1)
    await world.redis.del(`${world.keys.messagePrefix}${waiting}`, world.keys.lane('a').queue)
    expect(await world.cli(['recuperar'])).toMatchObject({ code: 0 })
    await world.cli(['reanudar', 'a'])
    await world.settled(waiting)

    const [first, ...others] = [...listener.requests, ...late.requests].map(asSent)
    expect(first).toMatchObject({ url: expect.stringContaining('%E2%80%9Cx%E2%80%9D') })
    expect(others.length).toBeGreaterThanOrEqual(3)
    for (const other of others) expect(other).toEqual(first)
  })
})

/** A request but for what each has of its own: its address, its numbers and its time. */
function asSent({ method, url, body, headers }: ReceivedRequest) {
  const own = /^(host|webhook-(id|timestamp|signature)|x-resthooks-intento|traceparent)$/
  return { method, url, body: body.toString(), headers: Object.entries(headers).filter(([name]) => !own.test(name)) }
}
