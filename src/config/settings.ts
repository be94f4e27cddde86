/**
 * Every setting there is (INTERFACE §2), one row each: what it accepts, its default, its name in `Config`, the variables that
 * may hold it, and what it is for. Reading, the list of known keys, what `verificar` shows and the types of `Config` come from
 * here; a test holds the example file against it. Whatever is not here is a mistake, reported with the nearest of these.
 */
import { METADATA_NETWORKS } from '../model/http.ts'
import * as is from './kinds.ts'
import { decimal, duration, integer, type Kind, orEmpty, secret, size, text, word } from './kinds.ts'
import * as listener from './listener-kinds.ts'

export interface Setting<T = unknown, D = unknown, A = string | null> extends Extras<T> {
  /** Its name in `Config`; null where several settings become one value there, or only some of them are obeyed. */
  readonly as: A
  readonly kind: Kind<T>
  readonly default: D
  /** What it is for; the comment of its line in resthooks.ini.example. */
  readonly says: string
}

interface Extras<T> {
  /** Wins over resthooks.ini. */
  readonly variable?: string
  /** Asked after resthooks.ini: they speak of the project's own database and of any psql. */
  readonly others?: readonly string[]
  /** The values of `estrategia` or of `auth_tipo` with which it has an effect. */
  readonly only?: readonly string[]
  /** `send` obeys it too: it stops where this one is wrong. */
  readonly sends?: true
  /** Where it is not shown as its kind is. */
  show?(value: T): string
  /** Shown as it was written. */
  readonly asWritten?: true
}

export type Section = Readonly<Record<string, Setting>>

export type ValueOf<S> = S extends Setting<infer T, infer D> ? (null extends D ? T | null : T) : never

/** What a section of the table becomes in `Config`. */
export type Values<S extends Section> = {
  readonly [K in keyof S as S[K]['as'] extends string ? S[K]['as'] : never]: ValueOf<S[K]>
}

function row<const A extends string | null, T, D extends T | null>(
  as: A,
  kind: Kind<T>,
  fallback: D,
  says: string,
  extras: Extras<T> = {},
): Setting<T, D, A> {
  return { as, kind, default: fallback, says, ...extras }
}

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const KB = 1024
const MB = 1024 * KB
/** Node's timers overflow beyond 2³¹ ms. */
const LONGEST_TIMER = DAY

/** Before the first section. */
export const ROOT = {
  resthooks_activo: row('active', is.boolean, true, '0: no se encola ni se entrega nada', {
    variable: 'REST_HOOKS_ACTIVO',
  }),
}

const redis = (name: string) => ({ variable: `REST_HOOKS_REDIS_${name}` })

export const REDIS = {
  host: row('host', is.host, '127.0.0.1', 'el servidor', redis('HOST')),
  port: row('port', is.port, 6379, 'su puerto', redis('PORT')),
  usuario: row('username', text, null, 'un usuario con ACL', redis('USERNAME')),
  password: row('password', secret(text), null, 'la clave', redis('PASSWORD')),
  base: row('db', integer(0, 1_000_000), 0, 'el número de base', redis('DB')),
  tls: row('tls', is.boolean, false, 'la conexión va cifrada', redis('TLS')),
  ca: row(null, text, null, 'certificado de la autoridad propia, si tls = 1', {
    ...redis('CA'),
    show: () => 'certificado leído',
  }),
  sentinelas: row('sentinels', is.hostPorts, [], 'servidores de Sentinel', redis('SENTINELS')),
  sentinela_maestro: row('sentinelMaster', text, null, 'el nombre del maestro en ellos', redis('SENTINEL_MASTER')),
}

const postgres = (name: string, libpq: string) => ({
  variable: `REST_HOOKS_DB_${name}`,
  others: [`PROYECTO_DB_${name}`, libpq],
})

const SSL_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const

export const AUDIT = {
  host: row(
    'host',
    is.hostOrSocket,
    '127.0.0.1',
    'o la carpeta de un socket: /var/run/postgresql',
    postgres('HOST', 'PGHOST'),
  ),
  puerto: row('port', is.port, 5432, 'su puerto', postgres('PORT', 'PGPORT')),
  base: row('database', text, 'resthooks', 'la base', postgres('DBNAME', 'PGDATABASE')),
  usuario: row('username', text, 'postgres', 'el usuario de la base', postgres('USERNAME', 'PGUSER')),
  clave: row('password', secret(text), null, 'la clave de ese usuario', postgres('PASSWORD', 'PGPASSWORD')),
  sslmode: row('sslmode', word(SSL_MODES), 'prefer', SSL_MODES.join(' | '), postgres('SSLMODE', 'PGSSLMODE')),
  schema: row('schema', is.schemaName, 'resthooks', 'el esquema de las tablas', { variable: 'REST_HOOKS_DB_SCHEMA' }),
  max_pendientes: row(
    'maxPending',
    integer(0, 1_000_000_000),
    1_000_000,
    'filas que esperan a Postgres antes de que se frenen las entregas; 0 = nunca',
  ),
  max_pendientes_bytes: row(
    'maxPendingBytes',
    size(0, 1024 * 1024 * MB),
    0,
    'lo mismo en bytes de Redis (64M, 2G); 0 = la mitad de su maxmemory, si tiene',
  ),
  retencion: row('retention', duration(0, 36_500 * DAY), 365 * DAY, 'lo que conserva `purgar`; 0 = todo'),
}

export const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const

/**
 * Several workers on one machine (`procesos`, supervisord's `numprocs`, other projects) have one `metricas`: each takes that port, or
 * the next of these that is free.
 */
export const NEIGHBOUR_PORTS = 63

export const WORKERS = {
  concurrencia: row('concurrency', integer(1, 10_000), 100, 'pedidos HTTP en curso por proceso'),
  procesos: row('processes', integer(1, 256), 1, 'procesos de un iniciar-workers'),
  drenaje: row('drain', duration(0, DAY), 30 * SECOND, 'al recibir SIGTERM, cuánto se espera a las entregas en curso'),
  sondeo: row(
    'poll',
    duration(10, MINUTE),
    SECOND,
    'cada cuánto, a más tardar, se miran los reintentos y mensajes nuevos',
  ),
  arriendo: row(
    'lease',
    duration(SECOND, HOUR),
    30 * SECOND,
    'si un worker muere, cuándo toma otro sus entregas (mínimo 1s)',
  ),
  metricas: row(
    'metrics',
    is.listenAddress,
    null,
    'servidor:puerto de /metrics, /salud y /listo (127.0.0.1:9464); vacío = no se publican',
  ),
  nivel: row(
    'level',
    word(LOG_LEVELS),
    'info',
    'de lo que se escribe: error, warn, info o debug (cada entrega y reintento); rige al instante',
  ),
  max_mensaje: row(
    'maxMessage',
    size(64 * KB, 256 * MB),
    16 * MB,
    '`send` no toma uno mayor; el de otro programa va, entero, a entrada_invalida',
    { sends: true },
  ),
}

const LONGEST_WAIT = 365 * DAY
/** The schedule and the jitter that Standard Webhooks recommends. */
const DELAYS = [5 * SECOND, 5 * MINUTE, 30 * MINUTE, ...[2, 5, 10, 14, 20, 24].map((hours) => hours * HOUR)]

/** `[reintentos]` and each `[reintentos NOMBRE]`. */
export const STRATEGY = {
  estrategia: row(
    null,
    word(['lista', 'exponencial', 'lineal', 'fija']),
    'lista',
    'lista | exponencial | lineal | fija',
  ),
  esperas: row(null, is.delays, DELAYS, 'lista: n esperas son n + 1 intentos', { only: ['lista'] }),
  jitter: row(null, is.percent, 20, 'cuánto se corre cada espera al azar, para no llegar todos juntos', {
    show: (value) => `${Math.round(value)}%`,
  }),
  vencimiento: row(null, duration(0, LONGEST_WAIT), 7 * DAY, 'no se reintenta un mensaje más viejo; 0 = no vence'),
  espera_inicial: row(null, duration(1, LONGEST_WAIT), 5 * SECOND, 'exponencial: 5s; lineal y fija: 1m', {
    only: ['exponencial', 'lineal', 'fija'],
  }),
  factor: row(null, decimal(1, 1000), 2, 'exponencial: cada espera es la anterior por este número', {
    only: ['exponencial'],
  }),
  espera_maxima: row(
    null,
    duration(1, LONGEST_WAIT),
    DAY,
    'exponencial y lineal (lineal: espera_inicial, el doble, el triple…)',
    { only: ['exponencial', 'lineal'] },
  ),
  intentos: row(null, integer(1, 10_000), 10, 'en total, con el primero (por omisión 10)', {
    only: ['exponencial', 'lineal', 'fija'],
  }),
}

const AUTH_TYPES = ['ninguna', 'basic', 'digest', 'bearer', 'api_key', 'oauth2', 'ssl'] as const
const NAMED = ['basic', 'digest', 'oauth2']
const TOKEN = ['bearer', 'api_key']

/** What a listener takes from its client unless it says otherwise. */
export const CONNECTION = {
  auth_tipo: row(null, word(AUTH_TYPES), 'ninguna', AUTH_TYPES.join(' | ')),
  auth_usuario: row(null, text, null, 'el usuario', { only: [...NAMED, 'api_key'] }),
  auth_password: row(null, secret(text), null, 'su clave', { only: [...NAMED, ...TOKEN] }),
  auth_token: row(null, secret(is.headerText), null, 'la credencial', { only: TOKEN }),
  auth_parametro: row(null, listener.authPlace, null, 'dónde viaja la de api_key', { only: ['api_key'] }),
  auth_url: row(null, listener.httpUrl, null, 'donde se pide el token', { only: ['oauth2'] }),
  auth_alcance: row(null, text, null, 'para qué se pide (opcional)', { only: ['oauth2'] }),
  cert_file: row(null, text, null, 'puede traer también la clave privada', { show: () => 'certificado leído' }),
  key_file: row(null, text, null, 'la clave privada de cert_file', { show: () => 'clave leída' }),
  cert_pwd: row(null, secret(text), null, 'la clave que abre key_file'),
  ca_cert: row(null, text, null, 'autoridad propia del servidor, con cualquier auth_tipo', {
    show: () => 'certificado leído',
  }),
  version: row(null, listener.version, null, 'agrega v1/ a la dirección', { asWritten: true }),
}

export const CLIENT = {
  to: row(null, listener.httpUrl, null, 'la dirección'),
  ...CONNECTION,
}

/** What a listener receives, and the request that it becomes. */
export const REQUEST = {
  activo: row('active', is.boolean, true, '0: no recibe nada'),
  eventos: row('events', listener.events, ['*'], 'separados por comas; * reemplaza cualquier texto; por omisión *'),
  url: row(null, listener.httpUrl, null, 'la dirección'),
  cliente: row(null, text, null, 'o bien servicio = NOMBRE (el cliente.ini de toba), o bien url = https://…', {
    asWritten: true,
  }),
  servicio: row(null, orEmpty(listener.serviceName), null, 'el cliente.ini de toba', { asWritten: true }),
  ruta: row('path', listener.path, '', 'con {id}, {evento} y {datos.campo}; la ruta del mensaje manda sobre esta'),
  metodo: row('method', listener.method, 'POST', 'POST | PUT | PATCH | DELETE | GET | HEAD | OPTIONS'),
  cabeceras: row('headers', listener.headers, [], 'una por línea'),
  cabeceras_del_mensaje: row(
    'replaceableHeaders',
    listener.headerNames,
    [],
    'cuáles de esas puede cambiar un mensaje (Accept-Language, X-Otra); vacío = ninguna',
    { asWritten: true },
  ),
  tipo_contenido: row('contentType', listener.contentType, null, 'vacío = el del mensaje'),
}

/** How and when a listener's deliveries are made, and what becomes of them. */
export const DELIVERY = {
  secreto: row(
    'secrets',
    secret(listener.secrets),
    [],
    'firma Standard Webhooks (whsec_…); dos, con coma, mientras se cambia',
  ),
  espera_conexion: row(
    'connectTimeout',
    duration(1, HOUR),
    5 * SECOND,
    'con el DNS incluido; si este calla, sirven hasta 1h las últimas direcciones buenas',
  ),
  espera_total: row(
    'totalTimeout',
    duration(1, LONGEST_TIMER),
    30 * SECOND,
    'desde que se conecta hasta el último byte',
  ),
  max_respuesta: row('maxResponse', size(0, 64 * MB), 64 * KB, 'lo que se guarda de la respuesta; el resto no se lee'),
  redirecciones: row(
    'redirects',
    integer(0, 20),
    0,
    '0 = una respuesta 3xx es un fallo; si no, se siguen las que repiten el pedido (307, 308)',
  ),
  redes_bloqueadas: row(
    'blockedNetworks',
    listener.networks,
    METADATA_NETWORKS,
    'las que se nombran se suman; «ninguna» quita estas',
  ),
  concurrencia: row('concurrency', integer(1, 10_000), 10, 'pedidos a la vez a este listener, por proceso'),
  limite: row(
    'rateLimit',
    listener.rateLimit,
    null,
    '100/s, 600/m, 5000/h: nunca más en un período, reintentos incluidos, repartidos; entre todos los workers; vacío = sin límite',
  ),
  orden: row(
    'order',
    word(['libre', 'estricto']),
    'libre',
    'estricto: de a uno y en orden; un reintento retiene a los que siguen',
  ),
  reintentos: row('strategyName', text, null, 'por omisión, la sección [reintentos]'),
  reintentar_si: row('retryIf', listener.statusRules, [], 'estados, clases y «red» que se reintentan además'),
  no_reintentar_si: row('noRetryIf', listener.statusRules, [], 'estados, clases y «red» que no se reintentan'),
  corte_porcentaje: row('threshold', is.percent, 70, '0 = sin corte', { show: String }),
  corte_minimo: row('minimum', integer(1, 1_000_000), 10, 'intentos en la ventana para que el porcentaje cuente'),
  corte_ventana: row('window', duration(SECOND, LONGEST_TIMER), 5 * MINUTE, 'en la que se cuentan los fallos'),
  corte_pausa: row('pause', duration(100, LONGEST_TIMER), 30 * SECOND, 'durante la que no se llama'),
  on_success: row('onSuccess', listener.callback, null, 'al terminar bien una entrega'),
  on_failure: row('onFailure', listener.callback, null, 'al terminar mal una entrega'),
  auditar_cuerpo: row('auditBody', is.boolean, true, 'si el cuerpo del mensaje queda en la auditoría'),
  auditar_respuesta: row('auditResponse', is.boolean, true, 'si el de la respuesta queda en la auditoría'),
}

const ROLES = ['lectura', 'operacion', 'administracion'] as const

/** The web page. */
export const PANEL = {
  direccion: row(
    'address',
    is.listenAddress,
    { host: '127.0.0.1', port: 8580 },
    'servidor:puerto; fuera de esta máquina pide usuarios con clave, o un proxy',
  ),
  prefijo: row('prefix', is.pathPrefix, '', 'la ruta con que la publica un proxy: /resthooks'),
  nombres: row(
    'names',
    is.serverNames,
    [],
    'con qué nombres se llega a ella, además de direccion: resthooks.uni.edu.ar',
  ),
  proxy: row('proxy', is.address, null, 'la IP del proxy que dice quién entró; vacío = ninguno'),
  cabecera_usuario: row('userHeader', is.headerName, 'X-Remote-User', 'la cabecera con que lo dice'),
}

/** Who may use it. */
export const USER = {
  clave: row(
    'password',
    secret(is.passwordEntry),
    null,
    'la hace: resthooks panel --clave; sin ella entra sólo por el proxy',
  ),
  rol: row(
    'role',
    word(ROLES),
    'lectura',
    'lectura: mira; operacion: además reenvía, pausa, reanuda y prueba; administracion: además descarta',
  ),
  ver_cuerpos: row('bodies', is.boolean, true, '0: no ve lo que dicen los mensajes y las respuestas'),
}

/** Sections without a name, and those of which there can be many. */
export const SINGLE_SECTIONS: Readonly<Record<string, Section>> = {
  redis_config: REDIS,
  auditoria: AUDIT,
  workers: WORKERS,
  reintentos: STRATEGY,
  panel: PANEL,
}
export const NAMED_SECTIONS: Readonly<Record<string, Section>> = {
  reintentos: STRATEGY,
  cliente: CLIENT,
  listener: { ...REQUEST, ...CONNECTION, ...DELIVERY },
  usuario: USER,
}

export const OWN_VARIABLES: readonly string[] = [
  ...[ROOT, REDIS, AUDIT].flatMap((section: Section) =>
    Object.values(section).flatMap(({ variable }) => variable ?? []),
  ),
  'RESTHOOKS_INI',
  'RESTHOOKS_ENV',
]
