/** Each setting with its value and where it came from. Secrets are never shown. */
import type { Config, ListenerConfig, Origin } from '../config/config.ts'
import { formatDuration, formatSize } from '../config/quantities.ts'
import { isSecret } from '../config/vocabulary.ts'

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
    valor: shown(config, name),
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

function shown(config: Config, name: string): string | null {
  const at = name.lastIndexOf('.')
  const [section, key] = [name.slice(0, Math.max(0, at)), name.slice(at + 1)]
  const value = settingOf(config, section, key)
  if (value === undefined || value === null || value === '') return null
  if (isSecret(key)) return '***'
  return typeof value === 'boolean' ? (value ? '1' : '0') : String(value)
}

function settingOf(config: Config, section: string, key: string): unknown {
  if (section === '') return key === 'resthooks_activo' ? config.active : null
  if (section === 'redis_config') return REDIS[key]?.(config.redis)
  if (section === 'auditoria') return AUDIT[key]?.(config.audit)
  if (section === 'workers') return WORKERS[key]?.(config.workers)
  const listener = section.startsWith('listener ') ? config.listeners.get(section.slice('listener '.length)) : undefined
  return listener && LISTENER[key]?.(listener)
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
  retencion: ({ retention }) => formatDuration(retention),
}

const WORKERS: Shower<Config['workers']> = {
  concurrencia: ({ concurrency }) => concurrency,
  procesos: ({ processes }) => processes,
  drenaje: ({ drain }) => formatDuration(drain),
  sondeo: ({ poll }) => formatDuration(poll),
  arriendo: ({ lease }) => formatDuration(lease),
  metricas: ({ metrics }) => metrics && `${metrics.host}:${metrics.port}`,
}

const LISTENER: Shower<ListenerConfig> = {
  activo: ({ active }) => active,
  eventos: ({ events }) => events.join(', '),
  url: ({ url }) => withoutPassword(url),
  to: ({ url }) => withoutPassword(url),
  ruta: ({ path }) => path,
  metodo: ({ method }) => method,
  tipo_contenido: ({ contentType }) => contentType,
  cabeceras: ({ headers }) => headers.length || null,
  secreto: ({ secrets }) => secrets.length || null,
  auth_tipo: ({ auth }) => auth.kind,
  auth_usuario: ({ auth }) => (auth.kind === 'basic' || auth.kind === 'digest' ? auth.username : null),
  auth_password: ({ auth }) => auth.kind !== 'ninguna' || null,
  auth_token: ({ auth }) => auth.kind === 'bearer' || auth.kind === 'api_key' || null,
  espera_conexion: ({ connectTimeout }) => formatDuration(connectTimeout),
  espera_total: ({ totalTimeout }) => formatDuration(totalTimeout),
  max_respuesta: ({ maxResponse }) => formatSize(maxResponse),
  redirecciones: ({ redirects }) => redirects,
  redes_bloqueadas: ({ blockedNetworks }) => blockedNetworks.join(', '),
  concurrencia: ({ concurrency }) => concurrency,
  limite: ({ rateLimit }) => rateLimit && `${rateLimit.count} cada ${formatDuration(rateLimit.per)}`,
  orden: ({ order }) => order,
  reintentos: ({ strategy }) => strategy.name,
  auditar_cuerpo: ({ auditBody }) => auditBody,
  auditar_respuesta: ({ auditResponse }) => auditResponse,
}

function withoutPassword(url: string): string {
  return url.replace(/\/\/[^/@\s]*@/, '//***@')
}
