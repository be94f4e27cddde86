/** `npm run bench`: measures the rows that were asked for, in one run on the same servers, and prints one table. */
import { readFile, writeFile } from 'node:fs/promises'
import { headingOf } from './heading.ts'
import { type Measured, measureRow } from './measure.ts'
import { readOptions } from './options.ts'
import { profileWorker } from './profile.ts'
import { ROWS } from './rows/rows.ts'
import { type Bench, startBench } from './scene.ts'
import { markdownTable, terminalTable, withTable } from './table.ts'

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
