/**
 * What a row of the table is made of, and when its goals are met. Pure: rows measure, this judges.
 *
 * A row compares contenders (the program, its peers, the limit of the machine) on one or more lines, each with a unit.
 */
import type { Options } from './options.ts'
import type { Bench } from './scene.ts'

export type Unit = 'per second' | 'ms' | 'us' | 'bytes' | 'percent' | 'count' | 'MB'

export interface Line {
  readonly key: string
  /** In Spanish, as the table shows it. */
  readonly label: string
  readonly unit: Unit
}

/** What one round of one contender gave, by the key of the line; a line that it does not measure is left out. */
export type Readings = Readonly<Record<string, number>>

export interface Contender {
  /** In Spanish, as the table shows it. */
  readonly who: string
  readonly role: 'own' | 'peer' | 'limit'
  /** One round. */
  measure(): Promise<Readings>
  /** Gives up what it holds for all the rounds. */
  end?(): Promise<void>
}

export interface Row {
  /** For `--filas`. */
  readonly name: string
  /** In Spanish. */
  readonly title: string
  readonly lines: readonly Line[]
  goals(options: Options): readonly Goal[]
  /** Makes the contenders, with whatever they need in every round. */
  contenders(bench: Bench): Promise<readonly Contender[]>
}

/** About the medians of one line; `text` is in Spanish. */
export type Goal =
  | { readonly kind: 'at most'; readonly line: string; readonly who: string; readonly value: number }
  | ({
      readonly kind: 'ratio'
      readonly line: string
      readonly who: string
      /** A contender, or whichever peer is the best: the highest or the lowest. */
      readonly to: string | { readonly peers: 'highest' | 'lowest' }
      /** Another line of theirs, where it is not the same one. */
      readonly toLine?: Pick<Line, 'key' | 'label'>
    } & ({ readonly least: number } | { readonly most: number }))

/** The samples of every round: line → contender → one value a round. */
export type Samples = ReadonlyMap<string, ReadonlyMap<string, readonly number[]>>

/** What all the rounds of a row gave. */
export interface Measured {
  readonly row: Row
  readonly contenders: readonly Pick<Contender, 'who' | 'role'>[]
  /** Line → contender → one value a round. */
  readonly samples: Map<string, Map<string, number[]>>
  readonly goals: readonly Goal[]
}

export interface Verdict {
  readonly goal: Goal
  /** In Spanish: `≥ 3 × el mejor par`. */
  readonly text: string
  /** The figure judged (a ratio, or the median itself); null where one side was not measured. */
  readonly value: number | null
  readonly met: boolean | null
}

/** @throws when nothing was measured */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error('the median of nothing')
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** The value below which a share of the values lies (nearest rank). */
export function percentile(values: readonly number[], share: number): number {
  if (values.length === 0) throw new Error('the percentile of nothing')
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)]!
}

/** Whether a goal is met by the medians. */
export function judge(goal: Goal, samples: Samples, contenders: readonly Pick<Contender, 'who' | 'role'>[]): Verdict {
  const medianIn = (line: string) => (who: string) => {
    const values = samples.get(line)?.get(who)
    return values && values.length > 0 ? median(values) : null
  }
  const own = medianIn(goal.line)(goal.who)
  if (goal.kind === 'at most') {
    return { goal, text: `≤ ${decimal(goal.value)}`, value: own, met: own === null ? null : own <= goal.value }
  }
  const reference = referenceOf(goal.to, medianIn(goal.toLine?.key ?? goal.line), contenders)
  const bound = 'least' in goal ? `≥ ${decimal(goal.least)}` : `≤ ${decimal(goal.most)}`
  const name = typeof goal.to === 'string' ? goal.to : 'el mejor par'
  const text = `${bound} × ${name}${goal.toLine ? `, ${goal.toLine.label}` : ''}`
  if (own === null || !reference || reference.value === 0) return { goal, text, value: null, met: null }
  const value = own / reference.value
  return { goal, text, value, met: 'least' in goal ? value >= goal.least : value <= goal.most }
}

function referenceOf(
  to: Extract<Goal, { kind: 'ratio' }>['to'],
  medianOf: (who: string) => number | null,
  contenders: readonly Pick<Contender, 'who' | 'role'>[],
): { who: string; value: number } | null {
  const names = typeof to === 'string' ? [to] : contenders.filter(({ role }) => role === 'peer').map(({ who }) => who)
  let best: { who: string; value: number } | null = null
  for (const who of names) {
    const value = medianOf(who)
    if (value === null) continue
    const better = !best || (typeof to !== 'string' && (to.peers === 'highest') === value > best.value)
    if (better) best = { who, value }
  }
  return best
}

/** As Spanish writes it: `0,6`. */
export function decimal(value: number): string {
  return String(value).replace('.', ',')
}
