import { describe, expect, test } from 'vitest'
import type { AuthConfig } from '../../src/config/config.ts'
import { diagnose, type Symptoms } from '../../src/delivery/diagnose.ts'
import { listenerConfig, SECRET } from './scene.ts'

const settings = (auth: AuthConfig = { kind: 'ninguna' }, hasClientCertificate = false) => ({
  ...listenerConfig({ url: 'https://diaguita.example.edu.ar:8443/rest/', auth }),
  hasClientCertificate,
})
const symptoms = (changes: Partial<Symptoms>): Symptoms => ({
  method: 'POST',
  status: null,
  error: null,
  errorDetail: null,
  responseHeaders: {},
  durationMs: 12.3,
  text: '',
  ...changes,
})

describe('what failed before an answer', () => {
  test.each([
    ['dns', 'getaddrinfo ENOTFOUND h', /diaguita\.example\.edu\.ar no existe en el DNS: revise «url»/],
    ['dns', 'getaddrinfo EAI_AGAIN h', /resolv\.conf/],
    ['bloqueada', 'x', /redes_bloqueadas.*169\.254/],
    ['timeout', 'espera_conexion (2000 ms) agotada conectando h:1', /puerto 8443.*firewall.*espera_conexion/],
    ['timeout', 'connect ETIMEDOUT 10.0.0.1:1', /firewall/],
    ['timeout', 'espera_total (5000 ms) agotada sin que la respuesta terminara', /no terminó a tiempo/],
    ['timeout', 'espera_total (5000 ms) agotada sin que llegara una respuesta', /no respondió.*espera_total/],
    ['conexion', 'connect ECONNREFUSED 10.0.0.1:8443', /Nadie atiende.*8443/],
    ['conexion', 'connect ENETUNREACH', /VPN/],
    ['conexion', 'EMFILE', /ulimit/],
    ['conexion', 'other side closed', /cortó la conexión.* si exige un certificado de cliente/],
    ['tls', 'no se pudo cargar el certificado de cliente…; mac verify failure', /cert_pwd/],
    ['tls', 'CERT_HAS_EXPIRED', /vencido/],
    ['tls', 'CERT_NOT_YET_VALID', /reloj/],
    ['tls', 'ERR_TLS_CERT_ALTNAME_INVALID', /no es de diaguita/],
    ['tls', 'SELF_SIGNED_CERT_IN_CHAIN', /ca_cert/],
    ['tls', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', /ca_cert/],
    ['tls', 'EPROTO: wrong version number', /no se habla TLS/],
    ['tls', 'tlsv13 alert certificate required', /auth_tipo = ssl/],
    ['tls', 'unsupported protocol', /No se pudo negociar TLS/],
    ['auth', 'HTTP 400', /auth_url/],
    ['redireccion', 'de https a http', /dirección final/],
    ['solicitud', 'falta {datos.id}', /falta \{datos\.id\}/],
    ['solicitud', 'la ruta pide {datos.id} y los datos del mensaje no lo tienen', /resthooks probar \S+ '\{…\}'/],
    ['interrumpido', 'x', /interrumpió/],
    ['respuesta', 'HPE_INVALID_CONSTANT', /no responde HTTP válido/],
    ['respuesta', 'el servidor respondió 101 (cambio de protocolo)', /101.*WebSocket/],
    ['otro', 'x', /no responde HTTP válido/],
  ])('%s: %s', (error, errorDetail, expected) => {
    expect(diagnose(symptoms({ error, errorDetail }), settings())).toMatch(expected)
  })

  test('https is asked about where the address has none', () => {
    const plain = { ...settings(), url: 'http://diaguita.example.edu.ar/rest/' }
    for (const error of ['conexion', 'respuesta'])
      expect(diagnose(symptoms({ error, errorDetail: 'x' }), plain)).toMatch(/«url» debe empezar con https/)
    expect(diagnose(symptoms({ error: 'respuesta', errorDetail: 'x' }), settings())).toMatch(
      /¿es el puerto correcto\?$/,
    )
  })

  test('a client certificate that was shown and refused', () => {
    const refused = symptoms({ error: 'tls', errorDetail: 'sslv3 alert bad certificate' })
    expect(diagnose(refused, settings({ kind: 'ssl' }, true))).toMatch(/rechazó el certificado de cliente/)
  })
})

describe('what the answer says', () => {
  const digest: AuthConfig = { kind: 'digest', username: 'a', password: 'b' }
  const basic: AuthConfig = { kind: 'basic', username: 'a', password: 'b' }
  test.each<[string, AuthConfig, Partial<Symptoms>, RegExp]>([
    ['200', digest, { status: 200 }, /aceptó el pedido \(HTTP 200 en 12 ms\)/],
    [
      'plain HTTP on a TLS port',
      basic,
      { status: 400, text: 'The plain HTTP request was sent to HTTPS port' },
      /https/,
    ],
    ['no client certificate', basic, { status: 400, text: 'No required SSL certificate was sent' }, /auth_tipo = ssl/],
    ['a redirect', basic, { status: 301, responseHeaders: { location: 'https://nuevo/' } }, /https:\/\/nuevo\//],
    [
      'basic where digest is asked',
      basic,
      { status: 401, responseHeaders: { 'www-authenticate': 'Digest realm="x"' } },
      /pide autenticación Digest.*usa basic/,
    ],
    [
      'a wrong password',
      basic,
      { status: 401, responseHeaders: { 'www-authenticate': 'Basic realm="x"' } },
      /auth_usuario/,
    ],
    ['a signature that is refused', basic, { status: 403, text: '{"error":"Firma inválida"}' }, /«secreto»/],
    ['a signature without a word', { kind: 'ninguna' }, { status: 401, text: 'no signature found' }, /«secreto»/],
    ['no credentials', { kind: 'ninguna' }, { status: 401 }, /pide credenciales/],
    ['a wrong token', { kind: 'bearer', token: 't' }, { status: 401 }, /auth_token/],
    [
      'a wrong key',
      { kind: 'api_key', key: 'k', place: { in: 'query', name: 'api_key' } },
      { status: 401 },
      /auth_parametro/,
    ],
    [
      'a wrong scope',
      { kind: 'oauth2', tokenUrl: '', clientId: '', clientSecret: '', scope: null },
      { status: 401 },
      /auth_alcance/,
    ],
    ['403', basic, { status: 403 }, /permiso/],
    ['404', basic, { status: 404 }, /«ruta»/],
    ['405', basic, { status: 405 }, /no admite POST/],
    ['410', basic, { status: 410 }, /reanudar/],
    ['413', basic, { status: 413 }, /client_max_body_size/],
    ['415', basic, { status: 415 }, /tipo_contenido/],
    ['422', basic, { status: 422 }, /rechaza su contenido/],
    ['429', basic, { status: 429 }, /«limite»/],
    ['500', basic, { status: 500 }, /falló por dentro/],
    ['502', basic, { status: 502 }, /servicio detrás no/],
    ['503', basic, { status: 503 }, /^El servicio no está disponible/],
    [
      '503 that says when',
      basic,
      { status: 503, responseHeaders: { 'retry-after': '120' } },
      /pide esperar \(Retry-After: 120\)/,
    ],
    ['418', basic, { status: 418 }, /HTTP 418/],
  ])('%s', (_name, auth, changes, expected) => {
    const secrets = /signature/.test(_name) ? [SECRET] : []
    expect(diagnose(symptoms(changes), { ...settings(auth), secrets })).toMatch(expected)
  })

  test('where requests are signed, a bare 401 is of the signature first, and one with a challenge of the credentials', () => {
    const signed = { ...settings(), secrets: [SECRET] }
    expect(diagnose(symptoms({ status: 401 }), signed)).toMatch(/«secreto»/)
    const challenge = { 'www-authenticate': 'Basic realm="x"' }
    expect(diagnose(symptoms({ status: 401, responseHeaders: challenge }), signed)).toMatch(/auth_tipo/)
    expect(diagnose(symptoms({ status: 400, text: 'falta razón social' }), signed)).toMatch(/rechaza su contenido/)
  })

  test('a challenge that digest cannot answer', () => {
    const refused = { status: 401, error: 'desafio' as const, errorDetail: 'WWW-Authenticate pide digest qop=auth-int' }
    const challenge = { 'www-authenticate': 'Digest realm="x", qop="auth-int"' }
    expect(diagnose(symptoms({ ...refused, responseHeaders: challenge }), settings(digest))).toMatch(/Digest.*auth-int/)
    expect(diagnose(symptoms(refused), settings(digest))).toMatch(/sin decir qué autenticación/)
  })
})
