/** Builds the program and the demo, and runs the demo: Node 20 does not read TypeScript by itself. */
import { unlink } from 'node:fs/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build as bundle } from 'esbuild'
import { build } from '../../build.mjs'

const source = fileURLToPath(new URL('demo.ts', import.meta.url))
// Inside of node_modules, where the packages that the bundle leaves out are found.
const outfile = fileURLToPath(new URL(`../../node_modules/.cache/resthooks/demo-${process.pid}.mjs`, import.meta.url))

await Promise.all([
  build(),
  bundle({
    entryPoints: [source],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    packages: 'external',
    // Paths are told from where the source is, not from where its bundle lies.
    define: { 'import.meta.url': JSON.stringify(pathToFileURL(source).href) },
  }),
])
await import(pathToFileURL(outfile).href).finally(() => unlink(outfile))
