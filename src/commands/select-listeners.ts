/** The listeners that a command line names. */
import type { ListenerConfig } from '../config/config.ts'
import { UsageError } from '../errors.ts'

/** @throws UsageError when none is named, or one that is not configured */
export function selectListeners(
  listeners: ReadonlyMap<string, ListenerConfig>,
  names: readonly string[],
  all: boolean,
): string[] {
  if (all && names.length > 0) throw new UsageError('use nombres de listeners o --todos, no ambos')
  if (all) return [...listeners.keys()]
  if (names.length === 0) throw new UsageError('indique uno o más listeners, o --todos')
  for (const name of names) requireListener(listeners, name)
  return [...new Set(names)]
}

/** @throws UsageError with the names there are */
export function requireListener(listeners: ReadonlyMap<string, ListenerConfig>, name: string): ListenerConfig {
  const listener = listeners.get(name)
  if (listener) return listener
  const known = [...listeners.keys()].join(', ') || 'ninguno'
  throw new UsageError(`el listener «${name}» no está en resthooks.ini; hay: ${known}`)
}
