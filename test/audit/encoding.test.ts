/** Databases that are not UTF8: what they cannot hold is escaped, the rest is as it was, bytes are untouched. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AuditBackend } from '../../src/audit/backend.ts'
import { type ExactValue, exactValues, textRules } from '../../src/audit/encoding.ts'
import { migrate } from '../../src/audit/migrate.ts'
import { createPostgresBackend } from '../../src/audit/postgres.ts'
import { type AuditQueries, openAuditQueries } from '../../src/audit/queries.ts'
import {
  attempt,
  attemptEvent,
  callbackEvent,
  connect,
  createDatabase,
  message,
  messageEvent,
  NOON,
  type Sql,
  state,
} from './scenery.ts'

/** Latin-1 letters, then what only Unicode has, then what no text column takes. */
const TEXT = 'Ñandú «á» – Ω €100 日本 😀 nul:\u0000 roto:\ud83d.'
const AS_UNICODE = 'Ñandú «á» – Ω €100 日本 😀 nul:\\u{0} roto:\\u{D83D}.'
const AS_LATIN1 = 'Ñandú «á» \\u{2013} \\u{3A9} \\u{20AC}100 \\u{65E5}\\u{672C} \\u{1F600} nul:\\u{0} roto:\\u{D83D}.'
const AS_ASCII =
  '\\u{D1}and\\u{FA} \\u{AB}\\u{E1}\\u{BB} \\u{2013} \\u{3A9} \\u{20AC}100 \\u{65E5}\\u{672C} \\u{1F600} nul:\\u{0} roto:\\u{D83D}.'

describe.each([
  ['UTF8', AS_UNICODE],
  ['LATIN1', AS_LATIN1],
  ['SQL_ASCII', AS_UNICODE],
  ['LATIN2', AS_ASCII],
  ['WIN1252', AS_ASCII],
])('in a database encoded %s', (encoding, expected) => {
  const scope = { instancia: 'producción', proyecto: 'ñandú' }
  let database: Awaited<ReturnType<typeof createDatabase>>
  let backend: AuditBackend
  let reader: AuditQueries
  let sql: Sql

  beforeAll(async () => {
    database = await createDatabase(encoding)
    await migrate(database.config)
    backend = createPostgresBackend(database.config, scope)
    reader = openAuditQueries(database.config, scope)
    sql = connect(database.config)
  })
  afterAll(async () => {
    await Promise.all([backend.close(), reader.close(), sql.end({ timeout: 1 })])
    await database.drop()
  })

  test('ids, headers, errors and callbacks that do not fit are kept, escaped, and found again', async () => {
    const body = Buffer.from(TEXT)
    const sent = message({ id: `id ${TEXT}`, event: TEXT, body, headers: { [TEXT]: TEXT }, key: TEXT, origin: TEXT })
    const made = attempt(sent.id, 'señal €', {
      errorDetail: TEXT,
      responseHeaders: { 'x-nota': TEXT, 'x-notas': [TEXT, TEXT] },
      responseBody: body,
    })
    const called = callbackEvent(sent.id, 'señal €')
    await backend.write([
      messageEvent(sent, ['señal €']),
      attemptEvent(made, state(sent.id, 'señal €', 1, { reason: TEXT })),
      { ...called, callback: { ...called.callback, detail: TEXT } },
    ])

    expect(await sql`SELECT * FROM auditoria_rechazada`).toHaveLength(0)
    expect(await sql`SELECT * FROM mensaje`).toMatchObject([
      {
        id: `id ${expected}`,
        evento: expected,
        cuerpo: body,
        cabeceras: { [expected]: expected },
        clave: expected,
        origen: expected,
      },
    ])
    expect(await reader.message(sent.id)).toMatchObject({
      message: { id: sent.id, evento: TEXT, cabeceras: { [TEXT]: TEXT } },
      deliveries: [{ estado: 'exitosa', motivo: expected }],
      attempts: [
        {
          error_detalle: expected,
          respuesta_cabeceras: { 'x-nota': expected, 'x-notas': [expected, expected] },
          respuesta_cuerpo: body,
        },
      ],
      callbacks: [{ detalle: expected }],
    })
    expect((await reader.deliveries({ listener: 'señal €', messageId: sent.id }, { limit: 5 })).rows).toHaveLength(1)
    for (const search of [TEXT, `Id ${TEXT}`]) {
      const asked = { search, since: new Date(NOON - 3_600_000), until: new Date(NOON + 3_600_000) }
      expect((await reader.deliveries(asked, { limit: 5 })).rows).not.toEqual([])
    }
    for await (const found of reader.storedMessages([sent.id])) expect(found.get(sent.id)?.message).toEqual(sent)
    expect(await reader.storedDeliveries([sent.id])).toMatchObject([{ messageId: sent.id, listener: 'señal €' }])
  })

  test('what fits is kept as it is', async () => {
    const sent = message({ origin: 'plain ASCII', headers: { 'x-a': '\u0001\u001f"\\' } })
    await backend.write([messageEvent(sent, ['a'])])
    expect(await reader.message(sent.id)).toMatchObject({
      message: { origen: 'plain ASCII', cabeceras: { 'x-a': '\u0001\u001f"\\' } },
    })
    const accented = message({ origin: 'café' })
    await backend.write([messageEvent(accented, ['a'])])
    expect(await reader.message(accented.id)).toMatchObject({ message: { origen: 'café' } })
  })

  test('one event that does not fit does not change how its neighbours are written', async () => {
    const [plain, odd] = [message({ origin: 'café' }), message({ origin: '日本' })]
    await backend.write([messageEvent(plain, ['a']), messageEvent(odd, ['a'])])
    expect(await reader.message(plain.id)).toMatchObject({ message: { origen: 'café' } })
    expect(await reader.message(odd.id)).toMatchObject({ message: { origen: expect.stringMatching(/日本|u\{65E5\}/) } })
  })

  test('the views can be read, text as text and bytes as a note', async () => {
    const sent = message({ body: Buffer.from('{"ñ":"日本"}') })
    await backend.write([
      messageEvent(sent, ['a']),
      attemptEvent(attempt(sent.id, 'a', { responseBody: Buffer.from([0, 1, 255]) }), state(sent.id, 'a', 1)),
    ])
    const [row] = await sql`SELECT cuerpo, respuesta_cuerpo FROM trazabilidad WHERE mensaje_id = ${sent.id}`
    expect(row!.respuesta_cuerpo).toBe('(binario, 3 bytes)')
    if (expected === AS_UNICODE) expect(row!.cuerpo).toBe('{"ñ":"日本"}')
    else expect(row!.cuerpo).toMatch(/^\{"\\303\\261":"\\346/)
    expect(await sql`SELECT enviados FROM resumen_diario WHERE listener = 'a'`).not.toHaveLength(0)
  })
})

test('an id is escaped the same way whether its event fits or not', () => {
  const [normal, strict] = [textRules('LATIN2'), textRules('LATIN2', true)]
  expect(normal.key('señal')).toBe(strict.key('señal'))
  expect(textRules('LATIN1', true).key('señal')).toBe(textRules('LATIN1').key('señal'))
})

test('text that already looks like an escape, or like JSON, is left alone', () => {
  for (const encoding of ['UTF8', 'LATIN1', 'SQL_ASCII']) {
    expect(textRules(encoding).text('\\u{1F600} \\u00e9 "{}')).toBe('\\u{1F600} \\u00e9 "{}')
    expect(textRules(encoding).json({ a: [1, null, true, 'é'] })).toBe('{"a":[1,null,true,"é"]}')
  }
})

test.each<[string, Record<string, ExactValue>, string[]]>([
  ['LATIN1', { ruta: 'r/“x”', evento: 'año', metodo: null }, ['ruta']],
  ['UTF8', { ruta: 'r/“x”', clave: 'a\0' }, ['clave']],
  ['SQL_ASCII', { evento: '€', origen: 'a\u{d800}' }, ['origen']],
  ['UTF8', { cabeceras: { a: '1', b: '2', cc: 'ñ' }, otras: {} }, []],
  ['UTF8', { cabeceras: { 'X-Zeta': '1', 'X-A': '2' } }, ['cabeceras']],
  ['UTF8', { cabeceras: { b: '1', a: '2' } }, ['cabeceras']],
  ['LATIN1', { cabeceras: { a: '€' } }, ['cabeceras']],
])('in %s, of %j kept beside to the letter: %j', (encoding, columns, kept) => {
  const bytes = exactValues(columns, textRules(encoding))
  const exact = bytes === null ? {} : JSON.parse(bytes.toString('utf8'))
  expect(Object.keys(exact)).toEqual(kept)
  expect({ ...columns, ...exact }).toEqual(columns)
})
