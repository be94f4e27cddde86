/**
 * Reads `WWW-Authenticate` and `Authentication-Info` (RFC 9110 §11.6.1, §11.6.3; grammar in §11.2 and §5.6).
 *
 * Written here because no kept library takes what servers send: several challenges in one header, unquoted values
 * that should be quoted, blanks around `=`.
 */
export interface Challenge {
  /** Lower case. */
  readonly scheme: string
  /** Names in lower case. */
  readonly params: ReadonlyMap<string, string>
}

const ITEM = /\s*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?/y

/** Every challenge of every header line, in order; what cannot be read ends the line. */
export function parseChallenges(header: string | readonly string[] | undefined): Challenge[] {
  const lines = header === undefined ? [] : typeof header === 'string' ? [header] : header
  const challenges: { scheme: string; params: Map<string, string> }[] = []
  for (const line of lines) {
    let current: { scheme: string; params: Map<string, string> } | null = null
    ITEM.lastIndex = 0
    for (let found = ITEM.exec(line); found !== null; found = ITEM.exec(line)) {
      const [all, name, quoted, bare] = found
      const value = quoted === undefined ? bare : quoted.replace(/\\(.)/g, '$1')
      if (value === undefined) {
        // A name without `=` is the next challenge's scheme.
        current = { scheme: name!.toLowerCase(), params: new Map() }
        challenges.push(current)
      } else if (current !== null && !current.params.has(name!.toLowerCase())) {
        current.params.set(name!.toLowerCase(), value)
      }
      ITEM.lastIndex = skipCommas(line, found.index + all.length)
    }
  }
  return challenges
}

/** The parameters of a header without scheme (`Authentication-Info`). */
export function parseParams(header: string): ReadonlyMap<string, string> {
  return parseChallenges(`x ${header}`)[0]?.params ?? new Map()
}

function skipCommas(line: string, from: number): number {
  let index = from
  while (index < line.length && (line[index] === ',' || line[index] === ' ' || line[index] === '\t')) index++
  return index
}
