/**
 * How a listener identifies itself: the auth_* keys of INTERFACE §2, each type with what it needs.
 */
import * as v from 'valibot'
import { checkOwnHeader } from '../model/http.ts'
import type { AuthConfig } from './config.ts'
import { headerText, kind, secret, text, word } from './kinds.ts'
import type { Place } from './problems.ts'
import { find, type Reader, setting } from './settings.ts'
import { httpUrl } from './url.ts'

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
  const password = setting(reader, 'auth_password', secret(text), null)
  const token = setting(reader, 'auth_token', secret(headerText), null)
  const parameter = setting(reader, 'auth_parametro', PARAMETER, { in: 'query', name: 'api_key' } as const)
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
    v.check((place) => place.in === 'query' || checkOwnHeader(place.name, '') === null),
  ),
)
