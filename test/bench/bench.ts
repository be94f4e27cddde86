/** `npm run bench`: measures the rows that were asked for, in one run on the same servers, and prints one table. */
import { readFile, writeFile } from 'node:fs/promises'
import { loadavg } from 'node:os'
import { readOptions } from './options.ts'
import { profileWorker } from './profile.ts'
import type { Measured, Row } from './row.ts'
import { caido } from './rows/caido.ts'
import { consultas } from './rows/consultas.ts'
import { entregas, escala } from './rows/entregas.ts'
import { espera } from './rows/espera.ts'
import { latencia } from './rows/latencia.ts'
import { memoria } from './rows/memoria.ts'
import { ocioso } from './rows/ocioso.ts'
import { postgres } from './rows/postgres.ts'
import { scripts } from './rows/scripts.ts'
import { lote, send } from './rows/send.ts'
import { type Bench, headingOf, startBench } from './scene.ts'
import { markdownTable, terminalTable, withTable } from './table.ts'

/** The rows of the table, in its order. */
const ROWS: readonly Row[] = [
  entregas,
  escala,
  lote,
  send,
  latencia,
  espera,
  caido,
  ocioso,
  memoria,
  postgres,
  consultas,
  scripts,
]

const options = readOptions(
  process.argv.slice(2),
  ROWS.map(({ name }) => name),
)
let bench: Bench | null = null
let stopping = false
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.once(signal, async () => {
    stopping = true
    await end()
    process.exit(code)
  })
}
try {
  await main()
} catch (error) {
  // What fails because everything is being ended is no news.
  if (!stopping) {
    process.stderr.write(`${error instanceof Error ? error.stack : error}\n`)
    process.exitCode = 1
  }
} finally {
  if (!stopping) await end()
}

async function main(): Promise<void> {
  bench = await startBench(options)
  const heading = await headingOf(bench)
  if (options.profile) {
    process.stdout.write(await profileWorker(bench, heading))
    return
  }
  const results: Measured[] = []
  for (const row of ROWS.filter(({ name }) => options.rows.includes(name))) {
    try {
      results.push(await measureRow(bench, row, say))
    } catch (error) {
      if (stopping) throw error
      // One row that fails must not cost the others: they took minutes.
      say(`la fila «${row.name}» falló: ${(error as Error).stack}`)
      process.exitCode = 1
    }
    if (options.output) await writeTable(options.output, markdownTable(heading, results))
  }
  const render = options.markdown ? markdownTable : terminalTable
  process.stdout.write(render(heading, results))
}

/**
 * Rounds of a row: every contender once a round, each round starting with another one, so that noise hits all alike.
 * @param told what is going on, a line each
 */
async function measureRow(bench: Bench, row: Row, told: (text: string) => void): Promise<Measured> {
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

async function writeTable(file: string, table: string): Promise<void> {
  await writeFile(file, withTable(await readFile(file, 'utf8').catch(() => ''), table))
}

/** Progress goes to stderr: the table alone is the result. */
function say(text: string): void {
  process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`)
}

async function end(): Promise<void> {
  await bench?.end()
}
