/**
 * What the audit knows of how a project is doing, in one query: `estado` asks every time, and a monitor every minute. Each part
 * is bounded, whatever the tables hold.
 */
import type { Millis } from '../model/message.ts'
import type { Session } from './database.ts'
import { type ListenerRates, readRates, readRecentRates } from './summary.ts'
import { unheardSql } from './unfinished.ts'

export interface OverviewQuestion {
  /** Messages that no listener got are counted since then. */
  readonly unheardSince: Date
  /** Unfinished deliveries of the time before are counted; null: all of them. */
  readonly unfinishedBefore: Date | null
  /** No more of them are counted than this. */
  readonly mostUnfinished: number
  /** The clock that the attempts' times are of. */
  readonly now: Date
}

export interface Overview {
  /** By event, the most first; ten thousand messages at most are looked at. */
  readonly unheard: readonly UnheardEvent[]
  /** Rows of `auditoria_rechazada`. */
  readonly rejected: number
  readonly unfinished: number
  /** Null: this schema does not count attempts by hour yet. */
  readonly rates: OverviewRates | null
}

/** Of all listeners first (`listener` null), then of each. */
export interface OverviewRates {
  readonly recent: readonly ListenerRates[]
  readonly hour: readonly ListenerRates[]
  readonly day: readonly ListenerRates[]
  /** What each is about, ms: an hour is counted from where one begins, and of very many attempts a shorter time is looked at. */
  readonly spans: { readonly recent: Millis; readonly hour: Millis; readonly day: Millis }
}

interface UnheardEvent {
  readonly evento: string
  readonly cantidad: number
  readonly ultimo: Date
}

const MOST_UNHEARD = 10_000
const EVENTS_SHOWN = 20

const RECENT: Millis = 5 * 60_000
const HOUR: Millis = 3_600_000
/** Attempts that are looked at one by one. */
const MOST_RECENT = 50_000

interface Row {
  readonly unheard: { evento: string; cantidad: number; ultimo: string }[] | null
  readonly rejected: number
  readonly unfinished: number
  readonly counted: boolean
}

export async function readOverview(session: Session, question: OverviewQuestion): Promise<Overview> {
  const { unheardSince, unfinishedBefore, mostUnfinished } = question
  const before = unfinishedBefore === null ? '' : ' AND creado < $4'
  const unfinished = (state: string) =>
    `SELECT FROM ${session.table('entrega')}
      WHERE instancia = $1 AND proyecto = $2 AND estado = '${state}'${before} LIMIT ${Math.trunc(mostUnfinished)}`
  const [row] = await session.query<Row>(
    `SELECT (SELECT json_agg(each) FROM (
               SELECT evento, count(*) AS cantidad, max(recibido) AS ultimo FROM (
                 SELECT m.evento, m.recibido FROM ${session.table('mensaje')} m
                  WHERE m.instancia = $1 AND m.proyecto = $2 AND m.recibido >= $3 AND ${unheardSql(session)}
                  LIMIT ${MOST_UNHEARD}) AS unheard
                GROUP BY evento ORDER BY cantidad DESC, evento LIMIT ${EVENTS_SHOWN}) AS each) AS unheard,
            (SELECT count(*)::float8 FROM ${session.table('auditoria_rechazada')}
              WHERE instancia = $1 AND proyecto = $2) AS rejected,
            (SELECT count(*)::float8 FROM (
               (${unfinished('pendiente')}) UNION ALL (${unfinished('reintentando')})) AS waiting) AS unfinished,
            to_regclass('${session.table('resumen_hora')}') IS NOT NULL AS counted`,
    [...session.owner, unheardSince, ...(unfinishedBefore === null ? [] : [unfinishedBefore])],
  )
  const { unheard, rejected, unfinished: waiting, counted } = row!
  const events = (unheard ?? []).map(({ evento, cantidad, ultimo }) => ({
    evento,
    cantidad,
    ultimo: new Date(ultimo),
  }))
  const rates = counted ? await readOverviewRates(session, question.now.getTime()) : null
  return { unheard: events, rejected, unfinished: waiting, rates }
}

async function readOverviewRates(session: Session, now: number): Promise<OverviewRates> {
  const begin = (ago: Millis) => Math.floor((now - ago) / HOUR) * HOUR
  const [hourBegan, dayBegan] = [begin(HOUR), begin(23 * HOUR)]
  const hour = await readRates(session, new Date(hourBegan))
  const day = await readRates(session, new Date(dayBegan))
  const perMs = (hour[0]?.enviados ?? 0) / (now - hourBegan)
  const recentSpan = Math.min(RECENT, MOST_RECENT / perMs)
  const recent = await readRecentRates(session, new Date(now - recentSpan))
  return { recent, hour, day, spans: { recent: recentSpan, hour: now - hourBegan, day: now - dayBegan } }
}

/** Events of messages since then, those that no listener got included. */
export async function readEvents(session: Session, since: Date): Promise<string[]> {
  const rows = await session.query<{ evento: string }>(
    `SELECT DISTINCT evento FROM ${session.table('resumen_hora')}
      WHERE instancia = $1 AND proyecto = $2 AND hora >= $3 AND evento <> ''
     UNION
     SELECT DISTINCT evento FROM ${session.table('mensaje')} m
      WHERE instancia = $1 AND proyecto = $2 AND recibido >= $3 AND ${unheardSql(session)}`,
    [...session.owner, since],
  )
  return rows.map(({ evento }) => evento)
}
