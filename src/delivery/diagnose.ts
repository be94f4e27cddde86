/**
 * One sentence for the person who reads the outcome of `probar`: what is wrong, and what to change.
 *
 * Pure: a table of symptoms, the first that fits wins.
 */

import type { ListenerConfig } from '../config/config.ts'
import { typed } from '../model/typed.ts'
import type { RequestRecord } from './mask.ts'

export type Symptoms = Pick<
  RequestRecord,
  'method' | 'status' | 'error' | 'errorDetail' | 'responseHeaders' | 'durationMs'
> & {
  /** The beginning of the answer's body, as text. */
  readonly text: string
}

type Settings = Pick<
  ListenerConfig,
  'name' | 'url' | 'auth' | 'secrets' | 'connectTimeout' | 'totalTimeout' | 'redirects' | 'blockedNetworks'
> & {
  readonly hasClientCertificate: boolean
}

interface Case extends Symptoms {
  readonly listener: Settings
  readonly host: string
  readonly port: string
  readonly detail: string
  readonly location: string | null
}

type Row = readonly [fits: (c: Case) => boolean, says: (c: Case) => string]

export function diagnose(symptoms: Symptoms, listener: Settings): string {
  const url = URL.canParse(listener.url) ? new URL(listener.url) : null
  const location = symptoms.responseHeaders?.location ?? null
  const subject: Case = {
    ...symptoms,
    listener,
    host: url?.hostname ?? listener.url,
    port: url?.port || (url?.protocol === 'https:' ? '443' : '80'),
    detail: symptoms.errorDetail ?? '',
    location: typeof location === 'string' ? location : null,
  }
  const rows = symptoms.error === null ? BY_STATUS : BY_ERROR
  return (rows.find(([fits]) => fits(subject)) ?? rows.at(-1)!)[1](subject)
}

const error = (code: string, detail?: RegExp) => (c: Case) => c.error === code && (detail?.test(c.detail) ?? true)

const isPlain = (c: Case) => c.listener.url.startsWith('http:')

const BY_ERROR: readonly Row[] = [
  [
    error('dns', /ENOTFOUND|ENODATA/),
    (c) =>
      `El nombre ${c.host} no existe en el DNS: revise «url» (o «to» del cliente) del listener y el DNS de este equipo.`,
  ],
  [error('dns'), (c) => `El DNS de este equipo no responde por ${c.host}: revise /etc/resolv.conf y la red.`],
  [
    error('bloqueada'),
    (c) =>
      `${c.host} está en una red de «redes_bloqueadas» (${c.listener.blockedNetworks.join(', ')}): si es la que corresponde, déjela fuera de esa lista (las que vienen de fábrica se quitan con «ninguna»); si no, corrija «url».`,
  ],
  [
    error('timeout', /espera_conexion|conectaba|ETIMEDOUT/),
    (c) =>
      `${c.host} no acepta la conexión en el puerto ${c.port}: suele ser un firewall o una dirección equivocada; si el servidor está lejos, aumente «espera_conexion» (${c.listener.connectTimeout} ms).`,
  ],
  [
    error('timeout', /sin que la respuesta terminara/),
    (c) =>
      `El servidor empezó a responder y no terminó a tiempo: revise su carga o aumente «espera_total» (${c.listener.totalTimeout} ms).`,
  ],
  [
    error('timeout'),
    (c) =>
      `El servidor aceptó la conexión y no respondió: revise su carga o aumente «espera_total» (${c.listener.totalTimeout} ms).`,
  ],
  [
    error('conexion', /ECONNREFUSED/),
    (c) => `Nadie atiende en ${c.host}, puerto ${c.port}: revise el puerto de «url» y que el servicio esté levantado.`,
  ],
  [
    error('conexion', /EHOSTUNREACH|ENETUNREACH/),
    (c) => `Desde este equipo no se llega a ${c.host}: revise las rutas de red y la VPN.`,
  ],
  [
    error('conexion', /EMFILE|ENFILE|EADDRNOTAVAIL/),
    () => 'Este equipo se quedó sin archivos o puertos: suba el límite (ulimit -n, LimitNOFILE) o baje «concurrencia».',
  ],
  [
    error('conexion'),
    (c) => {
      const certificate = c.listener.hasClientCertificate
        ? 'acepta el certificado de cliente'
        : 'exige un certificado de cliente (auth_tipo = ssl)'
      const also = isPlain(c) ? '«url» debe empezar con https' : certificate
      return `${c.host} cortó la conexión sin responder: revise el registro del servidor, y si ${also}.`
    },
  ],
  [
    error('tls', /certificado de cliente \(cert_file\) v/),
    (c) =>
      `Nuestro certificado de cliente ya no vale (${c.detail}): pida otro a quien lo emitió y póngalo en «cert_file».`,
  ],
  [
    error('tls', /certificado de cliente|ERR_OSSL|PKCS12|mac verify/),
    () =>
      'No se pudo cargar el certificado de cliente: revise «cert_file», «key_file», «cert_pwd» y «ca_cert» (un .p12 antiguo se convierte con openssl pkcs12 -legacy).',
  ],
  [
    error('tls', /CERT_HAS_EXPIRED/),
    (c) => `El certificado de ${c.host} está vencido: hay que renovarlo en ese servidor.`,
  ],
  [
    error('tls', /CERT_NOT_YET_VALID/),
    (c) => `El certificado de ${c.host} todavía no vale: revise el reloj de este equipo.`,
  ],
  [
    error('tls', /ALTNAME_INVALID/),
    (c) => `El certificado que muestra el servidor no es de ${c.host}: use en «url» un nombre que figure en él.`,
  ],
  [
    error('tls', /SELF_SIGNED|UNABLE_TO/),
    (c) =>
      `El certificado de ${c.host} lo firma una autoridad que aquí no se conoce: indique su certificado en «ca_cert», o complete la cadena en el servidor.`,
  ],
  [
    error('tls', /wrong version number|packet length too long|http request/i),
    (c) => `En ${c.host}, puerto ${c.port}, no se habla TLS: ¿«url» debe empezar con http, o tener otro puerto?`,
  ],
  [
    error('tls', /certificate required|handshake failure|bad certificate|unknown ca/i),
    (c) =>
      c.listener.hasClientCertificate
        ? `${c.host} rechazó el certificado de cliente: revise que lo firme la autoridad que ese servidor acepta y que no esté vencido.`
        : `${c.host} exige un certificado de cliente: use auth_tipo = ssl con «cert_file» y «key_file».`,
  ],
  [error('tls'), (c) => `No se pudo negociar TLS con ${c.host}: revise qué versiones y cifrados acepta ese servidor.`],
  [error('auth'), () => 'No se obtuvo el token: revise «auth_url», «auth_usuario», «auth_password» y «auth_alcance».'],
  [
    error('desafio'),
    (c) =>
      asks(c) === null
        ? `El servidor rechaza el pedido (401) sin decir qué autenticación espera: ¿«auth_tipo» es ${c.listener.auth.kind}?`
        : `El servidor pide autenticación ${asks(c)}, de un modo que ${c.listener.auth.kind} no contesta (${c.detail}): revise «auth_tipo».`,
  ],
  [error('redireccion'), (c) => `La redirección no se sigue (${c.detail}): ponga en «url» la dirección final.`],
  [
    error('solicitud', /datos del mensaje no lo tienen/),
    (c) =>
      `Con estos datos no se puede armar el pedido: ${c.detail}. Pruebe con unos que lo tengan: ${typed(`probar ${c.listener.name} '{…}'`)}`,
  ],
  [error('solicitud'), (c) => `Con estos datos no se puede armar el pedido: ${c.detail}.`],
  [
    error('respuesta', /respondió 101/),
    (c) =>
      `El servidor respondió HTTP 101, un cambio de protocolo que no se pidió: ¿«url» es la de un WebSocket? Ponga la del servicio REST (${c.listener.name}).`,
  ],
  [error('interrumpido'), () => 'El pedido se interrumpió antes de terminar.'],
  [
    () => true,
    (c) =>
      `${c.host}, puerto ${c.port}, no responde HTTP válido: ¿es el puerto correcto?${isPlain(c) ? ', ¿«url» debe empezar con https?' : ''}`,
  ],
]

const status =
  (...codes: number[]) =>
  (c: Case) =>
    codes.includes(c.status ?? 0)
const refused = (kind: string) => (c: Case) => c.status === 401 && c.listener.auth.kind === kind
const asks = (c: Case) =>
  /^\s*(\w+)/.exec([c.responseHeaders?.['www-authenticate'] ?? ''].flat().join(','))?.[1] ?? null

const BY_STATUS: readonly Row[] = [
  [
    (c) => c.status !== null && c.status >= 200 && c.status < 300,
    (c) => `El listener aceptó el pedido (HTTP ${c.status} en ${Math.round(c.durationMs)} ms).`,
  ],
  [
    (c) => c.status === 400 && /plain HTTP request was sent to HTTPS port|speaking plain HTTP to an SSL/i.test(c.text),
    () => 'Ese puerto espera TLS: «url» debe empezar con https.',
  ],
  [
    (c) => c.status === 400 && /SSL certificate|No required SSL/i.test(c.text),
    (c) =>
      c.listener.hasClientCertificate
        ? 'El servidor rechazó el certificado de cliente: revise quién lo firma y si está vencido.'
        : 'El servidor exige un certificado de cliente: use auth_tipo = ssl con «cert_file» y «key_file».',
  ],
  [
    (c) => c.status !== null && c.status >= 300 && c.status < 400 && c.location !== null,
    (c) => `El servidor redirige a ${c.location}: ponga esa dirección en «url» y «ruta», o permita «redirecciones».`,
  ],
  [
    (c) => isUnsure(c) && c.listener.secrets.length > 0,
    () =>
      'El servidor no acepta la firma, o quien la verifica no tiene este «secreto»: compárelo con el del receptor, y los relojes de los dos.',
  ],
  [
    (c) => c.status === 401 && asks(c) !== null && asks(c)!.toLowerCase() !== scheme(c),
    (c) => `El servidor pide autenticación ${asks(c)} y el listener usa ${c.listener.auth.kind}: cambie «auth_tipo».`,
  ],
  [
    refused('oauth2'),
    () => 'El servidor no acepta el token: revise «auth_alcance» y que «auth_url» sea la de ese servidor.',
  ],
  [refused('bearer'), () => 'El servidor no acepta el token: revise «auth_token».'],
  [refused('api_key'), () => 'El servidor no acepta la clave: revise «auth_token» y «auth_parametro».'],
  [refused('ninguna'), () => 'El servidor pide credenciales: configure «auth_tipo», «auth_usuario» y «auth_password».'],
  [status(401), () => 'El servidor no acepta las credenciales: revise «auth_usuario» y «auth_password».'],
  [
    status(403),
    () =>
      'Las credenciales son válidas pero no tienen permiso (o el servidor filtra por dirección IP): se arregla en ese servidor.',
  ],
  [status(404), () => 'En esa dirección no hay nada: revise «url» y «ruta» (¿falta /rest/ o la versión?).'],
  [status(405, 501), (c) => `El servidor no admite ${c.method} en esa dirección: revise «metodo» y «ruta».`],
  [status(407), () => 'Un proxy en el camino pide credenciales: resthooks conecta sin proxy; revise la red.'],
  [status(408, 504), () => 'El servidor (o el proxy delante) se quedó sin tiempo: revise su carga.'],
  [
    status(410),
    () => 'El servidor dice que ese recurso ya no existe: el listener quedaría desactivado hasta «resthooks reanudar».',
  ],
  [
    status(413),
    () => 'El mensaje es demasiado grande para ese servidor: suba su límite (client_max_body_size, post_max_size).',
  ],
  [status(415, 406), () => 'El servidor no acepta ese tipo de contenido: revise «tipo_contenido».'],
  [
    status(400, 422),
    () => 'El servidor entendió el pedido y rechaza su contenido: pruebe con DATOS reales y lea la respuesta.',
  ],
  [status(411), () => 'El servidor exige Content-Length: hay un proxy en el camino que lo quita.'],
  [status(429), () => 'El servidor limita la cantidad de pedidos: configure «limite» en el listener.'],
  [
    (c) => c.status === 503 && c.responseHeaders?.['retry-after'] !== undefined,
    (c) =>
      `El servidor pide esperar (Retry-After: ${[c.responseHeaders!['retry-after']].flat()[0]}): está en mantenimiento o sobrecargado; los reintentos respetan esa espera.`,
  ],
  [status(503), () => 'El servicio no está disponible: revise que esté levantado, y si hay un proxy, que llegue a él.'],
  [status(502), () => 'El proxy responde pero el servicio detrás no: revise que esté levantado.'],
  [
    (c) => (c.status ?? 0) >= 500,
    (c) => `El servidor falló por dentro (HTTP ${c.status}): la causa está en su registro de errores.`,
  ],
  [() => true, (c) => `El servidor respondió HTTP ${c.status}, que se cuenta como falla.`],
]

/** Refused with a word about the signature, or without one on what credentials would do. */
function isUnsure(c: Case): boolean {
  if (![400, 401, 403].includes(c.status ?? 0)) return false
  if (/firma|signature|webhook-(id|timestamp)|hmac/i.test(c.text)) return true
  return c.status === 401 && c.listener.auth.kind === 'ninguna' && asks(c) === null
}

/** The scheme that a listener's authentication speaks in `WWW-Authenticate`. */
function scheme(c: Case): string | null {
  const { kind } = c.listener.auth
  if (kind === 'basic' || kind === 'digest') return kind
  return kind === 'bearer' || kind === 'oauth2' ? 'bearer' : null
}
