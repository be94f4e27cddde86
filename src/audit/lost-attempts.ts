/**
 * The attempts whose worker never told its outcome: a row stands for each, until the outcome comes after all and its own row
 * takes the place. Both may come in either order, twice, and from two writers at once; in the end there is one row.
 */
import type { Session } from './database.ts'
import type { AttemptEvent, AuditEvent } from './event.ts'

/** `error` of a row that stands for an outcome that did not come. */
export const WITHOUT_OUTCOME = 'sin_resultado'

interface LostAttempts {
  /** Ids of rows that an outcome in this batch replaces, each with its message. */
  readonly replaced: readonly (readonly [messageId: string, id: string])[]
  /** Rows of this batch whose outcome may be in the database already. */
  readonly standing: readonly AttemptEvent[]
}

export function lostAttempts(events: readonly AuditEvent[]): LostAttempts | null {
  const attempts = events.filter((event) => event.type === 'attempt')
  const standing = attempts.filter(({ attempt }) => attempt.error === WITHOUT_OUTCOME)
  const replaced = attempts.flatMap(({ attempt, replaces }) =>
    replaces === null ? [] : [[attempt.messageId, replaces] as const],
  )
  return standing.length + replaced.length > 0 ? { replaced, standing } : null
}

/** Before the rows are written: one writer at a time, or neither would see what the other is about to commit. Rare. */
export async function lockLostAttempts(session: Session): Promise<void> {
  await session.query(`SELECT pg_advisory_xact_lock(hashtext('resthooks.sin_resultado'), hashtext($1))`, [
    session.schema,
  ])
}

/** Once the rows are written: removes those that stand for an outcome that is there. */
export async function removeReplaced(session: Session, { replaced, standing }: LostAttempts): Promise<void> {
  const table = session.table('intento')
  const { key } = session.rules
  for (const [messageId, id] of replaced) {
    await session.query(`DELETE FROM ${table} WHERE instancia = $1 AND proyecto = $2 AND mensaje_id = $3 AND id = $4`, [
      ...session.owner,
      key(messageId),
      key(id),
    ])
  }
  for (const { attempt } of standing) {
    const { messageId, id, listener, number } = attempt
    await session.query(
      `DELETE FROM ${table} WHERE instancia = $1 AND proyecto = $2 AND mensaje_id = $3 AND id = $4 AND EXISTS (
         SELECT FROM ${table} told WHERE told.instancia = $1 AND told.proyecto = $2 AND told.mensaje_id = $3
            AND told.listener = $5 AND told.numero = $6::int AND told.id <> $4)`,
      [...session.owner, ...[messageId, id, listener].map(key), String(number)],
    )
  }
}
