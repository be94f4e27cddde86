/** The events that a pattern means. */
import type { Session } from './database.ts'

/** More distinct events than this are no vocabulary: somebody puts ids into their names. */
const MOST_NAMES = 2_000

/**
 * By hopping from name to name along the index: a pattern such as `*.alta` then costs as many steps as there are names, not
 * as there are messages.
 * @param pattern `*` matches any run of characters; without one it is the name itself, whether there is such an event or not
 */
export async function eventNames(session: Session, pattern: string): Promise<readonly string[]> {
  const { rules } = session
  if (!pattern.includes('*')) return [rules.text(pattern)]
  const prefix = rules.text(pattern.slice(0, pattern.indexOf('*')))
  const like = rules
    .text(pattern)
    .replace(/[\\%_]/g, '\\$&')
    .replaceAll('*', '%')
  const next = (bound: string) =>
    `SELECT min(evento) FROM ${session.table('mensaje')} WHERE instancia = $1 AND proyecto = $2 AND evento ${bound}`
  const rows = await session.query<{ evento: string }>(
    `WITH RECURSIVE nombre (evento, paso) AS (
       SELECT (${next('>= $3')}), 1
       UNION ALL
       SELECT (${next('> nombre.evento')}), paso + 1 FROM nombre
        WHERE evento IS NOT NULL AND left(evento, length($3)) = $3 AND paso <= ${MOST_NAMES}
     ) SELECT evento FROM nombre WHERE evento LIKE $4`,
    [...session.owner, prefix, like],
  )
  if (rows.length <= MOST_NAMES) return rows.map(({ evento }) => evento)
  const all = await session.query<{ evento: string }>(
    `SELECT DISTINCT evento FROM ${session.table('mensaje')}
      WHERE instancia = $1 AND proyecto = $2 AND evento >= $3 AND evento LIKE $4`,
    [...session.owner, prefix, like],
  )
  return all.map(({ evento }) => evento)
}
