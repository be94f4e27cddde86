/**
 * Every section and key that resthooks.ini may have (INTERFACE §2). Whatever is not here is a mistake, reported with the
 * nearest of these.
 */
export const ROOT_KEYS = ['resthooks_activo'] as const

export const REDIS_KEYS = [
  'host',
  'port',
  'usuario',
  'password',
  'base',
  'tls',
  'ca',
  'sentinelas',
  'sentinela_maestro',
] as const

export const AUDIT_KEYS = [
  'host',
  'puerto',
  'base',
  'usuario',
  'clave',
  'sslmode',
  'schema',
  'max_pendientes',
  'max_pendientes_bytes',
  'retencion',
] as const

export const WORKERS_KEYS = [
  'concurrencia',
  'procesos',
  'drenaje',
  'sondeo',
  'arriendo',
  'metricas',
  'nivel',
  'max_mensaje',
] as const

export const STRATEGY_KEYS = [
  'estrategia',
  'esperas',
  'jitter',
  'vencimiento',
  'espera_inicial',
  'factor',
  'espera_maxima',
  'intentos',
] as const

/** What a listener takes from its client unless it says otherwise. */
export const CONNECTION_KEYS = [
  'auth_tipo',
  'auth_usuario',
  'auth_password',
  'auth_token',
  'auth_parametro',
  'auth_url',
  'auth_alcance',
  'cert_file',
  'key_file',
  'cert_pwd',
  'ca_cert',
  'version',
] as const

export const CLIENT_KEYS = ['to', ...CONNECTION_KEYS] as const

export const LISTENER_KEYS = [
  'activo',
  'eventos',
  'url',
  'cliente',
  'servicio',
  'ruta',
  'metodo',
  'cabeceras',
  'cabeceras_del_mensaje',
  'tipo_contenido',
  ...CONNECTION_KEYS,
  'secreto',
  'espera_conexion',
  'espera_total',
  'max_respuesta',
  'redirecciones',
  'redes_bloqueadas',
  'concurrencia',
  'limite',
  'orden',
  'reintentos',
  'reintentar_si',
  'no_reintentar_si',
  'corte_porcentaje',
  'corte_minimo',
  'corte_ventana',
  'corte_pausa',
  'on_success',
  'on_failure',
  'auditar_cuerpo',
  'auditar_respuesta',
] as const

/** Sections without a name, and those of which there can be many. */
export const SINGLE_SECTIONS: Readonly<Record<string, readonly string[]>> = {
  redis_config: REDIS_KEYS,
  auditoria: AUDIT_KEYS,
  workers: WORKERS_KEYS,
  reintentos: STRATEGY_KEYS,
}
export const NAMED_SECTIONS: Readonly<Record<string, readonly string[]>> = {
  reintentos: STRATEGY_KEYS,
  cliente: CLIENT_KEYS,
  listener: LISTENER_KEYS,
}

/** Prefix of our variables + the setting's own name. */
export const REDIS_VARIABLES = {
  host: 'REST_HOOKS_REDIS_HOST',
  port: 'REST_HOOKS_REDIS_PORT',
  usuario: 'REST_HOOKS_REDIS_USERNAME',
  password: 'REST_HOOKS_REDIS_PASSWORD',
  base: 'REST_HOOKS_REDIS_DB',
  tls: 'REST_HOOKS_REDIS_TLS',
  ca: 'REST_HOOKS_REDIS_CA',
  sentinelas: 'REST_HOOKS_REDIS_SENTINELS',
  sentinela_maestro: 'REST_HOOKS_REDIS_SENTINEL_MASTER',
} as const satisfies Record<(typeof REDIS_KEYS)[number], string>

/**
 * The audit database's variables. `project` and `libpq` are asked after resthooks.ini: they speak of the project's own
 * database and of any psql, so what was written for the audit in particular wins over them.
 */
export const AUDIT_VARIABLES = {
  host: { own: 'REST_HOOKS_DB_HOST', others: ['PROYECTO_DB_HOST', 'PGHOST'] },
  puerto: { own: 'REST_HOOKS_DB_PORT', others: ['PROYECTO_DB_PORT', 'PGPORT'] },
  base: { own: 'REST_HOOKS_DB_DBNAME', others: ['PROYECTO_DB_DBNAME', 'PGDATABASE'] },
  usuario: { own: 'REST_HOOKS_DB_USERNAME', others: ['PROYECTO_DB_USERNAME', 'PGUSER'] },
  clave: { own: 'REST_HOOKS_DB_PASSWORD', others: ['PROYECTO_DB_PASSWORD', 'PGPASSWORD'] },
  sslmode: { own: 'REST_HOOKS_DB_SSLMODE', others: ['PROYECTO_DB_SSLMODE', 'PGSSLMODE'] },
  schema: { own: 'REST_HOOKS_DB_SCHEMA', others: [] },
} as const

export const ACTIVE_VARIABLE = 'REST_HOOKS_ACTIVO'

export const OWN_VARIABLES: readonly string[] = [
  ACTIVE_VARIABLE,
  ...Object.values(REDIS_VARIABLES),
  ...Object.values(AUDIT_VARIABLES).map(({ own }) => own),
  'RESTHOOKS_INI',
  'RESTHOOKS_ENV',
]

/** Keys whose value must never be shown. */
const SECRET = /passw|clave|token|secreto|secret|pwd|credencial|cabeceras/i

export function isSecret(key: string): boolean {
  return SECRET.test(key)
}
