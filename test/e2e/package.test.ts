/** The packed program, installed elsewhere, without the repository around it. */
import { createHash } from 'node:crypto'
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Script } from 'node:vm'
import { afterAll, beforeAll } from 'vitest'
import { BIN, runProgram } from '../support/cli.ts'
import { expect, test } from '../support/world.ts'
import { blockText } from './readme-blocks.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
let place: string

beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'resthooks-paquete-'))
  // The build of this run is packed as it is: `prepare` would build it again under the feet of the other tests.
  const packed = await npm(['pack', '--ignore-scripts', '--pack-destination', place], root)
  await npm(['init', '--yes'], place)
  await npm(['install', '--prefer-offline', '--no-audit', '--no-fund', `./${packed.stdout.trim()}`], place)
}, 180_000)

afterAll(() => rm(place, { recursive: true, force: true }))

test('carries what the program needs, and nothing of the tests', async () => {
  const folder = join(place, 'node_modules/resthooks')
  const names = await readdir(folder, { recursive: true })
  for (const name of [
    ...['bin/resthooks', 'bin/package.json', 'dist/cli.js', 'sql/001_tablas.sql', 'src/queue/lua/claim.lua'],
    ...['README.md', 'LICENSE', 'resthooks.ini.example', 'instalador.env.example', 'supervisord.conf.example'],
  ]) {
    expect(names).toContain(name)
  }
  expect(names.filter((name) => /^test|\.map$|^src\/(?!queue(\/lua(\/|$)|$))/.test(name))).toEqual([])
})

test('creates the schema, sends and delivers, as npx resthooks', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 200 }))
  const npx = (...args: string[]) =>
    runProgram('npx', ['--no', '--', 'resthooks', ...args], { cwd: place, env: world.environment, timeout: 60_000 })
  expect(await npx('crear-base')).toMatchObject({ code: 0 })
  const sent = await npx('send', 'x', '{"n":1}')
  expect(sent.code).toBe(0)
  expect(await npx('iniciar-workers', '--una-vez')).toMatchObject({ code: 0 })
  expect(listener.requests).toHaveLength(1)
  expect(await world.audit(sent.stdout.trim())).toMatchObject([{ estado: 'exitosa' }])
})

test('runs without its dependencies beside it: they are in the bundle', async ({ world }) => {
  await world.listener(() => ({ status: 200 }))
  const alone = join(world.folder, 'solo')
  await mkdir(alone)
  const packed = join(place, 'node_modules/resthooks')
  await runProgram('cp', ['-r', packed, join(alone, 'resthooks')])
  const run = (...args: string[]) =>
    runProgram(join(alone, 'resthooks/bin/resthooks'), args, { cwd: '/', env: world.environment })
  expect(await run('crear-base')).toMatchObject({ code: 0 })
  expect(await run('send', 'x', '{}')).toMatchObject({ code: 0 })
  expect(await run('iniciar-workers', '--una-vez')).toMatchObject({ code: 0 })
  expect(await run('auditoria')).toMatchObject({ code: 0, stderr: '' })
  // From its own file: the first run keeps what V8 compiled, the second one takes it.
  for (let n = 0; n < 2; n++) {
    expect(await run('estado')).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/^resthooks \d/) })
    expect(
      (await readdir(join(alone, 'resthooks/dist'))).filter((name) => /^estado\.cjs\..*\.cache$/.test(name)),
    ).toHaveLength(1)
  }
})

test('where npm ran no script of the package, the manual says how the code cache of send is made', async () => {
  const dist = join(place, 'node_modules/resthooks/dist')
  const caches = async () => (await readdir(dist)).filter((name) => /^send\.cjs\..*\.cache$/.test(name))
  const [made = ''] = await caches()
  await rm(join(dist, made))
  const text = blockText('preparar send').replace(' --global', '')
  expect(await runProgram('sh', ['-c', text], { cwd: place })).toMatchObject({ code: 0, stderr: '' })
  expect(await caches()).toEqual([made])
})

test('send makes its code cache for the Node, the architecture and the bundle at hand, and takes none that others can write', async ({
  world,
}) => {
  await world.set('listener x', { url: 'http://127.0.0.1:1' })
  const copy = join(world.folder, 'copia')
  await runProgram('cp', ['-r', join(place, 'node_modules/resthooks'), copy])
  const bundle = join(copy, 'dist/send.cjs')
  const caches = async () => (await readdir(join(copy, 'dist'))).filter((name) => name.endsWith('.cache'))
  const send = async () => {
    const run = await runProgram(join(copy, 'bin/resthooks'), ['send', 'x', '{}'], { env: world.environment, cwd: '/' })
    expect(run).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/^\w{26}\n$/) })
  }
  // Made when the package was installed, by the same name.
  const [installed, ...more] = await caches()
  const source = await readFile(bundle, 'latin1')
  const hash = createHash('sha256').update(source.slice(0, -19)).digest('hex').slice(0, 16)
  expect(more).toEqual([])
  expect(installed).toBe(`send.cjs.${process.version}-${process.arch}-${hash}.cache`)
  const cache = join(copy, 'dist', installed!)
  await rm(cache)
  await writeFile(join(copy, 'dist', installed!.replace(hash, '0123456789abcdef')), 'of an older bundle')
  await send()
  expect(await caches()).toEqual([installed])
  const { ino } = await stat(cache)
  await send()
  expect((await stat(cache)).ino).toBe(ino)

  // V8 takes the code of any source of the same length: what anybody may write is not given to it.
  const evil = '(function(exports){exports.start=()=>{console.log("de otro");return true}\n})'.padEnd(source.length)
  const script = new Script(evil, { filename: bundle })
  script.runInThisContext()
  await writeFile(cache, script.createCachedData())
  await chmod(cache, 0o646)
  await send()
  if (process.geteuid?.() === 0) {
    await chmod(cache, 0o644)
    await chown(cache, 65534, 65534)
    await send()
    // Nor does anybody but the owner of the bundle make one.
    await rm(cache)
    await chown(bundle, 65534, 65534)
    await send()
    expect(await caches()).toEqual([])
  }
})

test('bin/resthooks works through a symlink to a symlink, from any folder', async ({ world }) => {
  const [first, second] = [join(world.folder, 'enlace'), join(world.folder, 'otro')]
  await symlink(BIN, first)
  await symlink('enlace', second)
  const run = await runProgram(second, ['--version'], { cwd: '/' })
  expect(run).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^\d+\.\d+\.\d+( \([0-9a-f]{7,}(-dirty)?\))?\n$/),
  })
})

async function npm(args: string[], cwd: string) {
  const env = { npm_config_update_notifier: 'false', ...trust() }
  const run = await runProgram('npm', [...args, '--silent'], { cwd, env, timeout: 170_000 })
  if (run.code !== 0) throw new Error(`npm ${args.join(' ')} exited ${run.code}: ${run.stderr}`)
  return run
}

/** What npm needs to reach its registry where the network has a certificate authority of its own. */
function trust(): Record<string, string> {
  const names = ['NODE_EXTRA_CA_CERTS', 'HTTPS_PROXY', 'https_proxy', 'NO_PROXY', 'no_proxy', 'npm_config_registry']
  return Object.fromEntries(names.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])))
}
