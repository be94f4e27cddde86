/** Which listeners want an event. Pure. */
import type { ListenerConfig } from '../config/config.ts'

/** Compiles the patterns of `eventos`: `*` matches any run of characters, everything else itself. */
export function eventMatcher(patterns: readonly string[]): (event: string) => boolean {
  const compiled = patterns.map(
    (pattern) =>
      new RegExp(
        `^${pattern
          .split('*')
          .map((part) => part.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'))
          .join('.*')}$`,
        's',
      ),
  )
  return (event) => compiled.some((each) => each.test(event))
}

/** A listener that is not active matches nothing. */
export class Subscriptions {
  readonly #matchers: readonly { readonly listener: ListenerConfig; readonly matches: (event: string) => boolean }[]

  constructor(listeners: Iterable<ListenerConfig>) {
    this.#matchers = [...listeners]
      .filter((listener) => listener.active)
      .map((listener) => ({ listener, matches: eventMatcher(listener.events) }))
  }

  /** @param only the one listener that the sender asked for, whatever its patterns; null = all that match */
  of(event: string, only: string | null): readonly ListenerConfig[] {
    return this.#matchers
      .filter(({ listener, matches }) => (only === null ? matches(event) : listener.name === only))
      .map(({ listener }) => listener)
  }
}
