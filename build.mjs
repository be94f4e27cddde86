/** Bundles `src/` into `dist/`: one ESM entry and lazy chunks, so that `send` loads only what it needs. */
import { readFile, rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build as bundle } from 'esbuild'

const root = fileURLToPath(new URL('.', import.meta.url))

/** @returns {Promise<void>} */
export async function build() {
  const { version } = JSON.parse(await readFile(`${root}package.json`, 'utf8'))
  await rm(`${root}dist`, { recursive: true, force: true })
  await bundle({
    absWorkingDir: root,
    entryPoints: ['src/cli.ts'],
    outdir: 'dist',
    bundle: true,
    splitting: true,
    platform: 'node',
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
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await build()
