/**
 * From a `ruta` template and a listener's base URL to the target of a request, which never leaves the base.
 *
 * Pure, and apart from the request for its table of hostile cases. `{id}`, `{evento}` and `{datos.a.b}` are replaced by
 * their URL-encoded values; the rest is joined to the base as RFC 3986 §5.2.3 merges paths, with a missing trailing slash of
 * the base and a leading one of the path forgiven.
 */
import { checkLiteral, checkPath, PLACEHOLDER } from '../model/http.ts'
import { Trouble } from './trouble.ts'

interface PathValues {
  readonly id: string
  readonly event: string
  readonly body: Buffer
}

/**
 * Fills a template in.
 * @throws Trouble `solicitud` when it is wrong or the message lacks a value
 */
export function expandPath(template: string, values: PathValues): string {
  const problem = checkPath(template)
  if (problem !== null) throw new Trouble('solicitud', problem)
  if (!template.includes('{')) return template
  let data: BodyFields | undefined
  const path = template.replace(PLACEHOLDER, (_all, name: string) => {
    if (name === 'id') return encode(values.id, name)
    if (name === 'evento') return encode(values.event, name)
    data ??= parseBody(values.body)
    return encode(data.text(name.split('.').slice(1), name), name)
  })
  const after = checkLiteral(path)
  if (after !== null) throw new Trouble('solicitud', after)
  return path
}

/** An empty value would address the whole collection instead of one of its members. */
function encode(value: string, name: string): string {
  if (value === '') throw new Trouble('solicitud', `la ruta pide {${name}} y en el mensaje está vacío`)
  try {
    return encodeURIComponent(value)
  } catch (cause) {
    throw new Trouble('solicitud', `la ruta pide {${name}} y su valor no es texto Unicode válido`, { cause })
  }
}

interface BodyFields {
  text(path: readonly string[], name: string): string
}

function parseBody(body: Buffer): BodyFields {
  const source = body.toString('utf8')
  let root: unknown
  try {
    JSON.parse(source)
    root = JSON.parse(numbersAsText(source))
  } catch {
    // Without its cause, whose words are the JSON parser's, in English.
    throw new Trouble('solicitud', 'la ruta pide campos de {datos…} y el cuerpo del mensaje no es JSON')
  }
  return {
    text(path, name) {
      const value = path.reduce<unknown>(member, root)
      if (typeof value === 'string') return value
      if (typeof value === 'boolean') return String(value)
      if (typeof value === 'object' && value !== null) {
        throw new Trouble('solicitud', `la ruta pide {${name}} y en los datos no es un texto ni un número`)
      }
      throw new Trouble('solicitud', `la ruta pide {${name}} y los datos del mensaje no lo tienen`)
    },
  }
}

/** Numbers as they were written: a 20-digit one must not lose digits on its way into the path. */
function numbersAsText(json: string): string {
  return json.replace(/"(?:[^"\\]+|\\.)*"|-?\d[\d.eE+-]*/g, (token) => (token[0] === '"' ? token : `"${token}"`))
}

function member(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key)
    ? (value as Record<string, unknown>)[key]
    : undefined
}

/**
 * The request target (path and query) of an expanded path under a base URL. The base keeps its own query.
 * @throws Trouble `solicitud` when the result would leave the base
 */
export function joinPath(base: URL, path: string): string {
  if (path === '') return base.pathname + base.search
  const cut = path.indexOf('?')
  const [before, query] = cut < 0 ? [path, ''] : [path.slice(0, cut), path.slice(cut + 1)]
  const relative = before.startsWith('/') ? before.slice(1) : before
  const folder = relative === '' || base.pathname.endsWith('/') ? base.pathname : `${base.pathname}/`
  const url = new URL(base.origin)
  url.pathname = folder + relative
  if (!url.pathname.startsWith(folder)) {
    throw new Trouble('solicitud', `la ruta "${path}" saldría de la URL del listener`)
  }
  url.search = [base.search.slice(1), query].filter((part) => part !== '').join('&')
  return url.pathname + url.search
}
