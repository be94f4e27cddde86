import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { jsonProblem } from '../../src/model/json.ts'
import type { Message } from '../../src/model/message.ts'
import { EnvelopeError } from '../../src/queue/entry.ts'
import { decodeEnvelope, stampEnvelope } from '../../src/queue/envelope.ts'
import { encodeEnvelope } from '../../src/queue/envelope-write.ts'

const NOW = new Date('2026-11-24T20:00:00Z')
const decode = (text: string | Buffer) => decodeEnvelope(Buffer.from(text as string), () => 'hecho', NOW)
const bodyOf = (text: string) => decode(text).message.body.toString('utf8')

/** JSON as people and programs write it: text, not values, so that what a parser would lose is there. */
const blank = fc.stringMatching(/^[ \t\n\r]{0,3}$/)
const stringText = fc.oneof(
  fc.string().map((text) => JSON.stringify(text)),
  fc.string({ unit: 'grapheme' }).map((text) => JSON.stringify(text)),
  fc.constantFrom('"\\u00e9"', '"\\/"', '"\\ud83d\\ude00"', '"\\ud800"', '"\\u0000"', '"{\\"datos\\":1}"', '"]"', '""'),
)
const numberText = fc.oneof(
  fc.stringMatching(/^-?[1-9]\d{15,25}$/),
  fc.stringMatching(/^-?[1-9]\d{0,3}\.\d{1,30}$/),
  fc.constantFrom('0', '-0', '1e400', '1E+2', '0.1000', '12345678901234567890'),
)
const { value: jsonText } = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom('null', 'true', 'false'),
    numberText,
    stringText,
    fc
      .tuple(blank, fc.array(fc.tuple(blank, tie('value'), blank), { maxLength: 4 }))
      .map(([space, items]) => `[${space}${items.map((parts) => parts.join('')).join(',')}]`),
    fc
      .tuple(
        blank,
        fc.array(
          fc.tuple(blank, fc.oneof(stringText, fc.constantFrom('"a"', '"datos"', '"id"')), blank, tie('value'), blank),
          { maxLength: 4 },
        ),
      )
      .map(([space, members]) => `{${space}${members.map(([a, k, b, v, c]) => `${a}${k}${b}:${v}${c}`).join(',')}}`),
  ),
}))

describe('datos', () => {
  test('keeps every byte, wherever it stands and whatever it is', () => {
    fc.assert(
      fc.property(jsonText, blank, blank, fc.boolean(), (text, before, after, last) => {
        const datos = `"datos"${before}:${before}${text}${after}`
        const rest = '"evento" : "e", "cabeceras": {"datos": "no"}'
        const entry = last ? `{${rest},${datos}}` : `${before}{${datos},${rest}}${after}`
        expect(bodyOf(entry)).toBe(text)
      }),
      { numRuns: 1000 },
    )
  })

  test.each([
    ['20 digits', '12345678901234567890'],
    ['key order and repeated keys', '{"b":1,"a":2,"b":3}'],
    ['escapes as they were written', '"\\u00e9\\/\\u0041"'],
    ['zeros that say nothing', '1.000'],
    ['more than a double', '1e999'],
  ])('%s', (_, text) => expect(bodyOf(`{"evento":"e","datos":${text}}`)).toBe(text))

  test('of a repeated key the last one counts, as for every other key', () => {
    expect(bodyOf('{"evento":"e","datos":1,"datos":[2]}')).toBe('[2]')
  })

  test('its own key may be written with escapes', () => {
    expect(bodyOf('{"evento":"e","d\\u0061tos":7}')).toBe('7')
  })

  test('however deep it is, wherever it stands: no stack overflows', () => {
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`
    expect(bodyOf(`{"evento":"e","datos":${deep}}`)).toBe(deep)
    expect(bodyOf(`{"datos":${deep},"evento":"e"}`)).toBe(deep)
  })

  test.each([
    ['a header of that name', '{"evento":"e","cabeceras":{"a":"b","datos":"c"},"datos":[1]}', '[1]'],
    ['text that looks like it', '{"evento":"e","ruta":"x,\\"datos\\":1}","datos":[1]}', '[1]'],
    ['text that looks like the end', '{"evento":"e","datos":"}","id":"x"}', '"}"'],
    ['members after it', '{"evento":"e","datos":{"a":1},"id":"x"}', '{"a":1}'],
    ['a second one after it', '{"evento":"e","datos":1,"datos":2,"id":"x"}', '2'],
    ['a second one inside it', '{"evento":"e","datos":{"b":1,"datos":2}}', '{"b":1,"datos":2}'],
    ['one with escapes before it', '{"evento":"e","d\\u0061tos":1,"datos":2}', '2'],
    ['one with escapes after it', '{"evento":"e","datos":1,"d\\u0061tos":2}', '2'],
    ['a length that is wrong', '{"evento":"e","largo":2,"datos":[1]}', '[1]'],
    ['a length that is right, and members after it', '{"evento":"e","largo":3,"datos":[1],"id":"x"}', '[1]'],
    ['a length that is no number', '{"evento":"e","largo":"3","datos":[1]}', '[1]'],
    ['blanks around it', '{"evento":"e","datos": [1]\n}\n', '[1]'],
  ])('%s', (_, entry, datos) => expect(bodyOf(entry)).toBe(datos))

  test.each([
    ['not JSON', '{"evento":"e","datos":[1}'],
    ['a BOM before it', '{"evento":"e","datos":\ufeff1}'],
    ['something after the entry', '{"evento":"e","datos":1} 2'],
    ['nothing', '{"evento":"e","datos":}'],
    ['beside cuerpo', '{"evento":"e","cuerpo":"x","datos":1}'],
    ['before cuerpo', '{"evento":"e","datos":1,"cuerpo":"x"}'],
    ['bytes that are no text', Buffer.from('{"evento":"e","datos":"\xff"}', 'latin1')],
  ])('%s is not understood', (_, entry) => expect(() => decode(entry)).toThrow(EnvelopeError))
})

const ids = fc.stringMatching(/^[\x21-\x7e]{1,40}$/)
const names = fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' }).filter((text) => !/\p{Cc}/u.test(text))
const texts = fc.option(fc.string({ unit: 'grapheme' }), { nil: null })
const dates = fc.date({ min: new Date(0), max: new Date('2100-01-01'), noInvalidDate: true })
const messages: fc.Arbitrary<Message> = fc.record({
  id: ids,
  event: names,
  body: fc.oneof(
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    fc.string({ unit: 'grapheme' }).map((text) => Buffer.from(text)),
    fc.constantFrom('\ufeffcon marca', '\ufeff{}', '{"a":1', '').map((text) => Buffer.from(text)),
    fc.tuple(blank, jsonText, blank).map((parts) => Buffer.from(parts.join(''))),
  ),
  contentType: fc.oneof(
    fc.string(),
    fc.constantFrom('application/json', 'application/json; charset=utf-8', 'application/vnd.siu+json', 'text/plain'),
  ),
  method: fc.option(fc.stringMatching(/^[A-Z]{1,10}$/), { nil: null }),
  path: texts,
  headers: fc.dictionary(fc.stringMatching(/^[A-Za-z-]{1,12}$/), fc.string()).map((headers) => ({ ...headers })),
  createdAt: dates,
  key: texts,
  origin: texts,
  onlyListener: texts,
  notBefore: fc.option(dates, { nil: null }),
  depth: fc.nat(10),
})

describe('what travels as text keeps its digits and letters', () => {
  test.each([
    ['{"id":12345678901234567891,"evento":"e","datos":1}', '12345678901234567891'],
    ['{"id":12345678901234567892,"evento":"e"}', '12345678901234567892'],
    ['{"evento":"e","datos":{"id":1},"id":12345678901234567893}', '12345678901234567893'],
    ['{"id":1,"evento":"e","id" : 7.10 }', '7.10'],
    ['{"evento":"e","id":1e400}', '1e400'],
    ['{"evento":"e","id":7}', '7'],
  ])('the id of %s', (entry, id) => expect(decode(entry).message.id).toBe(id))

  test('a header given as a number', () => {
    const entry = '{"evento":"e","cabeceras":{"X-A":{},"X-A":12345678901234567891,"X-B":1.50},"cuerpo":""}'
    expect(decode(entry).message.headers).toEqual({ 'X-A': '12345678901234567891', 'X-B': '1.50' })
  })

  test('any number', () => {
    fc.assert(
      fc.property(numberText, fc.boolean(), (text, last) => {
        const entry = last ? `{"evento":"e","datos":[],"id":${text}}` : `{"id":${text},"evento":"e","datos":[]}`
        expect(decode(entry).message.id).toBe(text)
      }),
    )
  })

  test.each([
    '"evento":"a\\ud800b"',
    '"evento":"e","ruta":"\\udc00"',
    '"evento":"e","clave":"\\ud83d"',
    '"evento":"e","listener":"\\ud83d"',
    '"evento":"e","tipo_contenido":"\\ud83d"',
    '"evento":"e","origen":"\\ud83d"',
    '"evento":"e","cabeceras":{"X-A":"\\ud83d"}',
    '"evento":"e","cabeceras":{"X-\\ud83d":""}',
  ])('half a surrogate pair is refused: {%s}', (members) => {
    expect(() => decode(`{${members}}`)).toThrow('un carácter Unicode incompleto')
  })
})

describe('demora', () => {
  const delayOf = (text: string) => decode(`{"evento":"e","demora":${text}}`).delay

  test.each([
    ['"500ms"', 500],
    ['"1h30m"', 5_400_000],
    ['"30"', 30_000],
    ['1.5', 1500],
    ['0', 0],
  ])('%s is %d ms, as the configuration reads it', (text, millis) => expect(delayOf(text)).toBe(millis))

  test('null is none', () => expect(delayOf('null')).toBeNull())

  test.each(['"pronto"', '-5', '1e30', '"8000000000000"', '"3651d"', 'true', '["5s"]', '""'])(
    '%s is not understood',
    (text) => expect(() => delayOf(text)).toThrow('"demora" no es una duración'),
  )
})

const plain: Message = {
  id: 'x',
  event: 'e',
  body: Buffer.from(''),
  contentType: 'application/json',
  method: null,
  path: null,
  headers: {},
  createdAt: NOW,
  key: null,
  origin: null,
  onlyListener: null,
  notBefore: null,
  depth: 0,
}

describe('a whole envelope', () => {
  test('what is written is read back the same, bytes that are no text included', () => {
    fc.assert(
      fc.property(messages, (message) => {
        expect(decode(encodeEnvelope(message)).message).toEqual(message)
      }),
      { numRuns: 500 },
    )
  })

  test('a body of JSON stands there as it is, at the end, and the rest only where it says something', () => {
    const message = { ...plain, body: Buffer.from('{"a":"\\u00e9","a":12345678901234567890}') }
    expect(encodeEnvelope(message)).toBe(
      '{"v":1,"id":"x","evento":"e","creado":"2026-11-24T20:00:00.000Z","largo":39,"datos":{"a":"\\u00e9","a":12345678901234567890}}',
    )
  })

  test('the stamp of an entry of ours keeps body and form, as often as it is stamped', () => {
    fc.assert(
      fc.property(messages, (message) => {
        const due = new Date('2026-11-24T20:05:00Z')
        const first = stampEnvelope(Buffer.from(encodeEnvelope(message)), 'uno', 1, new Date(0))
        const stamped = decode(stampEnvelope(first, 'otro', 123, due))
        expect(stamped).toMatchObject({ delay: null, receivedAt: 123 })
        expect(stamped.message).toEqual({ ...message, id: 'otro', notBefore: due })
      }),
    )
    const json = { ...plain, body: Buffer.from('[1]') }
    expect(stampEnvelope(Buffer.from(encodeEnvelope(json)), 'otro', 1, NOW).toString()).toMatch(/,"datos":\[1\]\}$/)
  })

  test('the stamp of a delayed entry changes id and times, never the body', () => {
    fc.assert(
      fc.property(jsonText, fc.boolean(), (text, hasId) => {
        const raw = `{"evento":"e",${hasId ? '"id":"viejo",' : ''}"demora":"5m","datos":${text}}`
        const due = new Date('2026-11-24T20:05:00Z')
        const stamped = decode(stampEnvelope(Buffer.from(raw), 'nuevo', 123, due))
        expect(stamped).toMatchObject({ delay: null, receivedAt: 123 })
        expect(stamped.message).toMatchObject({ id: 'nuevo', notBefore: due })
        expect(stamped.message.body.toString('utf8')).toBe(text)
      }),
    )
  })

  test('nothing whatever makes it fail otherwise than by saying why', () => {
    const understood = (raw: Buffer) => {
      try {
        decodeEnvelope(raw, () => 'hecho', NOW)
      } catch (error) {
        expect(error).toBeInstanceOf(EnvelopeError)
      }
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => understood(Buffer.from(bytes))),
      { numRuns: 500 },
    )
    const keys = fc.constantFrom('v', 'id', 'evento', 'cuerpo', 'cuerpo_base64', 'datos', 'metodo', 'ruta', 'cabeceras')
    const more = fc.constantFrom('creado', 'clave', 'demora', 'no_antes_de', 'listener', 'recibido', 'profundidad', 'x')
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.oneof(keys, more), jsonText), { maxLength: 8 }), (members) =>
        understood(Buffer.from(`{"evento":"e",${members.map(([key, text]) => `"${key}":${text}`).join(',')}}`)),
      ),
      { numRuns: 1000 },
    )
  })
})

test.for([
  ['the entry itself, never closed', '['.repeat(100_000)],
  ['a member, never closed', `{"evento":"e","datos":${'{"a":'.repeat(100_000)}`],
  ...['v', 'id', 'evento', 'metodo', 'demora', 'creado', 'cabeceras', 'cuerpo'].map(
    (key) => [key, `{"evento":"e","${key}":${'['.repeat(100_000)}${']'.repeat(100_000)}}`] as const,
  ),
] as const)('an entry nested deeper than the stack is refused like any other: %s', ([, raw]) => {
  expect(() => decodeEnvelope(Buffer.from(raw), () => 'hecho', NOW)).toThrow(EnvelopeError)
})

test.for([
  ['{no es json}', 'texto que JSON no conoce (¿faltan comillas dobles?) (carácter 2: «no es json}»)'],
  ['{"a":1,}', 'se esperaba el nombre de un miembro'],
  ['{"a":', 'se esperaba un valor (carácter 6, al final)'],
  ['{"a":1', 'falta «}» (carácter 7, al final)'],
  ['[1 2]', 'se esperaba «,» (carácter 4: «2]»)'],
  ['{"a":1}\n{"b":2}', 'sobra texto después del final (línea 2, carácter 1: «{"b":2}»)'],
  ['{"a":"x\n"}', 'una cadena sin cerrar'],
  ['{"a":"\\x"}', 'una barra invertida que no escapa nada conocido'],
  ['// a\n1', 'un comentario, que JSON no admite'],
  ["{'a':1}", 'texto que JSON no conoce'],
  ['\uFEFF{}', 'BOM'],
  [' ', 'está vacío'],
  ['01', 'sobra texto después del final'],
] as const)('what is wrong with %j is told in Spanish, with its place', ([text, told]) => {
  expect(() => JSON.parse(text)).toThrow()
  expect(jsonProblem(Buffer.from(text))).toContain(told)
})

test('whatever JSON.parse refuses is told in Spanish', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'{}[]",:\\u0a1e+-. \n\ttn/*') }), (text) => {
      try {
        JSON.parse(text)
      } catch {
        expect(jsonProblem(Buffer.from(text))).toMatch(/\p{L}/u)
      }
    }),
  )
})
