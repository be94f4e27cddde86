/**
 * `--perfil`: where the time of a worker goes while it delivers, and what each server spent meanwhile.
 *
 * Self time by function from V8's sampling profiler, told by the place in src/ (through the source maps of the build).
 */
import { readdir, readFile } from 'node:fs/promises'
import { SourceMap } from 'node:module'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { oneListener } from './contenders.ts'
import { allCpu, drain, ownCpu } from './drain.ts'
import { Installation } from './installation.ts'
import type { Bench } from './scene.ts'

const TOP = 10
const TOP_COMMANDS = 8
const GUESS = 4_000

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: { functionName: string; url: string; lineNumber: number; columnNumber: number }
  }[]
  readonly samples: readonly number[]
  /** µs since the sample before. */
  readonly timeDeltas: readonly number[]
}

/** Runs one worker under the profiler. @returns the report, in Spanish */
export async function profileWorker(bench: Bench, heading: readonly string[]): Promise<string> {
  const folder = join(bench.folder, 'perfil')
  const installation = await Installation.create(bench, oneListener(bench))
  await bench.fresh()
  const worker = await installation.startWorker(1, ['--cpu-prof', `--cpu-prof-dir=${folder}`])
  const count = Math.round(GUESS * bench.options.seconds)
  await installation.stage(count)
  await bench.client.config('RESETSTAT')
  const drained = await drain(bench, {
    count,
    pid: worker.child.pid!,
    go: () => installation.release(),
    audited: () => installation.finalAttempts(),
  })
  await installation.audited()
  const commands = await commandCosts(bench, count)
  await installation.stopWorker(worker)
  const [file] = await readdir(folder)
  if (!file) throw new Error('the profiler wrote nothing')
  const profile: CpuProfile = JSON.parse(await readFile(join(folder, file), 'utf8'))
  return [
    ...heading,
    '',
    `${count} entregas en ${drained.seconds.toFixed(2)} s: ${Math.round(count / drained.seconds)}/s (con el perfilador andando)`,
    `CPU por entrega: worker ${Math.round(ownCpu(drained.cpu))} µs; con Redis, Postgres y nginx ${Math.round(allCpu(drained.cpu))} µs`,
    '',
    ...(await selfTimes(profile, dirname(dirname(bench.program)))),
    '',
    ...commands,
    '',
  ].join('\n')
}

async function selfTimes({ nodes, samples, timeDeltas }: CpuProfile, root: string): Promise<string[]> {
  const place = await sourcePlaces(root)
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const functions = new Map<string, number>()
  const packages = new Map<string, number>()
  let busy = 0
  samples.forEach((id, i) => {
    const frame = byId.get(id)!.callFrame
    if (frame.functionName === '(idle)') return
    const spent = timeDeltas[i] ?? 0
    const { where, owner } = place(frame.url, frame.lineNumber, frame.columnNumber)
    const name = `${frame.functionName || '(anónima)'}${where ? `  ${where}` : ''}`
    busy += spent
    functions.set(name, (functions.get(name) ?? 0) + spent)
    packages.set(owner, (packages.get(owner) ?? 0) + spent)
  })
  const share = (spent: number) =>
    `${((spent / busy) * 100).toFixed(1).padStart(5)} %  ${(spent / 1000).toFixed(0).padStart(6)} ms`
  const top = (times: Map<string, number>) => [...times].sort((a, b) => b[1] - a[1]).slice(0, TOP)
  return [
    `Tiempo propio por función (${(busy / 1000).toFixed(0)} ms ocupado, arranque incluido):`,
    ...top(functions).map(([name, spent]) => `${share(spent)}  ${name}`),
    '',
    'Por parte del programa o paquete:',
    ...top(packages).map(([name, spent]) => `${share(spent)}  ${name}`),
  ]
}

/**
 * Tells where in the sources a place of the bundle is, and whose code that is.
 * @param root of the copy of the program that ran
 */
async function sourcePlaces(root: string) {
  const dist = join(root, 'dist')
  const maps = new Map<string, SourceMap>()
  for (const name of await readdir(dist, { recursive: true })) {
    if (!name.endsWith('.map')) continue
    maps.set(
      join(dist, name.slice(0, -'.map'.length)),
      new SourceMap(JSON.parse(await readFile(join(dist, name), 'utf8'))),
    )
  }
  return (url: string, line: number, column: number): { where: string; owner: string } => {
    if (url.startsWith('node:')) return { where: url, owner: 'node' }
    if (url === '') return { where: '', owner: 'V8 y sistema' }
    // undici's HTTP parser.
    if (url.startsWith('wasm:')) return { where: 'wasm', owner: 'undici' }
    if (!url.startsWith('file:')) return { where: url, owner: url }
    const file = fileURLToPath(url)
    const entry = maps.get(file)?.findEntry(line, column)
    if (!entry || !('originalSource' in entry)) return { where: basename(file), owner: basename(file) }
    const source = relative(root, resolve(dirname(file), entry.originalSource))
    const [, owner] = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(source) ?? []
    return { where: `${source}:${entry.originalLine + 1}`, owner: owner ?? dirname(source) }
  }
}

async function commandCosts({ client }: Bench, count: number): Promise<string[]> {
  const info = await client.info('commandstats')
  const commands = [...info.matchAll(/cmdstat_([^:]+):calls=(\d+),usec=(\d+)/g)].map(([, name, calls, usec]) => ({
    name: name!,
    calls: Number(calls),
    usec: Number(usec),
  }))
  commands.sort((a, b) => b.usec - a.usec)
  return [
    'Redis, por comando (lo que corre dentro de un script se cuenta también en el script):',
    ...commands.slice(0, TOP_COMMANDS).map(({ name, calls, usec }) => {
      const each = [
        `${(usec / count).toFixed(1).padStart(7)} µs por entrega`,
        `${(calls / count).toFixed(2).padStart(6)} llamadas`,
      ]
      return `${each.join('  ')}  ${name}`
    }),
  ]
}
