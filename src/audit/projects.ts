/** Whose rows there are: several projects share one schema. Each question is a few steps in an index, however many rows there are. */
import type { Project } from '../model/project.ts'
import type { Session } from './database.ts'

/** More are not named to anybody. */
const MOST = 50

export async function readProjects(session: Session): Promise<{ own: boolean; others: Project[] }> {
  const ofOurs = 'WHERE instancia = $1 AND proyecto = $2'
  const messages = session.table('mensaje')
  const [row] = await session.query<{ own: boolean }>(
    `SELECT EXISTS (SELECT FROM ${session.table('entrega')} ${ofOurs})
         OR EXISTS (SELECT FROM ${messages} ${ofOurs} AND listeners = 0)
         OR EXISTS (SELECT FROM ${messages} ${ofOurs} AND listeners IS NULL) AS own`,
    session.owner,
  )
  // From one to the next: DISTINCT would read every row.
  const first = `SELECT instancia, proyecto FROM ${session.table('entrega')}`
  const order = 'ORDER BY instancia, proyecto LIMIT 1'
  const all = await session.query<Project>(
    `WITH RECURSIVE known AS (
       (${first} ${order})
       UNION ALL
       SELECT following.* FROM known, LATERAL
         (${first} WHERE (instancia, proyecto) > (known.instancia, known.proyecto) ${order}) AS following)
     SELECT instancia, proyecto FROM known LIMIT ${MOST}`,
  )
  const [instancia, proyecto] = session.owner
  return { own: row!.own, others: all.filter((each) => each.instancia !== instancia || each.proyecto !== proyecto) }
}

export function readProjectsOf(session: Session, id: string): Promise<Project[]> {
  return session.query<Project>(
    `SELECT instancia, proyecto FROM ${session.table('mensaje')} WHERE id = $1
     UNION SELECT instancia, proyecto FROM ${session.table('entrega')} WHERE mensaje_id = $1 ORDER BY 1, 2 LIMIT ${MOST}`,
    [session.rules.key(id)],
  )
}
