/** Writing an envelope (INTERFACE §4). Apart from reading it, which needs a parser that `send` would load in vain. */
import { isUtf8 } from 'node:buffer'
import type { Message } from '../message.ts'

/** Writes a message as an entry of the queue; a body that is not UTF-8 travels as base64. */
export function encodeEnvelope(message: Message): string {
  const text = travelsAsText(message.body) ? message.body.toString('utf8') : null
  return JSON.stringify({
    v: 1,
    id: message.id,
    evento: message.event,
    ...(text === null ? { cuerpo_base64: message.body.toString('base64') } : { cuerpo: text }),
    tipo_contenido: message.contentType,
    metodo: message.method ?? undefined,
    ruta: message.path ?? undefined,
    cabeceras: Object.keys(message.headers).length > 0 ? message.headers : undefined,
    creado: message.createdAt.toISOString(),
    clave: message.key ?? undefined,
    no_antes_de: message.notBefore?.toISOString(),
    listener: message.onlyListener ?? undefined,
    origen: message.origin ?? undefined,
    profundidad: message.depth > 0 ? message.depth : undefined,
  })
}

/** A leading BOM would be swallowed on the way back. */
function travelsAsText(bytes: Buffer): boolean {
  return isUtf8(bytes) && !(bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf)
}

/** Control characters do not belong in a name. */
export function hasControl(text: string): boolean {
  return /\p{Cc}/u.test(text)
}
