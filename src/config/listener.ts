/**
 * `[listener X]`: one section, its client and its strategy become a ListenerConfig (INTERFACE §2).
 */
import { suggestion } from '../model/nearest.ts'
import { tlsConfig } from './certificates.ts'
import { below, isLoopback } from './client.ts'
import type { AuthConfig, BreakerConfig, CallbackSpec, ListenerConfig, RetryStrategy } from './config.ts'
import { headerText } from './kinds.ts'
import { find, type Layer, type Lookup, requireKind, setting, showInForce, values, warnAboutIdle } from './layers.ts'
import { type CallbackTarget, ruleText } from './listener-kinds.ts'
import type { Position } from './problems.ts'
import { callbackShown, hiddenNames } from './secret-values.ts'
import { CLIENT, CONNECTION, DELIVERY, REQUEST } from './settings.ts'

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
  | { readonly kind: 'cliente'; readonly name: string; readonly position: Position }
  | { readonly kind: 'servicio'; readonly name: string; readonly position: Position }

/** @param own reads the section itself; @param position its header */
export function listenerConfig(own: Lookup, name: string, position: Position, around: Surroundings): ListenerConfig {
  const target = targetOf(own, position)
  const below = target === null || target.kind === 'url' ? [] : around.client(target)
  const lookup: Lookup = { ...own, layers: [...own.layers, ...below] }
  const url = baseUrl(lookup, target, position)
  const auth = authConfig(lookup, position)
  const headers = setting(own, REQUEST, 'cabeceras')
  checkHeaders(own, headers, auth)
  warnAboutPlainHttp(own, url, auth, position)
  warnAboutTimes(own)
  warnAboutOrder(own)
  const request = values(own, REQUEST)
  const tls = tlsConfig(lookup)
  const { strategyName, threshold, minimum, window, pause, ...delivery } = values(own, DELIVERY)
  warnAboutHalfSecret(own)
  refuseSameRules(own, delivery)
  return {
    name,
    url,
    ...request,
    auth,
    tls,
    ...delivery,
    hidden: hiddenOf(lookup, auth),
    strategy: strategyOf(own, strategyName, around),
    breaker: breakerOf(own, { threshold, minimum, window, pause }),
    onSuccess: callbackOf(own, 'on_success', delivery.onSuccess),
    onFailure: callbackOf(own, 'on_failure', delivery.onFailure),
  }
}

function warnAboutTimes(own: Lookup): void {
  const connect = setting(own, DELIVERY, 'espera_conexion')
  const total = setting(own, DELIVERY, 'espera_total')
  const written = find(own.layers, 'espera_conexion')
  if (written && connect > total) own.context.problems.warn(written.position, 'no tiene efecto: supera a espera_total.')
}

function warnAboutOrder(own: Lookup): void {
  const order = setting(own, DELIVERY, 'orden')
  const concurrency = setting(own, DELIVERY, 'concurrencia')
  const written = find(own.layers, 'concurrencia')
  if (!written || order !== 'estricto' || concurrency === 1) return
  own.context.problems.warn(written.position, 'no tiene efecto: con orden = estricto se entrega de a uno.')
}

function warnAboutHalfSecret(own: Lookup): void {
  const written = find(own.layers, 'secreto')
  if (!written?.texts?.some((text) => text.trim().endsWith(','))) return
  const message =
    'la segunda mitad está vacía: se firma sólo con la primera. Complétela, o quite la coma si terminó la rotación.'
  own.context.problems.warn(written.position, message)
}

function checkHeaders(own: Lookup, headers: ListenerConfig['headers'], auth: AuthConfig): void {
  const { problems } = own.context
  const empty = headers.filter(([, value]) => value === '').map(([name]) => name)
  const position = () => find(own.layers, 'cabeceras')!.position
  if (empty.length > 0) problems.warn(position(), `viaja vacía: ${empty.join(', ')} (¿una variable sin valor?).`)
  // Two of that name would travel, and the server takes one of them, or neither.
  const ours = authHeader(auth)?.toLowerCase()
  const theirs = headers.find(([name]) => name.toLowerCase() === ours)
  if (theirs === undefined) return
  problems.add(position(), `la cabecera ${theirs[0]} ya la pone auth_tipo = ${auth.kind}: deje una sola de las dos.`)
}

function callbackOf(own: Lookup, key: string, target: CallbackTarget | null): CallbackSpec | null {
  const written = find(own.layers, key)
  if (target === null || !written?.texts) return null
  const shown = callbackShown(written.texts.at(-1)!, written.ranges.at(-1)!)
  showInForce(own, key, shown)
  return { ...target, shown }
}

function hiddenOf(lookup: Lookup, auth: AuthConfig): string[] {
  const names = auth.kind === 'api_key' ? [auth.place.name.toLowerCase()] : []
  for (const key of ['cabeceras', 'url', 'to', 'ruta']) {
    const written = find(lookup.layers, key)
    if (written?.texts) names.push(...hiddenNames(key, written.texts, written.ranges))
  }
  return names
}

function targetOf(own: Lookup, position: Position): Target | null {
  const { problems } = own.context
  const url = find(own.layers, 'url')
  const client = find(own.layers, 'cliente')
  // `servicio =` is toba's only service of the project, unless another target says that it was left blank.
  const blank = url === null && client === null ? own.layers[0]!.find('servicio') : null
  const service = find(own.layers, 'servicio') ?? blank
  const found = [url && 'url', client && 'cliente', service && 'servicio'].filter((key) => key !== null)
  if (found.length > 1) {
    problems.add({ ...position, key: found.join(', ') }, 'son excluyentes: deje uno solo de url, cliente y servicio.')
    return null
  }
  const clientName = setting(own, REQUEST, 'cliente')
  const serviceName = setting(own, REQUEST, 'servicio')
  if (url) return { kind: 'url' }
  if (client)
    return clientName === null ? null : { kind: 'cliente', name: clientName.trim(), position: client.position }
  if (service) return serviceName === null ? null : { kind: 'servicio', name: serviceName, position: service.position }
  problems.add(position, 'falta el destino: indique uno de url, cliente o servicio.')
  return null
}

/** `version` adds `v1/` to the base, as the URLs of toba's API are versioned. */
function baseUrl(lookup: Lookup, target: Target | null, position: Position): string {
  const { problems } = lookup.context
  if (target === null) return NO_BASE
  const key = target.kind === 'url' ? 'url' : 'to'
  const written = find(lookup.layers, key)
  const base = key === 'url' ? setting(lookup, REQUEST, key) : setting(lookup, CLIENT, key)
  const version = setting(lookup, CONNECTION, 'version')
  if (base === null) {
    // The client itself was not found, or its `to` is wrong: reported there.
    if (written === null && target.kind !== 'url' && lookup.layers.length > 1) {
      problems.add(
        { ...position, key: target.kind },
        `a su ${target.kind} «${target.name}» le falta «to», la dirección.`,
      )
    }
    return NO_BASE
  }
  const normalized = new URL(base).href
  const url = version === null ? normalized : below(normalized, version)
  showInForce(lookup, key, url)
  return url
}

function warnAboutPlainHttp({ context }: Lookup, url: string, auth: AuthConfig, position: Position): void {
  const target = auth.kind === 'oauth2' ? auth.tokenUrl : url
  const sendsSecret = auth.kind !== 'ninguna' && auth.kind !== 'digest' && auth.kind !== 'ssl'
  if (!sendsSecret || url === NO_BASE || !URL.canParse(target)) return
  if (new URL(target).protocol !== 'http:' || isLoopback(target)) return
  context.problems.warn(
    position,
    `las credenciales (${auth.kind}) viajan sin cifrar a ${new URL(target).host}: use https://.`,
  )
}

function strategyOf(own: Lookup, written: string | null, around: Surroundings): RetryStrategy {
  const name = written?.trim() ?? null
  const found = name === null ? around.defaultStrategy : around.strategies.get(name)
  if (found) {
    showInForce(own, 'reintentos', found.name)
    return found
  }
  const known = [...around.strategies.keys()]
  const defined = known.length === 0 ? 'no hay ninguna definida' : `se aceptan: ${known.join(' ')}`
  own.context.problems.add(
    find(own.layers, 'reintentos')!.position,
    `no existe la sección [reintentos ${name}]; ${defined}.${suggestion(name!, known)}`,
  )
  return around.defaultStrategy
}

function refuseSameRules(own: Lookup, { retryIf, noRetryIf }: Pick<ListenerConfig, 'retryIf' | 'noRetryIf'>): void {
  const no = new Set(noRetryIf.map(ruleText))
  const both = retryIf.map(ruleText).find((rule) => no.has(rule))
  if (both === undefined) return
  own.context.problems.add(find(own.layers, 'no_reintentar_si')!.position, `${both} está también en reintentar_si.`)
}

/** `corte_porcentaje = 0` turns it off. */
function breakerOf(own: Lookup, breaker: BreakerConfig): BreakerConfig | null {
  if (breaker.threshold > 0) return breaker
  for (const key of ['corte_minimo', 'corte_ventana', 'corte_pausa']) showInForce(own, key, null)
  return null
}

const NO_AUTH: AuthConfig = { kind: 'ninguna' }
const API_KEY = { in: 'query', name: 'api_key' } as const

/** @param position where to report what is missing altogether */
function authConfig(lookup: Lookup, position: Position): AuthConfig {
  const { problems } = lookup.context
  const written = find(lookup.layers, 'auth_tipo')
  const type = setting(lookup, CONNECTION, 'auth_tipo')
  const username = setting(lookup, CONNECTION, 'auth_usuario')
  const password = setting(lookup, CONNECTION, 'auth_password')
  const token = setting(lookup, CONNECTION, 'auth_token')
  const parameter = setting(lookup, CONNECTION, 'auth_parametro', type === 'api_key' ? API_KEY : null)
  const tokenUrl = setting(lookup, CONNECTION, 'auth_url')
  const scope = setting(lookup, CONNECTION, 'auth_alcance')
  if (type === 'bearer' || (type === 'api_key' && parameter?.in === 'header'))
    requireKind(lookup, 'auth_password', headerText)

  if (written === null) {
    const orphan =
      find(lookup.layers, 'auth_usuario') ?? find(lookup.layers, 'auth_password') ?? find(lookup.layers, 'auth_token')
    if (orphan)
      problems.add(orphan.position, `falta auth_tipo, que dice cómo usarla: ${CONNECTION.auth_tipo.kind.accepted}.`)
    return NO_AUTH
  }
  // Switching a client's authentication off for one listener leaves the rest of its keys idle on purpose.
  if (type !== 'ninguna') warnAboutIdle(lookup, CONNECTION, type, 'auth_tipo')
  /** A key that is present but unreadable has been reported already. */
  const need = (value: string | null, key: string, alternative?: string): string => {
    const present = find(lookup.layers, key) ?? (alternative === undefined ? null : find(lookup.layers, alternative))
    if (value === null && present === null) {
      const names = alternative === undefined ? key : `${key} (o ${alternative})`
      problems.add({ ...position, key: 'auth_tipo' }, `auth_tipo = ${type} necesita ${names}, que falta o está vacía.`)
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
      return { kind: type, key: need(token ?? password, 'auth_token', 'auth_password'), place: parameter ?? API_KEY }
    case 'oauth2':
      return {
        kind: type,
        tokenUrl: need(tokenUrl, 'auth_url'),
        clientId: need(username, 'auth_usuario'),
        clientSecret: need(password, 'auth_password'),
        scope,
      }
    case 'ssl':
      need(find(lookup.layers, 'cert_file') && '', 'cert_file')
      return { kind: type }
  }
}

/** The header in which the credentials travel, or null. */
export function authHeader(auth: AuthConfig): string | null {
  if (auth.kind === 'api_key') return auth.place.in === 'header' ? auth.place.name : null
  return auth.kind === 'ninguna' || auth.kind === 'ssl' ? null : 'Authorization'
}
