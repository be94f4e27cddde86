/**
 * `ver` for a person: one screen that fits its width. Who got the message, who waits and why, and a line for each thing that happened,
 * drawn to one scale of time.
 */

import { createHash } from 'node:crypto'
import type { DeliveryColumns, MessageColumns } from '../audit/queries.ts'
import { newestAttempt } from '../audit/timeline.ts'
import { toBeTyped } from '../checks/causes.ts'
import type { MessageReport } from '../checks/message-report.ts'
import { isSecretParameter, MASK } from '../model/secrets.ts'
import { traceInWords } from '../model/trace.ts'
import { typed } from '../model/typed.ts'
import { bodyLines, bodyText } from '../model/wire-text.ts'
import { amount, shellWord, shortTime } from '../model/words.ts'
import { count, duration, oneLine } from './print.ts'
import {
  answerText,
  authorText,
  exactTime,
  headerLines,
  historyLines,
  type ScreenOptions,
  wrapped,
} from './ver-history.ts'

type Timeline = NonNullable<MessageReport['timeline']>

export async function screen(id: string, report: MessageReport, options: ScreenOptions): Promise<string[]> {
  const { message, deliveries } = report.timeline!
  return [
    ...spread(`Mensaje ${oneLine(id)}${message ? ` · ${oneLine(message.evento)}` : ''}`, summary(report), options),
    ...(message ? await messageLines(message, report.timeline!, options) : wrapped(NO_MESSAGE, options, 1)),
    ...(deliveries.length === 0 ? wrapped(noDeliveries(report), options, 1) : deliveryLines(id, report, options)),
    ...(await historyLines(report.timeline!, options)),
  ]
}

const NO_MESSAGE = '(su contenido no está en la auditoría: todavía no se escribió, o fue rechazado)'

/** Two texts at both ends of a line, or under each other. */
function spread(left: string, right: string, options: ScreenOptions): string[] {
  const room = options.width - left.length - right.length
  if (room >= 2) return [`${left}${' '.repeat(room)}${right}`.trimEnd()]
  return [...wrapped(left, options, 0), ...wrapped(right, options, 1)]
}

const STATES: Readonly<Record<DeliveryColumns['estado'], readonly [sign: string, one: string, many: string]>> = {
  exitosa: ['✔', 'entregada', 'entregadas'],
  fallida: ['✘', 'fallida', 'fallidas'],
  descartada: ['-', 'descartada', 'descartadas'],
  reintentando: ['…', 'reintenta', 'reintentan'],
  pendiente: ['…', 'espera', 'esperan'],
}

function summary({ timeline, undispatched }: MessageReport): string {
  const { message, deliveries } = timeline!
  const found = Object.entries(STATES).map(([state, [, one, many]]) => {
    const some = deliveries.filter(({ estado }) => estado === state).length
    return some === 0 ? '' : count(some, one, many)
  })
  const text = found.filter(Boolean).join(', ')
  if (text !== '') return text
  return message?.listeners === 0 ? 'sin listener' : undispatched === null ? '' : 'espera'
}

function noDeliveries({ timeline, undispatched }: MessageReport): string {
  if (undispatched !== null) return `${capital(undispatched.motivo)}.${helps(undispatched.que_hacer)}`
  const { message } = timeline!
  if (message?.listeners === 0)
    return `Ningún listener recibe este evento. Cuando haya uno: ${typed(`reenviar ${shellWord(oneLine(message.id))}`)}`
  return message?.listeners === null
    ? 'Todavía corre su demora: se repartirá cuando termine.'
    : 'Todavía no hay entregas escritas en Postgres.'
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

function helps(remedy: string | null): string {
  return remedy === null ? '' : ` → ${toBeTyped(remedy)}`
}

async function messageLines(message: MessageColumns, timeline: Timeline, options: ScreenOptions): Promise<string[]> {
  const { now } = options
  const rows: [string, string][] = [
    ['enviado', `${exactTime(message.creado, now)}${senderText(message)}   ${takenText(message, timeline, now)}`],
    ['cuerpo', bodyFacts(message)],
  ]
  const about = [
    message.clave !== null && `clave=${message.clave}`,
    (message.metodo ?? message.ruta) !== null && [message.metodo, message.ruta].filter(Boolean).join(' '),
    message.solo_listener !== null && `sólo para ${message.solo_listener}`,
    message.no_antes_de !== null && `con demora, hasta ${exactTime(message.no_antes_de, now)}`,
    message.profundidad > 0 && `proviene de un callback (nivel ${message.profundidad})`,
    traceInWords(message.cabeceras) ?? false,
    (message.veces ?? 1) > 1 && `${message.veces} mensajes con este id; éste es el último`,
  ].filter((each) => each !== false)
  if (about.length > 0) rows.push(['además', about.join(' · ')])
  const lines = rows.flatMap(([name, text]) => wrapped(oneLine(text), options, 11, ` ${name.padEnd(10)}`))
  if (!options.all) return lines
  lines.push(...headerLines(message.cabeceras, 'cabecera'))
  const body = message.cuerpo === null ? [] : await bodyLines(message.cuerpo, message.tipo_contenido)
  return [...lines, ...body.map((each) => `    ${each}`)]
}

/** `servidor1 php` of other programs, `siu@vm resthooks send` of ours. */
function senderText({ origen }: MessageColumns): string {
  if (!origen) return ''
  const [who, ...program] = origen.split(' ')
  return ` por ${who}${program.length > 0 ? ` (${program.join(' ').replace(/^\((.*)\)$/, '$1')})` : ''}`
}

/** How long after it was sent, unless the two clocks differ. */
function takenText({ creado, recibido }: MessageColumns, { attempts }: Timeline, now: Date): string {
  const wait = recibido.getTime() - creado.getTime()
  const taken = wait >= 0 ? `tomado +${duration(wait)}` : `tomado ${exactTime(recibido, now)}`
  const first = attempts.find(({ worker }) => worker !== '')
  return first ? `${taken}, primer pedido por ${workerName(first.worker)}` : taken
}

/** Without what tells it from others of the same process number. */
function workerName(worker: string): string {
  return worker.split(':').slice(0, 2).join(':')
}

const MOST_FIELDS = 4
const LONGEST_VALUE = 24

function bodyFacts({ cuerpo, tipo_contenido: type }: MessageColumns): string {
  if (cuerpo === null) return 'no se guarda (auditar_cuerpo = 0)'
  const hash = createHash('sha256').update(cuerpo).digest('hex')
  const text = bodyText(cuerpo, type)
  const fields = text === null ? null : scalarFields(text)
  const kind = fields !== null ? 'JSON' : (type ?? (text === null ? 'binario' : 'texto'))
  const facts = `${amount(cuerpo.length)} bytes ${kind}, sha256 ${hash.slice(0, 6)}…${hash.slice(-4)}`
  return [facts, ...(fields ?? []), '(--cuerpo)'].join('   ')
}

/** `id=999` of the first few members that are no objects; null: it is no JSON. */
function scalarFields(text: string): string[] | null {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return null
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return []
  const members = Object.entries(value).filter(([, each]) => typeof each !== 'object')
  return members.slice(0, MOST_FIELDS).map(([name, each]) => {
    const shown = isSecretParameter(name) ? MASK : String(each)
    return `${name}=${shown.length > LONGEST_VALUE ? `${shown.slice(0, LONGEST_VALUE)}…` : shown}`
  })
}

const LONGEST_NAME = 16
/** Beside the columns before it; narrower, and it goes below. */
const LEAST_WHY = 28

function deliveryLines(id: string, report: MessageReport, options: ScreenOptions): string[] {
  const { deliveries } = report.timeline!
  const rows = deliveries.map((delivery) => ({
    sign: STATES[delivery.estado][0],
    name: oneLine(delivery.listener),
    state: STATES[delivery.estado][1],
    attempts: String(delivery.intentos),
    last: lastText(delivery, report.timeline!, options.now),
    why: oneLine(whyText(id, delivery, report, options.now)),
  }))
  const widest = (heading: string, of: (row: (typeof rows)[number]) => string, most = 99) =>
    Math.min(
      most,
      rows.reduce((all, row) => Math.max(all, of(row).length), heading.length),
    )
  const name = widest('listener', (row) => row.name, LONGEST_NAME)
  const state = widest('estado', (row) => row.state)
  const last = widest('último', (row) => row.last)
  const before = 1 + 2 + name + 2 + state + 2 + 8 + 2 + last + 2
  const isBeside = options.width - before >= LEAST_WHY
  const head = ` ${'listener'.padEnd(name + 2)}  ${'estado'.padEnd(state)}  intentos  ${'último'.padEnd(last)}  ${isBeside ? 'por qué / qué sigue' : ''}`
  const lines = [head.trimEnd()]
  for (const row of rows) {
    const start = ` ${row.sign} ${row.name.padEnd(name)}  ${row.state.padEnd(state)}  ${row.attempts.padStart(8)}  ${row.last.padEnd(last)}  `
    // A long name pushes its own line alone; where that has no room for it, it is told in words.
    if (start.trimEnd().length > options.width) {
      const said = `${row.state}, ${count(Number(row.attempts), 'intento', 'intentos')}, ${row.last}${row.why === '' ? '' : `: ${row.why}`}`
      lines.push(...wrapped(`${row.sign} ${row.name}`, options, 3, ' '), ...wrapped(said, options, 5))
    } else if (row.why === '') lines.push(start.trimEnd())
    else if (isBeside) lines.push(...wrapped(row.why, options, before, start))
    else lines.push(start.trimEnd(), ...wrapped(row.why, options, 5))
  }
  return lines
}

function lastText({ listener }: DeliveryColumns, { attempts }: Timeline, now: Date): string {
  const newest = newestAttempt(attempts, listener)
  if (!newest) return '-'
  const { last, took } = newest
  // Of another day the day alone: the history tells more.
  const [first] = shortTime(last.inicio, now).split(' ')
  return `${answerText(last)} en ${duration(took)} ${first}`
}

function whyText(id: string, delivery: DeliveryColumns, { waiting, timeline }: MessageReport, now: Date): string {
  const { listener, estado, motivo, proximo_intento: next } = delivery
  const action = timeline!.actions.find((each) => each.listener === listener)
  const by = action ? ` por ${authorText(action)} ${shortTime(action.fecha, now)}` : ''
  switch (estado) {
    case 'exitosa':
      return [motivo, by === '' ? null : `reenviada${by}`].filter(Boolean).join('; ')
    case 'descartada':
      return [motivo, by === '' ? null : `descartada${by}`].filter(Boolean).join('; ')
    case 'fallida':
      return `${motivo ?? ''} → corregido: ${typed(`reenviar ${shellWord(id)} --listener ${shellWord(listener)}`)}`.trim()
    default: {
      const why = waiting.get(listener)
      const before = estado === 'reintentando' && motivo !== null ? `${motivo}: ` : ''
      if (why) return `${before}${why.motivo}${helps(why.que_hacer)}`
      return `${before}${next === null ? 'no se pudo preguntar a Redis por qué espera' : `se reintenta ${shortTime(next, now)}`}`
    }
  }
}
