/** Messages that a listener never got: what `reenviar --faltantes` sends to one that was added, or corrected, later. */
import type { Parameter } from './database.ts'
import { original, textRules } from './encoding.ts'
import { identifier } from './migrate.ts'
import type { Page } from './stored.ts'
import type { Scope } from './tables.ts'
import { asSent } from './timeline.ts'

export interface MissedFilters {
  readonly listener: string
  /** Bounds of `recibido`: from (inclusive), until (exclusive). */
  readonly since?: Date | undefined
  readonly until?: Date | undefined
  readonly messageId?: string | undefined
}

const PAGE = 1_000

/** Oldest first. Those that were sent to another listener alone are not among them, nor those whose `demora` runs. */
export async function* readMissed(
  page: Page,
  schema: string,
  { instancia, proyecto }: Scope,
  { listener, since, until, messageId }: MissedFilters,
): AsyncGenerator<{ id: string; evento: string }> {
  let after: readonly [Date, string] = [new Date(0), '']
  for (;;) {
    const rows = await page((session) => {
      const { key, text } = textRules(session.encoding)
      const parameters: Parameter[] = [key(instancia), key(proyecto), key(listener), text(listener), ...after]
      const and = (condition: string, value: Parameter | undefined) =>
        value === undefined ? '' : ` AND ${condition} $${parameters.push(value)}`
      const bounds = [
        and('m.recibido >=', since),
        and('m.recibido <', until),
        and('m.id =', messageId === undefined ? undefined : key(messageId)),
      ]
      return session.query<{ id: string; evento: string; recibido: Date; original: Buffer | null }>(
        `SELECT m.id, m.evento, m.recibido, m.original FROM ${identifier(schema)}.mensaje m
          WHERE m.instancia = $1 AND m.proyecto = $2 AND m.listeners IS NOT NULL
            AND (m.solo_listener IS NULL OR m.solo_listener = $4) AND (m.recibido, m.id) > ($5, $6)${bounds.join('')}
            AND NOT EXISTS (SELECT FROM ${identifier(schema)}.entrega e
                             WHERE e.mensaje_id = m.id AND e.listener = $3 AND e.instancia = $1 AND e.proyecto = $2)
          ORDER BY m.recibido, m.id LIMIT ${PAGE}`,
        parameters,
      )
    })
    for (const row of rows) yield { id: original(row.id), evento: asSent(row).evento }
    const last = rows.at(-1)
    if (!last || rows.length < PAGE) return
    after = [last.recibido, last.id]
  }
}
