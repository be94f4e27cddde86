import { describe, expect, test } from 'vitest'
import { maskResponseHeaders, maskUrl } from '../../src/delivery/mask.ts'
import { errorDetail, networkTrouble, Trouble } from '../../src/delivery/trouble.ts'
import { isSecretHeader } from '../../src/model/secrets.ts'

const coded = (code: string, message = 'algo') => Object.assign(new Error(message), { code })

describe('a short code for every failure', () => {
  test.each([
    ['ENOTFOUND', 'connect', 'dns'],
    ['EAI_AGAIN', 'connect', 'dns'],
    ['ECONNREFUSED', 'connect', 'conexion'],
    ['EHOSTUNREACH', 'connect', 'conexion'],
    ['EMFILE', 'connect', 'recursos'],
    ['ENFILE', 'dns', 'recursos'],
    ['ETIMEDOUT', 'connect', 'timeout'],
    ['ECONNRESET', 'tls', 'tls'],
    ['ECONNRESET', 'request', 'conexion'],
    ['ECONNRESET', 'response', 'respuesta'],
    ['UND_ERR_SOCKET', 'request', 'conexion'],
    ['UND_ERR_SOCKET', 'response', 'respuesta'],
    ['UND_ERR_RES_CONTENT_LENGTH_MISMATCH', 'response', 'respuesta'],
    ['UND_ERR_HEADERS_OVERFLOW', 'response', 'respuesta'],
    ['HPE_INVALID_CONSTANT', 'request', 'respuesta'],
    ['CERT_HAS_EXPIRED', 'request', 'tls'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'connect', 'tls'],
    ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'request', 'tls'],
    ['UND_ERR_INVALID_ARG', 'request', 'solicitud'],
    ['UND_ERR_INVALID_ARG', 'dns', 'solicitud'],
    ['QUIEN_SABE', 'request', 'conexion'],
    ['QUIEN_SABE', 'response', 'respuesta'],
  ] as const)('%s while %s → %s', (code, stage, expected) => {
    expect(networkTrouble(coded(code), stage).error).toBe(expected)
    expect(networkTrouble(new Error('envuelto', { cause: coded(code) }), stage).error).toBe(expected)
  })

  test('what is not an Error does not break it', () => {
    for (const thrown of ['texto', null, undefined, 7, {}]) {
      expect(networkTrouble(thrown, 'request')).toMatchObject({ error: 'conexion', detail: expect.any(String) })
    }
  })

  test('a trouble that was classified where it arose keeps its code', () => {
    expect(networkTrouble(new Trouble('bloqueada', 'es de adentro'), 'response')).toEqual({
      error: 'bloqueada',
      detail: 'es de adentro',
    })
  })
})

describe('the detail', () => {
  test('is one line with every address that was tried and every cause', () => {
    const tried = new AggregateError([
      coded('ECONNREFUSED', 'connect ECONNREFUSED ::1:80'),
      coded('ETIMEDOUT', 'connect ETIMEDOUT 10.0.0.1:80'),
    ])
    const detail = errorDetail(new Error('connecting\nfailed', { cause: tried }))
    expect(detail).toBe(
      'connecting failed; nadie atiende en ese puerto (connect ECONNREFUSED ::1:80); la dirección no responde (connect ETIMEDOUT 10.0.0.1:80)',
    )
    // One of the addresses answered: not a time-out.
    expect(networkTrouble(tried, 'connect').error).toBe('conexion')
  })

  test('hides passwords of URLs, ends, and survives a circle', () => {
    expect(errorDetail(new Error('no se llega a https://ana:cl4ve@h/x'))).toBe('no se llega a https://***@h/x')
    expect(errorDetail(new Error('x'.repeat(5000)))).toHaveLength(1000)
    const circle = new Error('a')
    circle.cause = circle
    expect(errorDetail(circle)).toBe('a')
  })
})

describe('masks', () => {
  test.each([
    ['https://ana:clave@h/x', 'https://***@h/x'],
    ['https://h/x?token=abc&a=1', 'https://h/x?token=***&a=1'],
    ['https://h/x?Api_Key=abc', 'https://h/x?Api_Key=***'],
    ['https://h/x?%63lave=abc', 'https://h/x?%63lave=***'],
    ['https://h/x?quien=yo', 'https://h/x?quien=***'],
    ['https://h/x?a=b@c', 'https://h/x?a=b@c'],
    ['https://h/x?token', 'https://h/x?token'],
    ['https://h/x?%=1', 'https://h/x?%=1'],
  ])('%s → %s', (url, expected) => {
    expect(maskUrl(url, new Set(['quien']))).toBe(expected)
  })

  test('addresses in an answer, and whatever name the listener hides', () => {
    const hidden = new Set(['llave', 'x-acceso'])
    const url = 'https://h/?a=1&llave=k1'
    expect(
      maskResponseHeaders(
        {
          link: `<${url}>; rel="next", </b?token=t>; rel=prev`,
          refresh: `5;url=${url}`,
          'content-location': [url, '/x?LLAVE=k1&amp;token=t'],
          'x-acceso': 'k1',
          'x-otra': url,
        },
        hidden,
      ),
    ).toEqual({
      link: '<https://h/?a=1&llave=***>; rel="next", </b?token=***>; rel=prev',
      refresh: '5;url=https://h/?a=1&llave=***',
      'content-location': ['https://h/?a=1&llave=***', '/x?LLAVE=***&amp;token=***'],
      'x-acceso': '***',
      'x-otra': url,
    })
  })

  test.each([
    'Authorization',
    'COOKIE',
    'Proxy-Authorization',
    'X-Api-Key',
    'apikey',
    'X-Auth',
    'X-Auth-Token',
    'Mi-Clave',
    'client_secret',
    'Password',
    'Access-Key',
  ])('the header %s is secret', (name) => expect(isSecretHeader(name)).toBe(true))

  test.each(['Content-Type', 'X-Request-Id', 'Accept', 'X-Keyboard', 'Author', 'webhook-id'])(
    'the header %s is not',
    (name) => expect(isSecretHeader(name)).toBe(false),
  )

  test('of an answer, cookies and tokens', () => {
    expect(
      maskResponseHeaders(
        {
          location: 'https://h/?token=t',
          'set-cookie': ['a=1'],
          'x-csrf-token': 't',
          via: ['a', 'b'],
          nada: undefined,
        },
        new Set(),
      ),
    ).toEqual({
      location: 'https://h/?token=***',
      'set-cookie': '***',
      'x-csrf-token': '***',
      via: ['a', 'b'],
    })
  })
})
