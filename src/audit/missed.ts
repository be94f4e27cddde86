/**
 * Messages without a delivery: those that a listener never got, which `reenviar --faltantes` sends to one that was added, or
 * corrected, later; and those that no listener got at all.
 */
import type { Parameter, Session } from './database.ts'
import { original } from './encoding.ts'
import type { Page } from './stored.ts'
import { asSent } from './timeline.ts'

export interface MissedFilters {
  /** Null: no listener got it, nor was sent it since. */
  readonly listener: string | null
  /** Bounds of `recibido`: from (inclusive), until (exclusive). */
  readonly since?: Date | undefined
  readonly until?: Date | undefined
  readonly messageId?: string | undefined
}

export interface MissedMessage {
  readonly id: string
  readonly evento: string
  readonly solo_listener: string | null
  readonly origen: string | null
  readonly recibido: Date
}

const PAGE = 1_000
/** Beyond this it does not matter any more how many there are. */
const MOST_COUNTED = 10_000

/** Of a message `m`: dispatched, and to nobody. The words of the index `mensaje_sin_listener`. */
function unheardSql(session: Session): string {
  return `m.listeners = 0 AND NOT EXISTS (SELECT FROM ${session.table('entrega')} e WHERE e.mensaje_id = m.id
            AND e.instancia = m.instancia AND e.proyecto = m.proyecto)`
}

/**
 * Those of one listener are without those that were sent to another listener alone, and without those whose `demora` runs.
 * @param order by `recibido`
 */
export async function* readMissed(
  page: Page,
  { listener, since, until, messageId }: MissedFilters,
  order: 'newest' | 'oldest' = 'oldest',
): AsyncGenerator<MissedMessage> {
  const [beyond, way] = order === 'oldest' ? ['>', 'ASC'] : ['<', 'DESC']
  let after: readonly [Date, string] | null = null
  for (;;) {
    const rows: (MissedMessage & { original: Buffer | null })[] = await page((session) => {
      const { key, text } = session.rules
      const parameters: Parameter[] = [...session.owner]
      const put = (value: Parameter) => `$${parameters.push(value)}`
      const and = (condition: string, value: Parameter | undefined) =>
        value === undefined ? '' : ` AND ${condition} ${put(value)}`
      const missed =
        listener === null
          ? unheardSql(session)
          : `m.listeners IS NOT NULL AND (m.solo_listener IS NULL OR m.solo_listener = ${put(text(listener))})
             AND NOT EXISTS (SELECT FROM ${session.table('entrega')} e WHERE e.mensaje_id = m.id
                              AND e.listener = ${put(key(listener))} AND e.instancia = $1 AND e.proyecto = $2)`
      const bounds = [
        and('m.recibido >=', since),
        and('m.recibido <', until),
        and('m.id =', messageId === undefined ? undefined : key(messageId)),
        after === null ? '' : ` AND (m.recibido, m.id) ${beyond} (${put(after[0])}, ${put(after[1])})`,
      ]
      return session.query(
        `SELECT m.id, m.evento, m.solo_listener, m.origen, m.recibido, m.original FROM ${session.table('mensaje')} m
          WHERE m.instancia = $1 AND m.proyecto = $2 AND ${missed}${bounds.join('')}
          ORDER BY m.recibido ${way}, m.id ${way} LIMIT ${PAGE}`,
        parameters,
      )
    })
    for (const row of rows) yield { ...asSent(row), id: original(row.id) }
    const last = rows.at(-1)
    if (!last || rows.length < PAGE) return
    after = [last.recibido, last.id]
  }
}

/** How many that nobody got came since then; ten thousand stands for more. */
export async function countUnheard(session: Session, since: Date) {
  const [row] = await session.query<{ count: number }>(
    `SELECT count(*)::float8 FROM (
       SELECT FROM ${session.table('mensaje')} m
        WHERE m.instancia = $1 AND m.proyecto = $2 AND m.recibido >= $3 AND ${unheardSql(session)}
        LIMIT ${MOST_COUNTED}) AS unheard`,
    [...session.owner, since],
  )
  return row!.count
}
