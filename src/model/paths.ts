/**
 * What a `ruta` may be: one set of rules for the configuration, `send` and the request itself.
 *
 * Pure. Dot segments, absolute URLs and their like are refused instead of resolved: a message must not choose another
 * resource than the one its listener serves.
 */
import type { Bytes } from './message.ts'

const MAX_PATH: Bytes = 8192
export const PLACEHOLDER = /\{([^{}]*)\}/g
const KNOWN = /^(id|evento|datos(\.[^.{}]+)+)$/

/** What is wrong with a `ruta`, in Spanish, or null. */
export function checkPath(path: string): string | null {
  if (path.length > MAX_PATH) return `la ruta tiene ${path.length} caracteres; se aceptan hasta ${MAX_PATH}`
  const literal = path.replace(PLACEHOLDER, (_all, name: string) => (KNOWN.test(name) ? 'x' : '{}'))
  if (/[{}]/.test(literal)) {
    const wrong = [...path.matchAll(PLACEHOLDER)].find((found) => !KNOWN.test(found[1]!))
    return `la ruta "${path}" tiene ${wrong ? wrong[0] : 'una llave suelta'}; se aceptan {id}, {evento} y {datos.campo}`
  }
  return checkLiteral(literal)
}

/** The same for a path without placeholders. */
export function checkLiteral(path: string): string | null {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(path)) return 'la ruta tiene caracteres de control (salto de línea, tabulador…)'
  if (path.includes('\\')) return `la ruta "${path}" tiene una barra invertida; se separa con /`
  if (path.includes('#')) return `la ruta "${path}" tiene un fragmento (#), que no viaja en un pedido HTTP`
  if (/^https?:|^[a-z][a-z0-9+.-]*:\/\//i.test(path)) {
    return `la ruta "${path}" es una URL completa; se espera sólo la parte que sigue a la URL del listener`
  }
  if (path.startsWith('//')) return `la ruta "${path}" empieza con //, que nombra otro servidor`
  const query = path.indexOf('?')
  for (const segment of (query < 0 ? path : path.slice(0, query)).split('/')) {
    if (climbs(segment)) return `la ruta "${path}" tiene un segmento . o .. y saldría de la URL del listener`
  }
  return null
}

/** `..`, `%2e%2e`, `a%2f..`; `..;x`, `..%00x` and `.%09.`, which some servers read as `..`. */
function climbs(segment: string): boolean {
  if (!segment.includes('.') && !segment.includes('%')) return false
  const decoded = segment.replace(/%([0-9a-f]{2})/gi, (_all, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
  return decoded.split(/[/\\]/).some((part) => /^\.{1,2}$/.test(part.split(/[;\0]/)[0]!.replace(/[\0-\x20\x7f]/g, '')))
}
