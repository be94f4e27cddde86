/**
 * The history of a message, for `ver`: a line for each thing that happened, attempts drawn to one scale of time. Apart from the rest of
 * that screen, which is about how things stand.
 */
import type { ActionColumns, AttemptColumns, CallbackColumns, Timeline } from '../audit/queries.ts'
import { visible } from '../model/secrets.ts'
import { bodyLines, bodyText, contentTypeOf, phaseText } from '../model/wire-text.ts'
import { amount, shortTime, zoneOf } from '../model/words.ts'
import { duration, oneLine, wrap } from './print.ts'

export interface ScreenOptions {
  readonly width: number
  readonly now: Date
  /** Headers and bodies too. */
  readonly all: boolean
}

/** A line of the history. */
interface Happening {
  readonly at: Date
  readonly listener: string
  readonly what: string
  readonly answer: string
  readonly took: number | null
  readonly bar: string
  readonly note: string
  readonly more: () => Promise<string[]> | string[]
}

const LONGEST_NAME = 16
const BAR = 20
/** Beside the bar; narrower, and it goes below. */
const LEAST_NOTE = 24

export async function historyLines(timeline: Timeline, options: ScreenOptions): Promise<string[]> {
  const { attempts, callbacks, actions } = timeline
  if (attempts.length + callbacks.length + actions.length === 0) return []
  const longest = attempts.reduce((most, { duracion_ms }) => Math.max(most, duracion_ms), 1)
  const scale = scaleOf(longest)
  const happened: Happening[] = [
    ...attempts.map((attempt) => attemptHappening(attempt, attempts, scale, options)),
    ...callbacks.map((callback) => callbackHappening(callback)),
    ...actionHappenings(actions),
  ].sort((a, b) => a.at.getTime() - b.at.getTime())
  const widest = (of: (row: Happening) => string, most: number) =>
    Math.min(
      most,
      happened.reduce((all, row) => Math.max(all, of(row).length), 0),
    )
  const name = widest((row) => row.listener, LONGEST_NAME)
  const what = widest((row) => row.what, 12)
  const answer = widest((row) => row.answer, 12)
  const took = widest((row) => (row.took === null ? '' : duration(row.took)), 12)
  const before = 1 + 12 + 2 + name + 2 + what + 2 + answer + 2 + took + 2
  const isBeside = options.width - before - BAR - 2 >= LEAST_NOTE
  const hasBar = options.width - before >= BAR
  const title = ` Historia${options.all ? '' : ' (--todo: cabeceras y cuerpos)'}`
  const ruler = hasBar && attempts.length > 0 ? rulerOf(scale) : ''
  const lines = [title.length + 2 <= before && ruler !== '' ? `${title.padEnd(before)}${ruler}` : title]
  let day = shownDay(happened[0]!.at, options.now)
  if (day !== '') lines.push(` ${day}`)
  for (const row of happened) {
    const its = shownDay(row.at, options.now)
    if (its !== day) lines.push(` ${its === '' ? 'hoy' : its}`)
    day = its
    const start = ` ${timeOf(row.at)}  ${row.listener.padEnd(name)}  ${row.what.padEnd(what)}  ${row.answer.padEnd(answer)}  ${(row.took === null ? '' : duration(row.took)).padStart(took)}  `
    const bar = hasBar ? row.bar : ''
    const isWhole = row.bar === '' && row.answer === ''
    const at = isWhole ? start.trimEnd().length + 2 : before + BAR + 2
    if (start.trimEnd().length > options.width) {
      // A long name on a narrow screen: in words.
      const said = [start.trim().replace(/ {2,}/g, '  '), row.note].filter(Boolean).join('  ')
      lines.push(...wrapped(said, options, 15, ' '))
    } else if (row.note === '') lines.push(`${start}${bar}`.trimEnd())
    else if (isWhole && options.width - at >= LEAST_NOTE)
      lines.push(...wrapped(row.note, options, at, `${start.trimEnd()}  `))
    else if (isBeside) lines.push(...wrapped(row.note, options, at, `${start}${bar.padEnd(BAR)}  `))
    else lines.push(`${start}${bar}`.trimEnd(), ...wrapped(row.note, options, 15))
    if (options.all) lines.push(...(await row.more()).map((each) => (each === '' ? '' : `    ${each}`)))
  }
  return lines
}

function shownDay(date: Date, now: Date): string {
  return dayOf(date, now).trim()
}

/** The whole bar, in ms: 1, 2 or 5 of a power of ten. */
function scaleOf(longest: number): number {
  const power = 10 ** Math.floor(Math.log10(longest))
  return [1, 2, 5, 10].map((step) => step * power).find((whole) => whole >= longest)!
}

/** `0        50       100 ms` */
function rulerOf(scale: number): string {
  const [half, whole] = [shortDuration(scale / 2), duration(scale)]
  const left = `0${' '.repeat(Math.max(1, BAR / 2 - half.length))}${half}`
  return `${left}${' '.repeat(Math.max(1, BAR + 1 - left.length - whole.length))}${whole}`
}

function shortDuration(ms: number): string {
  return duration(ms).replace(/ ms$/, '')
}

/** `░` to reach the server, `▒` TLS, `█` until it had answered; each at least one where it took any time. */
function barOf({ duracion_ms: total, fases }: AttemptColumns, scale: number): string {
  const phases = fases ?? {}
  const reach = (phases.dns ?? 0) + (phases.conexion ?? 0)
  const tls = phases.tls ?? 0
  const cells = (ms: number) => (ms <= 0 ? 0 : Math.max(1, Math.round((ms / scale) * BAR)))
  const whole = Math.max(1, cells(total))
  const before = Math.min(whole - 1, reach * 20 < total ? 0 : cells(reach))
  const between = Math.min(whole - before - 1, tls * 20 < total ? 0 : cells(tls))
  const drawn = '░'.repeat(before) + '▒'.repeat(between) + '█'.repeat(Math.max(1, whole - before - between))
  return `▕${drawn}`.slice(0, BAR + 1)
}

const RESULTS = { exito: '', reintento: 'se reintentará', fallo: 'no se reintenta' } as const

function attemptHappening(
  attempt: AttemptColumns,
  all: readonly AttemptColumns[],
  scale: number,
  options: ScreenOptions,
): Happening {
  const followed = isFollowed(attempt, all)
  const which = attempt.pedido > 1 ? `  pedido ${attempt.pedido}` : `intento ${attempt.numero}`
  return {
    at: attempt.inicio,
    listener: oneLine(attempt.listener),
    what: which,
    answer: answerText(attempt),
    took: attempt.duracion_ms,
    bar: barOf(attempt, scale),
    note: oneLine([followed ? '' : saidText(attempt), resultText(attempt, followed)].filter(Boolean).join(' → ')),
    more: () => attemptDetails(attempt, options),
  }
}

const LONGEST_SAID = 120

/** What went wrong, or the beginning of what the listener said to it. */
function saidText({ error, error_detalle, resultado, respuesta_cuerpo, respuesta_cabeceras }: AttemptColumns): string {
  if (error !== null) return error_detalle ?? error
  if (resultado === 'exito' || !respuesta_cuerpo?.length) return ''
  const text = bodyText(respuesta_cuerpo, contentTypeOf(respuesta_cabeceras))?.replace(/\s+/g, ' ').trim() ?? ''
  if (text === '') return ''
  return `«${text.length > LONGEST_SAID ? `${text.slice(0, LONGEST_SAID)}…` : text}»`
}

/** Whether the attempt went on after this request: with credentials, in another place, or once more. */
function isFollowed({ listener, numero, pedido }: AttemptColumns, attempts: readonly AttemptColumns[]): boolean {
  return attempts.some((other) => other.listener === listener && other.numero === numero && other.pedido > pedido)
}

/** What became of a request: an answer that only leads to the next one is no failed attempt. */
function resultText({ resultado, http_estado: status }: AttemptColumns, followed: boolean): string {
  if (!followed || resultado !== 'reintento') return RESULTS[resultado]
  if (status === 401) return 'desafío: se contesta en el pedido siguiente'
  if (status !== null && status >= 300 && status < 400) return 'se sigue la redirección'
  return 'sigue en el pedido siguiente'
}

async function attemptDetails(attempt: AttemptColumns, options: ScreenOptions): Promise<string[]> {
  const phases = Object.entries(attempt.fases ?? {}).map(([name, ms]) => `${phaseText(name)} ${duration(ms)}`)
  const lines = [`${oneLine(attempt.metodo)} ${oneLine(attempt.url)}`]
  const add = (name: string, value: string | null) => value && lines.push(`${name.padEnd(11)}${oneLine(value)}`)
  add('fases', phases.join(', '))
  add('dirección', attempt.ip)
  add('worker', attempt.worker)
  add('reintento', attempt.proximo_intento && exactTime(attempt.proximo_intento, options.now))
  lines.push(...headerLines(attempt.pedido_cabeceras, 'pedido', 0))
  lines.push(...headerLines(attempt.respuesta_cabeceras ?? {}, 'respuesta', 0))
  const { respuesta_cuerpo: body } = attempt
  if (!body?.length) return lines
  add('cuerpo', `${amount(body.length)} bytes${attempt.respuesta_truncada ? ', cortado en max_respuesta' : ''}`)
  return [...lines, ...(await bodyLines(body, contentTypeOf(attempt.respuesta_cabeceras))).map((each) => `  ${each}`)]
}

const CALLBACK_RESULTS = { exito: 'éxito', reintento: 'se reintentará', fallo: 'fallo' } as const

function callbackHappening(callback: CallbackColumns): Happening {
  const detail = callback.detalle?.trim() ?? ''
  const [first = ''] = detail.split('\n')
  return {
    at: callback.fecha,
    listener: oneLine(callback.listener),
    what: callback.tipo,
    answer: '',
    took: null,
    bar: '',
    note: oneLine(
      `${callback.destino}: ${CALLBACK_RESULTS[callback.resultado]}${callback.intento > 1 ? ` (intento ${callback.intento})` : ''}${first === '' ? '' : ` · ${first}`}`,
    ),
    more: () => (detail.includes('\n') ? visible(detail).split('\n') : []),
  }
}

export function wrapped(text: string, { width }: ScreenOptions, indent: number, first = ' '.repeat(indent)): string[] {
  const lines = wrap(text, Math.max(20, width - Math.max(indent, first.length)))
  return lines.map((each, n) => `${n === 0 ? first : ' '.repeat(indent)}${each}`.trimEnd())
}

/** `26/11 08:30:56.737 -03:00`, with the year where it is another one. */
export function exactTime(date: Date, now: Date): string {
  const [day] = shortTime(date, new Date(now.getFullYear(), date.getMonth(), date.getDate() + 1)).split(' ')
  return `${day} ${timeOf(date)} ${zoneOf(date)}`
}

function timeOf(date: Date): string {
  return `${shortTime(date, date)}.${String(date.getMilliseconds()).padStart(3, '0')}`
}

function dayOf(date: Date, now: Date): string {
  const [day, time] = shortTime(date, now).split(' ')
  return time === undefined ? '' : `${day} `
}

export function answerText({ http_estado, error }: AttemptColumns): string {
  return oneLine(http_estado === null ? (error ?? 'sin respuesta') : String(http_estado))
}

export function headerLines(
  headers: Readonly<Record<string, string | readonly string[]>>,
  label: string,
  indent = 1,
): string[] {
  return Object.entries(headers).flatMap(([name, value]) =>
    [value].flat().map((each) => `${' '.repeat(indent)}${label.padEnd(11 - indent)}${oneLine(`${name}: ${each}`)}`),
  )
}

const DEEDS: Readonly<Record<string, string>> = { reenviar: 'reenvío', descartar: 'descarte', recuperar: 'recuperado' }

/** `root@vm` */
export function authorText({ quien, equipo }: ActionColumns): string {
  return oneLine(`${quien}@${equipo}`)
}

/** One line for all the deliveries of the message that it touched. */
function actionHappenings(actions: readonly ActionColumns[]): Happening[] {
  const first = [...new Map(actions.map((action) => [action.id, action])).values()]
  return first.map((action) => {
    const touched = actions.filter(({ id }) => id === action.id).map(({ listener }) => oneLine(listener))
    const order = action.orden.replace(/^(?:\S*\/)?resthooks\s+/, '')
    return {
      at: action.fecha,
      listener: touched.length === 1 ? touched[0]! : `${touched.length} listeners`,
      what: DEEDS[order.split(' ')[0]!] ?? 'acción',
      answer: '',
      took: null,
      bar: '',
      note: `por ${authorText(action)}: «${oneLine(order)}»`,
      more: () => (touched.length === 1 ? [] : [touched.join(', ')]),
    }
  })
}
