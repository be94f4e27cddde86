import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { below, isLoopback } from '../../src/config/client.ts'
import { errorsOf, folder, load } from './folder.ts'

const CLIENT = '[cliente c]\nto = https://c.example/rest\nauth_tipo = digest\nauth_usuario = u\nauth_password = p\n'

test('a listener takes the address and the credentials of its client, and may override each of them', () => {
  const of = (lines: string) => load(`${CLIENT}[listener x]\ncliente = c\n${lines}`).listeners.get('x')!
  expect(of('')).toMatchObject({
    url: 'https://c.example/rest',
    auth: { kind: 'digest', username: 'u', password: 'p' },
  })
  expect(of('auth_password = otra').auth).toEqual({ kind: 'digest', username: 'u', password: 'otra' })
  expect(of('auth_tipo = ninguna').auth).toEqual({ kind: 'ninguna' })
  expect(of('version = v2').url).toBe('https://c.example/rest/v2/')
})

test('a client that does not exist, or has no address, is an error', () => {
  expect(errorsOf(`${CLIENT.replace('cliente c', 'cliente diaguita')}[listener x]\ncliente = diagiuta`)).toContain(
    'no existe la sección [cliente diagiuta]; se aceptan: diaguita. ¿Quiso decir «diaguita»?',
  )
  expect(errorsOf('[cliente c]\nauth_tipo = ninguna\n[listener x]\ncliente = c')).toContain('le falta «to»')
  expect(errorsOf('[cliente c]\nto = https://c.example\nurl = https://d.example')).toContain('url: clave desconocida')
})

test('an error of a client that two listeners share is told once', () => {
  const message = errorsOf('[cliente c]\nto = nada\n[listener x]\ncliente = c\n[listener y]\ncliente = c')
  expect(message).toMatch(/un error:\n.*:2 \[cliente c\] to: se encontró «nada»/)
})

test('a service that is not there is one error, and each place stands once', () => {
  const message = errorsOf('[listener x]\nservicio = s')
  expect(message).toMatch(/^La configuración tiene un error:\n.*no se encontró el cliente\.ini/)
  const places = message.split('Se buscó en: ')[1]!.split(/, |\.$/)
  expect(places).toHaveLength(new Set(places).size)
})

describe('servicio: the cliente.ini of toba', () => {
  // As toba's editor writes it, in Latin-1.
  const TOBA = Buffer.from(
    [
      ';Configuración del cliente',
      '[conexion]',
      'to = "https://personas.example/rest"',
      'auth_tipo="basic"',
      'auth_usuario = "ñandú" ;el usuario',
      "auth_password = 'cl$ve;1'",
      'version = 1',
      'otra_clave_de_toba = 1',
      '',
      '[otra]',
      'x = 1',
    ].join('\r\n'),
    'latin1',
  )
  const LISTENER = '[listener x]\nservicio = personas\n'

  test('is read from each of its places, the first that exists wins', () => {
    const place = folder({ 'resthooks.ini': LISTENER })
    const url = () => place.load({ instancia: 'i', proyecto: 'p' }).listeners.get('x')!.url
    place.write('rest/personas/cliente.ini', '[conexion]\nto = https://beside.example/')
    expect(url()).toBe('https://beside.example/')
    place.write('i__i/p__p/api_cliente/personas/cliente.ini', '[conexion]\nto = https://api.example/')
    expect(url()).toBe('https://api.example/')
    const best = place.write('i__i/p__p/rest/personas/cliente.ini', TOBA)
    expect(url()).toBe('https://personas.example/rest/v1/')
    const config = place.load({ instancia: 'i', proyecto: 'p' })
    expect(config.listeners.get('x')!.auth).toEqual({ kind: 'basic', username: 'ñandú', password: 'cl$ve;1' })
    expect(config.files.watched).toContain(best)
    expect(config.origins.get('listener x.to')).toMatchObject({ kind: 'ini', file: best, line: 3 })
    expect(config.warnings).toEqual([])
  })

  test('an empty servicio is the only client of the project', () => {
    const place = folder({
      'resthooks.ini': '[listener x]\nservicio =\n',
      'i__produccion/p__resthooks/rest/cliente.ini': '[conexion]\nto = https://unico.example/',
    })
    expect(place.load().listeners.get('x')!.url).toBe('https://unico.example/')
  })

  test('the listener overrides it', () => {
    const place = folder({
      'resthooks.ini': `${LISTENER}auth_usuario = otro\n`,
      'rest/personas/cliente.ini': TOBA,
    })
    expect(place.load().listeners.get('x')!.auth).toMatchObject({ username: 'otro', password: 'cl$ve;1' })
  })

  test.each([
    ['ana:cla:ve', { kind: 'basic', username: 'ana', password: 'cla:ve' }, 'https://personas.example/rest/v1/'],
    ['[["ana","clave"]]', { kind: 'basic', username: 'ana', password: 'clave' }, 'https://personas.example/rest/v1/'],
    ['[["ana","clave","https://nueva.example/"]]', { username: 'ana', password: 'clave' }, 'https://nueva.example/v1/'],
  ])('CREDENCIALES_API_BASIC_PERSONAS = %s replaces its credentials', (value, auth, url) => {
    const place = folder({ 'resthooks.ini': LISTENER, 'rest/personas/cliente.ini': TOBA })
    const fromEnvironment = place.load({ environment: { CREDENCIALES_API_BASIC_PERSONAS: value } })
    expect(fromEnvironment.listeners.get('x')).toMatchObject({ auth, url })
    place.write('instalador.env', `CREDENCIALES_API_BASIC_PERSONAS='${value}'`)
    expect(place.load().listeners.get('x')).toMatchObject({ auth, url })
  })

  test('credentials alone are HTTP Basic', () => {
    const place = folder({
      'resthooks.ini': LISTENER,
      'rest/personas/cliente.ini': '[conexion]\nto = https://p.example',
    })
    const config = place.load({ environment: { CREDENCIALES_API_BASIC_PERSONAS: 'ana:clave' } })
    expect(config.listeners.get('x')!.auth).toEqual({ kind: 'basic', username: 'ana', password: 'clave' })
  })

  test('with an address in the variable no cliente.ini is needed', () => {
    const place = folder({ 'resthooks.ini': LISTENER })
    const environment = { CREDENCIALES_API_BASIC_PERSONAS: '[["a","b","https://p.example/api/"]]' }
    expect(place.load({ environment }).listeners.get('x')).toMatchObject({ url: 'https://p.example/api/' })
  })

  test('what is wrong with it is told, without its secrets', () => {
    const place = folder({ 'resthooks.ini': LISTENER })
    expect(place.errors()).toContain(`Se buscó en: ${join(place.path, 'i__produccion/p__resthooks/rest/personas')}`)
    const file = place.write('rest/personas/cliente.ini', '[conexión]\nto = https://p.example')
    expect(place.errors()).toContain(`${file}: falta la sección [conexion]`)
    place.write('rest/personas/cliente.ini', '[conexion]\nto = nada\nauth_tipo = kerberos')
    expect(place.errors()).toContain(`${file}:2 [conexion] to: se encontró «nada»`)
    expect(place.errors()).toContain(`${file}:3 [conexion] auth_tipo: se encontró «kerberos»`)
    const bad = place.errors({ environment: { CREDENCIALES_API_BASIC_PERSONAS: '[["hunter2"' } })
    expect(bad).toContain('CREDENCIALES_API_BASIC_PERSONAS: no se entiende')
    expect(bad).not.toContain('hunter2')
  })

  test.each(['../otro', 'a/b', '.oculto'])('servicio = %s cannot leave its folder', (service) => {
    expect(errorsOf(`[listener x]\nservicio = ${service}`)).toContain('se acepta el nombre de un servicio')
  })

  test('one with a password that others can read is told', () => {
    const place = folder({ 'resthooks.ini': LISTENER })
    chmodSync(place.write('rest/personas/cliente.ini', TOBA), 0o644)
    expect(place.load().warnings).toEqual([expect.stringContaining('cualquier usuario puede leerlo')])
  })
})

test.each([
  ['https://h/rest/', 'https://h/rest/v1/'],
  ['https://h/rest', 'https://h/rest/v1/'],
  ['https://h', 'https://h/v1/'],
  ['https://h/rest?k=1', 'https://h/rest/v1/?k=1'],
])('%s has its version at %s', (base, versioned) => {
  expect(below(base, 'v1')).toBe(versioned)
})

test.each([
  ['http://localhost:1/', true],
  ['http://127.1.2.3/', true],
  ['http://[::1]/', true],
  ['http://2130706433/', true],
  ['http://10.0.0.1/', false],
  ['http://localhost.example/', false],
  ['http://127.0.0.1.example/', false],
])('%s is this machine: %s', (url, expected) => {
  expect(isLoopback(url)).toBe(expected)
})
