/** Questions at a terminal: leaving one is no failure of the program, and nothing is done. */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe } from 'vitest'
import { peer } from '../support/programs.ts'
import { converse } from '../support/terminal.ts'
import { expect, test, type World } from '../support/world.ts'

const CTRL_C = '\x03'
const CTRL_D = '\x04'

/** So many failed deliveries as `reenviar` asks about. */
async function manyFailed({ sql, schema, instancia, proyecto, createSchema }: World) {
  await createSchema()
  await sql`
    INSERT INTO ${sql(schema)}.entrega (mensaje_id, listener, instancia, proyecto, evento, estado, intentos, creado, actualizado, version)
    SELECT 'm' || n, 'roto', ${instancia}, ${proyecto}, 'compra.alta', 'fallida', 1, now(), now(), 1
      FROM generate_series(1, 1001) AS n`
}

const script = peer('script')
describe.skipIf(script.missing)(`at a terminal${script.note}`, () => {
  test.for([
    ['no\r', 1, 'No se hizo nada'],
    [CTRL_C, 130, null],
    [CTRL_D, 1, 'no se hizo nada'],
  ] as const)('reenviar, asked whether it is meant: %j', async ([keys, code, says], { world }) => {
    await world.listener(() => ({ status: 200 }), { nombre: 'roto' })
    await manyFailed(world)
    const { shown, ...end } = await converse(['reenviar', '--fallidas'], [['1.001 entregas', keys]], {
      env: world.environment,
    })
    expect(end, shown).toEqual({ code, unasked: [] })
    if (says !== null) expect(shown).toContain(says)
    expect(shown).not.toContain('error interno')
    expect(await world.sql`SELECT FROM ${world.sql(world.schema)}.accion`).toHaveLength(0)
  })

  test.for([
    ['Redis [127.0.0.1:6379]: ', CTRL_C, 130],
    ['Redis [127.0.0.1:6379]: ', CTRL_D, 1],
    ['su clave (vacía si no tiene): ', CTRL_C, 130],
    ['su clave (vacía si no tiene): ', CTRL_D, 1],
  ] as const)('iniciar, asked «%s»: %j', async ([asked, keys, code], { world }) => {
    const folder = join(world.folder, 'nueva')
    const before = asked.startsWith('Redis') ? [] : [['Redis [127.0.0.1:6379]: ', '\r'] as const]
    const { shown, ...end } = await converse(['iniciar', '--carpeta', folder], [...before, [asked, keys]], {
      env: world.environment,
    })
    expect(end, shown).toEqual({ code, unasked: [] })
    expect(shown.includes('no se hizo nada')).toBe(code === 1)
    expect(shown).not.toContain('error interno')
    await expect(stat(folder)).rejects.toThrow('ENOENT')
  })

  test('panel --clave: asked twice and not shown; Ctrl-C leaves it', async () => {
    const word = ' clave con blancos '
    const made = await converse(
      ['panel', '--clave'],
      [
        ['Clave: ', `${word}\r`],
        ['Otra vez: ', `${word}\r`],
      ],
    )
    expect(made, made.shown).toMatchObject({ code: 0, unasked: [] })
    expect(made.shown).toMatch(/clave = scrypt:/)
    expect(made.shown).not.toContain(word.trim())
    const left = await converse(['panel', '--clave'], [['Clave: ', CTRL_C]])
    expect(left, left.shown).toMatchObject({ code: 130 })
    expect(left.shown).not.toContain('resthooks:')
  })
})
