/**
 * The screen of `estado`: a verdict, what needs attention, the healthy in one line, the figures. Pure: lines for a width, from
 * 60 columns on. Nothing is cut off; what does not fit a line goes on in the next one.
 */
import type { Attention, ListenerState, Problem, WorkerState } from '../checks/attention.ts'
import { summaryOf } from '../checks/attention.ts'
import { amount, duration, localTime, shortTime, zoneOf } from '../model/words.ts'
import { wrap } from './print.ts'

/** What a line begins with is painted by what it means. */
export type Tone = 'mal' | 'atencion' | 'nota' | 'bien' | 'titulo' | 'texto'

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
  const wide = width >= WIDE
  return [
    plain(headLine(attention), 'titulo'),
    ...wrap(summaryOf(attention), width).map((text, at) =>
      at === 0
        ? { tone: attention.veredicto, mark: text.split(' ·')[0]!, text: text.slice(text.split(' ·')[0]!.length) }
        : plain(text),
    ),
    ...problemLines(attention, width, wide),
    ...healthyLines(attention, width, all),
    ...(all ? [plain(''), ...tableOf(listenerTable(attention.listeners, attention.fecha), width)] : []),
    plain(''),
    ...tableOf(figureTable(attention), width),
    plain(''),
    ...workerLines(attention, width),
  ]
}

/** Narrower screens tell a problem in two lines. */
const WIDE = 90

function plain(text: string, tone: Tone = 'texto'): ScreenLine {
  return tone === 'texto' ? { tone, mark: '', text } : { tone, mark: text, text: '' }
}

const DAYS = ['dom', 'lun', 'mar', 'mié', 'jue', 'vie', 'sáb']

function headLine({ version, instancia, proyecto, fecha }: Attention): string {
  const two = (number: number) => String(number).padStart(2, '0')
  const day = `${DAYS[fecha.getDay()]} ${two(fecha.getDate())}/${two(fecha.getMonth() + 1)}/${fecha.getFullYear()}`
  const time = `${two(fecha.getHours())}:${two(fecha.getMinutes())}:${two(fecha.getSeconds())} ${zoneOf(fecha)}`
  return `resthooks ${version} · ${instancia}/${proyecto} · ${day} ${time}`
}

const SIGNS: Readonly<Record<string, string>> = { pausa: '‖', limite: '~' }
const BY_SEVERITY: Readonly<Record<Problem['gravedad'], string>> = { mal: '✘', atencion: '!', nota: '·' }
/** What stands in the place of a listener. */
const SUBJECTS: Readonly<Record<string, string>> = {
  sin_worker: 'workers',
  worker_atrasado: 'workers',
  worker_muerto: 'workers',
  configuracion: 'workers',
  inactivo: 'proyecto',
  faltan: 'Redis',
  redis: 'Redis',
  clave_rota: 'Redis',
  postgres: 'Postgres',
  auditoria_detenida: 'auditoría',
  auditoria_atrasada: 'auditoría',
  auditoria_rechazada: 'auditoría',
  entrada: 'entrada',
  entrada_invalida: 'entrada',
  callbacks: 'callbacks',
  sin_listener: 'eventos',
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

function told(problem: Problem, now: Date): Told {
  const { clase, gravedad, listener, causa, sigue, desde, esperan, que_hacer } = problem
  return {
    tone: gravedad,
    sign: SIGNS[clase] ?? BY_SEVERITY[gravedad],
    who: listener ?? SUBJECTS[clase] ?? clase,
    // An open breaker's next trial is soon, and tells an operator nothing.
    what: sigue === null || clase === 'corte' ? causa : `${causa}; ${sigue.que} ${atTime(sigue.cuando, now)}`,
    since: desde === null ? '' : shortTime(desde, now),
    waiting: esperan === null ? '' : amount(esperan),
    remedy: que_hacer,
  }
}

/** `a las 08:36:10`, `el 27/11 08:36:10` */
export function atTime(at: Date, now: Date): string {
  const text = shortTime(at, now)
  return text.includes(' ') ? `el ${text}` : `a las ${text}`
}

function problemLines({ problemas, fecha }: Attention, width: number, wide: boolean): ScreenLine[] {
  if (problemas.length === 0) return []
  const rows = problemas.map((problem) => told(problem, fecha))
  const who = Math.min(24, Math.max(8, ...rows.map((row) => row.who.length)))
  return wide ? inColumns(rows, who, width) : inPairs(rows, who, width)
}

const HEADINGS = { who: 'listener', what: 'qué pasa', since: 'desde', waiting: 'esperan', remedy: 'qué hacer' }

function inColumns(rows: readonly Told[], who: number, width: number): ScreenLine[] {
  const since = Math.max(HEADINGS.since.length, ...rows.map((row) => row.since.length))
  const waiting = Math.max(HEADINGS.waiting.length, ...rows.map((row) => row.waiting.length))
  // Two signs and two blanks between each.
  const left = width - 3 - who - 2 - 2 - since - 2 - waiting - 2
  const longest = (of: (row: Told) => string) => Math.max(...rows.map((row) => of(row).length))
  const what = Math.min(
    longest((row) => row.what),
    Math.max(left - longest((row) => row.remedy), Math.floor(left * 0.6)),
  )
  const remedy = Math.max(12, left - what)
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

function inPairs(rows: readonly Told[], who: number, width: number): ScreenLine[] {
  return rows.flatMap((row) => {
    const indent = 3 + who + 2
    const first = wrap(row.what, width - indent)
    const details = [
      row.since && `desde ${row.since}`,
      row.waiting && `esperan ${row.waiting}`,
      row.remedy === '-' ? '' : `→ ${row.remedy}`,
    ].filter(Boolean)
    const second = wrap(details.join(' · '), width - 5)
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

function healthyLines({ al_dia }: Attention, width: number, all: boolean): ScreenLine[] {
  if (al_dia.length === 0) return []
  const head = ` ${al_dia.length} al día`
  const hint = all ? '' : '   --todos: la tabla'
  const names: string[] = []
  let room = width - 2 - head.length - 4 - hint.length - 2
  for (const name of al_dia) {
    if (name.length + 1 > room) break
    names.push(name)
    room -= name.length + 1
  }
  const more = names.length < al_dia.length ? ' …' : ''
  return [{ tone: 'bien', mark: ' ✔', text: `${head}   ${names.join(' ')}${more}${hint}` }]
}

type Table = readonly (readonly string[])[]

/** Columns by their widest cell; a row that is too long goes on below, indented. Cells that begin with a digit stand right. */
function tableOf(rows: Table, width: number): ScreenLine[] {
  const columns = Math.max(...rows.map((row) => row.length))
  const widths = Array.from({ length: columns }, (_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0)))
  return rows.flatMap((row) => {
    const cells = row.map((cell, at) => {
      if (at === row.length - 1 && !/^[\d-]/.test(cell)) return cell
      return at > 0 && isRight(rows, at) ? cell.padStart(widths[at]!) : cell.padEnd(widths[at]!)
    })
    return hanging(cells, width)
  })
}

function isRight(rows: Table, at: number): boolean {
  return rows.slice(1).every((row) => /^(-|\d[\d.,]*)( .*)?$|^$/.test(row[at] ?? ''))
}

/** Cells in a line; those that do not fit go on in the next. */
function hanging(cells: readonly string[], width: number): ScreenLine[] {
  const lines: string[] = []
  let line = ` ${cells[0] ?? ''}`
  for (const cell of cells.slice(1)) {
    if (line.length + 2 + cell.trimEnd().length > width && line.trim() !== '') {
      lines.push(line)
      line = `     ${cell.trimStart()}`
    } else line += `  ${cell}`
  }
  return [...lines, line].map((text) => plain(text.trimEnd()))
}

function figureTable({ redis, postgres, postgres_ms, auditoria_pendiente, auditoria_atraso_ms }: Attention): Table {
  const most = redis.memoria_maxima || redis.memoria_maquina
  const aof = redis.aof ? `AOF ${redis.appendfsync ?? ''}`.trim() : 'sin AOF'
  const behind =
    auditoria_pendiente === 0
      ? 'auditoría al día'
      : `auditoría: ${amount(auditoria_pendiente)} filas esperan, la más antigua hace ${duration(auditoria_atraso_ms ?? 0)}`
  return [
    ['Redis', `${bytes(redis.memoria)} de ${bytes(most)}, ${aof}`],
    ['Postgres', postgres === 'ok' ? `${postgres_ms} ms, ${behind}` : `${postgres} (${behind})`],
  ]
}

function bytes(size: number): string {
  const [step, unit] = size >= 1024 ** 3 ? [1024 ** 3, 'GB'] : [1024 ** 2, 'MB']
  const value = size / step
  return `${value.toLocaleString('es-AR', { maximumFractionDigits: value >= 100 ? 0 : 1 })} ${unit}`
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
  return tableOf([['worker', 'desde', 'en curso', 'ahora mismo', 'versión', 'configuración'], ...rows], width)
}

const LANES_SHOWN = 3

function nowText({ estado, visto, en_curso, en_curso_por, heredado }: WorkerState, now: Date): string {
  if (estado === 'muerto') {
    const had = en_curso > 0 ? `, heredadas ${amount(en_curso)}` : ''
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
  return [
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
}
