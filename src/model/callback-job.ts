/**
 * What a callback is told, and how it lies in the queue.
 *
 * The job names the listener and the kind of callback, never its target: targets come from the configuration alone, also
 * when somebody else can write to Redis.
 */
import { createHash } from 'node:crypto'
import type { Message, Millis } from './message.ts'

export interface CallbackJob {
  /** Of the format; jobs of the time before it had a number have none. */
  readonly v: 1
  readonly tipo: 'on_success' | 'on_failure'
  readonly mensaje: string
  readonly evento: string | null
  readonly listener: string
  readonly estado: 'exitosa' | 'fallida'
  readonly intentos: number | null
  readonly motivo: string | null
  readonly http_estado: number | null
  readonly error: string | null
  readonly error_detalle: string | null
  /** Of the answer, where it is text. */
  readonly respuesta: string | null
  readonly fecha: string | null
  /** `evento:` callbacks between the first message and this one. */
  readonly profundidad: number
}

/** What a callback is told of the last request. */
interface LastRequest {
  readonly status: number | null
  readonly error: string | null
  readonly errorDetail: string | null
  readonly responseBody: Buffer | null
  /** ms since epoch. */
  readonly startedAt: number
  readonly durationMs: Millis
}

/** Of a response body told to a callback, in characters. */
const ANSWER_KEPT = 4096

function forOutcome(told: {
  readonly id: string
  readonly message: Message | null
  readonly listener: string
  readonly attempts: number
  readonly reason: string
  readonly succeeded: boolean
  readonly last: LastRequest | undefined
}): string {
  const { id, message, listener, last, succeeded } = told
  const job: CallbackJob = {
    v: 1,
    tipo: succeeded ? 'on_success' : 'on_failure',
    mensaje: id,
    evento: message?.event ?? null,
    listener,
    estado: succeeded ? 'exitosa' : 'fallida',
    intentos: told.attempts,
    motivo: told.reason || null,
    http_estado: last?.status ?? null,
    error: last?.error ?? null,
    error_detalle: last?.errorDetail ?? null,
    respuesta: last?.responseBody?.toString('utf8').slice(0, ANSWER_KEPT) ?? null,
    fecha: last ? new Date(last.startedAt + last.durationMs).toISOString() : null,
    profundidad: message?.depth ?? 0,
  }
  return JSON.stringify(job)
}

/** The job of a delivery that `claim` fails by itself; the script puts the message's id for `{id}`. */
function forLostDelivery(listener: string): string {
  const job: CallbackJob = {
    v: 1,
    tipo: 'on_failure',
    mensaje: '{id}',
    evento: null,
    listener,
    estado: 'fallida',
    intentos: null,
    motivo: 'la entrega se perdió tres veces sin resultado, o su cuerpo ya no estaba en Redis',
    http_estado: null,
    error: null,
    error_detalle: null,
    respuesta: null,
    fecha: null,
    profundidad: 0,
  }
  return JSON.stringify(job)
}

/** The id of the message that an `evento:` callback sends: derived, so that the audit of the callback names it. */
function eventMessageId(callbackId: string): string {
  return createHash('sha256').update(callbackId).digest('hex').slice(0, 32)
}

/** What an `exec:` callback finds in its environment. */
function variables(job: CallbackJob, instancia: string, proyecto: string): Record<string, string> {
  return {
    RESTHOOKS_TIPO: job.tipo,
    RESTHOOKS_MENSAJE: job.mensaje,
    RESTHOOKS_EVENTO: job.evento ?? '',
    RESTHOOKS_LISTENER: job.listener,
    RESTHOOKS_ESTADO: job.estado,
    RESTHOOKS_INTENTOS: String(job.intentos ?? ''),
    RESTHOOKS_HTTP_ESTADO: String(job.http_estado ?? ''),
    RESTHOOKS_ERROR: job.error ?? '',
    RESTHOOKS_MOTIVO: job.motivo ?? '',
    RESTHOOKS_INSTANCIA: instancia,
    RESTHOOKS_PROYECTO: proyecto,
  }
}

/** @throws when it is none of a format that this version understands */
function read(raw: Buffer): CallbackJob {
  const job = JSON.parse(raw.toString('utf8')) as CallbackJob | null
  if ((job?.v ?? 1) !== 1) throw new Error(`v = ${JSON.stringify(job?.v)}: esta versión del programa entiende v = 1`)
  const isKnown = job?.tipo === 'on_success' || job?.tipo === 'on_failure'
  if (!isKnown || typeof job.listener !== 'string' || typeof job.mensaje !== 'string')
    throw new Error('le falta tipo, mensaje o listener')
  return job
}

export const callbackJob = { forOutcome, forLostDelivery, read, eventMessageId, variables }
