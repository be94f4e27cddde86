/** Which listeners want an event. Pure. */
import type { ListenerConfig } from './config.ts'

/** Compiles the patterns of `eventos`: `*` matches any run of characters, everything else itself. */
export function eventMatcher(patterns: readonly string[]): (event: string) => boolean {
  const compiled = patterns.map(compile)
  return (event) => compiled.some((matches) => matches(event))
}

/**
 * What stands between the stars, found one after the other, leftmost first: nothing is tried twice. A regular expression
 * of the same pattern tries every split, and `*.*.*.*.*.x` held all messages for a minute at an event of 255 dots.
 */
function compile(pattern: string): (event: string) => boolean {
  const parts = pattern.split('*')
  if (parts.length === 1) return (event) => event === pattern
  const first = parts.shift()!
  const last = parts.pop()!
  return (event) => {
    let at = first.length
    const end = event.length - last.length
    if (at > end || !event.startsWith(first) || !event.endsWith(last)) return false
    for (const part of parts) {
      const found = event.indexOf(part, at)
      if (found < 0) return false
      at = found + part.length
    }
    return at <= end
  }
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
