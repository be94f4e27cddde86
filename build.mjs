/** Bundles `src/` into `dist/`: one ESM entry and lazy chunks, so that `send` loads only what it needs. */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build as bundle } from 'esbuild'

const root = fileURLToPath(new URL('.', import.meta.url))

/**
 * Files that did not change are not touched and the others are replaced in one step: a program that runs from `dist/`
 * meanwhile (a second run of the tests) never finds half a file.
 * @returns {Promise<string[]>} absolute paths of what `dist/` holds now, besides the chunks of earlier builds
 */
export async function build() {
  const { version } = JSON.parse(await readFile(`${root}package.json`, 'utf8'))
  const { outputFiles } = await bundle({
    absWorkingDir: root,
    entryPoints: { cli: 'src/cli.ts', 'audit-thread': 'src/worker/audit-thread-main.ts' },
    outdir: 'dist',
    write: false,
    bundle: true,
    splitting: true,
    platform: 'node',
    // jsonc-parser's "main" hides its files from a bundler.
    mainFields: ['module', 'main'],
    target: 'node20',
    format: 'esm',
    minify: false,
    sourcemap: 'linked',
    sourcesContent: false,
    legalComments: 'none',
    loader: { '.lua': 'text' },
    chunkNames: 'chunks/[name]-[hash]',
    define: { __VERSION__: JSON.stringify(version) },
    // CommonJS dependencies inside an ESM bundle call require() for Node's own modules.
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module';const require = __createRequire(import.meta.url);",
    },
  })
  // The entries last: they must never name a chunk that is not there yet.
  const isEntry = (/** @type {{ path: string }} */ { path }) => Number(!path.startsWith(`${root}dist/chunks/`))
  for (const { path, contents } of outputFiles.toSorted((a, b) => isEntry(a) - isEntry(b))) {
    const present = await readFile(path).catch(() => null)
    if (present?.equals(contents)) continue
    await mkdir(dirname(path), { recursive: true })
    await writeFile(`${path}.${process.pid}`, contents)
    await rename(`${path}.${process.pid}`, path)
  }
  return outputFiles.map(({ path }) => path)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const built = new Set(await build())
  // Without the chunks of earlier builds: this is what gets packed.
  for (const entry of await readdir(`${root}dist`, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath ?? entry.path, entry.name)
    if (entry.isFile() && !built.has(path)) await rm(path, { force: true })
  }
}
