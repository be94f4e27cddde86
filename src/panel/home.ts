/** What needs attention, and each listener: `estado`'s own verdict and causes, for the page. */

import {
  type Attention,
  type ListenerState,
  type Problem,
  readAttention,
  SIGNS,
  summaryOf,
} from '../checks/attention.ts'
import { toBeTyped } from '../checks/causes.ts'
import { standingOf } from '../checks/listener-problem.ts'
import { maskUrl } from '../delivery/mask.ts'
import { UsageError } from '../errors.ts'
import type { Millis } from '../model/message.ts'
import type { Secrets } from '../model/secrets.ts'
import { amount, duration } from '../model/words.ts'
import { rowOf } from './messages.ts'
import { clean } from './shown.ts'
import type { Sources } from './sources.ts'
import type { DonePage, Home, ListenerPage, ListenerRow, ProblemRow, Series } from './wire.ts'

/** @throws whatever Redis answers */
export async function home({ config, queue, audit }: Sources, version: string): Promise<Home> {
  const { attention } = await readAttention({ config, queue, audit: async () => audit, version })
  return homeOf(attention, config.secrets)
}

function homeOf(attention: Attention, secrets: Secrets): Home {
  const { fecha, veredicto, problemas, al_dia, workers, listeners } = attention
  return {
    fecha: fecha.toISOString(),
    veredicto,
    resumen: clean(summaryOf(attention), secrets),
    problemas: problemas.map((problem) => problemRow(problem, listeners, secrets)),
    alDia: al_dia,
    servicios: servicesOf(attention, secrets),
    listeners: listeners.map((lane) => listenerRow(lane, problemas, secrets)),
    workers: workers.map(({ nombre, estado, desde, en_curso, version, configuracion, distinta }) => ({
      nombre: clean(nombre, secrets),
      estado,
      desde: desde.toISOString(),
      enCurso: en_curso,
      version: clean(version, secrets),
      configuracion: configuracion?.slice(0, 4) ?? '-',
      distinta,
    })),
  }
}

function problemRow(problem: Problem, listeners: readonly ListenerState[], secrets: Secrets): ProblemRow {
  const { clase, gravedad, listener, causa, sigue, desde, esperan, que_hacer } = problem
  const lane = listeners.find((each) => each.listener === listener)
  return {
    quien: clean(problem.asunto, secrets),
    listener,
    gravedad,
    signo: SIGNS[clase] ?? SIGNS[gravedad]!,
    causa: clean(causa, secrets),
    desde: desde?.toISOString() ?? null,
    esperan,
    fallidas: lane?.fallidas ?? 0,
    sigue: sigue && { que: sigue.que, cuando: sigue.cuando.toISOString() },
    queHacer: que_hacer === '-' ? '' : clean(que_hacer, secrets),
    orden: clean(toBeTyped(que_hacer), secrets),
    pausado: lane !== undefined && lane.pausa !== null,
  }
}

function servicesOf(attention: Attention, secrets: Secrets): Home['servicios'] {
  const { redis, postgres, postgres_ms, auditoria_pendiente, auditoria_atraso_ms, workers } = attention
  const alive = workers.filter(({ vivo }) => vivo).length
  return [
    {
      nombre: 'Redis',
      dice: `${amount(redis.memoria / 1024 ** 2)} MB, ${redis.aof ? 'AOF' : 'sin AOF'}`,
      bien: redis.aof,
    },
    {
      nombre: 'Postgres',
      dice: postgres === 'ok' ? `${postgres_ms} ms` : clean(postgres, secrets),
      bien: postgres === 'ok',
    },
    {
      nombre: 'auditoría',
      dice:
        auditoria_pendiente === 0
          ? 'al día'
          : `${amount(auditoria_pendiente)} ${auditoria_pendiente === 1 ? 'fila espera' : 'filas esperan'}, hace ${duration(auditoria_atraso_ms ?? 0)}`,
      bien: auditoria_pendiente < 1000,
    },
    { nombre: 'workers', dice: `${amount(alive)} en marcha`, bien: alive > 0 },
  ]
}

function listenerRow(lane: ListenerState, problems: readonly Problem[], secrets: Secrets): ListenerRow {
  const problem = problems.find(({ listener }) => listener === lane.listener)
  return {
    listener: clean(lane.listener, secrets),
    configurado: lane.configurado,
    enCola: lane.en_cola,
    enCurso: lane.en_curso,
    reintentos: lane.reintentos,
    fallidas: lane.fallidas,
    masAntigua: lane.mas_antigua_ms,
    pausado: lane.pausa !== null,
    corte: lane.corte,
    situacion: standingOf(lane),
    problema: problem ? problemRow(problem, [lane], secrets) : null,
  }
}

const ERRORS_SHOWN = 5

/** Null: there is none of that name. */
export async function listenerPage(sources: Sources, version: string, name: string): Promise<ListenerPage | null> {
  const { config, audit } = sources
  const { secrets } = config
  const found = (await home(sources, version)).listeners.find(({ listener }) => listener === name)
  const settings = config.listeners.get(name)
  if (!found) return null
  const errors = await audit
    .deliveries({ listener: name, states: ['fallida', 'reintentando'] }, { limit: ERRORS_SHOWN })
    .catch((error) => {
      if (sources.explain(error) === null) throw error
      return null
    })
  return {
    ...found,
    datos: settings
      ? [
          ['dirección', clean(maskUrl(settings.url), secrets)],
          ['eventos', settings.events.join(', ')],
          ['autenticación', settings.auth.kind],
          ['orden', settings.order],
          ['concurrencia', String(settings.concurrency)],
          [
            'límite',
            settings.rateLimit
              ? `${amount(settings.rateLimit.count)} cada ${duration(settings.rateLimit.per)}`
              : 'sin límite',
          ],
          ['reintentos', settings.strategy.name],
        ]
      : [],
    errores: errors?.rows.map((row) => rowOf(row, secrets)) ?? null,
  }
}

const PERIODS: Readonly<Record<Series['periodo'], { readonly step: 'minute' | 'hour'; readonly back: Millis }>> = {
  '1h': { step: 'minute', back: 3_600_000 },
  '24h': { step: 'hour', back: 24 * 3_600_000 },
  '30d': { step: 'hour', back: 30 * 24 * 3_600_000 },
}

/** Attempts in the course of time; a month by days. */
export async function series({ audit }: Sources, asked: string | undefined): Promise<Series> {
  const periodo = asked === '1h' || asked === '30d' ? asked : '24h'
  const { step, back } = PERIODS[periodo]
  const rows = await audit.ratesBy(step, new Date(Date.now() - back))
  const puntos = rows.map(({ hora, ...rest }) => ({ hora: hora.toISOString(), ...rest }))
  return { periodo, puntos: periodo === '30d' ? byDay(puntos) : puntos }
}

/** Of hours one cannot tell what the slowest of a day took: p95 stays out. */
function byDay(hours: Series['puntos']): Series['puntos'] {
  const days = new Map<string, Series['puntos'][number]>()
  for (const { hora, enviados, exitosos, reintentos, fallidos } of hours) {
    const begins = new Date(hora)
    begins.setHours(0, 0, 0, 0)
    const key = begins.toISOString()
    const day = days.get(key) ?? { hora: key, enviados: 0, exitosos: 0, reintentos: 0, fallidos: 0, p95: null }
    days.set(key, {
      ...day,
      enviados: day.enviados + enviados,
      exitosos: day.exitosos + exitosos,
      reintentos: day.reintentos + reintentos,
      fallidos: day.fallidos + fallidos,
    })
  }
  return [...days.values()]
}

const ACTIONS_SHOWN = 50

/** What people did. */
export async function done({ audit, config }: Sources, before: string | undefined): Promise<DonePage> {
  const { secrets } = config
  if (before !== undefined && !/^[0-9A-Z]{26}$/.test(before))
    throw new UsageError('«despues» no es el lugar de una página.')
  const rows = await audit.actions(ACTIONS_SHOWN, before ?? null)
  return {
    filas: rows.map(({ id, fecha, quien, equipo, orden, filtro, cantidad }) => ({
      id,
      fecha: fecha.toISOString(),
      quien: clean(quien, secrets),
      equipo: clean(equipo, secrets),
      orden: clean(orden, secrets),
      filtro: clean(filtro ?? '', secrets),
      cantidad,
    })),
    siguiente: rows.length === ACTIONS_SHOWN ? rows.at(-1)!.id : null,
  }
}
