/**
 * What was sent to one listener and what it answered, to hand to whoever runs that listener: as a document that a program can check,
 * and as a text that a person signs. Nothing of other listeners, no secrets. Pure.
 *
 * The document's hash is that of `evidencia` as one line of JSON, which `jq -cj .evidencia` prints: it is the same whenever it is made.
 */

import { createHash } from 'node:crypto'
import { type Secrets, visible } from '../model/secrets.ts'
import { typed } from '../model/typed.ts'
import { bodyLines, bodyText, contentTypeOf } from '../model/wire-text.ts'
import { amount, duration, localTime, shellWord } from '../model/words.ts'
import type { AttemptColumns, MessageColumns, Timeline } from './timeline.ts'

type Headers = Readonly<Record<string, string | readonly string[]>>

/** Bytes with their hash; `base64` null: they are not kept, or hold a secret of ours. */
interface Bytes {
  readonly bytes: number
  readonly sha256: string
  readonly base64: string | null
  /** Where it is plain text. */
  readonly texto: string | null
}

interface EvidentRequest {
  readonly intento: number
  readonly pedido: number
  readonly inicio: string
  readonly duracion_ms: number
  readonly metodo: string
  readonly url: string
  readonly ip: string | null
  readonly cabeceras: Headers
  /** `webhook-signature` as it was sent. */
  readonly firma: string | null
  readonly cuerpo_sha256: string | null
  readonly respuesta: {
    readonly http_estado: number
    readonly cabeceras: Headers
    readonly cuerpo: Bytes | null
    /** False: it was longer than `max_respuesta`, and this is its beginning. */
    readonly completa: boolean
  } | null
  readonly error: string | null
  readonly resultado: AttemptColumns['resultado']
}

interface Evidence {
  readonly formato: 1
  readonly instancia: string
  readonly proyecto: string
  readonly mensaje: {
    readonly id: string
    readonly evento: string
    readonly enviado: string
    readonly recibido: string
    readonly clave: string | null
    readonly tipo_contenido: string | null
    /** Null: `auditar_cuerpo = 0`. */
    readonly cuerpo: Bytes | null
  }
  readonly listener: string
  readonly estado: string
  readonly actualizado: string
  readonly pedidos: readonly EvidentRequest[]
}

interface EvidenceDocument {
  readonly evidencia: Evidence
  readonly sha256: string
  readonly emitida: string
  readonly programa: string
}

/**
 * Null: the message has no delivery to that listener.
 * @param timeline with what the message itself carries already withheld (`withheld`)
 */
export function evidenceOf(
  timeline: Timeline,
  listener: string,
  { secrets, version, now }: { readonly secrets: Secrets; readonly version: string; readonly now: Date },
): EvidenceDocument | null {
  const delivery = timeline.deliveries.find((each) => each.listener === listener)
  const { message } = timeline
  if (!delivery || !message) return null
  const body = message.cuerpo && bytesOf(message.cuerpo, message.tipo_contenido, secrets)
  const evidence = hidden<Evidence>(secrets, {
    formato: 1,
    instancia: message.instancia,
    proyecto: message.proyecto,
    mensaje: { ...messageOf(message), cuerpo: body },
    listener,
    estado: delivery.estado,
    actualizado: localTime(delivery.actualizado),
    pedidos: timeline.attempts
      .filter((attempt) => attempt.listener === listener)
      .map((attempt) => requestOf(attempt, body?.sha256 ?? null, secrets)),
  })
  return {
    evidencia: evidence,
    sha256: createHash('sha256').update(JSON.stringify(evidence)).digest('hex'),
    emitida: localTime(now),
    programa: `resthooks ${version}`,
  }
}

function messageOf({ id, evento, creado, recibido, clave, tipo_contenido }: MessageColumns) {
  return { id, evento, enviado: localTime(creado), recibido: localTime(recibido), clave, tipo_contenido }
}

function requestOf(attempt: AttemptColumns, sent: string | null, secrets: Secrets): EvidentRequest {
  const signature = Object.entries(attempt.pedido_cabeceras).find(
    ([name]) => name.toLowerCase() === 'webhook-signature',
  )
  // A request for a token carries none of the message.
  const isOwn = Object.keys(attempt.pedido_cabeceras).some((name) => name.toLowerCase() === 'webhook-id')
  return {
    intento: attempt.numero,
    pedido: attempt.pedido,
    inicio: localTime(attempt.inicio),
    duracion_ms: Math.round(attempt.duracion_ms),
    metodo: attempt.metodo,
    url: attempt.url,
    ip: attempt.ip,
    cabeceras: attempt.pedido_cabeceras,
    firma: signature?.[1] ?? null,
    cuerpo_sha256: isOwn && !/^(?:GET|HEAD)$/.test(attempt.metodo) ? sent : null,
    respuesta:
      attempt.http_estado === null
        ? null
        : {
            http_estado: attempt.http_estado,
            cabeceras: attempt.respuesta_cabeceras ?? {},
            cuerpo:
              attempt.respuesta_cuerpo &&
              bytesOf(attempt.respuesta_cuerpo, contentTypeOf(attempt.respuesta_cabeceras), secrets),
            completa: !attempt.respuesta_truncada,
          },
    error: attempt.error === null ? null : [attempt.error, attempt.error_detalle].filter(Boolean).join(': '),
    resultado: attempt.resultado,
  }
}

function bytesOf(body: Buffer, type: string | null, secrets: Secrets): Bytes {
  const isClean = secrets.hideBytes(body) === body
  const text = isClean ? bodyText(body, type) : null
  return {
    bytes: body.length,
    sha256: createHash('sha256').update(body).digest('hex'),
    base64: isClean ? body.toString('base64') : null,
    // Control characters are escaped differently by those who print JSON, and the hash would not be the same.
    texto: text !== null && !/[\p{Cc}\p{Cs}]/u.test(text.replace(/[\n\r\t]/g, '')) ? text : null,
  }
}

/** Every text passes the known secrets, before its hash is made. */
function hidden<T>(secrets: Secrets, value: T): T {
  return JSON.parse(JSON.stringify(value, (_, each) => (typeof each === 'string' ? secrets.hide(each) : each)))
}

const STATES: Readonly<Record<string, string>> = {
  exitosa: 'ENTREGADA: el destinatario la aceptó',
  fallida: 'NO ENTREGADA: el destinatario no la aceptó',
  descartada: 'NO ENTREGADA: se desistió de entregarla',
  reintentando: 'PENDIENTE: no se aceptó todavía, y se reintenta',
  pendiente: 'PENDIENTE: todavía no se entregó',
}

/** The same for a person: what was sent, what came back, and room for who answers for it. */
export async function evidenceText({ evidencia, sha256, emitida, programa }: EvidenceDocument): Promise<string> {
  const { mensaje, listener, estado, pedidos, instancia, proyecto } = evidencia
  const command = typed(`ver ${shellWord(mensaje.id)} --evidencia ${shellWord(listener)} --json`)
  const lines = [
    'EVIDENCIA DE ENTREGA',
    '',
    `Emitida       ${emitida}, por ${programa}`,
    `Sistema       ${proyecto} (instancia ${instancia})`,
    `Destinatario  ${listener}`,
    `Mensaje       ${mensaje.id}`,
    `Evento        ${mensaje.evento}`,
    ...(mensaje.clave === null ? [] : [`Clave         ${mensaje.clave}`]),
    `Enviado       ${mensaje.enviado}`,
    `Resultado     ${STATES[estado] ?? estado} (${evidencia.actualizado})`,
    '',
    'LO QUE SE ENVIÓ (los mismos bytes en cada pedido)',
    '',
    ...(await bytesLines(mensaje.cuerpo, mensaje.tipo_contenido, 'no se guarda (auditar_cuerpo = 0)')),
  ]
  for (const [n, pedido] of pedidos.entries()) lines.push('', ...(await requestLines(pedido, n + 1, pedidos.length)))
  if (pedidos.length === 0) lines.push('', 'Todavía no se le hizo ningún pedido.')
  lines.push(
    '',
    'COMPROBACIÓN',
    '',
    `sha256 de esta evidencia en JSON: ${sha256}`,
    `El documento:      ${command} > evidencia.json`,
    'Su comprobación:   jq -cj .evidencia evidencia.json | sha256sum',
    'Las credenciales están reemplazadas por ***; «webhook-signature» es la firma que se envió.',
    '',
    '',
    'Nombre y cargo:  ____________________________________________',
    '',
    'Lugar y fecha:   ____________________________________________',
    '',
    'Firma:           ____________________________________________',
  )
  return visible(lines.join('\n'))
}

async function requestLines(request: EvidentRequest, n: number, of: number): Promise<string[]> {
  const { respuesta } = request
  const lines = [
    `PEDIDO ${n} DE ${of} (intento ${request.intento}${request.pedido > 1 ? `, pedido ${request.pedido}` : ''})`,
    '',
    `Inicio        ${request.inicio}; duró ${duration(request.duracion_ms)}`,
    ...(request.ip === null ? [] : [`Dirección     ${request.ip}`]),
    `> ${request.metodo} ${request.url}`,
    ...headerLines('>', request.cabeceras),
    ...(request.cuerpo_sha256 === null ? [] : [`> [el cuerpo: sha256 ${request.cuerpo_sha256}]`]),
  ]
  if (respuesta !== null) {
    const type = contentTypeOf(respuesta.cabeceras)
    const body = await bytesLines(respuesta.cuerpo, type, 'no se guarda')
    const cut = respuesta.completa ? [] : ['[cortada en max_respuesta: es su principio]']
    lines.push('', `< HTTP ${respuesta.http_estado}`, ...headerLines('<', respuesta.cabeceras))
    lines.push(...[...body, ...cut].map((each) => `< ${each}`))
  }
  if (request.error !== null) lines.push(`! ${request.error}`)
  return lines
}

function headerLines(mark: string, headers: Headers): string[] {
  return Object.entries(headers).flatMap(([name, value]) => [value].flat().map((each) => `${mark} ${name}: ${each}`))
}

async function bytesLines(body: Bytes | null, type: string | null, otherwise: string): Promise<string[]> {
  if (body === null) return [otherwise]
  const facts = `${amount(body.bytes)} bytes${type ? `, ${type}` : ''}, sha256 ${body.sha256}`
  if (body.base64 === null) return [facts, '(tiene un secreto de este sistema: no se muestra)']
  return [facts, ...(await bodyLines(Buffer.from(body.base64, 'base64'), type))]
}
