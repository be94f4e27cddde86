/** SIU's databases are often LATIN1 or SQL_ASCII: what the encoding cannot hold is escaped, never refused. */
import { describe } from 'vitest'
import { expect, worldTest } from '../support/world.ts'

describe.each(['UTF8', 'LATIN1', 'SQL_ASCII'] as const)('on a database encoded %s', (encoding) => {
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
})
