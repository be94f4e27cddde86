/**
 * Why a listener's deliveries wait, or fail: one problem at most, the one that has to go first. Pure.
 */
import type { Config, ListenerConfig } from '../config/config.ts'
import type { Millis } from '../model/message.ts'
import { decimal, shellWord } from '../model/words.ts'
import type { Lane } from '../queue/depths.ts'
import { mistypedText } from '../queue/redis.ts'
import { failureRemedy, failureSentence } from './causes.ts'

/** `mal`: it does not work; `atencion`: a person has to look; `nota`: it passes by itself, or somebody wants it so. */
export type Severity = 'mal' | 'atencion' | 'nota'

export type ListenerProblemKind =
  | 'clave_rota'
  | 'sin_configurar'
  | '410'
  | 'pausa'
  | 'corte'
  | 'estricto'
  | 'falla'
  | 'rechaza'
  | 'errores'
  | 'limite'
  | 'demora'

export interface Problem {
  readonly clase: string
  readonly gravedad: Severity
  /** Null: it is everybody's. */
  readonly listener: string | null
  /** What it is about: the listener, or `Redis`, `workers`… */
  readonly asunto: string
  /** A sentence without a full stop. */
  readonly causa: string
  readonly desde: Date | null
  /** Deliveries (messages, rows) that wait for its end; null: nothing does. */
  readonly esperan: number | null
  /** When something happens by itself, and what: `próxima prueba`. */
  readonly sigue: { readonly que: string; readonly cuando: Date } | null
  /** A command without `resthooks`, or a sentence that begins with what a person does; `-`: nothing. */
  readonly que_hacer: string
}

/** Failures in a row before a listener without a breaker counts as failing, and how long they must last. */
const FAILURES = 3
const FAILING: Millis = 10_000
/** What a healthy listener may have waiting, by the age of the first. */
const LATE: Millis = 5 * 60_000
/** A limit that holds up for less than this is no news. */
const CATCH_UP: Millis = 60_000
/** After this a rejection of the content is history. */
const RECENT: Millis = 3_600_000

interface Beside {
  /** A key of its lane is of another type. */
  readonly broken?: { readonly clave: string; readonly tipo: string; readonly debe_ser: string } | undefined
  /** Which part of its attempts of the last minutes (or of the last hour) failed; undefined: too few, or not known. */
  readonly errors?: number | undefined
}

/** So many of its attempts fail that a person has to look. */
const MANY = 0.2

/**
 * @param lane     as it is in Redis
 * @param listener as it is in the files; undefined: it is not there
 * @param now      Redis time
 */
export function listenerProblem(
  lane: Lane,
  listener: ListenerConfig | undefined,
  now: number,
  { broken, errors }: Beside = {},
): Problem | null {
  const waiting = lane.en_cola + lane.reintentos
  const about = { listener: lane.listener, asunto: lane.listener, esperan: waiting, sigue: null, desde: null } as const
  const last = lane.situacion?.error ?? null
  const never = lane.situacion?.exito === null ? ' (nunca entregó)' : ''
  if (broken) {
    const text = `WRONGTYPE ${broken.clave} ${broken.tipo} ${broken.debe_ser}`
    return {
      ...about,
      clase: 'clave_rota',
      gravedad: 'mal',
      causa: mistypedText({ message: text }),
      que_hacer: 'recuperar',
    }
  }
  if (!listener?.active) {
    const held = waiting + lane.en_curso
    if (held === 0) return null
    const causa = listener ? 'está inactivo (activo = 0), y algo espera' : 'ya no está en resthooks.ini, y algo espera'
    const que_hacer = `definirlo, o: descartar --listener ${shellWord(lane.listener)} --estado pendiente,reintentando`
    return { ...about, clase: 'sin_configurar', gravedad: 'atencion', causa, esperan: held, que_hacer }
  }
  const { pausa } = lane
  if (pausa?.reason === '410') {
    const desde = pausa.since ?? (last?.http === 410 ? new Date(last.cuando) : null)
    const causa = '410: dice que ya no existe; quedó pausado'
    return {
      ...about,
      clase: '410',
      gravedad: 'mal',
      causa,
      desde,
      que_hacer: `corregir su url; luego: reanudar ${lane.listener}`,
    }
  }
  if (pausa) {
    const who = pausa.by === null ? '' : ` por ${pausa.by}`
    const sigue = pausa.until && { que: 'se reanuda', cuando: pausa.until }
    const causa = `pausado${who}${sigue ? '' : ', sin fin'}`
    const gravedad = sigue ? 'nota' : 'atencion'
    return {
      ...about,
      clase: 'pausa',
      gravedad,
      causa,
      desde: pausa.since,
      sigue,
      que_hacer: `reanudar ${lane.listener}`,
    }
  }
  if (lane.corte !== 'no') {
    const opening = lane.situacion?.corte ?? null
    const error = opening?.error ?? last
    // It may have failed for a while before its breaker had enough of it.
    const begins = [opening?.desde, lane.situacion?.desde].filter((at) => typeof at === 'number')
    const desde = begins.length === 0 ? null : new Date(Math.min(...begins))
    const causa = error ? `${failureSentence(error)}${never}` : 'falla demasiado, y su corte está abierto'
    const trial = lane.corte_hasta && lane.corte_hasta.getTime() > now ? lane.corte_hasta : null
    const sigue = trial && { que: 'próxima prueba', cuando: trial }
    const que_hacer = error ? failureRemedy(error, listener) : `probar ${lane.listener}`
    return { ...about, clase: 'corte', gravedad: 'mal', causa, desde, sigue, que_hacer }
  }
  if (listener.order === 'estricto' && lane.primer_reintento !== null) {
    const why = last && lane.situacion?.desde !== null ? ` (${failureSentence(last)})` : ''
    const sigue = lane.proximo_reintento && { que: 'próximo intento', cuando: lane.proximo_reintento }
    const causa = `orden estricto: lo frena ${lane.primer_reintento}${why}`
    return {
      ...{ ...about, clase: 'estricto', gravedad: 'atencion', causa, desde: sinceOf(lane), sigue },
      que_hacer: `ver ${shellWord(lane.primer_reintento)}`,
    }
  }
  const failing = failingProblem(lane, listener, now)
  if (failing) {
    const share = failing.clase === 'rechaza' && errors !== undefined ? ` en el ${percent(errors)}` : ''
    return { ...about, ...failing, causa: `${failing.causa}${share}${never}` }
  }
  if (last && errors !== undefined && errors >= MANY) {
    const desde = sinceOf(lane)
    // Of one that gets through again, the present tense would be wrong.
    const now = desde === null ? '; el último anduvo' : ''
    const causa = `${failureSentence(last)}, en el ${percent(errors)} de los intentos${now}`
    const que_hacer = failureRemedy(last, listener)
    return { ...about, clase: 'errores', gravedad: 'atencion', causa, desde, que_hacer }
  }
  const { rateLimit } = listener
  if (rateLimit && lane.en_cola > 0) {
    const wait = lane.en_cola / startsPerMs(rateLimit)
    if (wait > CATCH_UP) {
      const sigue = { que: 'se pone al día', cuando: new Date(now + wait) }
      const causa = `límite ${limitText(rateLimit)}`
      const desde = lane.mas_antigua_ms === null ? null : new Date(now - lane.mas_antigua_ms)
      return { ...about, clase: 'limite', gravedad: 'nota', causa, desde, sigue, que_hacer: '-' }
    }
  }
  if (lane.mas_antigua_ms !== null && lane.mas_antigua_ms > LATE && lane.en_cola > 0) {
    const desde = new Date(now - lane.mas_antigua_ms)
    const causa = 'entrega, pero no da abasto'
    const que_hacer = `subir concurrencia de ${lane.listener}, o sumar workers`
    return { ...about, clase: 'demora', gravedad: 'atencion', causa, desde, que_hacer }
  }
  return null
}

/** `2,9 %` */
export function percent(share: number): string {
  return `${decimal(share * 100, share < 0.1 ? 1 : 0)} %`
}

function failingProblem(
  { listener: name, situacion, fallidas }: Lane,
  listener: ListenerConfig,
  now: number,
): Pick<Problem, 'clase' | 'gravedad' | 'causa' | 'desde' | 'que_hacer'> | null {
  if (!situacion?.error || situacion.desde === null) return null
  const { error, desde, fallas } = situacion
  const rejects = [400, 405, 406, 411, 413, 414, 415, 422].includes(error.http ?? 0)
  if (rejects && now - error.cuando > RECENT) return null
  if (fallas < FAILURES || (!rejects && now - desde < FAILING)) return null
  const about = { causa: failureSentence(error), desde: new Date(desde) }
  const remedy = failureRemedy(error, listener)
  if (!rejects) return { ...about, clase: 'falla', gravedad: 'mal', que_hacer: remedy }
  const que_hacer = fallidas > 0 ? `auditoria --listener ${name} --estado fallida` : remedy
  return { ...about, clase: 'rechaza', gravedad: 'mal', que_hacer }
}

function sinceOf({ situacion }: Lane): Date | null {
  return situacion?.desde ? new Date(situacion.desde) : null
}

type RateLimit = NonNullable<ListenerConfig['rateLimit']>

/** As `tokens` (claim.lua) lets them start. */
export function startsPerMs({ count, per }: RateLimit): number {
  const most = Math.max(1, Math.floor(count * Math.min(50 / per, 0.1)))
  return (count - most + 1) / (per + Math.min(100, per / 20))
}

function limitText({ count, per }: RateLimit): string {
  const unit = per === 1000 ? 's' : per === 60_000 ? 'm' : per === 3_600_000 ? 'h' : `${per / 1000} s`
  return `${count}/${unit}`
}

/** How a listener stands that has no problem: its last attempts may have failed without being enough for one. */
export type Standing = 'al_dia' | 'reintenta' | 'fallo'

/** Pure. `fallo`: the last it did was to fail, and nobody has resent or discarded what it did not get. */
export function standingOf({ reintentos, fallidas, situacion }: Lane): Standing {
  if (reintentos > 0) return 'reintenta'
  return fallidas > 0 && typeof situacion?.desde === 'number' ? 'fallo' : 'al_dia'
}

/** Listeners whose last attempt did not fail and that wait for no retry, of those that are active. */
export function healthyOf(
  lanes: readonly Lane[],
  problems: readonly Problem[],
  { listeners }: Pick<Config, 'listeners'>,
): string[] {
  const ill = new Set(problems.map(({ listener }) => listener))
  return lanes
    .filter((lane) => listeners.get(lane.listener)?.active && !ill.has(lane.listener))
    .filter((lane) => standingOf(lane) === 'al_dia')
    .map(({ listener }) => listener)
}
