/**
 * The chaos suite (`npm run chaos`): every fault alone, then mixed at random, and a table of figures at the end. Exits 1
 * when anything was lost or contradicts itself.
 *
 *   --corto         the one-minute form
 *   --solo TEXTO    only faults whose name contains TEXTO
 *   --semilla N     the dice of an earlier run
 *   --escala X      X times the messages
 *   --vueltas N     N times over, each with a further seed
 */
import { parseArgs } from 'node:util'
import { startPostgres } from '../support/postgres-server.ts'
import { atEnd, endAll } from './endings.ts'
import { allFaults } from './faults/all.ts'
import { play } from './play.ts'
import { copyProgram } from './program.ts'
import { diceOf } from './random.ts'
import { type Row, tableOf } from './table.ts'

const { values: options } = parseArgs({
  options: {
    corto: { type: 'boolean', default: false },
    solo: { type: 'string', multiple: true },
    semilla: { type: 'string' },
    escala: { type: 'string', default: '1' },
    vueltas: { type: 'string', default: '1' },
  },
})

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.once(signal, async () => {
    await endAll()
    process.exit(code)
  })
}

const code = await run().finally(endAll)
process.exit(code)

async function run(): Promise<number> {
  const firstSeed = options.semilla === undefined ? Math.floor(Math.random() * 1e9) : Number(options.semilla)
  say(`semilla ${firstSeed} (se repite con: npm run chaos -- --semilla ${firstSeed}${options.corto ? ' --corto' : ''})`)
  const faults = allFaults.filter(
    ({ name, short }) =>
      (!options.corto || short) && (!options.solo || options.solo.some((text) => name.includes(text))),
  )
  const program = await copyProgram()
  const postgres = await startPostgres()
  atEnd(() => postgres.stop())
  const rows: Row[] = []
  for (let round = 0; round < Number(options.vueltas); round++) {
    const seed = firstSeed + round
    for (const fault of faults) {
      const start = Date.now()
      const stage = { program, postgres, dice: diceOf(seed), scale: Number(options.escala) }
      const row = await play(fault, stage).then(
        (figures): Row => ({ fault: fault.name, figures, seconds: (Date.now() - start) / 1000 }),
        (error: Error): Row => ({
          fault: fault.name,
          figures: null,
          failure: error.message,
          seconds: (Date.now() - start) / 1000,
        }),
      )
      rows.push(row)
      tell(row)
    }
  }
  say(`\n${tableOf(rows)}`)
  const bad = rows.filter(({ figures }) => !figures || figures.violations.length > 0)
  say(
    bad.length === 0
      ? `${rows.length} fallos, nada perdido`
      : `${bad.length} de ${rows.length} con problemas (semilla ${firstSeed})`,
  )
  return bad.length === 0 ? 0 : 1
}

function tell({ fault, figures, failure, seconds }: Row): void {
  if (!figures) {
    say(`✗ ${fault} (${seconds.toFixed(1)} s)\n${failure}`)
    return
  }
  const { messages, lost, duplicates, violations, notes } = figures
  say(
    `${violations.length === 0 ? '✓' : '✗'} ${fault}: ${messages} mensajes, ${lost} perdidos, ${duplicates} duplicados (${seconds.toFixed(1)} s)`,
  )
  for (const each of notes ?? []) say(`    (${each})`)
  for (const each of violations.slice(0, 12)) say(`    ${each}`)
  if (figures.logs) say(figures.logs)
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
