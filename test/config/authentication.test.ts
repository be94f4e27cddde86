/** The keys `auth_…` of a listener: what each type wants, and what it does not use. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${VAR} is the syntax under test
import { describe, expect, test } from 'vitest'
import { errorsOf, listener, listenerIni, load } from './folder.ts'

describe('authentication', () => {
  test.each([
    ['auth_tipo = basic\nauth_usuario = u\nauth_password = p', { kind: 'basic', username: 'u', password: 'p' }],
    ['auth_tipo = DIGEST\nauth_usuario = u\nauth_password = p', { kind: 'digest', username: 'u', password: 'p' }],
    ['auth_tipo = bearer\nauth_token = t', { kind: 'bearer', token: 't' }],
    ['auth_tipo = api_key\nauth_token = t', { kind: 'api_key', key: 't', place: { in: 'query', name: 'api_key' } }],
    [
      'auth_tipo = api_key\nauth_password = t\nauth_parametro = "cabecera:X-Api-Key"',
      { kind: 'api_key', key: 't', place: { in: 'header', name: 'X-Api-Key' } },
    ],
    [
      'auth_tipo = oauth2\nauth_url = https://a.example/token\nauth_usuario = u\nauth_password = p\nauth_alcance = a b',
      { kind: 'oauth2', tokenUrl: 'https://a.example/token', clientId: 'u', clientSecret: 'p', scope: 'a b' },
    ],
    ['auth_tipo = ninguna', { kind: 'ninguna' }],
  ])('%j', (lines, auth) => {
    expect(listener(lines).auth).toEqual(auth)
  })

  test.each([
    ['auth_tipo = basic\nauth_password = p', 'auth_tipo = basic necesita auth_usuario'],
    ['auth_tipo = digest\nauth_usuario = u', 'auth_tipo = digest necesita auth_password'],
    ['auth_tipo = digest\nauth_usuario = u\nauth_password =', 'auth_tipo = digest necesita auth_password'],
    ['auth_tipo = bearer', 'necesita auth_token (o auth_password)'],
    ['auth_tipo = api_key', 'necesita auth_token (o auth_password)'],
    ['auth_tipo = oauth2\nauth_usuario = u\nauth_password = p', 'necesita auth_url'],
    ['auth_tipo = ssl', 'auth_tipo = ssl necesita cert_file'],
    ['auth_usuario = u\nauth_password = p', 'falta auth_tipo'],
    ['auth_tipo = basic\nauth_usuario = u\nauth_password = ${NO_HAY}', 'la variable NO_HAY no está definida'],
  ])('%j is an error: %s', (lines, what) => {
    const message = errorsOf(listenerIni(lines))
    expect(message).toContain(what)
    expect(message).toMatch(/^La configuración tiene un error:/)
  })

  test.each([
    'auth_tipo = basic\nauth_usuario = u\nauth_password = p\ncabeceras[] = "Authorization: Basic x"',
    'auth_tipo = digest\nauth_usuario = u\nauth_password = p\ncabeceras[] = "authorization: Basic x"',
    'auth_tipo = bearer\nauth_token = t\ncabeceras[] = "X-A: 1"\ncabeceras[] = "AUTHORIZATION: y"',
    'auth_tipo = api_key\nauth_token = t\nauth_parametro = "cabecera:X-Api-Key"\ncabeceras[] = "x-api-key: y"',
    'auth_tipo = oauth2\nauth_url = https://a.example/t\nauth_usuario = u\nauth_password = p\ncabeceras[] = "Authorization: y"',
  ])('%j would send two credentials', (lines) => {
    expect(errorsOf(listenerIni(lines))).toMatch(/cabeceras: la cabecera \S+ ya la pone auth_tipo = \w+: deje una sola/)
  })

  test('a header for credentials is free where auth_tipo does not set it', () => {
    expect(listener('cabeceras[] = "Authorization: Basic x"').headers).toEqual([['Authorization', 'Basic x']])
    expect(listener('auth_tipo = api_key\nauth_token = t\ncabeceras[] = "Authorization: x"').headers).toHaveLength(1)
  })

  test('plain http with credentials is told, except to this machine', () => {
    const basic = 'auth_tipo = basic\nauth_usuario = u\nauth_password = p'
    const warnings = (url: string, auth = basic) => load(`[listener x]\nurl = ${url}\n${auth}`).warnings
    expect(warnings('http://x.example')).toEqual([expect.stringContaining('viajan sin cifrar a x.example: use https')])
    for (const url of ['https://x.example', 'http://localhost:8080', 'http://127.0.0.1', 'http://[::1]:80']) {
      expect(warnings(url), url).toEqual([])
    }
    expect(warnings('http://x.example', '')).toEqual([])
  })

  test('keys that the type does not use are told', () => {
    const { warnings } = load(listenerIni('auth_tipo = bearer\nauth_token = t\nauth_usuario = u'))
    expect(warnings).toEqual([expect.stringContaining('auth_usuario: no tiene efecto con auth_tipo = bearer')])
  })
})
