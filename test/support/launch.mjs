/** Runs a TypeScript program of the tests by itself (bench, chaos, demo): Node 20 does not read TypeScript. */
import { rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build as bundle } from 'esbuild'
import { build } from '../../build.mjs'

const root = fileURLToPath(new URL('../../', import.meta.url))

/**
 * Builds resthooks and the program, and runs the program in this process.
 * @param {URL} program its .ts
 * @param {readonly URL[]} [others] programs that it starts; their bundles lie beside its own, in RESTHOOKS_PRUEBAS_PROGRAMAS
 */
export async function launch(program, others = []) {
  const entry = fileURLToPath(program)
  const folder = dirname(entry)
  // Inside of node_modules, where the packages that the bundles leave out are found. Each run has its own: two may run at once.
  const outdir = `${root}node_modules/.cache/resthooks/${basename(folder)}-${process.pid}`
  process.env.RESTHOOKS_PRUEBAS_PROGRAMAS = outdir
  // Whatever way it ends: also by a wrong option.
  process.once('exit', () => rmSync(outdir, { recursive: true, force: true }))
  await Promise.all([
    build(),
    bundle({
      absWorkingDir: root,
      entryPoints: [entry, ...others.map((other) => fileURLToPath(other))],
      outdir,
      outbase: folder,
      outExtension: { '.js': '.mjs' },
      bundle: true,
      platform: 'node',
      target: 'node20',
      format: 'esm',
      packages: 'external',
      loader: { '.lua': 'text' },
      sourcemap: 'inline',
      define: { __VERSION__: '"pruebas"', __COMMIT__: '""' },
      plugins: [sourceUrl],
    }),
  ])
  await import(pathToFileURL(`${outdir}/${basename(entry, '.ts')}.mjs`).href)
}

/** Paths are told from where a source is, not from where its bundle lies. */
const sourceUrl = {
  name: 'source-url',
  /** @param {import('esbuild').PluginBuild} build */
  setup: (build) =>
    build.onLoad({ filter: /[\\/](test|src)[\\/].*\.ts$/ }, async ({ path }) => ({
      contents: (await readFile(path, 'utf8')).replaceAll('import.meta.url', JSON.stringify(pathToFileURL(path).href)),
      loader: /** @type {const} */ ('ts'),
    })),
}
