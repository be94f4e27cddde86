/** Each setting with its value and where it came from. Secrets are never shown. */
import type { AuthConfig, Config, ListenerConfig, Origin, RetryStrategy } from '../config/config.ts'
import { ruleText } from '../config/listener-kinds.ts'
import { formatDuration, formatSize } from '../config/quantities.ts'
import { isSecret } from '../config/settings.ts'
import { maskUrl } from '../delivery/mask.ts'

export interface SettingRow {
  readonly ajuste: string
  /** `***` for a secret; null where it has no value. */
  readonly valor: string | null
  readonly origen: string
}

/** In the order in which they were read. */
export function settingRows(config: Config): SettingRow[] {
  return [...config.origins].map(([name, origin]) => ({
    ajuste: name,
    valor: shown(config, name, origin.written),
    origen: originText(origin),
  }))
}

export function originText(origin: Origin): string {
  switch (origin.kind) {
    case 'environment':
      return `entorno, ${origin.variable}`
    case 'env-file':
      return `${origin.file}, ${origin.variable}`
    case 'ini':
      return origin.line === null ? origin.file : `${origin.file}:${origin.line}`
    case 'default':
      return 'por omisión'
  }
}

/** @param written for what the configuration holds in another form: the client of a listener, a strategy that nobody uses */
function shown(config: Config, name: string, written: string | null): string | null {
  const at = name.lastIndexOf('.')
  const [section, key] = [name.slice(0, Math.max(0, at)), name.slice(at + 1)]
  const value = settingOf(config, section, key) ?? (written && maskUrl(written))
  if (value === null || value === '') return null
  if (isSecret(key)) return '***'
  return typeof value === 'boolean' ? (value ? '1' : '0') : String(value)
}

function settingOf(config: Config, section: string, key: string): unknown {
  if (section === '') return key === 'resthooks_activo' ? config.active : null
  if (section === 'redis_config') return REDIS[key]?.(config.redis)
  if (section === 'auditoria') return AUDIT[key]?.(config.audit)
  if (section === 'workers') return WORKERS[key]?.(config.workers)
  if (section === 'reintentos') return STRATEGY[key]?.(config.defaultStrategy)
  if (section.startsWith('reintentos ')) {
    const strategy = strategyNamed(config, section.slice('reintentos '.length))
    return strategy && STRATEGY[key]?.(strategy)
  }
  const listener = section.startsWith('listener ') ? config.listeners.get(section.slice('listener '.length)) : undefined
  return listener && LISTENER[key]?.(listener)
}

/** Those that no listener uses are not part of the configuration. */
function strategyNamed({ listeners }: Config, name: string): RetryStrategy | undefined {
  return [...listeners.values()].map(({ strategy }) => strategy).find((strategy) => strategy.name === name)
}

type Shower<T> = Readonly<Record<string, (from: T) => unknown>>

const REDIS: Shower<Config['redis']> = {
  host: ({ host }) => host,
  port: ({ port }) => port,
  usuario: ({ username }) => username,
  password: ({ password }) => password,
  base: ({ db }) => db,
  tls: ({ tls }) => tls,
  ca: ({ ca }) => ca && 'certificado leído',
  sentinelas: ({ sentinels }) => sentinels.map(({ host, port }) => `${host}:${port}`).join(', '),
  sentinela_maestro: ({ sentinelMaster }) => sentinelMaster,
}

const AUDIT: Shower<Config['audit']> = {
  host: ({ host }) => host,
  puerto: ({ port }) => port,
  base: ({ database }) => database,
  usuario: ({ username }) => username,
  clave: ({ password }) => password,
  sslmode: ({ sslmode }) => sslmode,
  schema: ({ schema }) => schema,
  max_pendientes: ({ maxPending }) => maxPending,
  max_pendientes_bytes: ({ maxPendingBytes }) => formatSize(maxPendingBytes),
  retencion: ({ retention }) => formatDuration(retention),
}

const WORKERS: Shower<Config['workers']> = {
  concurrencia: ({ concurrency }) => concurrency,
  procesos: ({ processes }) => processes,
  drenaje: ({ drain }) => formatDuration(drain),
  sondeo: ({ poll }) => formatDuration(poll),
  arriendo: ({ lease }) => formatDuration(lease),
  nivel: ({ level }) => level,
  metricas: ({ metrics }) => metrics && `${metrics.host}:${metrics.port}`,
}

const STRATEGY: Shower<RetryStrategy> = {
  estrategia: ({ kind }) => kind,
  esperas: (strategy) => (strategy.kind === 'lista' ? strategy.delays.map(formatDuration).join(', ') : null),
  jitter: ({ jitter }) => `${Math.round(jitter * 100)}%`,
  vencimiento: ({ expiry }) => formatDuration(expiry),
  espera_inicial: (strategy) => (strategy.kind === 'lista' ? null : formatDuration(strategy.first)),
  factor: (strategy) => (strategy.kind === 'exponencial' ? strategy.factor : null),
  espera_maxima: (strategy) => ('max' in strategy ? formatDuration(strategy.max) : null),
  intentos: (strategy) => (strategy.kind === 'lista' ? null : strategy.attempts),
}

const LISTENER: Shower<ListenerConfig> = {
  activo: ({ active }) => active,
  eventos: ({ events }) => events.join(', '),
  url: ({ url, hidden }) => maskUrl(url, new Set(hidden)),
  to: ({ url, hidden }) => maskUrl(url, new Set(hidden)),
  ruta: ({ path, hidden }) => maskUrl(path, new Set(hidden)),
  metodo: ({ method }) => method,
  tipo_contenido: ({ contentType }) => contentType,
  cabeceras: ({ headers }) => headers.length || null,
  secreto: ({ secrets }) => secrets.length || null,
  auth_tipo: ({ auth }) => auth.kind,
  auth_usuario: ({ auth }) => usernameOf(auth),
  auth_password: ({ auth }) => auth.kind !== 'ninguna' || null,
  auth_token: ({ auth }) => auth.kind === 'bearer' || auth.kind === 'api_key' || null,
  auth_parametro: ({ auth }) =>
    auth.kind !== 'api_key' ? null : auth.place.in === 'header' ? `cabecera:${auth.place.name}` : auth.place.name,
  auth_url: ({ auth }) => (auth.kind === 'oauth2' ? maskUrl(auth.tokenUrl) : null),
  auth_alcance: ({ auth }) => (auth.kind === 'oauth2' ? auth.scope : null),
  cert_file: ({ tls }) => tls.client && 'certificado leído',
  key_file: ({ tls }) => tls.client && 'clave leída',
  cert_pwd: ({ tls }) => tls.client?.passphrase,
  ca_cert: ({ tls }) => tls.ca && 'certificado leído',
  espera_conexion: ({ connectTimeout }) => formatDuration(connectTimeout),
  espera_total: ({ totalTimeout }) => formatDuration(totalTimeout),
  max_respuesta: ({ maxResponse }) => formatSize(maxResponse),
  redirecciones: ({ redirects }) => redirects,
  redes_bloqueadas: ({ blockedNetworks }) => blockedNetworks.join(', '),
  concurrencia: ({ concurrency }) => concurrency,
  limite: ({ rateLimit }) => rateLimit && `${rateLimit.count} cada ${formatDuration(rateLimit.per)}`,
  orden: ({ order }) => order,
  reintentos: ({ strategy }) => strategy.name,
  reintentar_si: ({ retryIf }) => retryIf.map(ruleText).join(', '),
  no_reintentar_si: ({ noRetryIf }) => noRetryIf.map(ruleText).join(', '),
  corte_porcentaje: ({ breaker }) => breaker?.threshold ?? 0,
  corte_minimo: ({ breaker }) => breaker?.minimum,
  corte_ventana: ({ breaker }) => breaker && formatDuration(breaker.window),
  corte_pausa: ({ breaker }) => breaker && formatDuration(breaker.pause),
  on_success: ({ onSuccess }) => onSuccess?.shown,
  on_failure: ({ onFailure }) => onFailure?.shown,
  auditar_cuerpo: ({ auditBody }) => auditBody,
  auditar_respuesta: ({ auditResponse }) => auditResponse,
}

function usernameOf(auth: AuthConfig): string | null {
  if (auth.kind === 'basic' || auth.kind === 'digest') return auth.username
  return auth.kind === 'oauth2' ? auth.clientId : null
}
