/**
 * Whether anything is known of the project that was named. A mistyped `-p`, or a forgotten one, shows an empty project as if all were
 * well; and a new one looks the same. What can be known: its own resthooks.ini, what its workers left in Redis, its rows in Postgres.
 */
import type { AuditQueries } from '../audit/queries.ts'
import type { Config } from '../config/config.ts'
import { projectsWithIni } from '../config/files.ts'
import { distinctProjects, likelyProject, type Project, projectNames } from '../model/project.ts'
import { hasMessages, servedProjects, wasServed } from '../queue/projects.ts'
import type { Queue } from '../queue/queue.ts'

/** Nothing is known of it. */
export interface Stray {
  /** `«pilga» (produccion)` */
  readonly name: string
  /** Where it was looked for: `ni en Redis ni en Postgres`. */
  readonly where: string
  /** Of the others that there are. */
  readonly others: readonly Project[]
  /** `-p pilaga`, where one of them was probably meant. */
  readonly likely: string | null
  /** Something was sent to it, and waits for a worker. */
  readonly waiting: boolean
}

interface Sources {
  readonly config: Pick<Config, 'instancia' | 'proyecto' | 'files'>
  /** Null: it could not be asked. */
  readonly queue: Queue | null
  readonly audit: AuditQueries | null
}

/** Null: something is known of it, or nobody could be asked. */
export async function strayOf({ config, queue, audit }: Sources): Promise<Stray | null> {
  const { instancia, proyecto, files } = config
  if (files.own || (queue === null && audit === null)) return null
  if (queue !== null && (await wasServed(queue)) !== false) return null
  const audited = audit === null ? null : await audit.projects()
  if (audited?.own) return null
  const served = queue === null ? [] : await servedProjects(queue)
  const known = distinctProjects([...projectsWithIni(files.installation), ...(audited?.others ?? []), ...served])
  const others = known.filter((other) => other.instancia !== instancia || other.proyecto !== proyecto)
  const where = queue === null ? 'en Postgres' : audit === null ? 'en Redis' : 'ni en Redis ni en Postgres'
  const waiting = queue !== null && (await hasMessages(queue))
  return { name: `«${proyecto}» (${instancia})`, where, others, likely: likelyProject(config, others), waiting }
}

/** `no hay rastro de «pilga» (produccion), ni en Redis ni en Postgres; los que hay: pilaga (produccion)` */
export function strayText({ name, where, others, waiting }: Stray): string {
  const there = others.length === 0 ? '' : `; los que hay: ${projectNames(others)}`
  if (waiting) return `ningún worker trabajó nunca para ${name}${there}`
  return `no hay rastro de ${name}, ${where}${there}`
}

/** What a person does about it. */
export function strayRemedy({ others, likely }: Stray): string {
  if (likely !== null) return `¿es «${likely}»?`
  return others.length > 0 ? 'indicar cuál con -p (y -i)' : 'nada, si es nuevo'
}

/** Told beside a result in which there is nothing, or of what nobody takes. */
export function strayWarning(stray: Stray): string {
  const hint = stray.likely === null ? '' : ` ¿Quiso decir «${stray.likely}»?`
  return `resthooks: aviso: ${strayText(stray)}.${hint}`
}
