/**
 * What a callback is told, and how it lies in the queue.
 *
 * The job names the listener and the kind of callback, never its target: targets come from the configuration alone, also
 * when somebody else can write to Redis.
 */
import { createHash } from 'node:crypto'
import type { RequestRecord } from '../delivery/delivery.ts'
import type { Message } from '../message.ts'
import type { Claimed } from '../queue/queue.ts'

export interface CallbackJob {
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

/** Of a response body told to a callback, in characters. */
const ANSWER_KEPT = 4096

function forOutcome(told: {
  readonly claimed: Pick<Claimed, 'id' | 'version'>
  readonly message: Message | null
  readonly listener: string
  readonly attempts: number
  readonly reason: string
  readonly succeeded: boolean
  readonly last: RequestRecord | undefined
}): { id: string; job: string } {
  const { claimed, message, listener, last, succeeded } = told
  const job: CallbackJob = {
    tipo: succeeded ? 'on_success' : 'on_failure',
    mensaje: claimed.id,
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
  return { id: `${claimed.id}~${listener}~${claimed.version + 1}`, job: JSON.stringify(job) }
}

/** The job of a delivery that `claim` fails by itself; the script puts the message's id for `{id}`. */
function forLostDelivery(listener: string): string {
  const job: CallbackJob = {
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

export const callbackJob = { forOutcome, forLostDelivery, eventMessageId, variables }
