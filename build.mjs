/**
 * Bundles `src/` into `dist/`: the program as one ESM entry and lazy chunks, and `send` and `estado` once more as single files with
 * V8's code cache beside them, because they are started over and over.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, realpathSync } from 'node:fs'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import { build as bundle } from 'esbuild'
import { cacheFile } from './bin/fast.cjs'
import { warm } from './bin/warm.cjs'
import { notice } from './packaging/notice.mjs'

const root = fileURLToPath(new URL('.', import.meta.url))

// `npm ci` runs this file first of all, and an older Node would fail somewhere in the middle of it: the program says so, and ends.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < 20 || (major === 20 && minor < 10)) createRequire(import.meta.url)('./bin/resthooks')

/**
 * Files that did not change are not touched and the others are replaced in one step: a program that runs from `dist/`
 * meanwhile (a second run of the tests) never finds half a file.
 * @returns {Promise<string[]>} absolute paths of what `dist/` holds now, besides the chunks of earlier builds
 */
export async function build() {
  const { version } = JSON.parse(await readFile(`${root}package.json`, 'utf8'))
  /** @type {import('esbuild').BuildOptions} */
  const common = {
    absWorkingDir: root,
    outdir: 'dist',
    bundle: true,
    platform: 'node',
    // jsonc-parser's "main" hides its files from a bundler.
    mainFields: ['module', 'main'],
    target: 'node20',
    // All of them stand in dist/NOTICE.
    legalComments: 'none',
    metafile: true,
    loader: { '.lua': 'text' },
    // cosmiconfig's own readers: every file that it finds for us has one of ours.
    external: ['js-yaml', 'parse-json', 'import-fresh', 'typescript'],
  }
  const define = { __VERSION__: JSON.stringify(version), __COMMIT__: JSON.stringify(commit()) }
  const program = await bundle({
    ...common,
    write: false,
    entryPoints: { cli: 'src/main.ts', 'audit-thread': 'src/worker/audit-thread-main.ts' },
    splitting: true,
    format: 'esm',
    plugins: [unusedParts],
    sourcemap: 'linked',
    sourcesContent: false,
    chunkNames: 'chunks/[name]-[hash]',
    define,
    // CommonJS dependencies inside an ESM bundle call require() for Node's own modules.
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module';const require = __createRequire(import.meta.url);",
    },
  })
  /**
   * A command as one file, by which it starts fast.
   * @param {string} name
   * @param {import('esbuild').Plugin[]} plugins
   */
  const single = async (name, plugins) => {
    const { outputFiles, metafile } = await bundle({
      ...common,
      write: false,
      entryPoints: { [name]: `src/main-${name}.ts` },
      format: 'cjs',
      outExtension: { '.js': '.cjs' },
      minifyWhitespace: true,
      minifySyntax: true,
      define: { ...define, 'import.meta.url': OWN_URL },
      plugins,
    })
    const source = outputFiles.map(({ text }) => withHash(asFunction(text))).join('')
    // It is read as Latin-1. esbuild escapes what stands in a string, not in a regular expression.
    const strange = /.{0,60}[^\0-\x7f].{0,20}/.exec(source)
    if (strange) throw new Error(`dist/${name}.cjs is not plain ASCII: write \\u… in ${strange[0]}`)
    return { metafile, source, files: outputFiles.map(({ path }) => ({ path, contents: Buffer.from(source) })) }
  }
  const send = await single('send', [lateModules, unusedParts, fewCommands, plainSend])
  const estado = await single('estado', [lateModules, unusedParts])
  const complete = await bundle({
    ...common,
    write: false,
    entryPoints: { complete: 'src/main-complete.ts' },
    format: 'cjs',
    outExtension: { '.js': '.cjs' },
    minify: true,
    define,
  })
  const panel = await page()
  const inputs = [program, send, estado, complete, panel].flatMap(({ metafile }) => Object.keys(metafile?.inputs ?? {}))
  const licences = { path: `${root}dist/NOTICE`, contents: Buffer.from(await notice(root, inputs)) }
  const outputFiles = [
    ...program.outputFiles,
    ...complete.outputFiles,
    ...send.files,
    ...estado.files,
    ...panel.outputFiles,
    licences,
  ]
  // The entries last: they must never name a chunk that is not there yet.
  const isEntry = (/** @type {{ path: string }} */ { path }) => Number(!path.startsWith(`${root}dist/chunks/`))
  let changed = false
  for (const { path, contents } of outputFiles.toSorted((a, b) => isEntry(a) - isEntry(b))) {
    changed = (await replace(path, contents)) || changed
  }
  const said = Object.entries(HELP).map(([name, option]) => ({ path: `${root}dist/${name}`, option }))
  for (const { path, option } of said) if (changed || !existsSync(path)) await replace(path, ownWords('ayuda', option))
  const cache = cacheFile('send', send.source)
  if (!existsSync(cache)) await warm()
  const caches = [cache, cacheFile('estado', estado.source)]
  return [...outputFiles.map(({ path }) => path), ...said.map(({ path }) => path), ...caches]
}

/** What the built program says of itself: for completion, and for man(1). */
const HELP = { 'ayuda.json': '--json', 'man/resthooks.1': '--man' }

/** @param {string[]} words */
function ownWords(...words) {
  return execFileSync(process.execPath, [`${root}bin/resthooks`, ...words], { env: { PATH: process.env.PATH } })
}

/**
 * In one step, where it differs.
 * @param {string} path
 * @param {Uint8Array} contents
 */
async function replace(path, contents) {
  const present = await readFile(path).catch(() => null)
  if (present?.equals(contents)) return false
  await mkdir(dirname(path), { recursive: true })
  await writeFile(`${path}.${process.pid}`, contents)
  await rename(`${path}.${process.pid}`, path)
  return true
}

/** `git archive` writes the commit here (.gitattributes): a tar ball of the sources has no repository to ask. */
const ARCHIVED = '$Format:%h$'

/** The commit that is built, for `--version`; with `-dirty` where files differ from it, empty where nobody knows. */
export function commit() {
  if (!ARCHIVED.startsWith('$')) return ARCHIVED
  try {
    const git = (/** @type {string[]} */ ...args) =>
      execFileSync('git', ['-C', root, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
    // Unpacked inside another project's repository, that one's commit is not ours.
    if (realpathSync(git('rev-parse', '--show-toplevel')) !== realpathSync(root)) return ''
    return git('describe', '--always', '--dirty', '--exclude=*')
  } catch {
    // No git, or no repository.
    return ''
  }
}

/**
 * The panel's browser part: every file named after what is in it, so that a browser keeps it for good, and compressed here, so
 * that the server does it for nobody. In `index.html`, which names them, `%BASE%` is where the page lies.
 * @returns {Promise<{ outputFiles: { path: string, contents: Buffer }[], metafile: import('esbuild').Metafile }>}
 */
async function page() {
  const { outputFiles, metafile } = await bundle({
    absWorkingDir: root,
    write: false,
    metafile: true,
    outdir: 'dist/panel',
    entryPoints: { app: 'src/panel/page/main.tsx', estilo: 'src/panel/page/style.css' },
    entryNames: '[name]-[hash]',
    chunkNames: '[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'browser',
    target: ['chrome111', 'firefox111', 'safari16'],
    minify: true,
    legalComments: 'none',
    jsx: 'automatic',
    jsxImportSource: 'preact',
  })
  const named = (/** @type {string} */ entry) => {
    const found = Object.entries(metafile.outputs).find(([, each]) => each.entryPoint === `src/panel/page/${entry}`)
    if (!found) throw new Error(`esbuild made nothing of ${entry}`)
    return found[0].slice('dist/panel/'.length)
  }
  const template = await readFile(`${root}src/panel/page/index.html`, 'utf8')
  const index = template.replace('%APP%', named('main.tsx')).replace('%ESTILO%', named('style.css'))
  const icon = await readFile(`${root}src/panel/page/icono.svg`)
  const files = [
    ...outputFiles.map(({ path, contents }) => ({ path, contents: Buffer.from(contents) })),
    { path: `${root}dist/panel/icono.svg`, contents: icon },
  ]
  const best = { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }
  const compressed = files.flatMap(({ path, contents }) => [
    { path: `${path}.gz`, contents: gzipSync(contents, { level: 9 }) },
    { path: `${path}.br`, contents: brotliCompressSync(contents, best) },
  ])
  const entry = { path: `${root}dist/panel/index.html`, contents: Buffer.from(index) }
  return { outputFiles: [...files, ...compressed, entry], metafile }
}

/**
 * A module of CommonJS as the function that `bin/fast.cjs` calls: to put it around half a megabyte at each start would copy that.
 * @param {string} text
 */
function asFunction(text) {
  const url = text.includes(OWN_URL) ? `const ${OWN_URL}=require("node:url").pathToFileURL(__filename).href;` : ''
  return `(function(exports,require,module,__filename,__dirname){${url}${text}})\n`
}

/** What stands for `import.meta.url`, where it is asked for. */
const OWN_URL = '__importMetaUrl'

/**
 * With that by which its code cache is known (`bin/fast.cjs`).
 * @param {string} text
 */
function withHash(text) {
  return `${text}//${createHash('sha256').update(text).digest('hex').slice(0, 16)}\n`
}

/** Modules of Node that a package calls in rare cases alone, loaded then: each takes up to a tenth of what Node itself takes to start. */
const LATE = {
  // Subcommands in files of their own, which we have none of.
  commander: ['child_process'],
  // Readers of scripts, which are none of ours.
  cosmiconfig: ['crypto', 'fs/promises'],
  // TLS, and scripts of Redis.
  ioredis: ['tls', 'crypto'],
  // Certificates of listeners, and what is wrong with Redis's TLS. (Imported whole, not by name: a name is read at once.)
  'src/config': ['tls', 'crypto'],
  'src/queue': ['tls'],
  // Impossible answers.
  'redis-errors': ['assert'],
  // A source of randomness of its own; it is given ours.
  ulid: ['crypto'],
}

/** The same for a module of ours, which imports by name. */
const LATE_RANDOM = `export const randomFillSync = (bytes) => require('crypto').randomFillSync(bytes)`

const lateModules = {
  name: 'late-modules',
  /** @param {import('esbuild').PluginBuild} build */
  setup(build) {
    build.onResolve({ filter: /^(node:)?(child_process|tls|crypto|assert|fs\/promises)$/ }, ({ importer, path }) => {
      const name = path.replace('node:', '')
      if (importer.endsWith('/src/id.ts')) return { path: name, namespace: 'late-random' }
      const late = Object.entries(LATE).some(([by, names]) => importer.includes(`/${by}/`) && names.includes(name))
      return late ? { path: name, namespace: 'late' } : undefined
    })
    build.onLoad({ filter: /.*/, namespace: 'late' }, ({ path }) => ({
      contents: `module.exports = new Proxy(() => {}, {
        get: (_, key) => require(${JSON.stringify(path)})[key],
        apply: (_, self, args) => require(${JSON.stringify(path)}).apply(self, args),
      })`,
    }))
    build.onLoad({ filter: /.*/, namespace: 'late-random' }, () => ({ contents: LATE_RANDOM }))
  },
}

/** What a package loads at once, and this program does not use. */
const unusedParts = {
  name: 'unused-parts',
  /** @param {import('esbuild').PluginBuild} build */
  setup(build) {
    // Asks whether stderr is a terminal as soon as it is loaded, for a log that nobody wants without DEBUG.
    build.onResolve({ filter: /^debug$/ }, ({ importer, path }) =>
      importer.includes('/ioredis/') ? { path, namespace: 'late-debug' } : undefined,
    )
    build.onLoad({ filter: /.*/, namespace: 'late-debug' }, () => ({
      resolveDir: `${root}node_modules/ioredis`,
      contents: `const off = Object.assign(() => {}, { enabled: false })
        exports.default = (name) => (process.env.DEBUG ? require('debug')(name) : off)`,
    }))
    // Only exported again: a Redis Cluster is none of ours. And HTTP/2, which our sockets never agree on.
    build.onResolve({ filter: /^\.\/(cluster|client-h2\.js)$/ }, ({ importer, path }) =>
      /\/(ioredis|undici)\//.test(importer) ? { path, namespace: 'unused' } : undefined,
    )
    build.onLoad({ filter: /.*/, namespace: 'unused' }, () => ({ contents: '' }))
    // In English on stderr, from where it goes to logs and cron's mails; `verificar` says it (`src/checks/redis.ts`).
    build.onLoad({ filter: /ioredis[\\/]built[\\/](Redis|redis[\\/]event_handler)\.js$/ }, async ({ path }) => ({
      contents: (await readFile(path, 'utf8')).replaceAll('console.warn(', 'void ('),
    }))
  },
}

/** What only `send --lote` and `--esperar` need, which the whole program does (`main-send.ts`); and the scripts of the workers. */
const plainSend = {
  name: 'plain-send',
  /** @param {import('esbuild').PluginBuild} build */
  setup(build) {
    build.onResolve({ filter: /\/(send-batch|await-outcomes|audit\/queries|audit\/postgres)\.ts$/ }, ({ kind }) =>
      kind === 'dynamic-import' ? { path: 'other', namespace: 'elsewhere' } : undefined,
    )
    build.onLoad({ filter: /.*/, namespace: 'elsewhere' }, () => ({
      contents: `throw new Error('dist/send.cjs does plain sends alone')`,
    }))
    build.onLoad({ filter: /\.lua$/ }, ({ path }) =>
      /(common|enqueue-once)\.lua$/.test(path) ? undefined : { contents: "error('send.cjs')", loader: 'text' },
    )
  },
}

/** Redis commands that `send` and ioredis's own connecting use; a test runs every form of `send` through this bundle. */
const SEND_COMMANDS = new Set(
  (
    'auth client eval evalsha exists get hello info llen lpush ping publish pubsub quit script select sentinel subscribe time ' +
    'unsubscribe'
  ).split(' '),
)

/** ioredis makes four functions for each of the 400 commands it knows when it is loaded; `send` wants a dozen. */
const fewCommands = {
  name: 'few-commands',
  /** @param {import('esbuild').PluginBuild} build */
  setup(build) {
    build.onLoad({ filter: /@ioredis[\\/]commands[\\/]built[\\/]commands\.json$/ }, async ({ path }) => {
      const all = Object.entries(JSON.parse(await readFile(path, 'utf8')))
      return {
        loader: 'json',
        contents: JSON.stringify(Object.fromEntries(all.filter(([name]) => SEND_COMMANDS.has(name)))),
      }
    })
  },
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const built = new Set(await build())
  // Without the chunks of earlier builds: this is what gets packed.
  for (const entry of await readdir(`${root}dist`, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath ?? entry.path, entry.name)
    if (entry.isFile() && !built.has(path)) await rm(path, { force: true })
  }
}
