/** Rounds of a row: every contender once a round, each round starting with another one, so that noise hits all alike. */
import { loadavg } from 'node:os'
import type { Contender, Goal, Row } from './row.ts'
import type { Bench } from './scene.ts'

export interface Measured {
  readonly row: Row
  readonly contenders: readonly Pick<Contender, 'who' | 'role'>[]
  /** Line → contender → one value a round. */
  readonly samples: Map<string, Map<string, number[]>>
  readonly goals: readonly Goal[]
}

/** @param told what is going on, a line each */
export async function measureRow(bench: Bench, row: Row, told: (text: string) => void): Promise<Measured> {
  const { only } = bench.options
  const contenders = await row.contenders(bench)
  const chosen = only === null ? contenders : contenders.filter(({ who }) => who.includes(only))
  const samples = new Map(row.lines.map(({ key }) => [key, new Map<string, number[]>()]))
  const { rounds } = bench.options
  try {
    for (let round = 0; round < rounds; round++) {
      for (let turn = 0; turn < chosen.length; turn++) {
        const contender = chosen[(turn + round) % chosen.length]!
        const begun = performance.now()
        const readings = await contender.measure()
        for (const [line, value] of Object.entries(readings)) {
          const values = samples.get(line)
          // A line that this row does not show, or a figure that this system does not give.
          if (!values || !Number.isFinite(value)) continue
          values.set(contender.who, [...(values.get(contender.who) ?? []), value])
        }
        const figures = Object.entries(readings).map(([key, value]) => `${key} ${Number(value.toPrecision(4))}`)
        const took = ((performance.now() - begun) / 1000).toFixed(1)
        told(
          `${row.name} ${round + 1}/${rounds} ${contender.who}: ${figures.join(', ')} (${took} s, carga ${loadavg()[0]!.toFixed(1)})`,
        )
      }
    }
  } finally {
    for (const { end } of contenders) await end?.()
  }
  return {
    row,
    contenders: contenders.map(({ who, role }) => ({ who, role })),
    samples,
    goals: row.goals(bench.options),
  }
}
