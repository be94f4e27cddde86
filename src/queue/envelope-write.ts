/** Writing an envelope (INTERFACE §4). Apart from reading it, which `send` would load in vain. */
import { isUtf8 } from 'node:buffer'
import { isJsonType } from '../model/http.ts'
import type { Message } from '../model/message.ts'

/** Before `datos` where it is the last member. */
export const DATOS = ',"datos":'

/**
 * Writes a message as an entry of the queue, without what has its default. A body that is JSON stands there as it is: with
 * its quotes escaped it takes a fifth more of Redis's memory. Any other text is `cuerpo`, and bytes travel as base64.
 * @param checked the body is known to be a JSON value with no blanks around it: a batch reads each of its lines but once
 */
export function encodeEnvelope(message: Message, checked = false): string {
  const { body, contentType } = message
  const text = travelsAsText(body) ? body.toString('utf8') : null
  const json = text !== null && isJsonType(contentType) && (checked || isJson(text))
  const members = {
    v: 1,
    id: message.id,
    evento: message.event,
    tipo_contenido: json && contentType === 'application/json' ? undefined : contentType,
    metodo: message.method ?? undefined,
    ruta: message.path ?? undefined,
    cabeceras: Object.keys(message.headers).length > 0 ? message.headers : undefined,
    creado: message.createdAt.toISOString(),
    clave: message.key ?? undefined,
    no_antes_de: message.notBefore?.toISOString(),
    listener: message.onlyListener ?? undefined,
    origen: message.origin ?? undefined,
    profundidad: message.depth > 0 ? message.depth : undefined,
    // Whoever reads it need not look for the end of `datos`.
    largo: json ? body.length : undefined,
    cuerpo: json || text === null ? undefined : text,
    cuerpo_base64: text === null ? body.toString('base64') : undefined,
  }
  const head = JSON.stringify(members)
  return json ? `${head.slice(0, -1)}${DATOS}${text}}` : head
}

/** Blanks around it are the listener's too, but no part of a JSON value. */
function isJson(text: string): boolean {
  if (text.trim().length < text.length) return false
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** A leading BOM would be swallowed on the way back. */
function travelsAsText(bytes: Buffer): boolean {
  return isUtf8(bytes) && !(bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf)
}

/** Control characters do not belong in a name. */
export function hasControl(text: string): boolean {
  return /\p{Cc}/u.test(text)
}
