/**
 * The screen of `estado`: a verdict, what needs attention, the healthy in one line, the figures. Pure: lines for a width, from
 * 60 columns on. Nothing is cut off; what does not fit a line goes on in the next one.
 */

import type { Attention, ListenerState, Problem, Rate, WorkerState } from '../checks/attention.ts'
import { SIGNS, subjectsText, summaryOf } from '../checks/attention.ts'
import { inColumn } from '../checks/causes.ts'
import { percent, type Standing, standingOf } from '../checks/listener-problem.ts'
import type { AuditView } from '../checks/without-redis.ts'
import { amount, count, decimal, duration, localTime, shortTime, zoneOf } from '../model/words.ts'
import { wrap } from './print.ts'

/** What a line begins with is painted by what it means. */
type Tone = 'mal' | 'atencion' | 'nota' | 'bien' | 'titulo' | 'texto'

export interface ScreenLine {
  readonly tone: Tone
  /** The painted part. */
  readonly mark: string
  readonly text: string
}

interface ScreenOptions {
  readonly width: number
  /** Every listener, healthy or not. */
  readonly all: boolean
}

export function screenOf(attention: Attention, { width, all }: ScreenOptions): ScreenLine[] {
  return [
    ...headLines(attention, summaryOf(attention), width),
    ...problemLines(attention.problemas, attention.listeners, attention.fecha, width),
    ...healthyLines(attention, width, all),
    ...(all ? [plain(''), ...tableOf(listenerTable(attention.listeners, attention.fecha), width)] : []),
    plain(''),
    ...figureLines(attention.ritmo, serverLines(attention), width),
    plain(''),
    ...workerLines(attention, width),
  ]
}

/** Where Redis could not be asked. */
export function screenWithoutRedis(view: AuditView, width: number): ScreenLine[] {
  const { problemas, fecha, inconclusas, postgres_ms, ritmo } = view
  const unfinished = `sin terminar ${count(inconclusas, 'entrega', 'entregas')}, según la auditoría`
  const servers = ['Redis     no responde ✘', `Postgres  ${postgres_ms} ms ✔`, 'Cola      sólo Redis la conoce']
  return [
    ...headLines(view, `MAL · ${subjectsText(problemas)} · ${unfinished}`, width),
    ...problemLines(problemas, [], fecha, width),
    plain(''),
    ...figureLines(ritmo, servers, width),
    plain(''),
    plain(' De los workers y de cada listener sólo sabe Redis.'),
  ]
}

type Shown = Pick<Attention, 'version' | 'instancia' | 'proyecto' | 'fecha' | 'veredicto'>

function headLines(about: Shown, summary: string, width: number): ScreenLine[] {
  return [
    ...wrap(headLine(about), width).map((text) => plain(text, 'titulo')),
    ...wrap(summary, width).map((text, at) =>
      at === 0
        ? { tone: about.veredicto, mark: text.split(' ·')[0]!, text: text.slice(text.split(' ·')[0]!.length) }
        : plain(text),
    ),
  ]
}

/** Narrower screens tell a problem in two lines. */
const WIDE = 90

function plain(text: string, tone: Tone = 'texto'): ScreenLine {
  return tone === 'texto' ? { tone, mark: '', text } : { tone, mark: text, text: '' }
}

const DAYS = ['dom', 'lun', 'mar', 'mié', 'jue', 'vie', 'sáb']

function headLine({ version, instancia, proyecto, fecha }: Shown): string {
  const two = (number: number) => String(number).padStart(2, '0')
  const day = `${DAYS[fecha.getDay()]} ${two(fecha.getDate())}/${two(fecha.getMonth() + 1)}/${fecha.getFullYear()}`
  const time = `${two(fecha.getHours())}:${two(fecha.getMinutes())}:${two(fecha.getSeconds())} ${zoneOf(fecha)}`
  return `resthooks ${version} · ${instancia}/${proyecto} · ${day} ${time}`
}

interface Told {
  readonly tone: Tone
  readonly sign: string
  readonly who: string
  readonly what: string
  readonly since: string
  readonly waiting: string
  readonly remedy: string
}

function told(problem: Problem, now: Date, failed: number): Told {
  const { clase, gravedad, asunto, causa, sigue, desde, esperan, que_hacer } = problem
  return {
    tone: gravedad,
    sign: SIGNS[clase] ?? SIGNS[gravedad]!,
    who: asunto,
    // An open breaker's next trial is soon, and tells an operator nothing.
    what: [
      causa,
      ...(sigue === null || clase === 'corte' ? [] : [`${sigue.que} ${atTime(sigue.cuando, now)}`]),
      // Nothing of a rejection waits: what there is of it has been given up.
      ...(clase === 'rechaza' && failed > 0 ? [count(failed, 'fallida', 'fallidas')] : []),
    ].join('; '),
    since: desde === null ? '' : shortTime(desde, now),
    waiting: esperan === null ? '' : amount(esperan),
    remedy: inColumn(que_hacer),
  }
}

/** `a las 08:36:10`, `el 27/11 08:36:10` */
function atTime(at: Date, now: Date): string {
  const text = shortTime(at, now)
  return text.includes(' ') ? `el ${text}` : `a las ${text}`
}

function problemLines(
  problemas: readonly Problem[],
  listeners: readonly ListenerState[],
  fecha: Date,
  width: number,
): ScreenLine[] {
  const failedOf = new Map<string | null, number>(listeners.map(({ listener, fallidas }) => [listener, fallidas]))
  // A dead worker stands in the table of workers.
  const rows = problemas
    .filter(({ clase }) => clase !== 'worker_muerto')
    .map((problem) => told(problem, fecha, failedOf.get(problem.listener) ?? 0))
  if (rows.length === 0) return []
  const who = Math.min(24, Math.max(8, ...rows.map((row) => row.who.length)))
  return (width >= WIDE && inColumns(rows, who, width)) || inPairs(rows, who, width)
}

const HEADINGS = { who: 'listener', what: 'qué pasa', since: 'desde', waiting: 'esperan', remedy: 'qué hacer' }

/** null: a word, of a path or of a name, is too long for a column. */
function inColumns(rows: readonly Told[], who: number, width: number): ScreenLine[] | null {
  const since = Math.max(HEADINGS.since.length, ...rows.map((row) => row.since.length))
  const waiting = Math.max(HEADINGS.waiting.length, ...rows.map((row) => row.waiting.length))
  // A sign, and two blanks between columns.
  const left = width - 3 - who - 2 - 2 - since - 2 - waiting - 2
  const what = bestSplit(rows, left)
  if (what === null) return null
  const remedy = left - what
  const draw = (cells: Omit<Told, 'tone'>, tone: Tone): ScreenLine[] => {
    const [names, whats, remedies] = [wrap(cells.who, who), wrap(cells.what, what), wrap(cells.remedy, remedy)]
    const height = Math.max(names.length, whats.length, remedies.length)
    return Array.from({ length: height }, (_, at) => {
      const text = [
        (names[at] ?? '').padEnd(who),
        (whats[at] ?? '').padEnd(what),
        (at === 0 ? cells.since : '').padEnd(since),
        (at === 0 ? cells.waiting : '').padStart(waiting),
        remedies[at] ?? '',
      ].join('  ')
      return { tone, mark: ` ${at === 0 ? cells.sign : ' '} `, text: text.trimEnd() }
    })
  }
  return [...draw({ sign: ' ', ...HEADINGS }, 'texto'), ...rows.flatMap((row) => draw(row, row.tone))]
}

/** Of so many characters for cause and remedy, those of the cause, so that it takes the fewest lines. null: no word is to be cut. */
function bestSplit(rows: readonly Told[], left: number): number | null {
  const height = (what: number) =>
    rows.reduce((sum, row) => sum + Math.max(wrap(row.what, what).length, wrap(row.remedy, left - what).length), 0)
  const word = (of: (row: Told) => string) =>
    Math.max(
      12,
      ...rows.flatMap((row) =>
        of(row)
          .split(' ')
          .map(({ length }) => length),
      ),
    )
  const [least, most] = [word((row) => row.what), left - word((row) => row.remedy)]
  if (least > most) return null
  let [best, fewest] = [most, Number.POSITIVE_INFINITY]
  for (let what = most; what >= least; what--) {
    const lines = height(what)
    if (lines < fewest) [best, fewest] = [what, lines]
  }
  return Math.min(best, Math.max(...rows.map((row) => row.what.length), HEADINGS.what.length))
}

function inPairs(rows: readonly Told[], who: number, width: number): ScreenLine[] {
  return rows.flatMap((row) => {
    const indent = 3 + who + 2
    const first = wrap(row.what, width - indent)
    const details = [row.since && `desde ${row.since}`, row.waiting && row.waiting !== '0' && `esperan ${row.waiting}`]
    const when = details.filter(Boolean).join(' · ')
    const remedy = row.remedy === '-' ? '' : `→ ${row.remedy}`
    const both = `${when}   ${remedy}`.trim()
    const second = both.length <= width - 5 ? [both] : [when, ...wrap(remedy, width - 5)]
    return [
      ...first.map((text, at) => ({
        tone: row.tone,
        mark: ` ${at === 0 ? row.sign : ' '} `,
        text: `${(at === 0 ? row.who : '').padEnd(who)}  ${text}`,
      })),
      ...second.filter((text) => text !== '').map((text) => plain(`     ${text}`)),
    ]
  })
}

/**
 * The listeners that ask for nobody yet: in one line those whose last attempt failed, in another those that will be tried again,
 * in a third the healthy.
 */
function healthyLines({ al_dia, listeners, problemas }: Attention, width: number, all: boolean): ScreenLine[] {
  const told = new Set(problemas.map(({ listener }) => listener))
  const standing = (one: Standing) =>
    listeners
      .filter((lane) => lane.configurado && !told.has(lane.listener) && standingOf(lane) === one)
      .map(({ listener }) => listener)
  const [failed, retried] = [standing('fallo'), standing('reintenta')]
  const hint = all ? '' : '   --todos: la tabla'
  const remedy = width < 80 ? '' : `   → ${inColumn('auditoria --estado fallida')}`
  return [
    ...namesLine({ tone: 'atencion', mark: ' ·' }, count(failed.length, 'falló', 'fallaron'), failed, width, remedy),
    ...namesLine({ tone: 'nota', mark: ' …' }, count(retried.length, 'reintenta', 'reintentan'), retried, width, hint),
    ...namesLine(
      { tone: 'bien', mark: ' ✔' },
      `${al_dia.length} al día`,
      al_dia,
      width,
      retried.length > 0 ? '' : hint,
    ),
  ]
}

function namesLine(
  sign: Pick<ScreenLine, 'tone' | 'mark'>,
  head: string,
  all: readonly string[],
  width: number,
  hint: string,
): ScreenLine[] {
  if (all.length === 0) return []
  const names: string[] = []
  let room = width - 2 - head.length - 5 - hint.length - 2
  for (const name of all) {
    if (name.length + 1 > room) break
    names.push(name)
    room -= name.length + 1
  }
  const more = names.length < all.length ? ' …' : ''
  return [{ ...sign, text: ` ${head}   ${names.join(' ')}${more}${hint}` }]
}

interface Table {
  readonly rows: readonly (readonly string[])[]
  /** Columns that stand right. */
  readonly right: readonly number[]
}

/** Columns as wide as their widest cell; what does not fit a line goes on below, indented. */
function tableOf({ rows, right }: Table, width: number): ScreenLine[] {
  const widths = (rows[0] ?? []).map((_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0)))
  return rows.flatMap((row) =>
    hanging(
      row.map((cell, at) => (right.includes(at) ? cell.padStart(widths[at]!) : cell.padEnd(widths[at]!))),
      width,
    ),
  )
}

function hanging(cells: readonly string[], width: number): ScreenLine[] {
  const lines: string[] = []
  let line = ` ${cells[0] ?? ''}`
  for (const cell of cells.slice(1)) {
    if (line.length + 2 + cell.trimEnd().length > width) {
      lines.push(line)
      line = `     ${cell.trim()}`
    } else line += `  ${cell}`
  }
  return [...lines, line].map((text) => plain(text.trimEnd()))
}

/** Rates on the left, the servers on the right; on a narrow screen one below the other. */
function figureLines(ritmo: Attention['ritmo'], servers: readonly string[], width: number): ScreenLine[] {
  const rates = ritmo === null ? [] : tableOf(rateTable(ritmo), width).map(({ text }) => text)
  const column = Math.max(0, ...rates.map((text) => text.length)) + 5
  if (rates.length > 0 && column + Math.max(...servers.map((text) => text.length)) <= width) {
    const height = Math.max(rates.length, servers.length)
    return Array.from({ length: height }, (_, at) =>
      plain(`${(rates[at] ?? '').padEnd(column)}${servers[at] ?? ''}`.trimEnd()),
    )
  }
  return [
    ...rates,
    ...servers.flatMap((text) => wrap(text, width - 1).map((part, at) => `${at === 0 ? ' ' : '   '}${part}`)),
  ].map((text) => plain(text))
}

function rateTable(ritmo: NonNullable<Attention['ritmo']>): Table {
  const row = (name: string, { por_minuto, con_error, p95_ms }: Rate) => [
    name,
    // So few that they round to none, and yet there are some.
    por_minuto === 0 && con_error !== null ? '<0,1' : decimal(por_minuto, por_minuto < 10 ? 1 : 0),
    con_error === null ? '-' : percent(con_error),
    p95_ms === null ? '-' : duration(p95_ms),
  ]
  return {
    rows: [
      ['', 'intentos/min', 'con error', 'p95'],
      row('5 minutos', ritmo.minutos_5),
      row('1 hora', ritmo.hora),
      row('1 día', ritmo.dia),
    ],
    right: [1, 2, 3],
  }
}

function serverLines({
  redis,
  postgres,
  postgres_ms,
  auditoria_pendiente,
  auditoria_atraso_ms,
  ...rest
}: Attention): string[] {
  const most = redis.memoria_maxima || redis.memoria_maquina
  const aof = redis.aof ? `AOF ${redis.appendfsync ?? ''}`.trim() : 'sin AOF'
  const behind =
    auditoria_pendiente === 0
      ? 'auditoría al día'
      : `auditoría ${duration(auditoria_atraso_ms ?? 0)} atrás (${amount(auditoria_pendiente)} filas)`
  const { entrada, en_despacho, demoradas, callbacks } = rest
  const inside = [`entrada ${amount(entrada + en_despacho)}`, `demoradas ${amount(demoradas)}`]
  return [
    `Redis     ${bytes(redis.memoria)} de ${bytes(most)}, ${aof}${redis.aof ? ' ✔' : ' ✘'}`,
    postgres === 'ok'
      ? `Postgres  ${postgres_ms} ms, ${behind}${auditoria_pendiente === 0 ? ' ✔' : ''}`
      : `Postgres  no responde ✘, ${behind}`,
    `Cola      ${inside.join(', ')}, callbacks ${amount(callbacks.en_cola + callbacks.en_curso + callbacks.reintentos)}`,
  ]
}

function bytes(size: number): string {
  const [step, unit] = size >= 1024 ** 3 ? [1024 ** 3, 'GB'] : [1024 ** 2, 'MB']
  const value = size / step
  return `${decimal(value, value >= 100 ? 0 : 1)} ${unit}`
}

function workerLines({ workers, fecha }: Attention, width: number): ScreenLine[] {
  if (workers.length === 0) return [plain(' Ningún worker en marcha.')]
  const rows = workers.map((worker) => [
    worker.nombre,
    shortTime(worker.desde, fecha),
    worker.vivo && worker.en_curso > 0 ? amount(worker.en_curso) : '-',
    nowText(worker, fecha),
    worker.version,
    `${worker.configuracion?.slice(0, 4) ?? '-'}${worker.distinta ? ' ≠ !' : ''}`,
  ])
  const head = ['worker', 'desde', 'en curso', 'ahora mismo', 'versión', width < WIDE ? 'config.' : 'configuración']
  return tableOf({ rows: [head, ...rows], right: [2] }, width)
}

const LANES_SHOWN = 3

function nowText({ estado, visto, en_curso, en_curso_por, heredadas, heredado }: WorkerState, now: Date): string {
  if (estado === 'muerto') {
    const had = heredadas
      ? `, heredadas ${amount(heredadas)}`
      : en_curso > 0
        ? `, con ${amount(en_curso)} en curso`
        : ''
    return `murió ${shortTime(visto, now)}${had}`
  }
  if (estado === 'atrasado') return `sin señal desde ${shortTime(visto, now)}`
  const lanes = Object.entries(en_curso_por ?? {})
  const shown = lanes.slice(0, LANES_SHOWN).map(([name, running]) => `${name} ${running}`)
  const more = lanes.length > LANES_SHOWN ? ` y ${lanes.length - LANES_SHOWN} más` : ''
  if (shown.length > 0) return shown.join(', ') + more
  return heredado ? `heredó ${amount(heredado.filas)} filas ${shortTime(heredado.cuando, now)}` : '-'
}

function listenerTable(listeners: readonly ListenerState[], now: Date): Table {
  const rows = [
    ['listener', 'en cola', 'en curso', 'reintentos', 'fallidas', 'más antigua', 'próximo', 'pausado', 'corte'],
    ...listeners.map((lane) => [
      lane.configurado ? lane.listener : `${lane.listener} (inactivo)`,
      amount(lane.en_cola),
      amount(lane.en_curso),
      amount(lane.reintentos),
      amount(lane.fallidas),
      lane.mas_antigua_ms === null ? '-' : duration(lane.mas_antigua_ms),
      lane.proximo_reintento === null ? '-' : shortTime(lane.proximo_reintento, now),
      lane.pausa === null ? 'no' : lane.pausa.until ? `hasta ${localTime(lane.pausa.until)}` : lane.pausado,
      lane.corte,
    ]),
  ]
  return { rows, right: [1, 2, 3, 4, 5, 6] }
}
