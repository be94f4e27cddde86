/**
 * Why a delivery, or a message, waits at this moment, in one sentence, and what helps: for `ver` and the page.
 *
 * What holds all of a listener's deliveries comes first, then what holds this one.
 */
import type { Config, ListenerConfig } from '../config/config.ts'
import { amount, shellWord, shortTime } from '../model/words.ts'
import { readBacklog, type StopReason, whyStopped } from '../queue/backlog.ts'
import { type Depths, type Lane, readDepths } from '../queue/depths.ts'
import type { Queue } from '../queue/queue.ts'
import { type DeliveryPlace, deliveryPlace, type MessagePlace, messagePlace } from '../queue/whereabouts.ts'
import { isAlive } from '../queue/workers.ts'
import { type ListenerProblemKind, listenerProblem, type Problem, startsPerMs } from './listener-problem.ts'

export interface Waiting {
  /** A sentence without its end: `su certificado venció; próxima prueba a las 08:36:10. Delante: 3.120`. */
  readonly motivo: string
  /** A command without `resthooks`, or where to look; null: only waiting helps. */
  readonly que_hacer: string | null
  /** Nothing of this listener, or of anybody, goes out: it does not only wait for its turn. */
  readonly detenida?: true
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
  readonly place: DeliveryPlace
  readonly lane: Lane
  readonly broken: Depths['claves_rotas'][number] | undefined
  /** Undefined: it is not in the configuration at hand. */
  readonly listener: ListenerConfig | undefined
}

/** @param unfinished listeners whose delivery of the message has not ended, as far as the audit knows */
export async function whyDeliveriesWait(
  queue: Queue,
  config: Config,
  id: string,
  unfinished: readonly string[],
): Promise<Map<string, Waiting>> {
  const waiting = new Map<string, Waiting>()
  if (unfinished.length === 0) return waiting
  const places = new Map<string, DeliveryPlace>()
  for (const name of unfinished) places.set(name, await deliveryPlace(queue, id, name))
  const depths = await readDepths(queue, unfinished)
  const around = await surroundings(queue, config, depths)
  for (const [name, place] of places) {
    const lane = depths.listeners.find(({ listener }) => listener === name)!
    const broken = depths.claves_rotas.find(({ listener }) => listener === name)
    waiting.set(name, whyDeliveryWaits({ ...around, id, place, lane, broken, listener: config.listeners.get(name) }))
  }
  return waiting
}

/** What holds all of a listener's deliveries up, whatever its server answers; null: nothing does. */
export async function whyListenerWaits(queue: Queue, config: Config, name: string): Promise<Waiting | null> {
  const depths = await readDepths(queue, [name])
  const lane = depths.listeners.find(({ listener }) => listener === name)!
  const broken = depths.claves_rotas.find(({ listener }) => listener === name)
  const problem = listenerProblem(lane, config.listeners.get(name), depths.fecha.getTime(), { broken })
  if (problem === null || !HOLDING.has(problem.clase)) return null
  const { motivo, que_hacer } = saidOf(problem, lane, depths.fecha)
  return {
    motivo: problem.esperan
      ? `${motivo}; ${problem.esperan === 1 ? 'espera' : 'esperan'} ${amount(problem.esperan)}`
      : motivo,
    que_hacer,
  }
}

/** Of a message that no listener has yet; null: Redis does not hold it. */
export async function whyMessageWaits(queue: Queue, config: Config, id: string): Promise<Waiting | null> {
  const place = await messagePlace(queue, id)
  return whyUndispatched(place, await surroundings(queue, config, await readDepths(queue, [])))
}

async function surroundings(queue: Queue, config: Config, { fecha, workers }: Depths): Promise<Surroundings> {
  return {
    now: fecha,
    active: config.active,
    workers: workers.filter((worker) => isAlive(worker, fecha.getTime())).length,
    stopped: whyStopped(await readBacklog(queue), config.audit, { away: false, stopped: false }),
  }
}

/** Pure. */
export function whyDeliveryWaits(facts: DeliveryFacts): Waiting {
  const { id, place, now, lane } = facts
  if (place.kind === 'running') return { motivo: 'se está entregando en este momento', que_hacer: null }
  if (place.kind === 'failed')
    return { motivo: 'ya terminó: su final espera a que Postgres lo escriba', que_hacer: 'verificar' }
  if (place.kind === 'unknown') {
    const motivo = 'Redis no la tiene: terminó hace un instante, o Redis la perdió'
    return { motivo, que_hacer: 'si sigue así: recuperar' }
  }
  const ahead = place.kind === 'queued' && place.before > 0 ? `. Delante: ${amount(place.before)}` : ''
  const held = whyLaneIsHeld(facts) ?? whyNobodyWorks(facts)
  if (held !== null) return { ...held, motivo: `${held.motivo}${ahead}`, detenida: true }
  if (place.kind === 'retry') {
    const { dueAt } = place
    if (dueAt <= now)
      return { motivo: `su reintento toca desde ${sinceText(dueAt, now)}: espera un lugar libre`, que_hacer: null }
    const que_hacer = `reenviar --ahora ${shellWord(id)} --listener ${shellWord(lane.listener)}`
    return { motivo: `se reintenta ${atText(dueAt, now)}`, que_hacer }
  }
  const motivo = place.before === 0 ? 'es la próxima de la cola' : `espera su turno${rateText(facts, place.before)}`
  return { motivo: `${motivo}${ahead}`, que_hacer: null }
}

/** Those that hold every delivery of the listener up. */
const HOLDING: ReadonlySet<ListenerProblemKind | string> = new Set<ListenerProblemKind>([
  'clave_rota',
  'sin_configurar',
  '410',
  'pausa',
  'corte',
  'estricto',
])

/** In the words of `estado`. */
function whyLaneIsHeld({ id, lane, broken, listener, place, now }: DeliveryFacts): Waiting | null {
  const problem = listenerProblem(lane, listener, now.getTime(), { broken })
  const isItself = problem?.clase === 'estricto' && lane.primer_reintento === id
  if (problem !== null && HOLDING.has(problem.clase) && !isItself) return saidOf(problem, lane, now)
  if (listener?.order === 'estricto' && place.kind === 'queued' && lane.en_curso > 0)
    return { motivo: 'orden estricto: antes termina la que se está entregando', que_hacer: null }
  return null
}

function saidOf({ clase, causa, desde, sigue, que_hacer }: Problem, { corte }: Lane, now: Date): Waiting {
  const from = desde === null ? '' : ` desde ${sinceText(desde, now)}`
  const then = sigue === null ? '' : `; ${sigue.que} ${atText(sigue.cuando, now)}`
  const motivo =
    clase === 'corte' ? `corte ${corte}${from}: ${causa}${then}` : `${causa}${from === '' ? '' : `,${from}`}${then}`
  return { motivo, que_hacer: que_hacer === '-' ? null : que_hacer }
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
  if (!active) return { motivo: 'resthooks_activo = 0: no se entrega nada', que_hacer: 'ponerlo en 1' }
  if (workers === 0) return { motivo: 'no hay ningún worker en marcha', que_hacer: 'iniciar-workers' }
  if (stopped === 'memoria')
    return { motivo: 'Redis no tiene más memoria: las entregas están detenidas', que_hacer: 'verificar' }
  if (stopped !== null)
    return {
      motivo: `la auditoría pendiente pasó ${stopped}: las entregas están detenidas`,
      que_hacer: 'verificar',
    }
  return null
}

/** A shorter wait is no news. */
const NOTABLE_MS = 2_000

function rateText({ listener, now }: DeliveryFacts, before: number): string {
  if (!listener?.rateLimit) return ''
  const wait = before / startsPerMs(listener.rateLimit)
  return wait < NOTABLE_MS ? '' : ` por su límite: le toca hacia ${sinceText(new Date(now.getTime() + wait), now)}`
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
      return held === null
        ? { motivo: where, que_hacer: null }
        : { ...held, motivo: `${where}: ${held.motivo}`, detenida: true }
    }
  }
}
