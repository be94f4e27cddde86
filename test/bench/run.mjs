/** Builds the program, the benchmark and its peers, and runs the benchmark: Node 20 does not read TypeScript by itself. */
import { rmSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build as bundle } from 'esbuild'
import { build } from '../../build.mjs'

const root = fileURLToPath(new URL('../../', import.meta.url))
const peers = (await readdir(new URL('peers/', import.meta.url))).filter((name) => name.endsWith('.ts'))
// Inside of node_modules, where the packages that the bundles leave out are found. Each run has its own: two may run at once.
const outdir = `${root}node_modules/.cache/resthooks/bench-${process.pid}`
process.env.RESTHOOKS_BENCH_PROGRAMAS = outdir
// Whatever way it ends: also by a wrong option.
process.once('exit', () => rmSync(outdir, { recursive: true, force: true }))

await Promise.all([
  build(),
  bundle({
    absWorkingDir: root,
    entryPoints: ['test/bench/bench.ts', ...peers.map((name) => `test/bench/peers/${name}`)],
    outdir,
    outbase: 'test/bench',
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    packages: 'external',
    loader: { '.lua': 'text' },
    define: { __VERSION__: '"bench"' },
    // Paths are told from where a source is, not from where its bundle lies.
    plugins: [
      {
        name: 'source-url',
        setup: (build) =>
          build.onLoad({ filter: /[\\/](test|src)[\\/].*\.ts$/ }, async ({ path }) => ({
            contents: (await readFile(path, 'utf8')).replaceAll(
              'import.meta.url',
              JSON.stringify(pathToFileURL(path).href),
            ),
            loader: 'ts',
          })),
      },
    ],
  }),
])
await import(pathToFileURL(`${outdir}/bench.mjs`).href)
