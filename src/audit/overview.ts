/**
 * What the audit knows of how a project is doing, in one query: `estado` asks every time, and a monitor every minute. Each part
 * is bounded, whatever the tables hold.
 */
import type { Session } from './database.ts'
import { unheardSql } from './unfinished.ts'

export interface OverviewQuestion {
  /** Messages that no listener got are counted since then. */
  readonly unheardSince: Date
  /** Unfinished deliveries of the time before are counted; null: all of them. */
  readonly unfinishedBefore: Date | null
  /** No more of them are counted than this. */
  readonly mostUnfinished: number
}

export interface Overview {
  /** By event, the most first; ten thousand messages at most are looked at. */
  readonly unheard: readonly UnheardEvent[]
  /** Rows of `auditoria_rechazada`. */
  readonly rejected: number
  readonly unfinished: number
}

export interface UnheardEvent {
  readonly evento: string
  readonly cantidad: number
  readonly ultimo: Date
}

const MOST_UNHEARD = 10_000
const EVENTS_SHOWN = 20

interface Row {
  readonly unheard: { evento: string; cantidad: number; ultimo: string }[] | null
  readonly rejected: number
  readonly unfinished: number
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
               (${unfinished('pendiente')}) UNION ALL (${unfinished('reintentando')})) AS waiting) AS unfinished`,
    [...session.owner, unheardSince, ...(unfinishedBefore === null ? [] : [unfinishedBefore])],
  )
  const { unheard, ...counts } = row!
  const events = (unheard ?? []).map(({ evento, cantidad, ultimo }) => ({
    evento,
    cantidad,
    ultimo: new Date(ultimo),
  }))
  return { ...counts, unheard: events }
}
