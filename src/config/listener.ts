/**
 * `[listener X]`: one section, its client and its strategy become a ListenerConfig (INTERFACE §2).
 */
import * as v from 'valibot'
import { checkOwnHeader, METADATA_NETWORKS } from '../model/http.ts'
import { suggestion } from '../model/nearest.ts'
import { tlsConfig } from './certificates.ts'
import { below, isLoopback } from './client.ts'
import type { AuthConfig, BreakerConfig, CallbackSpec, ListenerConfig, RetryStrategy } from './config.ts'
import { boolean, duration, headerText, integer, kind, orEmpty, percent, secret, size, text, word } from './kinds.ts'
import { find, type Layer, type Reader, setting } from './layers.ts'
import * as kinds from './listener-kinds.ts'
import { callback, httpUrl } from './listener-kinds.ts'
import type { Place } from './problems.ts'
import { callbackShown, hiddenNames } from './secret-values.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
/** Node's timers overflow beyond 2³¹ ms. */
const LONGEST_TIMER = 24 * HOUR
const NO_BASE = 'http://invalid/'

/** What a listener refers to by name. */
export interface Surroundings {
  readonly defaultStrategy: RetryStrategy
  readonly strategies: ReadonlyMap<string, RetryStrategy>
  /** The layers below the listener's own section; reports what it cannot find. */
  client(target: Target): readonly Layer[]
}

/** The one of `url`, `cliente`, `servicio` that the section has. */
export type Target =
  | { readonly kind: 'url' }
  | { readonly kind: 'cliente'; readonly name: string; readonly place: Place }
  | { readonly kind: 'servicio'; readonly name: string; readonly place: Place }

/** @param own reads the section itself; @param place its header */
export function listenerConfig(own: Reader, name: string, place: Place, around: Surroundings): ListenerConfig {
  const { context } = own
  const target = targetOf(own, place)
  const below = target === null || target.kind === 'url' ? [] : around.client(target)
  const reader: Reader = { ...own, layers: [...own.layers, ...below] }
  const url = baseUrl(reader, target, place)
  const auth = authConfig(reader, place)
  const headers = headersOf(own)
  refuseTwoCredentials(own, headers, auth)
  warnAboutPlainHttp(own, url, auth, place)
  const connectTimeout = setting(own, 'espera_conexion', duration(1, HOUR), 5 * SECOND)
  const totalTimeout = setting(own, 'espera_total', duration(1, LONGEST_TIMER), 30 * SECOND)
  const written = find(own.layers, 'espera_conexion')
  if (written && connectTimeout > totalTimeout)
    context.problems.warn(written.place, 'no tiene efecto: supera a espera_total.')
  const order = setting(own, 'orden', word(['libre', 'estricto']), 'libre')
  const concurrency = setting(own, 'concurrencia', integer(1, 10_000), 10)
  const limited = find(own.layers, 'concurrencia')
  if (limited && order === 'estricto' && concurrency > 1) {
    context.problems.warn(limited.place, 'no tiene efecto: con orden = estricto se entrega de a uno.')
  }
  return {
    name,
    active: setting(own, 'activo', boolean, true),
    events: setting(own, 'eventos', kinds.events, ['*']),
    url,
    path: setting(own, 'ruta', kinds.path, ''),
    method: setting(own, 'metodo', kinds.method, 'POST'),
    headers,
    replaceableHeaders: setting(own, 'cabeceras_del_mensaje', kinds.headerNames, []),
    contentType: setting(own, 'tipo_contenido', kinds.contentType, null),
    auth,
    tls: tlsConfig(reader),
    secrets: secretsOf(own),
    connectTimeout,
    totalTimeout,
    maxResponse: setting(own, 'max_respuesta', size(0, 64 * 1024 ** 2), 64 * 1024),
    redirects: setting(own, 'redirecciones', integer(0, 20), 0),
    blockedNetworks: setting(own, 'redes_bloqueadas', kinds.networks, METADATA_NETWORKS),
    hidden: hiddenOf(reader, auth),
    concurrency,
    rateLimit: setting(own, 'limite', kinds.rateLimit, null),
    order,
    strategy: strategyOf(own, around),
    ...retryRules(own),
    breaker: breakerConfig(own),
    onSuccess: callbackOf(own, 'on_success'),
    onFailure: callbackOf(own, 'on_failure'),
    auditBody: setting(own, 'auditar_cuerpo', boolean, true),
    auditResponse: setting(own, 'auditar_respuesta', boolean, true),
  }
}

function secretsOf(own: Reader): string[] {
  const secrets = setting(own, 'secreto', secret(kinds.secrets), [])
  const written = find(own.layers, 'secreto')
  if (written?.texts?.some((text) => text.trim().endsWith(','))) {
    const message =
      'la segunda mitad está vacía: se firma sólo con la primera. Complétela, o quite la coma si terminó la rotación.'
    own.context.problems.warn(written.place, message)
  }
  return secrets
}

function headersOf(own: Reader): ListenerConfig['headers'] {
  const headers = setting(own, 'cabeceras', kinds.headers, [])
  const empty = headers.filter(([, value]) => value === '').map(([name]) => name)
  if (empty.length > 0) {
    const message = `viaja vacía: ${empty.join(', ')} (¿una variable sin valor?).`
    own.context.problems.warn(find(own.layers, 'cabeceras')!.place, message)
  }
  return headers
}

function callbackOf(own: Reader, key: string): CallbackSpec | null {
  const target = setting(own, key, callback, null)
  const written = find(own.layers, key)
  if (target === null || !written?.texts) return null
  return { ...target, shown: callbackShown(written.texts.at(-1)!, written.ranges.at(-1)!) }
}

function hiddenOf(reader: Reader, auth: AuthConfig): string[] {
  const names = auth.kind === 'api_key' ? [auth.place.name.toLowerCase()] : []
  for (const key of ['cabeceras', 'url', 'to', 'ruta']) {
    const written = find(reader.layers, key)
    if (written?.texts) names.push(...hiddenNames(key, written.texts, written.ranges))
  }
  return names
}

function targetOf(own: Reader, place: Place): Target | null {
  const { problems } = own.context
  const url = find(own.layers, 'url')
  const client = find(own.layers, 'cliente')
  // `servicio =` is toba's only service of the project, unless another target says that it was left blank.
  const blank = url === null && client === null ? own.layers[0]!.find('servicio') : null
  const service = find(own.layers, 'servicio') ?? blank
  const found = [url && 'url', client && 'cliente', service && 'servicio'].filter((key) => key !== null)
  if (found.length > 1) {
    problems.add({ ...place, key: found.join(', ') }, 'son excluyentes: deje uno solo de url, cliente y servicio.')
    return null
  }
  const clientName = setting(own, 'cliente', text, null)
  const serviceName = setting(own, 'servicio', orEmpty(kinds.serviceName), null)
  if (url) return { kind: 'url' }
  if (client) return clientName === null ? null : { kind: 'cliente', name: clientName.trim(), place: client.place }
  if (service) return serviceName === null ? null : { kind: 'servicio', name: serviceName, place: service.place }
  problems.add(place, 'falta el destino: indique uno de url, cliente o servicio.')
  return null
}

/** `version` adds `v1/` to the base, as the URLs of toba's API are versioned. */
function baseUrl(reader: Reader, target: Target | null, place: Place): string {
  const { problems } = reader.context
  if (target === null) return NO_BASE
  const key = target.kind === 'url' ? 'url' : 'to'
  const written = find(reader.layers, key)
  const base = setting(reader, key, httpUrl, null)
  const version = setting(reader, 'version', kinds.version, null)
  if (base === null) {
    // The client itself was not found, or its `to` is wrong: reported there.
    if (written === null && target.kind !== 'url' && reader.layers.length > 1) {
      problems.add({ ...place, key: target.kind }, `a su ${target.kind} «${target.name}» le falta «to», la dirección.`)
    }
    return NO_BASE
  }
  const normalized = new URL(base).href
  return version === null ? normalized : below(normalized, version)
}

function warnAboutPlainHttp({ context }: Reader, url: string, auth: AuthConfig, place: Place): void {
  const target = auth.kind === 'oauth2' ? auth.tokenUrl : url
  const sendsSecret = auth.kind !== 'ninguna' && auth.kind !== 'digest' && auth.kind !== 'ssl'
  if (!sendsSecret || url === NO_BASE || !URL.canParse(target)) return
  if (new URL(target).protocol !== 'http:' || isLoopback(target)) return
  context.problems.warn(
    place,
    `las credenciales (${auth.kind}) viajan sin cifrar a ${new URL(target).host}: use https://.`,
  )
}

/** Two headers of that name would travel, and the server takes one of them, or neither. */
function refuseTwoCredentials(own: Reader, headers: ListenerConfig['headers'], auth: AuthConfig): void {
  const ours = authHeader(auth)
  const theirs = headers.find(([name]) => name.toLowerCase() === ours?.toLowerCase())
  if (theirs === undefined) return
  own.context.problems.add(
    find(own.layers, 'cabeceras')!.place,
    `la cabecera ${theirs[0]} ya la pone auth_tipo = ${auth.kind}: deje una sola de las dos.`,
  )
}

function strategyOf(own: Reader, around: Surroundings): RetryStrategy {
  const name = setting(own, 'reintentos', text, null)?.trim() ?? null
  if (name === null) return around.defaultStrategy
  const found = around.strategies.get(name)
  if (found) return found
  const known = [...around.strategies.keys()]
  const defined = known.length === 0 ? 'no hay ninguna definida' : `se aceptan: ${known.join(' ')}`
  own.context.problems.add(
    find(own.layers, 'reintentos')!.place,
    `no existe la sección [reintentos ${name}]; ${defined}.${suggestion(name, known)}`,
  )
  return around.defaultStrategy
}

function retryRules(own: Reader): Pick<ListenerConfig, 'retryIf' | 'noRetryIf'> {
  const retryIf = setting(own, 'reintentar_si', kinds.statusRules, [])
  const noRetryIf = setting(own, 'no_reintentar_si', kinds.statusRules, [])
  const both = retryIf.find((rule) => noRetryIf.some((other) => JSON.stringify(other) === JSON.stringify(rule)))
  if (both) {
    const { place } = find(own.layers, 'no_reintentar_si')!
    own.context.problems.add(place, `${kinds.ruleText(both)} está también en reintentar_si.`)
  }
  return { retryIf, noRetryIf }
}

/** `corte_porcentaje = 0` turns it off. */
function breakerConfig(own: Reader): BreakerConfig | null {
  const threshold = setting(own, 'corte_porcentaje', percent, 70)
  const minimum = setting(own, 'corte_minimo', integer(1, 1_000_000), 10)
  const window = setting(own, 'corte_ventana', duration(SECOND, LONGEST_TIMER), 5 * MINUTE)
  const pause = setting(own, 'corte_pausa', duration(100, LONGEST_TIMER), 30 * SECOND)
  return threshold === 0 ? null : { threshold, minimum, window, pause }
}

const AUTH_TYPES = ['ninguna', 'basic', 'digest', 'bearer', 'api_key', 'oauth2', 'ssl'] as const

/** Which auth_* keys each type obeys. */
const OBEYED: Readonly<Record<(typeof AUTH_TYPES)[number], readonly string[]>> = {
  ninguna: [],
  basic: ['auth_usuario', 'auth_password'],
  digest: ['auth_usuario', 'auth_password'],
  bearer: ['auth_token', 'auth_password'],
  api_key: ['auth_token', 'auth_password', 'auth_parametro', 'auth_usuario'],
  oauth2: ['auth_usuario', 'auth_password', 'auth_url', 'auth_alcance'],
  ssl: [],
}

const NO_AUTH: AuthConfig = { kind: 'ninguna' }

/** @param place where to report what is missing altogether */
export function authConfig(reader: Reader, place: Place): AuthConfig {
  const { problems } = reader.context
  const written = find(reader.layers, 'auth_tipo')
  const type = setting(reader, 'auth_tipo', word(AUTH_TYPES), 'ninguna')
  const username = setting(reader, 'auth_usuario', text, null)
  const parameter = setting(reader, 'auth_parametro', PARAMETER, { in: 'query', name: 'api_key' } as const)
  const isHeader = type === 'bearer' || (type === 'api_key' && parameter.in === 'header')
  const password = setting(reader, 'auth_password', secret(isHeader ? headerText : text), null)
  const token = setting(reader, 'auth_token', secret(headerText), null)
  const tokenUrl = setting(reader, 'auth_url', httpUrl, null)
  const scope = setting(reader, 'auth_alcance', text, null)

  if (written === null) {
    const orphan =
      find(reader.layers, 'auth_usuario') ?? find(reader.layers, 'auth_password') ?? find(reader.layers, 'auth_token')
    if (orphan) problems.add(orphan.place, `falta auth_tipo, que dice cómo usarla: ${AUTH_TYPES.join(' | ')}.`)
    return NO_AUTH
  }
  for (const key of ['auth_usuario', 'auth_password', 'auth_token', 'auth_parametro', 'auth_url', 'auth_alcance']) {
    const idle = OBEYED[type].includes(key) ? null : find(reader.layers, key)
    // Switching a client's authentication off for one listener leaves the rest of its keys idle on purpose.
    if (idle && type !== 'ninguna') problems.warn(idle.place, `no tiene efecto con auth_tipo = ${type}.`)
  }
  /** A key that is present but unreadable has been reported already. */
  const need = (value: string | null, key: string, alternative?: string): string => {
    const present = find(reader.layers, key) ?? (alternative === undefined ? null : find(reader.layers, alternative))
    if (value === null && present === null) {
      const names = alternative === undefined ? key : `${key} (o ${alternative})`
      problems.add({ ...place, key: 'auth_tipo' }, `auth_tipo = ${type} necesita ${names}, que falta o está vacía.`)
    }
    return value ?? ''
  }
  switch (type) {
    case 'ninguna':
      return NO_AUTH
    case 'basic':
    case 'digest':
      return { kind: type, username: need(username, 'auth_usuario'), password: need(password, 'auth_password') }
    case 'bearer':
      return { kind: type, token: need(token ?? password, 'auth_token', 'auth_password') }
    case 'api_key':
      return { kind: type, key: need(token ?? password, 'auth_token', 'auth_password'), place: parameter }
    case 'oauth2':
      return {
        kind: type,
        tokenUrl: need(tokenUrl, 'auth_url'),
        clientId: need(username, 'auth_usuario'),
        clientSecret: need(password, 'auth_password'),
        scope,
      }
    case 'ssl':
      need(find(reader.layers, 'cert_file') && '', 'cert_file')
      return { kind: type }
  }
}

/** The header in which the credentials travel, or null. */
export function authHeader(auth: AuthConfig): string | null {
  if (auth.kind === 'api_key') return auth.place.in === 'header' ? auth.place.name : null
  return auth.kind === 'ninguna' || auth.kind === 'ssl' ? null : 'Authorization'
}

/** `api_key` in the query, `cabecera:X-Api-Key` in a header. */
const PARAMETER = kind(
  'el nombre de un parámetro (api_key) o de una cabecera («cabecera:X-Api-Key»)',
  v.pipe(
    v.string(),
    v.trim(),
    v.regex(/^(?:cabecera:.{1,100}|[\w.[\]-]{1,100})$/),
    v.transform((value) => {
      const header = /^cabecera:\s*(.+)$/.exec(value)
      return header ? ({ in: 'header', name: header[1]! } as const) : ({ in: 'query', name: value } as const)
    }),
    v.check(
      (place) => place.in === 'query' || (checkOwnHeader(place.name, '') === null && !/^host$/i.test(place.name)),
    ),
  ),
)
