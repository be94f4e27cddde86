/**
 * The chaos suite (`npm run chaos`): every fault alone, then mixed at random, and a table of figures at the end. Exits 1
 * when anything was lost or contradicts itself.
 *
 *   --corto         the one-minute form
 *   --solo TEXTO    only faults whose name contains TEXTO
 *   --semilla N     the dice of an earlier run
 *   --escala X      X times the messages
 *   --vueltas N     N times over, each with a further seed
 *   --sin-limites   without measuring memory, log and times, which takes minutes
 *   --mensajes N    waiting messages of those measurements (1000000)
 */
import { parseArgs } from 'node:util'
import Table from 'cli-table3'
import { type PostgresServer, startPostgres } from '../support/postgres-server.ts'
import { type Bound, measureBounds } from './bounds.ts'
import { allFaults } from './faults/all.ts'
import type { Fault } from './faults/fault.ts'
import type { Figures } from './ledger.ts'
import { play, type Stage } from './play.ts'
import { atEnd, endAll, thisRelease } from './program.ts'
import { diceOf } from './random.ts'

interface Row {
  readonly fault: string
  readonly figures: Figures | null
  /** Why there are no figures. */
  readonly failure?: string
  readonly seconds: number
}

const { values: options } = parseArgs({
  options: {
    corto: { type: 'boolean', default: false },
    solo: { type: 'string', multiple: true },
    semilla: { type: 'string' },
    escala: { type: 'string', default: '1' },
    vueltas: { type: 'string', default: '1' },
    'sin-limites': { type: 'boolean', default: false },
    mensajes: { type: 'string', default: '1000000' },
  },
})

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.once(signal, async () => {
    say(`interrumpido (${signal}): se cierra todo`)
    await endAll()
    process.exit(code)
  })
}

process.once('uncaughtException', async (error) => {
  say(`error de la suite: ${error.stack}`)
  await endAll()
  process.exit(1)
})

const code = await run().finally(endAll)
process.exit(code)

async function run(): Promise<number> {
  const firstSeed = options.semilla === undefined ? Math.floor(Math.random() * 1e9) : Number(options.semilla)
  say(`semilla ${firstSeed} (se repite con: npm run chaos -- --semilla ${firstSeed}${options.corto ? ' --corto' : ''})`)
  const faults = allFaults.filter(
    ({ name, short }) =>
      (!options.corto || short) && (!options.solo || options.solo.some((text) => name.includes(text))),
  )
  const program = await thisRelease()
  const postgres = await ownPostgres()
  const rows: Row[] = []
  const finishing: Promise<void>[] = []
  for (let round = 0; round < Number(options.vueltas); round++) {
    const seed = firstSeed + round
    for (const fault of faults) {
      const stage = { program, postgres, dice: diceOf(seed), scale: Number(options.escala) }
      const played = async (how: Partial<Stage>) => {
        const row = await figuresOf(fault, { ...stage, ...how })
        rows.push(row)
        tell(row)
      }
      if (options.corto && fault.restsLong) {
        // With a Postgres of its own: the next fault may end the other one.
        const own = await ownPostgres()
        await new Promise<void>((onRest) => {
          finishing.push(played({ postgres: own, onRest }).finally(onRest))
        })
      } else await played({})
    }
  }
  await Promise.all(finishing)
  const bounds = await boundsOf({ program, postgres, dice: diceOf(firstSeed), scale: 1 })
  if (rows.length > 0) say(`\n${tableOf(rows)}`)
  if (bounds.length > 0) say(`\n${boundsTable(bounds)}`)
  const bad = rows.filter(({ figures }) => !figures || figures.violations.length > 0)
  const beyond = bounds.filter(({ holds }) => !holds)
  if (bad.length + beyond.length === 0) say(`${rows.length} fallos y ${bounds.length} límites: nada perdido`)
  else
    say(
      `${bad.length} de ${rows.length} fallos y ${beyond.length} de ${bounds.length} límites con problemas (semilla ${firstSeed})`,
    )
  return bad.length + beyond.length === 0 ? 0 : 1
}

async function ownPostgres(): Promise<PostgresServer> {
  const server = await startPostgres()
  atEnd(() => server.stop())
  return server
}

async function figuresOf(fault: Fault, stage: Stage): Promise<Row> {
  const start = Date.now()
  const seconds = () => (Date.now() - start) / 1000
  try {
    const figures = await play(fault, stage)
    return { fault: fault.name, figures, seconds: seconds() }
  } catch (error) {
    return { fault: fault.name, figures: null, failure: (error as Error).message, seconds: seconds() }
  }
}

async function boundsOf(stage: Stage): Promise<Bound[]> {
  const wanted = options.solo ? options.solo.includes('límites') : !options.corto && !options['sin-limites']
  if (!wanted) return []
  const waiting = Number(options.mensajes)
  return measureBounds(stage, { waiting, attempts: Math.round(waiting / 5) }).catch((error: Error) => [
    { what: 'límites', measured: error.message.slice(0, 200), promised: 'medidos', holds: false },
  ])
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

/** The figures, as a person reads them. */
function tableOf(rows: readonly Row[]): string {
  const head = [
    'fallo',
    'mensajes',
    'entregas',
    'perdidos',
    'duplicados',
    'sin fila',
    'auditoría',
    'recuperación',
    's',
    '',
  ]
  const table = new Table({
    head,
    style: { head: [], border: [], compact: true },
    colAligns: ['left', 'right', 'right', 'right', 'right', 'right', 'right', 'right', 'right', 'left'],
  })
  for (const { fault, figures, failure, seconds } of rows) {
    const time = seconds.toFixed(1)
    if (!figures) {
      table.push([fault, '', '', '', '', '', '', '', time, `FALLA: ${failure?.split('\n')[0]?.slice(0, 60)}`])
      continue
    }
    const { messages, deliveries, lost, duplicates, unrecorded, mismatches, recovery, violations } = figures
    const back = recovery === null ? '—' : `${(recovery / 1000).toFixed(2)} s`
    const verdict = violations.length === 0 ? 'bien' : `FALLA (${violations.length})`
    table.push([fault, messages, deliveries, lost, duplicates, unrecorded, mismatches, back, time, verdict])
  }
  return table.toString()
}

function boundsTable(bounds: readonly Bound[]): string {
  const table = new Table({
    head: ['límite', 'medido', 'prometido', ''],
    style: { head: [], border: [], compact: true },
  })
  for (const { what, measured, promised, holds } of bounds) {
    table.push([what, measured, promised, holds ? 'bien' : 'FALLA'])
  }
  return table.toString()
}
