// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${VAR} is the syntax under test
import { describe, expect, test } from 'vitest'
import { settingRows } from '../../src/checks/configuration.ts'
import { maskUrl } from '../../src/delivery/mask.ts'
import { joinPath } from '../../src/delivery/path.ts'
import { errorsOf, listener, listenerIni, load } from './folder.ts'

const environment = { V: 'valor-de-variable', CORTO: 'abc' }
const inListener = (lines: string) => listenerIni(lines)
/** Whether somebody who is shown this text would read it. */
const shows = (ini: string, text: string) => load(ini, environment).secrets.hide(`<${text}>`) === `<${text}>`

describe('a secret is', () => {
  test.each([
    ['auth_password', 'auth_tipo = basic\nauth_usuario = u\nauth_password = literal-secreto', 'literal-secreto'],
    ['auth_password of a variable', 'auth_tipo = basic\nauth_usuario = u\nauth_password = ${V}', environment.V],
    ['auth_token', 'auth_tipo = bearer\nauth_token = literal-secreto', 'literal-secreto'],
    ['secreto', 'secreto = whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
    ['cert_pwd', 'cert_pwd = literal-secreto', 'literal-secreto'],
    ['a header from a variable', 'cabeceras[] = "X-Acceso: ${V}"', environment.V],
    ['a part of one', 'cabeceras[] = "X-Acceso: usuario=${V};x"', environment.V],
    ['a header whose name says so', 'cabeceras[] = "X-Token: literal-secreto"', 'literal-secreto'],
    ['a credential behind its scheme', 'cabeceras[] = "Authorization: Bearer literal-secreto"', 'literal-secreto'],
    ['a query parameter from a variable', 'ruta = "a?k=${V}"', environment.V],
    ['one whose name says so', 'ruta = a?token=literal-secreto', 'literal-secreto'],
    ['one that is percent-encoded', 'ruta = a?token=literal%2Dsecreto', 'literal-secreto'],
    ['one with a plus, to who takes it for one', 'ruta = a?token=literal+secreto%41', 'literal+secretoA'],
    ['an argument of exec', 'on_failure = "exec:/opt/x --clave ${V}"', environment.V],
    ['a part of one', 'on_failure = "exec:/opt/x --clave=${V}"', environment.V],
    ['the path of an https callback', 'on_failure = "https://h.example/servicios/${V}"', environment.V],
  ])('%s', (_what, lines, text) => expect(shows(inListener(lines), text)).toBe(false))

  test.each([
    ['the passwords of Redis and Postgres', 'una-clave', { REST_HOOKS_REDIS_PASSWORD: 'una-clave' }],
    ['that of libpq', 'una-clave', { PGPASSWORD: 'una-clave' }],
  ])('%s', (_what, text, variables) => expect(load('', variables).secrets.hide(text)).toBe('***'))

  test('what is in the url of a listener, or of its client, from variables', () => {
    const url = { V: 'https://usuario@h.example/base/?k=clave-de-api' }
    const ini = '[cliente c]\nto = ${V}\n[listener x]\ncliente = c\n'
    // A user in a URL is refused; what it says is hidden in the refusal all the same.
    expect(errorsOf(ini.replace('${V}', 'https://u:literal-clave@h/?token=otra-clave%zz'))).not.toMatch(
      /literal-clave|otra-clave/,
    )
    const config = load(ini, { V: url.V.replace('usuario@', '') })
    expect(config.secrets.hide('h.example /base/ clave-de-api')).toBe('h.example /base/ ***')
    expect(config.listeners.get('x')!.hidden).toEqual(['k'])
  })
})

describe('no secret is', () => {
  test.each([
    ['a host, a base path, a port', '[listener x]\nurl = https://${V}:8443/${V}/\n', environment.V],
    ['a user name', inListener('auth_tipo = basic\nauth_usuario = ${V}\nauth_password = otra-clave'), environment.V],
    ['the host of a callback', inListener('on_failure = "https://${V}/aviso"'), environment.V],
    ['the program of exec', inListener('on_failure = "exec:/opt/${V} --ok"'), environment.V],
    ['what is written out in a header', inListener('cabeceras[] = "Accept: application/json"'), 'application/json'],
    ['what is written out in exec', inListener('on_failure = exec:/opt/x --modo produccion'), 'produccion'],
    ['a default that is written out', inListener('cabeceras[] = "X-Modo: ${NO_ESTA:-produccion}"'), 'produccion'],
    [
      'what is a host elsewhere',
      `[redis_config]\nhost = \${V}\n${inListener('cabeceras[] = "X-A: ${V}"')}`,
      environment.V,
    ],
  ])('%s', (_what, ini, text) => expect(shows(ini, text)).toBe(true))
})

test('values that are too short are hidden by their place', () => {
  const x = listener(
    'cabeceras[] = "X-Acceso: ${CORTO}"\nruta = "a?k=${CORTO}"\non_success = "exec:/opt/x --k=${CORTO} ${CORTO}"\n' +
      'on_failure = "https://h.example/s/${CORTO}?a=1"',
    environment,
  )
  expect(x.hidden).toEqual(['x-acceso', 'k'])
  expect(x.onSuccess?.shown).toBe('exec:/opt/x --k=*** ***')
  expect(x.onFailure?.shown).toBe('https://h.example/***?***')
})

test('a variable with blanks makes several arguments, all of them secret; quotes and escapes stay in their words', () => {
  const x = listener('on_success = "exec:/opt/x ${V} --fin"', { V: "--clave 'dos palabras'" })
  expect(x.onSuccess).toMatchObject({
    argv: ['/opt/x', '--clave', 'dos palabras', '--fin'],
    shown: 'exec:/opt/x *** *** --fin',
  })
})

test.each([
  's3creto+ñ&</x%41',
  'llave&corta',
  'una-llave#con-numeral',
  'llave=1&otra-llave=2&fin',
  "comillas'<y>?otras&mas",
])('no end of %s shows where it makes several parameters of a query', (secret) => {
  // A `#` is refused in a ruta.
  const inPath = secret.includes('#') ? [] : [listenerIni('ruta = "ok?b=${S}&c=1"')]
  for (const ini of ['[listener x]\nurl = "http://h.example/ok?u=${S}"\n', ...inPath]) {
    const config = load(ini, { S: secret })
    const x = config.listeners.get('x')!
    const sent = joinPath(new URL(x.url), x.path)
    const rows = settingRows(config).map(({ valor }) => valor)
    const shown = [config.secrets.hide(maskUrl(sent, new Set(x.hidden))), config.secrets.hide(sent), ...rows].join(' ')
    for (const part of [secret, ...secret.split(/[&#=]|(?=[<?])/).filter((piece) => piece.length > 2)])
      for (const text of [part, encodeURI(part), encodeURIComponent(part)]) expect(shown).not.toContain(text)
    expect(shown).toContain('***')
  }
})

test('no setting is shown with a secret in it', () => {
  const config = load(
    '[listener x]\nurl = "https://h.example/?token=t0&k=${CORTO}"\nruta = "a?k=${V}"\n' +
      'on_failure = "exec:/opt/x ${CORTO}"\nauth_tipo = api_key\nauth_parametro = llave\nauth_token = literal-secreto\n',
    environment,
  )
  const rows = Object.fromEntries(
    settingRows(config).map(({ ajuste, valor }) => [ajuste.replace('listener x.', ''), valor]),
  )
  expect(rows).toMatchObject({
    url: 'https://h.example/?token=***&k=***',
    ruta: 'a?k=***',
    on_failure: 'exec:/opt/x ***',
    auth_token: '***',
  })
})
