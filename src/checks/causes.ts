/**
 * What is said of a failure: one short sentence and what helps, for every place that tells why a listener gets nothing (`estado`,
 * `ver`, the page, the log). Pure; `delivery/diagnose.ts` has more to say, of one attempt that it saw whole.
 */

import type { AuthConfig, ListenerConfig } from '../config/config.ts'
import { aimed, typed } from '../model/typed.ts'
import type { Failure } from '../queue/situation.ts'

/** What a failure is told from. */
type Failed = Omit<Failure, 'cuando'>

interface Cause {
  /** A sentence without a full stop. */
  readonly says: string
  /** What to do: a command without `resthooks`, or a sentence that begins with what a person does. */
  readonly remedy: (listener: ListenerLike) => string
}

type ListenerLike = Pick<ListenerConfig, 'name'> & Partial<Pick<ListenerConfig, 'auth'>>

const tryIt = ({ name }: ListenerLike) => `probar ${name}`
const askThem = () => 'avisar a quien administra ese servidor'
const failures = ({ name }: ListenerLike) => `auditoria --listener ${name} --estado fallida`

/** The first that fits: code, what its detail must hold, what is said, what helps. */
const BY_CODE: readonly (readonly [code: string, detail: RegExp | null, says: string, remedy: Cause['remedy']])[] = [
  ['dns', /ENOTFOUND|ENODATA/, 'su nombre no existe en el DNS', tryIt],
  ['dns', null, 'el DNS no responde por su nombre', tryIt],
  ['bloqueada', null, 'su dirección está en redes_bloqueadas', () => 'corregir url o redes_bloqueadas'],
  ['timeout', /espera_conexion|conectaba|ETIMEDOUT/, 'no acepta la conexión (¿un firewall?)', tryIt],
  ['timeout', /sin que la respuesta terminara/, 'empieza a responder y no termina a tiempo', tryIt],
  ['timeout', null, 'acepta la conexión y no responde a tiempo', tryIt],
  ['conexion', /ECONNREFUSED/, 'nadie atiende en el puerto', tryIt],
  ['conexion', /EHOSTUNREACH|ENETUNREACH/, 'no se llega a su dirección', tryIt],
  ['conexion', null, 'corta la conexión sin responder', tryIt],
  ['tls', /CERT_HAS_EXPIRED/, 'su certificado venció', askThem],
  ['tls', /CERT_NOT_YET_VALID/, 'su certificado todavía no vale (¿el reloj?)', tryIt],
  ['tls', /ALTNAME_INVALID/, 'su certificado es de otro nombre', tryIt],
  [
    'tls',
    /SELF_SIGNED|UNABLE_TO/,
    'su certificado lo firma una autoridad desconocida',
    () => 'poner ca_cert en resthooks.ini',
  ],
  ['tls', /wrong version number|packet length too long|http request/i, 'en ese puerto no se habla TLS', tryIt],
  [
    'tls',
    /certificado de cliente \(cert_file\) v/,
    'nuestro certificado de cliente ya no vale',
    () => 'cambiar cert_file en resthooks.ini',
  ],
  [
    'tls',
    /certificado de cliente|ERR_OSSL|PKCS12|mac verify/,
    'no se pudo cargar el certificado de cliente',
    () => 'cambiar cert_file en resthooks.ini',
  ],
  [
    'tls',
    /certificate required|handshake failure|bad certificate|unknown ca/i,
    'rechaza el certificado de cliente',
    tryIt,
  ],
  ['tls', null, 'no se pudo negociar TLS', tryIt],
  ['auth', null, 'no se obtuvo el token', () => 'corregir auth_url o auth_password en resthooks.ini'],
  ['desafio', null, 'pide otra autenticación que la de auth_tipo', () => 'corregir auth_tipo en resthooks.ini'],
  ['redireccion', null, 'redirige, y no se sigue', () => 'corregir url en resthooks.ini'],
  ['solicitud', null, 'con los datos del mensaje no se arma el pedido', failures],
  ['respuesta', null, 'no responde HTTP válido', tryIt],
]

const SECRET_OF: Readonly<Record<AuthConfig['kind'], string>> = {
  ninguna: 'auth_tipo',
  basic: 'auth_password',
  digest: 'auth_password',
  bearer: 'auth_token',
  api_key: 'auth_token',
  oauth2: 'auth_alcance',
  ssl: 'cert_file',
}

const credentials = ({ auth }: ListenerLike) =>
  `${auth?.kind === 'ninguna' ? 'poner' : 'corregir'} ${auth ? SECRET_OF[auth.kind] : 'auth_…'} en resthooks.ini`

const BY_STATUS: readonly (readonly [statuses: readonly number[], says: string, remedy: Cause['remedy']])[] = [
  [[401], 'rechaza usuario o clave', credentials],
  [[403], 'las credenciales no tienen permiso', askThem],
  [[404], 'en esa dirección no hay nada', ({ name }) => `corregir url o ruta de ${name}`],
  [[405, 501], 'no admite ese método', ({ name }) => `corregir metodo o ruta de ${name}`],
  [[407], 'un proxy en el camino pide credenciales', tryIt],
  [[408, 504], 'se quedó sin tiempo', askThem],
  [[410], 'dice que ya no existe', ({ name }) => `corregir su url; luego: reanudar ${name}`],
  [[413], 'el mensaje es demasiado grande para él', askThem],
  [[406, 415], 'no acepta ese tipo de contenido', ({ name }) => `corregir tipo_contenido de ${name}`],
  [[400, 422], 'rechaza el contenido', failures],
  [[411], 'exige Content-Length', tryIt],
  [[429], 'pide menos pedidos', ({ name }) => `poner un limite menor a ${name}`],
  [[502, 503], 'su servicio no responde', askThem],
]

function causeOf({ codigo, http, detalle }: Failed): Cause {
  if (codigo !== null) {
    const row = BY_CODE.find(([code, detail]) => code === codigo && (detail?.test(detalle ?? '') ?? true))
    return row ? { says: row[2], remedy: row[3] } : { says: `falla: ${detalle ?? codigo}`, remedy: tryIt }
  }
  if (http === null) return { says: detalle ?? 'falla, y no se sabe por qué', remedy: tryIt }
  const row = BY_STATUS.find(([statuses]) => statuses.includes(http))
  if (row) return { says: `${http}: ${row[1]}`, remedy: row[2] }
  if (http >= 500) return { says: `${http}: falla por dentro`, remedy: askThem }
  if (http >= 300 && http < 400)
    return { says: `${http}: redirige, y no se sigue`, remedy: () => 'corregir url en resthooks.ini' }
  return { says: `${http}: se cuenta como falla`, remedy: tryIt }
}

/** `401: rechaza usuario o clave` */
export function failureSentence(failed: Failed): string {
  return causeOf(failed).says
}

/** What helps against it: a command without `resthooks`, or a sentence that begins with what a person does. */
export function failureRemedy(failed: Failed, listener: ListenerLike): string {
  return causeOf(failed).remedy(listener)
}

/** What a remedy says in short, alone or after what has to be done first (`corregir su url; luego: reanudar x`). */
const COMMAND =
  /(^|: )(?=(?:probar|ver|verificar|auditoria|reanudar|reenviar|recuperar|iniciar-workers|entradas|descartar)(?: |$|,))(.*)$/s

/** A remedy for a column of them: its command is typed behind `resthooks`. */
export function inColumn(remedy: string): string {
  return remedy.replace(COMMAND, (_all, before: string, command: string) => before + aimed(command))
}

/** A remedy with its command as it is typed, for where it is not one of many in a column. */
export function toBeTyped(remedy: string): string {
  return remedy.replace(COMMAND, (_all, before: string, command: string) => before + typed(command))
}
