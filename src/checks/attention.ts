/**
 * How the project is doing: a verdict, what needs attention with its cause, and the figures beside it. The one place where
 * that is gathered and judged; `estado`, `estado --comprobar`, the page and `ver` say what this says.
 *
 * Redis is asked in two round trips at most, whatever waits there; Postgres in one query.
 */

import type { AuditQueries, ListenerRates, Overview, OverviewQuestion, OverviewRates } from '../audit/queries.ts'
import { overdue } from '../audit/trouble.ts'
import type { Config } from '../config/config.ts'
import { ResthooksError } from '../errors.ts'
import type { Millis } from '../model/message.ts'
import { typed } from '../model/typed.ts'
import { amount, count } from '../model/words.ts'
import { readBacklog } from '../queue/backlog.ts'
import { type Depths, type Lane, readDepths } from '../queue/depths.ts'
import type { Queue } from '../queue/queue.ts'
import { isAlive, isLate, otherConfigurations, type WorkerInfo } from '../queue/workers.ts'
import { atMost } from '../worker/waiting.ts'
import { healthyOf, listenerProblem, type Problem } from './listener-problem.ts'
import { checkRedis, type RedisFacts, readRedis } from './redis.ts'
import { type Stray, strayOf } from './stray.ts'
import { shortName, systemProblems, UNHEARD_DAYS, waitingIn } from './system-problems.ts'

export type { Problem, Severity } from './listener-problem.ts'

type Verdict = 'bien' | 'atencion' | 'mal'

/** What `estado --json` prints, and the page shows. */
export interface Attention extends Omit<Depths, 'listeners' | 'workers'> {
  /** Of this document. */
  readonly formato: 2
  readonly version: string
  readonly instancia: string
  readonly proyecto: string
  readonly resthooks_activo: boolean
  readonly veredicto: Verdict
  /** The most urgent first. */
  readonly problemas: readonly Problem[]
  /** Active listeners whose last attempt did not fail and that wait for no retry. */
  readonly al_dia: readonly string[]
  /** Deliveries and messages that are not done. */
  readonly esperan: number
  /** Deliveries that the audit knows as unfinished and Redis does not hold; null: that is not known. */
  readonly faltan: number | null
  /** `ok`, or why it could not be asked. */
  readonly postgres: string
  /** What its answer took. */
  readonly postgres_ms: number | null
  /** Messages of the last days that no listener got; null: the audit could not be asked. */
  readonly sin_listener: number | null
  readonly auditoria_rechazada: number | null
  /** Null: the audit could not be asked, or does not count attempts by hour yet. */
  readonly ritmo: { readonly minutos_5: Rate; readonly hora: Rate; readonly dia: Rate } | null
  readonly redis: RedisState
  readonly workers: readonly WorkerState[]
  readonly listeners: readonly ListenerState[]
}

/** Of attempts. */
export interface Rate {
  readonly por_minuto: number
  /** Which part of them failed, 0 to 1; null: there was none. */
  readonly con_error: number | null
  readonly p95_ms: number | null
}

interface RedisState {
  readonly memoria: number
  /** 0: no limit of its own. */
  readonly memoria_maxima: number
  readonly memoria_maquina: number
  /** `everysec`, `always`, `no`; null: not allowed to ask. */
  readonly appendfsync: string | null
  readonly aof: boolean
}

export interface ListenerState extends Lane {
  /** It is active in the files at hand. */
  readonly configurado: boolean
}

export interface WorkerState extends Omit<WorkerInfo, 'desde' | 'visto' | 'heredado'> {
  /** `host:pid` */
  readonly nombre: string
  readonly vivo: boolean
  readonly estado: 'vivo' | 'atrasado' | 'muerto'
  readonly desde: Date
  readonly visto: Date
  /** Of a dead one: what it had in flight, and others have taken over by now; null: their leases still run, or nobody is there. */
  readonly heredadas: number | null
  /** Its configuration is another than that of most. */
  readonly distinta: boolean
  readonly heredado: { readonly filas: number; readonly cuando: Date } | null
}

interface Sources {
  readonly config: Config
  readonly queue: Queue
  readonly audit: () => Promise<AuditQueries>
  /** Of this program. */
  readonly version: string
}

export interface Answer {
  readonly attention: Attention
  /** What kept Postgres from being asked. */
  readonly trouble: ResthooksError | null
}

/** @throws whatever Redis answers */
export async function readAttention({ config, queue, audit, version }: Sources): Promise<Answer> {
  const early = audit()
  early.catch(() => {})
  const [depths, backlog, server] = await Promise.all([
    readDepths(queue, config.listeners.keys()),
    readBacklog(queue),
    readRedis(queue, config),
  ])
  const answer = await askAudit(early, questionOf(depths), config)
  const missing = answer.overview === null ? null : await missingIn(queue, config, depths, answer.overview)
  const stray =
    depths.workers.length > 0
      ? null
      : await strayOf({ config, queue, audit: answer.overview === null ? null : await early })
  const attention = judge({ config, depths, backlog, server, version, missing, stray, ...answer })
  return { attention, trouble: answer.trouble }
}

interface AuditAnswer {
  readonly overview: Overview | null
  readonly trouble: ResthooksError | null
  readonly took: number | null
}

const AUDIT_PATIENCE: Millis = 3_000
/** Counting more than these would cost more than it tells. */
const MOST_COMPARED = 200_000
export const MOST_UNFINISHED = MOST_COMPARED * 5

function questionOf(depths: Depths): OverviewQuestion {
  const { continuidad, fecha } = depths
  const lostAt = continuidad.kind === 'lost' ? continuidad.since : null
  return {
    unheardSince: new Date(fecha.getTime() - UNHEARD_DAYS * 86_400_000),
    unfinishedBefore: lostAt === null ? null : new Date(lostAt),
    mostUnfinished: lostAt === null && held(depths) > MOST_COMPARED ? 0 : MOST_UNFINISHED,
    now: fecha,
  }
}

/** What the audit answers within some seconds. */
export async function askAudit(
  opening: Promise<AuditQueries>,
  question: OverviewQuestion,
  { audit }: Pick<Config, 'audit'>,
): Promise<AuditAnswer> {
  const began = performance.now()
  try {
    const asked = opening.then((queries) => queries.overview(question))
    const overview = await atMost(AUDIT_PATIENCE, asked, () => Promise.reject(overdue(audit, AUDIT_PATIENCE)))
    return { overview, trouble: null, took: Math.round(performance.now() - began) }
  } catch (error) {
    if (!(error instanceof ResthooksError)) throw error
    return { overview: null, trouble: error, took: null }
  }
}

/** Deliveries that Redis holds. */
function held({ listeners }: Depths): number {
  return listeners.reduce((sum, { en_cola, en_curso, reintentos }) => sum + en_cola + en_curso + reintentos, 0)
}

/**
 * How many unfinished deliveries of the audit Redis does not hold. Where Redis lost all that it had at a known time, those of the
 * time before; else the difference, but for what moves: what Postgres has not been told yet, and what came in between.
 */
async function missingIn(
  queue: Queue,
  config: Config,
  before: Depths,
  { unfinished }: Overview,
): Promise<number | null> {
  if (before.continuidad.kind === 'lost' && before.continuidad.since !== null) return unfinished
  if (held(before) > MOST_COMPARED) return null
  if (unfinished <= held(before)) return 0
  const after = await readDepths(queue, config.listeners.keys())
  const moving = Math.abs(held(after) - held(before)) + after.auditoria_pendiente + before.auditoria_pendiente
  const missing = unfinished - Math.max(held(before), held(after))
  return missing > moving + before.en_despacho + after.en_despacho ? missing : 0
}

interface Facts extends AuditAnswer {
  readonly config: Config
  readonly depths: Depths
  readonly backlog: Awaited<ReturnType<typeof readBacklog>>
  readonly server: RedisFacts
  readonly version: string
  readonly missing: number | null
  readonly stray: Stray | null
}

/** Pure. */
function judge({
  config,
  depths,
  backlog,
  server,
  version,
  missing,
  stray,
  overview,
  trouble,
  took,
}: Facts): Attention {
  const now = depths.fecha.getTime()
  const { listeners, workers, ...rest } = depths
  const broken = new Map(depths.claves_rotas.map((key) => [key.listener, key]))
  const errors = errorShares(overview?.rates ?? null)
  const ofListeners = listeners.flatMap((lane) => {
    const beside = { broken: broken.get(lane.listener), errors: errors.get(lane.listener) }
    return listenerProblem(lane, config.listeners.get(lane.listener), now, beside) ?? []
  })
  const system = systemProblems({
    ...{ config, depths, backlog, overview, missing, stray, now },
    redis: checkRedis(server),
    trouble: trouble?.message ?? null,
  })
  const problemas = [...system, ...ofListeners].sort((a, b) => urgency(b) - urgency(a))
  const shown = listeners
    .map((lane) => ({ ...lane, configurado: config.listeners.get(lane.listener)?.active === true }))
    // One that was taken out of the file is shown for as long as it holds something.
    .filter((lane) => config.listeners.has(lane.listener) || holds(lane))
  return {
    formato: 2,
    version,
    instancia: config.instancia,
    proyecto: config.proyecto,
    resthooks_activo: config.active,
    veredicto: verdictOf(problemas),
    problemas,
    al_dia: healthyOf(listeners, ofListeners, config),
    esperan: waitingIn(depths),
    faltan: missing,
    postgres: trouble?.message ?? 'ok',
    postgres_ms: took,
    sin_listener: overview?.unheard.reduce((sum, { cantidad }) => sum + cantidad, 0) ?? null,
    auditoria_rechazada: overview?.rejected ?? null,
    ritmo: ritmoOf(overview?.rates ?? null),
    redis: redisState(server),
    ...rest,
    workers: workerStates(workers, now, config.workers.lease),
    listeners: shown,
  }
}

/** Fewer attempts tell nothing of a listener. */
const ENOUGH = 10

/** By listener, of its last minutes; of the last hour where these had few. */
function errorShares(rates: OverviewRates | null): Map<string, number> {
  const shares = new Map<string, number>()
  for (const { listener, enviados, exitosos } of [...(rates?.hour ?? []), ...(rates?.recent ?? [])]) {
    if (listener !== null && enviados >= ENOUGH) shares.set(listener, 1 - exitosos / enviados)
  }
  return shares
}

export function ritmoOf(rates: OverviewRates | null): Attention['ritmo'] {
  if (rates === null) return null
  const { recent, hour, day, spans } = rates
  return { minutos_5: rateOf(recent, spans.recent), hora: rateOf(hour, spans.hour), dia: rateOf(day, spans.day) }
}

function rateOf([all]: readonly ListenerRates[], span: number): Rate {
  const made = all?.listener === null ? all : null
  return {
    por_minuto: made ? Math.round((made.enviados / span) * 600_000) / 10 : 0,
    con_error: made && made.enviados > 0 ? Math.round((1 - made.exitosos / made.enviados) * 1000) / 1000 : null,
    p95_ms: made?.p95 ?? null,
  }
}

const URGENCY: Readonly<Record<Problem['gravedad'], number>> = { mal: 2, atencion: 1, nota: 0 }

/** What is everybody's comes before what is one listener's. */
function urgency({ gravedad, listener }: Problem): number {
  return URGENCY[gravedad] * 2 + (listener === null ? 1 : 0)
}

function verdictOf(problems: readonly Problem[]): Verdict {
  if (problems.some(({ gravedad }) => gravedad === 'mal')) return 'mal'
  return problems.some(({ gravedad }) => gravedad === 'atencion') ? 'atencion' : 'bien'
}

function holds({ en_cola, en_curso, reintentos, fallidas }: Lane): boolean {
  return en_cola + en_curso + reintentos + fallidas > 0
}

function redisState({ info, fsync }: RedisFacts): RedisState {
  const figure = (name: string) => Number(info.get(name) ?? 0)
  return {
    memoria: figure('used_memory'),
    memoria_maxima: figure('maxmemory'),
    memoria_maquina: figure('total_system_memory'),
    appendfsync: fsync,
    aof: info.get('aof_enabled') === '1',
  }
}

function workerStates(workers: readonly WorkerInfo[], now: number, lease: Millis): WorkerState[] {
  const alive = workers.filter((worker) => isAlive(worker, now))
  // Of two halves that differ, the larger one is taken to be right.
  const strangers = alive.filter((worker) => otherConfigurations(alive, worker).length * 2 > alive.length)
  const oldest = [...alive].sort((a, b) => a.desde - b.desde)[0]
  const unlike = strangers.length > 0 || !oldest ? strangers : otherConfigurations(alive, oldest)
  return workers
    .map((worker) => ({
      ...worker,
      nombre: shortName(worker),
      vivo: isAlive(worker, now),
      estado: !isAlive(worker, now)
        ? ('muerto' as const)
        : isLate(worker, now)
          ? ('atrasado' as const)
          : ('vivo' as const),
      desde: new Date(worker.desde),
      visto: new Date(worker.visto),
      heredadas: alive.length > 0 && now > worker.visto + lease && !isAlive(worker, now) ? worker.en_curso : null,
      distinta: unlike.includes(worker),
      heredado: worker.heredado ? { filas: worker.heredado.filas, cuando: new Date(worker.heredado.cuando) } : null,
    }))
    .sort((a, b) => a.nombre.localeCompare(b.nombre))
}

/** By what is wrong, else by how bad it is: beside the words, for whoever does not see colours. */
export const SIGNS: Readonly<Record<string, string>> = { pausa: '‖', limite: '~', mal: '✘', atencion: '!', nota: '·' }

const WORDS: Readonly<Record<Verdict, string>> = { bien: 'BIEN', atencion: 'ATENCIÓN', mal: 'MAL' }

/** `MAL · 6 listeners piden atención · esperan 67.535 entregas · Redis y auditoría coinciden` */
export function summaryOf({ veredicto, problemas, esperan, faltan, postgres }: Attention): string {
  const agree =
    faltan === null
      ? postgres === 'ok'
        ? 'Redis y auditoría sin comparar'
        : 'Postgres no responde'
      : faltan > 0
        ? `faltan ${amount(faltan)}: ${typed('recuperar')}`
        : 'Redis y auditoría coinciden'
  return [
    WORDS[veredicto],
    subjectsText(problemas),
    esperan === 0 ? 'no espera nada' : esperan === 1 ? 'espera 1 entrega' : `esperan ${amount(esperan)} entregas`,
    agree,
  ].join(' · ')
}

/** `Redis y 6 listeners piden atención` */
export function subjectsText(problemas: readonly Problem[]): string {
  const subjects = new Set(
    problemas.flatMap(({ listener, asunto, gravedad }) => (listener === null && gravedad !== 'nota' ? asunto : [])),
  )
  const listeners = new Set(problemas.flatMap(({ listener }) => listener ?? [])).size
  const asks = [...subjects, ...(listeners > 0 ? [count(listeners, 'listener', 'listeners')] : [])]
  const list = asks.length > 1 ? `${asks.slice(0, -1).join(', ')} y ${asks.at(-1)}` : (asks[0] ?? '')
  if (list === '') return 'nada pide atención'
  return `${list} ${subjects.size + listeners > 1 || /^[a-z]\S*s$/.test(list) ? 'piden' : 'pide'} atención`
}
