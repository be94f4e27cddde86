/**
 * Whom a listener talks to: `url`, a `[cliente X]`, or a `servicio`, which is toba's own cliente.ini.
 *
 * toba's REST client reads `[conexion]` of `<proyecto>/rest/<servicio>/cliente.ini` and lets the environment replace the
 * credentials with CREDENCIALES_API_BASIC_<SERVICIO>, as `[["usuario","clave","url"]]`.
 */
import type { Variable } from './env.ts'
import { findFile, isReadableByOthers, type Locations } from './files.ts'
import { parseIni } from './ini.ts'
import { type Context, type Layer, NOTHING, sectionLayer, type Written, written } from './layers.ts'
import { type Position, quoted } from './problems.ts'

/** The layers of a service, most important first; reported and empty when there is none. */
export function serviceLayers(
  context: Context,
  where: Locations,
  ini: string | null,
  service: string,
  position: Position,
): Layer[] {
  const credentials = credentialsLayer(context, service)
  const places = where.client(service, ini)
  for (const path of places) context.tried.add(path)
  const file = findFile(places, 'cliente.ini', context.problems)
  if (file === null) {
    if (credentials.find('to')) return [credentials]
    context.problems.add(
      position,
      `no se encontró el cliente.ini del servicio ${quoted(service)}. Se buscó en: ${[...new Set(places)].join(', ')}.`,
    )
    // What it would have said is not missed as well.
    return []
  }
  context.watched.add(file.path)
  const parsed = parseIni(file.path, file.text, context.problems, 'last')
  const connection = parsed.sections.find(({ name }) => name === 'conexion')
  if (!connection) {
    context.problems.add({ file: file.path, line: null }, 'falta la sección [conexion].')
    return [credentials]
  }
  if (connection.entries.has('auth_password') && isReadableByOthers(file.path)) {
    context.problems.warn(
      { file: file.path, line: null },
      `tiene una clave y cualquier usuario puede leerlo: chmod o-r ${file.path}`,
    )
  }
  return [credentials, sectionLayer(context, parsed, connection)]
}

/** CREDENCIALES_API_BASIC_<SERVICIO>: toba's JSON, or plainly `usuario:clave`. */
function credentialsLayer(context: Context, service: string): Layer {
  if (service === '') return NOTHING
  const name = `CREDENCIALES_API_BASIC_${service.toUpperCase().replace(/[^A-Z0-9]/g, '_')}`
  const found = context.variables.getFilled(name)
  if (found === null) return NOTHING
  const values = parseCredentials(found)
  if (values === null) {
    const at = written(context, name, found).position
    context.problems.add(at, 'no se entiende; se acepta «usuario:clave» o [["usuario","clave","url"]].')
    return NOTHING
  }
  return {
    find: (key): Written | null => {
      const value = values[key]
      return value === undefined ? null : { ...written(context, name, { ...found, value }), shown: '***' }
    },
  }
}

function parseCredentials({ value }: Variable): Readonly<Record<string, string>> | null {
  const trimmed = value.trim()
  if (!trimmed.startsWith('[')) {
    const colon = trimmed.indexOf(':')
    return colon < 1 ? null : { auth_usuario: trimmed.slice(0, colon), auth_password: trimmed.slice(colon + 1) }
  }
  try {
    const first: unknown = JSON.parse(trimmed)[0]
    if (!Array.isArray(first) || first.length < 2 || first.some((part) => typeof part !== 'string')) return null
    const [username, password, url] = first as string[]
    return { auth_usuario: username!, auth_password: password!, ...(url && { to: url }) }
  } catch {
    return null
  }
}

/** What goes below everything: credentials from the environment without a word on their type are HTTP Basic. */
export function basicByDefault(layers: readonly Layer[]): Layer {
  const credentials = layers[0]?.find('auth_usuario') ?? null
  const byVariable = credentials !== null && credentials.origin.kind !== 'ini'
  return {
    find: (key) => (key === 'auth_tipo' && byVariable ? { ...credentials, texts: ['basic'], shown: 'basic' } : null),
  }
}

/**
 * `base` with one more segment at the end of its path, forgiving a base that lacks its last slash: toba's `to` is written
 * either way, and RFC 3986 §5.2.3 alone would replace the last segment. A query stays at the end.
 */
export function below(base: string, segment: string): string {
  const url = new URL(base)
  url.pathname = `${url.pathname.replace(/(?<!\/)\/+$/, '')}/${segment}/`
  return url.href
}

/** `localhost`, 127.0.0.0/8, ::1: what is said to them does not leave the machine. */
export function isLoopback(url: string): boolean {
  const { hostname } = new URL(url)
  return /^(?:localhost|(?:.+\.)?localhost|127(?:\.\d{1,3}){3}|\[::1\])$/.test(hostname)
}
