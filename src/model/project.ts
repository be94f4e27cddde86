/** A project of an instance, and which one was meant where nothing is known of the one that was named. Pure. */
import { nearest } from './nearest.ts'

export interface Project {
  readonly instancia: string
  readonly proyecto: string
}

const MOST_NAMED = 8

/** `pilaga (produccion), guarani (desarrollo)` */
export function projectNames(projects: readonly Project[]): string {
  const names = projects.slice(0, MOST_NAMED).map(({ instancia, proyecto }) => `${proyecto} (${instancia})`)
  return `${names.join(', ')}${projects.length > MOST_NAMED ? '…' : ''}`
}

/** `-p pilaga`, `-i desarrollo`: what to say instead, where one of `others` was probably meant; else null. */
export function likelyProject({ instancia, proyecto }: Project, others: readonly Project[]): string | null {
  const here = others.filter((other) => other.instancia === instancia).map((other) => other.proyecto)
  const near = nearest(proyecto, here)
  if (near !== null) return `-p ${near}`
  const elsewhere = others.find((other) => other.proyecto === proyecto)
  return elsewhere ? `-i ${elsewhere.instancia}` : null
}

/** Each once, by name. */
export function distinctProjects(projects: readonly Project[]): Project[] {
  const all = new Map(projects.map(({ instancia, proyecto }) => [`${instancia}:${proyecto}`, { instancia, proyecto }]))
  return [...all].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, project]) => project)
}
