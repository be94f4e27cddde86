// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${VAR} is the syntax under test
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ConfigError } from '../../src/errors.ts'
import { METADATA_NETWORKS } from '../../src/model/http.ts'
import { attemptOf, serve } from '../delivery/scene.ts'
import { errorsOf, listener, listenerIni, load } from './folder.ts'

const WHSEC = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'

test('a listener without anything else has the defaults of the contract', () => {
  expect(listener('')).toEqual({
    name: 'x',
    active: true,
    events: ['*'],
    url: 'https://x.example/',
    path: '',
    method: 'POST',
    headers: [],
    replaceableHeaders: [],
    contentType: null,
    auth: { kind: 'ninguna' },
    tls: { ca: null, client: null },
    secrets: [],
    connectTimeout: 5000,
    totalTimeout: 30_000,
    maxResponse: 65_536,
    redirects: 0,
    blockedNetworks: ['169.254.0.0/16', 'fe80::/10', 'fd00:ec2::254/128', '100.100.100.200/32', '168.63.129.16/32'],
    hidden: [],
    concurrency: 10,
    rateLimit: null,
    order: 'libre',
    strategy: expect.objectContaining({ name: 'predeterminada' }),
    retryIf: [],
    noRetryIf: [],
    breaker: { threshold: 70, minimum: 10, window: 300_000, pause: 30_000 },
    onSuccess: null,
    onFailure: null,
    auditBody: true,
    auditResponse: true,
  })
})

test.each([
  ['activo = no', { active: false }],
  ['eventos = a.b, c.*', { events: ['a.b', 'c.*'] }],
  ['eventos[] = a.b\neventos[] = c.*', { events: ['a.b', 'c.*'] }],
  ['ruta = p/{datos.id}/{evento}/{id}?x={datos.a.b}', { path: 'p/{datos.id}/{evento}/{id}?x={datos.a.b}' }],
  ['metodo = put', { method: 'PUT' }],
  [
    'cabeceras[] = X-A: b, c\ncabeceras[] = "X-B:d;e"',
    {
      headers: [
        ['X-A', 'b, c'],
        ['X-B', 'd;e'],
      ],
    },
  ],
  ['tipo_contenido = "text/xml; charset=utf-8"', { contentType: 'text/xml; charset=utf-8' }],
  [`secreto = ${WHSEC}`, { secrets: [WHSEC] }],
  [`secreto = ${WHSEC}, ${WHSEC}`, { secrets: [WHSEC, WHSEC] }],
  ['espera_conexion = 500ms\nespera_total = 2m', { connectTimeout: 500, totalTimeout: 120_000 }],
  ['max_respuesta = 1M', { maxResponse: 1_048_576 }],
  ['cabeceras_del_mensaje = Accept-Language, X-Otra', { replaceableHeaders: ['accept-language', 'x-otra'] }],
  ['redirecciones = 3', { redirects: 3 }],
  [
    'redes_bloqueadas = 10.0.0.0/8, ::1, 1.2.3.4',
    { blockedNetworks: [...METADATA_NETWORKS, '10.0.0.0/8', '::1/128', '1.2.3.4/32'] },
  ],
  ['redes_bloqueadas = ninguna, 10.0.0.0/8', { blockedNetworks: ['10.0.0.0/8'] }],
  ['redes_bloqueadas = 169.254.0.0/16', { blockedNetworks: METADATA_NETWORKS }],
  ['redes_bloqueadas = ninguna', { blockedNetworks: [] }],
  ['redes_bloqueadas =', { blockedNetworks: METADATA_NETWORKS }],
  ['concurrencia = 1', { concurrency: 1 }],
  ['limite = 100/s', { rateLimit: { count: 100, per: 1000 } }],
  ['limite = 600/m', { rateLimit: { count: 600, per: 60_000 } }],
  ['orden = estricto', { order: 'estricto' }],
  [
    'reintentar_si = 422, 5xx, red',
    {
      retryIf: [{ kind: 'status', status: 422 }, { kind: 'class', hundreds: 5 }, { kind: 'network' }],
    },
  ],
  ['no_reintentar_si = 404', { noRetryIf: [{ kind: 'status', status: 404 }] }],
  ['corte_porcentaje = 0', { breaker: null }],
  [
    'corte_porcentaje = 50%\ncorte_minimo = 3\ncorte_ventana = 1m\ncorte_pausa = 5s',
    { breaker: { threshold: 50, minimum: 3, window: 60_000, pause: 5000 } },
  ],
  [
    'on_success = exec:/opt/siu/avisar.sh --ok "dos palabras"',
    { onSuccess: { kind: 'exec', argv: ['/opt/siu/avisar.sh', '--ok', 'dos palabras'] } },
  ],
  ['on_failure = evento:proveedor.fallo', { onFailure: { kind: 'event', event: 'proveedor.fallo' } }],
  ['on_failure = http://127.0.0.1/aviso', { onFailure: { kind: 'http', url: 'http://127.0.0.1/aviso' } }],
  ['auditar_cuerpo = 0\nauditar_respuesta = 0', { auditBody: false, auditResponse: false }],
  ['version = 1', { url: 'https://x.example/v1/' }],
])('%j', (lines, expected) => {
  expect(listener(lines)).toMatchObject(expected)
})

test.each([
  ['activo', ['quizás']],
  ['eventos', ['', 'con blanco', 'a,,b']],
  [
    'ruta',
    [
      'https://otro.example/',
      '//otro.example',
      'a b',
      'p/{datos}',
      'p/{nada}',
      'p/{id',
      'p/}',
      'javascript:x',
      'a/../b',
      '..',
      'a#b',
      'a/%2e%2e/b',
      'a%2f..',
      '..%00/a',
      '.%09./a',
    ],
  ],
  ['cabeceras_del_mensaje', ['a b', 'Authorization', 'webhook-id', 'Host']],
  ['metodo', ['TRACE', 'POST GET', 'POSTT']],
  [
    'cabeceras[]',
    [
      'sin dos puntos',
      'Content-Length: 1',
      'webhook-id: x',
      'webhook-tenant: 1',
      'Proxy-Connection: x',
      'Transfer-Encoding: chunked',
      ': x',
      'X: €',
    ],
  ],
  ['tipo_contenido', ['json', 'a/b c']],
  ['secreto', ['whsec_', 'whsec_corto', 'abc', `${WHSEC},${WHSEC},${WHSEC}`, 'whsec_con*asterisco']],
  ['espera_conexion', ['0', '2h', 'x']],
  ['espera_total', ['0', '2d', 'x']],
  ['max_respuesta', ['65M', 'x', '-1']],
  ['redirecciones', ['21', '-1']],
  ['redes_bloqueadas', ['ninguna, x', '10.0.0.0/33', 'x', '::1/129', '10.0.0.0/8/8']],
  ['concurrencia', ['0', '10001']],
  ['limite', ['0/s', '100', '100/x', 's']],
  ['orden', ['fifo']],
  ['reintentar_si', ['6xx', '99', 'redes']],
  ['no_reintentar_si', ['x']],
  ['corte_porcentaje', ['101', '-1', '0.2', 'x']],
  ['auth_token', ['€']],
  ['corte_minimo', ['0']],
  ['corte_ventana', ['0', '2d']],
  ['corte_pausa', ['0', '2d']],
  [
    'on_success',
    ['exec:', 'exec:"sin cerrar', 'evento:', 'evento:con blanco', 'evento:a*', '/opt/x', 'ftp://x', 'http://'],
  ],
  ['auditar_cuerpo', ['x']],
  ['auth_tipo', ['ntlm', 'BASICO']],
  ['auth_parametro', ['cabecera:', 'con blanco', 'cabecera:X:Y', 'cabecera:Content-Length', 'cabecera:webhook-id']],
  ['version', ['x', 'v1/2', '../x']],
])('%s out of range is an error', (key, wrong) => {
  for (const value of wrong) {
    const name = key.replace('[]', '')
    expect(errorsOf(listenerIni(`${key} = ${value}`)), value).toMatch(
      new RegExp(`:3 \\[listener x\\] ${name}: se encontró .*; se acepta `),
    )
  }
})

test('of a callback with a stray quote the quote is named, not what it is', () => {
  for (const stray of ["cl'ave", 'cl"ave']) {
    const errors = errorsOf(listenerIni('on_failure = exec:/x ${S}'), { S: stray })
    expect(errors).toMatch(/comilla.* no se cierra/)
    expect(errors).not.toContain(stray)
  }
  expect(errorsOf(listenerIni('on_failure = execc:/x "a"'))).not.toContain('comilla')
})

test('what the configuration accepts can be sent, and what cannot be sent it refuses', async () => {
  const server = await serve(() => ({ status: 200 }))
  const name = fc.constantFrom(
    ...[
      'Host',
      'Host',
      'HOST',
      'Connection',
      'Proxy-Connection',
      'Keep-Alive',
      'TE',
      'Trailer',
      'Upgrade',
      'Expect',
      'Content-Type',
    ],
    ...[
      'webhook-tenant',
      'X-Resthooks-Evento',
      'X-Resthooks-Otra',
      'Content-Length',
      'Transfer-Encoding',
      'Date',
      'X:Y',
    ],
  )
  const header = fc.tuple(fc.oneof(name, fc.string({ maxLength: 5 })), fc.string({ maxLength: 5 }))
  const piece = fc.constantFrom(
    'a',
    '..',
    '.',
    '%2e',
    '%2f',
    '/',
    ';x',
    '?',
    '#',
    '//',
    'á',
    '{id}',
    '{datos.n}',
    '{',
    ':',
  )
  const path = fc.array(piece, { maxLength: 5 }).map((pieces) => pieces.join(''))
  const method = fc.constantFrom(
    'post',
    'PUT',
    'Patch',
    'DELETE',
    'GET',
    'HEAD',
    'OPTIONS',
    'POSTT',
    'TRACE',
    'CONNECT',
  )
  const quoted = (text: string) => `"${text.replace(/["\\]/g, '\\$&')}"`
  const value = fc.oneof(fc.constantFrom('k', 'clałe', 'ñ', '[', ' '), fc.string({ maxLength: 5 })).map(quoted)
  const auth = fc
    .tuple(
      fc.constantFrom('ninguna', 'basic', 'digest', 'bearer', 'api_key'),
      fc.constantFrom('auth_token', 'auth_password'),
      fc.constantFrom('cabecera:X-K', 'cabecera:Host', 'cabecera:Cookie', 'cabecera:TE', 'clave'),
      value,
    )
    .map(([type, key, place, secret]) =>
      [
        `auth_tipo = ${type}`,
        type === 'ninguna' ? '' : `${key} = ${secret}`,
        /basic|digest/.test(type) ? `auth_usuario = ${secret}` : '',
        type === 'api_key' ? `auth_parametro = ${place}` : '',
      ].join('\n'),
    )
  let sent = 0
  await fc.assert(
    fc.asyncProperty(fc.array(header, { maxLength: 2 }), path, method, auth, async (headers, ruta, metodo, auth) => {
      const lines = headers.map(([key, value]) => `cabeceras[] = ${quoted(`${key}: ${value}`)}`)
      const ini = `[listener x]\nurl = ${server.url}/r\nruta = ${quoted(ruta)}\nmetodo = ${metodo}\n${auth}\n${lines.join('\n')}\n`
      let config: ReturnType<typeof load>
      try {
        config = load(ini)
      } catch (error) {
        expect(error).toBeInstanceOf(ConfigError)
        return
      }
      const { outcome } = await attemptOf(config.listeners.get('x')!, { body: Buffer.from('{"n":7}') })
      expect(outcome, ini).toEqual({ kind: 'success' })
      sent += 1
    }),
    // Counterexamples of earlier.
    {
      numRuns: 200,
      examples: [
        [[['Host', '[']], '', 'post', ''],
        [[], '', 'post', 'auth_tipo = bearer\nauth_password = "clałe"'],
        [[], '', 'post', 'auth_tipo = api_key\nauth_parametro = cabecera:X-K\nauth_password = "clałe"'],
        [[], '', 'post', 'auth_tipo = api_key\nauth_parametro = cabecera:Host\nauth_token = "["'],
      ],
    },
  )
  expect(sent).toBeGreaterThan(5)
})

describe('an empty variable', () => {
  const empty = { V: '' }

  test.each([
    ['redes_bloqueadas = ${V}', { blockedNetworks: METADATA_NETWORKS }],
    ['redes_bloqueadas[] = ${V}', { blockedNetworks: METADATA_NETWORKS }],
    ['reintentar_si = ${V}\nno_reintentar_si = ${V}', { retryIf: [], noRetryIf: [] }],
    ['cabeceras[] = ${V}\ncabeceras_del_mensaje = ${V}', { headers: [], replaceableHeaders: [] }],
  ])('%s is the default of a list', (lines, expected) => {
    expect(listener(lines, empty)).toMatchObject(expected)
  })

  test('is no schedule and no list of events of its own', () => {
    expect(errorsOf('[reintentos]\nesperas = ${V}', empty)).toContain('esperas: se encontró')
    expect(errorsOf(listenerIni('eventos = ${V}'), empty)).toContain('eventos: se encontró')
    expect(errorsOf(listenerIni('redes_bloqueadas = ${V},${V}'), empty)).toContain('redes_bloqueadas: se encontró')
  })

  test.each([
    ['[listener x]\nsecreto = ${V}', 'secreto'],
    ['[listener x]\nsecreto =', 'secreto'],
    ['[listener x]\nsecreto[] = $env(V)$', 'secreto'],
    ['[listener x]\nauth_tipo = basic\nauth_usuario = u\nauth_password = ${V}', 'auth_password'],
    [
      '[listener x]\ncliente = c\nauth_token = ${V}\n[cliente c]\nto = http://127.0.0.1\nauth_tipo = bearer\nauth_token = t',
      'auth_token',
    ],
    ['[listener x]\ncert_pwd = ${V}', 'cert_pwd'],
    ['[redis_config]\npassword = ${V}', 'password'],
    ['[auditoria]\nclave = ${V}', 'clave'],
  ])('%j is no secret', (ini, key) => {
    const text =
      ini.includes('cliente') || !ini.includes('listener') ? ini : ini.replace('x]', 'x]\nurl = http://127.0.0.1')
    expect(errorsOf(text, empty)).toMatch(new RegExp(`${key}: está vacía.*Un secreto vacío no protege nada`))
  })

  test('a template without a password is none, and an instalador.env may leave one out', () => {
    const { redis } = load('[redis_config]\npassword =\n[auditoria]\nclave =', { REST_HOOKS_REDIS_PASSWORD: '' })
    expect(redis.password).toBeNull()
  })

  test('in the second half of a secret that rotates, and in a header, is said', () => {
    const lines = `secreto = ${WHSEC},\${V}\ncabeceras[] = "X-A: \${V}"`
    const { listeners, warnings } = load(listenerIni(lines), empty)
    expect(listeners.get('x')!.secrets).toEqual([WHSEC])
    expect(warnings).toEqual([
      expect.stringContaining('cabeceras: viaja vacía: X-A'),
      expect.stringContaining('secreto: la segunda mitad está vacía'),
    ])
    expect(errorsOf(listenerIni(`secreto = \${V},${WHSEC}`), empty)).toContain('secreto: se encontró ***')
  })
})

test('two hosts would be no request', () => {
  expect(errorsOf(listenerIni('cabeceras[] = "Host: a"\ncabeceras[] = "host: b"'))).toContain('Host una sola vez')
})

test('the same rule may not be retried and not retried', () => {
  expect(errorsOf(listenerIni('reintentar_si = 5xx, 404\nno_reintentar_si = 404'))).toContain(
    '404 está también en reintentar_si',
  )
})

test.each([
  ['url = ftp://x'],
  ['url = x.example'],
  ['url = https://'],
  ['url = https://u:p@x.example'],
  ['url = "https://x y"'],
])('%s is no address', (line) => {
  expect(errorsOf(`[listener x]\n${line}`)).toContain('se acepta una dirección http:// o https:// completa')
})

test('exactly one of url, cliente, servicio', () => {
  expect(errorsOf('[listener x]\neventos = *')).toContain('indique uno de url, cliente o servicio')
  expect(errorsOf('[listener x]\nurl =\ncliente =')).toContain('indique uno de url, cliente o servicio')
  expect(errorsOf(`[cliente c]\nto = https://c.example\n${listenerIni('cliente = c')}`)).toContain(
    'url, cliente: son excluyentes',
  )
  expect(listener('servicio =').url).toBe('https://x.example/')
})

test('settings without effect are told', () => {
  expect(load(listenerIni('orden = estricto\nconcurrencia = 5')).warnings).toEqual([
    expect.stringContaining('con orden = estricto se entrega de a uno'),
  ])
  expect(load(listenerIni('espera_conexion = 40s')).warnings).toEqual([
    expect.stringContaining('supera a espera_total'),
  ])
})

test('listeners come in the order of the file, inactive ones included', () => {
  const { listeners } = load(
    '[listener z]\nurl = http://127.0.0.1\n[listener ñandú.1]\nurl = http://127.0.0.1\nactivo = 0\n[listener a-b_c]\nurl = http://127.0.0.1',
  )
  expect([...listeners.keys()]).toEqual(['z', 'ñandú.1', 'a-b_c'])
})
