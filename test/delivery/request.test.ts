import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ListenerConfig } from '../../src/config/config.ts'
import { expandPath, joinPath } from '../../src/delivery/path.ts'
import { buildRequest, prepare } from '../../src/delivery/request.ts'
import { checkMessageHeaders, checkMethod, checkPath, headerText } from '../../src/model/http.ts'
import { listenerConfig, message, SECRET } from './scene.ts'

const NOW = Date.UTC(2026, 10, 24, 20, 0, 0)
const build = (listener: Parameters<typeof listenerConfig>[0], sent: Parameters<typeof message>[0] = {}) =>
  buildRequest(prepare(listenerConfig(listener), '1.2.3'), message(sent), 2, NOW)
const url = (listener: Parameters<typeof listenerConfig>[0], sent: Parameters<typeof message>[0] = {}) => {
  const { origin, target } = build(listener, sent)
  return origin + target
}

describe('the URL', () => {
  test.each([
    ['https://h/rest/', '', 'https://h/rest/'],
    ['https://h/rest', '', 'https://h/rest'],
    ['https://h', '', 'https://h/'],
    ['https://h/rest/', 'proveedores', 'https://h/rest/proveedores'],
    ['https://h/rest', 'proveedores', 'https://h/rest/proveedores'],
    ['https://h/rest', '/proveedores', 'https://h/rest/proveedores'],
    ['https://h/rest/', 'proveedores/', 'https://h/rest/proveedores/'],
    ['https://h/rest', '?a=1', 'https://h/rest?a=1'],
    ['https://h/rest?k=v', 'x?a=1', 'https://h/rest/x?k=v&a=1'],
    ['https://h:8443/rest/', 'año nuevo', 'https://h:8443/rest/a%C3%B1o%20nuevo'],
    ['https://h/rest/', 'a/b?x=á', 'https://h/rest/a/b?x=%C3%A1'],
    ['https://h/rest/', 'buscar:todo', 'https://h/rest/buscar:todo'],
    ['https://h/rest/', 'a..b/.well-known', 'https://h/rest/a..b/.well-known'],
  ])('%s + "%s" → %s', (base, path, expected) => {
    expect(url({ url: base, path })).toBe(expected)
  })

  test.each([
    ['proveedores/{datos.id}', '{"id":7}', 'proveedores/7'],
    ['p/{datos.id}', '{"id":12345678901234567890}', 'p/12345678901234567890'],
    ['p/{datos.id}', '{"id":1.50}', 'p/1.50'],
    ['p/{datos.id}', '{"x":"\\"id\\": 3","id":4}', 'p/4'],
    ['p/{datos.a.b}', '{"a":{"b":"x y/z"}}', 'p/x%20y%2Fz'],
    ['p/{datos.a.0.b}', '{"a":[{"b":true}]}', 'p/true'],
    ['p/{datos.id}', '{"id":1,"id":2}', 'p/2'],
    ['{evento}/{id}', 'no es JSON', 'proveedor.alta/01JD0000000000000000000000'],
    ['p?q={datos.q}', '{"q":"a&b=c#d"}', 'p?q=a%26b%3Dc%23d'],
    ['p/{datos.n}', '{"n":"año"}', 'p/a%C3%B1o'],
  ])('%s with %s → %s', (path, body, expected) => {
    expect(url({ url: 'https://h/', path }, { body: Buffer.from(body) })).toBe(`https://h/${expected}`)
  })

  test("a message's own ruta wins, and its braces are templates too", () => {
    expect(url({ url: 'https://h/', path: 'a/{datos.zz}' }, { path: 'b/{datos.id}' })).toBe('https://h/b/7')
    expect(url({ url: 'https://h/base', path: 'a' }, { path: '' })).toBe('https://h/base')
  })

  test.each([
    ['a missing field', 'p/{datos.zz}', '{"id":7}', /pide \{datos\.zz\} y los datos del mensaje no lo tienen/],
    ['a null', 'p/{datos.id}', '{"id":null}', /no lo tienen/],
    ['an empty text', 'p/{datos.id}', '{"id":""}', /está vacío/],
    ['an object', 'p/{datos.id}', '{"id":{}}', /no es un texto ni un número/],
    ['a body that is not JSON', 'p/{datos.id}', 'id=7', /no es JSON/],
    ['a lone surrogate', 'p/{datos.id}', '{"id":"\\ud800"}', /Unicode/],
    ['dots from the data', 'p/{datos.id}', '{"id":".."}', /segmento/],
    ['a climb from the data', 'p/{datos.id}', '{"id":"../../admin"}', /segmento/],
    ['a field of the prototype', 'p/{datos.constructor}', '{}', /no lo tienen/],
  ])('%s is refused', (_name, path, body, problem) => {
    expect(() => build({ url: 'https://h/', path }, { body: Buffer.from(body) })).toThrow(problem)
  })

  test.each([
    '../admin',
    'a/../../b',
    './a',
    'a/.',
    '%2e%2e/a',
    'a/%2E%2e/b',
    '.%2e/a',
    'a%2f..%2fb',
    'a/..;x=1/b',
    'a/..%00/b',
    '..%00x/b',
    'a/.%09./b',
    'a/.%0D%0A./b',
    'a/.\t./b',
    'a/%20../b',
    'http://otro/',
    'HTTPS://otro/',
    'ftp://otro/',
    'http:x',
    '//otro/x',
    'a\\b',
    'a\r\nHost: x',
    'a\tb',
    'a#b',
    'a\u0000',
    '{',
    'a}b',
    '{otra}',
    '{datos}',
    '{datos.}',
    '{datos..a}',
    '{{id}}',
    'x'.repeat(9000),
  ])('the path %j is refused, also by `send`', (path) => {
    expect(checkPath(path)).toEqual(expect.any(String))
    expect(() => build({ url: 'https://h/rest/' }, { path })).toThrow()
  })

  test('whatever the path and the data, the request stays under the base', () => {
    const base = new URL('https://h.example/rest/v1')
    const piece = fc.oneof(
      fc.string(),
      fc.constantFrom('..', '/', '%2e', '%2f', '\\', ';', '?', '//', '{id}', '{datos.x}', ':', '@', '%5c', ' ', '\t'),
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), fc.string(), (pieces, value) => {
        let target: string
        try {
          const path = expandPath(pieces.join(''), {
            id: 'i',
            event: 'e',
            body: Buffer.from(JSON.stringify({ x: value })),
          })
          target = joinPath(base, path)
        } catch (error) {
          expect((error as { error?: string }).error).toBe('solicitud')
          return
        }
        const resolved = new URL(base.origin + target)
        expect(resolved.origin).toBe(base.origin)
        expect(resolved.pathname === '/rest/v1' || resolved.pathname.startsWith('/rest/v1/')).toBe(true)
        // undici's own rule for a target.
        expect(target).toMatch(/^\/[\x21-\xff]*$/)
      }),
      { numRuns: 3000 },
    )
  })
})

describe('headers', () => {
  test('what every request carries', () => {
    expect(build({ secrets: [SECRET], headers: [['X-Sistema', 'pilaga']] }).recorded).toEqual({
      'User-Agent': 'resthooks/1.2.3',
      'X-Sistema': 'pilaga',
      'Content-Type': 'application/json',
      'webhook-id': '01JD0000000000000000000000',
      'webhook-timestamp': String(NOW / 1000),
      'webhook-signature': expect.stringMatching(/^v1,[A-Za-z0-9+/]{43}=$/),
      'X-Resthooks-Evento': 'proveedor.alta',
      'X-Resthooks-Intento': '2',
    })
  })

  test('what the configuration sets a message does not replace, unless cabeceras_del_mensaje lets it, whatever the case', () => {
    const sent = { headers: { 'x-a': '2', 'X-b': '2', 'X-C': '2', 'content-type': 'text/xml' } }
    const headers = [
      ['X-A', '1'],
      ['x-B', '1'],
    ] as const
    const { recorded } = build({ headers, replaceableHeaders: ['x-b'] }, sent)
    expect(recorded).toMatchObject({ 'X-A': '1', 'X-b': '2', 'X-C': '2', 'content-type': 'text/xml' })
    for (const name of ['x-a', 'x-B', 'Content-Type']) expect(recorded).not.toHaveProperty(name)
  })

  test("a Content-Type of the configuration, in either key, is not the message's to change", () => {
    const sent = { contentType: 'text/plain', headers: { 'content-type': 'text/xml' } }
    const asHeader = { headers: [['content-Type', 'application/a']] as const }
    const type = (listener: Partial<ListenerConfig>) => {
      const { headers } = build(listener, sent)
      return headers.filter((_each, at) => at % 2 === 1 && /^content-type$/i.test(headers[at - 1]!))
    }
    expect(type(asHeader)).toEqual(['application/a'])
    expect(type({ contentType: 'application/b' })).toEqual(['application/b'])
    expect(type({ ...asHeader, contentType: 'application/b' })).toEqual(['application/b'])
    expect(type({ ...asHeader, replaceableHeaders: ['content-type'] })).toEqual(['text/xml'])
    expect(type({})).toEqual(['text/xml'])
  })

  test('tipo_contenido of the listener replaces that of the message', () => {
    expect(build({ contentType: 'application/vnd.siu+json' }).recorded['Content-Type']).toBe('application/vnd.siu+json')
  })

  test.each([
    'Authorization',
    'proxy-authorization',
    'Cookie',
    'Host',
    'Content-Length',
    'transfer-encoding',
    'Connection',
    'Upgrade',
    'TE',
    'Trailer',
    'Expect',
    'Keep-Alive',
    'webhook-id',
    'Webhook-Signature',
    'X-Resthooks-Evento',
    'x-resthooks-otra',
    'X-Api-Key',
    'con espacio',
    'con:dos',
    '',
    'ñ',
  ])('a message may not bring %j', (name) => {
    expect(checkMessageHeaders({ [name]: 'x' }, 'x-api-key')).toContain(`"${name}"`)
    expect(() =>
      build(
        { auth: { kind: 'api_key', key: 'k', place: { in: 'header', name: 'X-API-Key' } } },
        { headers: { [name]: 'x' } },
      ),
    ).toThrow()
  })

  test.each(['a\r\nb', 'a\nb', '\u0000', 'ł', 'x'.repeat(9000)])(
    'the value %j is refused without being quoted',
    (value) => {
      const problem = checkMessageHeaders({ 'X-A': value })
      expect(problem).toContain('"X-A"')
      expect(problem).not.toContain(value)
    },
  )

  test('any header that is accepted can be written in HTTP', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.string(), { maxKeys: 4 }), (headers) => {
        if (checkMessageHeaders(headers) !== null) return
        for (const [name, value] of Object.entries(headers)) {
          expect(name).toMatch(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/)
          expect(value).not.toMatch(/[\r\n\0]/)
        }
      }),
    )
  })

  test('secrets of the configuration are masked in the record alone', () => {
    const { headers, recorded } = build({
      headers: [
        ['X-Token', 't0p'],
        ['Cookie', 'sid=1'],
        ['X-Clave-Acceso', 'c'],
      ],
    })
    expect(headers).toEqual(expect.arrayContaining(['t0p', 'sid=1', 'c']))
    expect(recorded).toMatchObject({ 'X-Token': '***', Cookie: '***', 'X-Clave-Acceso': '***' })
  })

  test('an event name that is not ASCII travels reversibly', () => {
    expect(headerText('compra.añadida 100%')).toBe('compra.a%C3%B1adida%20100%25')
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        expect(headerText(text)).toMatch(/^[\x21-\x7e]*$/)
        expect(decodeURIComponent(headerText(text))).toBe(text)
      }),
    )
    expect(headerText('\ud800')).toBe('%EF%BF%BD')
  })
})

describe('method and body', () => {
  test("the message's method wins", () => {
    expect(build({ method: 'POST' }, { method: 'put' }).method).toBe('PUT')
  })

  test.each(['CONNECT', 'trace', 'GET /x', '', 'P\u00d4ST', 'GET\r\n', 'X'.repeat(30)])('%j is refused', (method) => {
    expect(checkMethod(method)).toEqual(expect.any(String))
    expect(() => build({}, { method })).toThrow()
  })

  test.each(['GET', 'HEAD', 'DELETE'])('%s without a body has no content type', (method) => {
    expect(build({ method }, { body: Buffer.alloc(0) }).recorded).not.toHaveProperty('Content-Type')
    expect(build({ method }).recorded).toHaveProperty('Content-Type')
  })

  test('the body is the very same bytes', () => {
    const body = Buffer.from('{"n":12345678901234567890,"n":1,"s":"\\u00e1"}')
    expect(build({}, { body }).body).toBe(body)
  })
})
