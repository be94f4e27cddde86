/**
 * Why a delivery, or a message, waits at this moment, in one sentence, and what helps: for `ver` and the page.
 *
 * What holds all of a listener's deliveries comes first, then what holds this one.
 */
import type { Config, ListenerConfig } from '../config/config.ts'
import { amount, shortTime } from '../model/words.ts'
import { readBacklog, type StopReason, whyStopped } from '../queue/backlog.ts'
import { type Pause, pauses } from '../queue/pauses.ts'
import type { Queue } from '../queue/queue.ts'
import {
  type DeliveryPlace,
  deliveryPlace,
  type LaneState,
  laneState,
  type MessagePlace,
  messagePlace,
} from '../queue/whereabouts.ts'
import { isAlive, readWorkers } from '../queue/workers.ts'

export interface Waiting {
  /** A sentence without its end: `corte abierto; próxima prueba a las 08:36:10. Delante: 3.120`. */
  readonly motivo: string
  /** The command that helps; null: only waiting does. */
  readonly que_hacer: string | null
}

interface Surroundings {
  /** Redis time. */
  readonly now: Date
  readonly active: boolean
  /** How many give signs of life. */
  readonly workers: number
  /** More audit waits for Postgres than may. */
  readonly stopped: StopReason | null
}

export interface DeliveryFacts extends Surroundings {
  readonly id: string
  readonly name: string
  readonly place: DeliveryPlace
  readonly lane: LaneState
  readonly pause: Pause | null
  /** Null: it is not in the configuration at hand. */
  readonly listener: Pick<ListenerConfig, 'active' | 'order' | 'rateLimit' | 'breaker'> | null
}

/** @param unfinished listeners whose delivery of the message has not ended, as far as the audit knows */
export async function whyDeliveriesWait(
  queue: Queue,
  config: Config,
  id: string,
  unfinished: readonly string[],
): Promise<Map<string, Waiting>> {
  const [around, held] = await Promise.all([surroundings(queue, config), pauses(queue)])
  const waiting = new Map<string, Waiting>()
  for (const name of unfinished) {
    const [place, lane] = [await deliveryPlace(queue, id, name), await laneState(queue, name)]
    const listener = config.listeners.get(name) ?? null
    waiting.set(name, whyDeliveryWaits({ ...around, id, name, place, lane, pause: held.get(name) ?? null, listener }))
  }
  return waiting
}

/** Of a message that no listener has yet; null: Redis does not hold it. */
export async function whyMessageWaits(queue: Queue, config: Config, id: string): Promise<Waiting | null> {
  const [place, around] = [await messagePlace(queue, id), await surroundings(queue, config)]
  return whyUndispatched(place, around)
}

async function surroundings(queue: Queue, config: Config): Promise<Surroundings> {
  const [now, workers, backlog] = await Promise.all([queue.now(), readWorkers(queue), readBacklog(queue)])
  return {
    now: new Date(now),
    active: config.active,
    workers: workers.filter((worker) => isAlive(worker, now)).length,
    stopped: whyStopped(backlog, config.audit, { away: false, stopped: false }),
  }
}

/** Pure. */
export function whyDeliveryWaits(facts: DeliveryFacts): Waiting {
  const { id, name, place, now } = facts
  if (place.kind === 'running') return { motivo: 'se está entregando en este momento', que_hacer: null }
  if (place.kind === 'failed')
    return { motivo: 'ya terminó: su final espera a que Postgres lo escriba', que_hacer: 'resthooks verificar' }
  if (place.kind === 'unknown') {
    const motivo = 'Redis no la tiene: terminó hace un instante, o Redis la perdió'
    return { motivo, que_hacer: 'si sigue así: resthooks recuperar' }
  }
  const ahead = place.kind === 'queued' && place.before > 0 ? `. Delante: ${amount(place.before)}` : ''
  const held = whyLaneIsHeld(facts) ?? whyNobodyWorks(facts)
  if (held !== null) return { ...held, motivo: `${held.motivo}${ahead}` }
  if (place.kind === 'retry') {
    const { dueAt } = place
    return dueAt > now
      ? {
          motivo: `se reintenta ${atText(dueAt, now)}`,
          que_hacer: `resthooks reenviar --ahora ${id} --listener ${name}`,
        }
      : { motivo: `su reintento toca desde ${sinceText(dueAt, now)}: espera un lugar libre`, que_hacer: null }
  }
  return {
    motivo: place.before === 0 ? 'es la próxima de la cola' : `espera su turno${rateText(facts, place.before)}${ahead}`,
    que_hacer: null,
  }
}

function whyLaneIsHeld({ id, name, lane, pause, listener, place, now }: DeliveryFacts): Waiting | null {
  if (listener?.active !== true) {
    const why = listener === null ? `«${name}» no está en resthooks.ini` : `«${name}» está inactivo (activo = 0)`
    return {
      motivo: `${why}: nadie la entrega`,
      que_hacer: `vuelva a definirlo, o resthooks descartar ${id} --listener ${name}`,
    }
  }
  if (pause !== null && (pause.until === null || pause.until > now))
    return { motivo: pauseText(pause, now), que_hacer: `resthooks reanudar ${name}` }
  if (listener.breaker !== null && lane.breaker.state === 'open') {
    const { until } = lane.breaker
    const next =
      until !== null && until > now ? `próxima prueba ${atText(until, now)}` : 'la próxima entrega es la prueba'
    return { motivo: `corte abierto: falla tanto que no se le envía; ${next}`, que_hacer: `resthooks probar ${name}` }
  }
  if (listener.order === 'estricto') {
    const { runningId, nextRetry } = lane
    if (runningId !== null && runningId !== id)
      return { motivo: `orden estricto: antes se entrega ${runningId}`, que_hacer: null }
    if (nextRetry !== null && nextRetry.id !== id) {
      const motivo = `orden estricto: la frena ${nextRetry.id}, que se reintenta ${atText(nextRetry.dueAt, now)}`
      return { motivo, que_hacer: `resthooks ver ${nextRetry.id}` }
    }
  }
  if (listener.breaker !== null && lane.breaker.state === 'half' && place.kind === 'queued' && lane.running > 0)
    return { motivo: 'corte a prueba: se le envía de a poco hasta que acepte', que_hacer: null }
  return null
}

function pauseText({ until, reason, by, since }: Pause, now: Date): string {
  const from = since === null ? '' : ` desde ${sinceText(since, now)}`
  if (reason === '410') return `respondió 410 (ya no existe) y quedó pausado${from}`
  return `pausado${by === null ? '' : ` por ${by}`}${from}, ${until === null ? 'sin fin' : `hasta ${sinceText(until, now)}`}`
}

/** `las 08:36:10`, `el 26/11 08:36:10` */
function sinceText(at: Date, now: Date): string {
  const text = shortTime(at, now)
  return `${text.includes(' ') ? 'el' : 'las'} ${text}`
}

/** `a las 08:36:10`, `el 26/11 08:36:10` */
function atText(at: Date, now: Date): string {
  const text = sinceText(at, now)
  return text.startsWith('las') ? `a ${text}` : text
}

/** For all listeners alike. */
function whyNobodyWorks({ active, workers, stopped }: Surroundings): Waiting | null {
  if (!active) return { motivo: 'resthooks_activo = 0: no se entrega nada', que_hacer: 'póngalo en 1' }
  if (workers === 0) return { motivo: 'no hay ningún worker en marcha', que_hacer: 'resthooks iniciar-workers' }
  if (stopped === 'memoria')
    return { motivo: 'Redis no tiene más memoria: las entregas están detenidas', que_hacer: 'resthooks verificar' }
  if (stopped !== null)
    return {
      motivo: `la auditoría pendiente pasó ${stopped}: las entregas están detenidas`,
      que_hacer: 'resthooks verificar',
    }
  return null
}

/** A shorter wait is no news. */
const NOTABLE_MS = 2_000

function rateText({ listener, now }: DeliveryFacts, before: number): string {
  const limit = listener?.rateLimit
  if (!limit) return ''
  const wait = (before * limit.per) / limit.count
  if (wait < NOTABLE_MS) return ''
  return ` al límite de ${amount(limit.count)} cada ${limit.per / 1000} s: le toca hacia ${sinceText(new Date(now.getTime() + wait), now)}`
}

/** Pure. */
export function whyUndispatched(place: MessagePlace, around: Surroundings): Waiting | null {
  const { now } = around
  switch (place.kind) {
    case 'unknown':
      return null
    case 'delayed':
      return { motivo: `enviado con demora: se reparte ${atText(place.dueAt, now)}`, que_hacer: null }
    case 'dispatching':
      return { motivo: 'se está repartiendo en este momento', que_hacer: null }
    case 'inbox': {
      const where =
        place.before === null
          ? 'puede estar en la entrada, que es demasiado larga para buscarlo'
          : `todavía en la entrada${place.before > 0 ? `, detrás de ${amount(place.before)}` : ''}`
      const held = whyNobodyWorks(around)
      return held === null ? { motivo: where, que_hacer: null } : { ...held, motivo: `${where}: ${held.motivo}` }
    }
  }
}
