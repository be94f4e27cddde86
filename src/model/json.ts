/** What is wrong with a text that should be JSON, for whoever wrote it: an entry of the queue, DATOS, a line of a batch. */
import { isUtf8 } from 'node:buffer'
import { type ParseError, parse } from 'jsonc-parser'

/** By `ParseErrorCode` of jsonc-parser, which tells where; what JSON.parse throws is English, and differs between versions of Node. */
const JSON_PROBLEMS: Readonly<Record<number, string>> = {
  1: 'texto que JSON no conoce (¿faltan comillas dobles?)',
  2: 'un número mal escrito',
  3: 'se esperaba el nombre de un miembro, entre comillas dobles',
  4: 'se esperaba un valor',
  5: 'se esperaba «:»',
  6: 'se esperaba «,»',
  7: 'falta «}»',
  8: 'falta «]»',
  9: 'sobra texto después del final',
  10: 'un comentario, que JSON no admite',
  12: 'una cadena sin cerrar',
  14: 'un \\u sin sus cuatro cifras hexadecimales',
  15: 'una barra invertida que no escapa nada conocido',
  16: 'un carácter de control dentro de una cadena',
}

/** Why bytes are not one JSON document in UTF-8, and where, in Spanish. @param raw what JSON.parse refused */
export function jsonProblem(raw: Buffer): string {
  if (!isUtf8(raw)) return 'no es texto UTF-8 (¿ISO-8859-1? conviértalo: iconv -f ISO-8859-1 -t UTF-8)'
  const text = raw.toString('utf8')
  if (text.trim() === '') return 'está vacío'
  if (text.startsWith('\uFEFF')) return 'empieza con una marca de orden de bytes (BOM): guárdelo sin ella'
  const errors: ParseError[] = []
  try {
    parse(text, errors, { disallowComments: true, allowTrailingComma: false })
  } catch (error) {
    // That parser descends by recursion: brackets alone, some thousand of them, are more than the stack holds.
    if (error instanceof RangeError) return 'está anidado a demasiada profundidad, y mal cerrado'
    throw error
  }
  const [first] = errors
  if (first === undefined) return 'no se pudo leer'
  const before = text.slice(0, first.offset).split('\n')
  const place = `${before.length > 1 ? `línea ${before.length}, ` : ''}carácter ${before.at(-1)!.length + 1}`
  const [near] = text.slice(first.offset, first.offset + 20).split('\n')
  return `${JSON_PROBLEMS[first.error] ?? 'no se pudo leer'} (${place}${near === '' ? ', al final' : `: «${near}»`})`
}
