/**
 * Every code block of the README is run, or shown to be what is run elsewhere. A block is named by the comment above it
 * (`<!-- prueba: NAME -->`); only paths, ports and names of the examples are replaced by those of the test.
 */
import { chmod, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe } from 'vitest'
import { COMMANDS } from '../../src/commands/registry.ts'
import { BIN, runProgram, spawnProgram } from '../support/cli.ts'
import { peer } from '../support/programs.ts'
import { until } from '../support/until.ts'
import { expect, test, type World } from '../support/world.ts'
import { blocks, blockText, RECIPES, readme } from './readme-blocks.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** The block as a user of this test's world would have typed it. */
function block(name: string, world: World): string {
  const { host, port } = world.redis.options
  return blockText(name)
    .replaceAll('/opt/siu/instalacion/i__produccion/p__pilaga/resthooks.ini', world.ini)
    .replaceAll('/opt/siu/instalacion/i__produccion/p__pilaga', dirname(world.ini))
    .replaceAll('/opt/siu/instalacion', world.folder)
    .replaceAll('PATH=/usr/local/bin', `PATH=${dirname(process.execPath)}:/usr/local/bin`)
    .replaceAll('www-data', String(process.getgid?.()))
    .replaceAll('/var/spool/siu', world.folder)
    .replaceAll('/opt/siu/avisar.sh', join(world.folder, 'registrar.sh'))
    .replaceAll('/usr/local/bin/resthooks', BIN)
    .replaceAll('-i produccion -p pilaga', `-i ${world.instancia} -p ${world.proyecto}`)
    .replaceAll('produccion:pilaga', `${world.instancia}:${world.proyecto}`)
    .replaceAll('6379', String(port))
    .replaceAll('127.0.0.1', String(host))
}

/** Runs shell text with `resthooks` on the PATH, in the folder of the world. */
async function shell(world: World, text: string, cwd = world.folder) {
  const bin = join(world.folder, 'bin')
  await mkdir(bin, { recursive: true })
  await symlink(BIN, join(bin, 'resthooks')).catch(() => {})
  const file = join(world.folder, 'receta.sh')
  await writeFile(file, text)
  return runProgram('sh', [file], { cwd, env: { PATH: `${bin}:${process.env.PATH}` } })
}

const TESTED_HERE = [
  'configurar',
  'las tres órdenes',
  'un listener',
  'script',
  'cron',
  'lote',
  'php',
  'redis-cli',
  'systemd',
]
/** The demo and CI run the first; package.test.ts, the second; supervisord.test.ts, the third; recipes.test.ts, the rest. */
const TESTED_ELSEWHERE = ['estas dos órdenes', 'instalar', 'supervisord', ...RECIPES]

test('no block is without a test', () => {
  expect(readme.match(/^```\w/gm)).toHaveLength(blocks.size)
  expect([...blocks.keys()].toSorted()).toEqual([...TESTED_HERE, ...TESTED_ELSEWHERE].toSorted())
})

test('the table of commands is that of the program', () => {
  const [table] = /\| orden \| qué hace \|[\s\S]*?\n\n/.exec(readme)!
  const named = [...table.matchAll(/^\| `([a-z-]+)`/gm)].map(([, name]) => name)
  expect(named.toSorted()).toEqual(Object.keys(COMMANDS).toSorted())
})

test('the first block is what CI and the demo test run, the installation names the version that is packed', async () => {
  const { scripts, version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  expect(blocks.get('estas dos órdenes')).toBe('npm run demo\nnpm test\n')
  expect(scripts.demo).toContain('test/demo/run.mjs')
  expect(await readFile(join(root, '.ci/run'), 'utf8')).toContain('npm test')
  expect(blocks.get('instalar')).toContain(`./resthooks-${version}.tgz`)
})

test('the example files are where the README copies them from, and work once they are copied', async ({ world }) => {
  const run = await shell(world, block('configurar', world).replaceAll(/(?<= |^)(?=\S+\.example)/gm, root))
  expect(run).toMatchObject({ code: 0, stderr: '' })
  const own = { REST_HOOKS_REDIS_HOST: '127.0.0.1', REST_HOOKS_REDIS_PORT: String(world.redis.options.port) }
  const sent = await world.cli(['send', 'x', '{}'], { env: own })
  expect(sent).toMatchObject({ code: 0 })
})

test('the three commands', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 200 }))
  const ended = 'worker=$!; until [ -e entregado ]; do sleep 0.1; done; kill $worker; wait $worker'
  const [run] = await Promise.all([
    shell(world, `${block('las tres órdenes', world)}\n${ended}`),
    listener.received(1).finally(() => writeFile(join(world.folder, 'entregado'), '')),
  ])
  expect(run.code).toBe(0)
  expect(listener.requests[0]!.body.toString()).toBe('{"id":7,"razon_social":"Núñez S.A."}')
  expect(run.stdout).toContain(listener.requests[0]!.headers['webhook-id'])
})

test('the listener', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 200 }), { nombre: 'otro', eventos: 'nada' })
  const text = block('un listener', world).replace('https://compras.example.edu.ar/rest/', `${listener.url}/rest/`)
  await writeFile(world.ini, `${await readFile(world.ini, 'utf8')}\n${text}`)
  await world.setEnv({ COMPRAS_SECRETO: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw' })
  await world.settled(await world.send('proveedor.alta', { id: 'a/b' }))
  expect(listener.requests[0]).toMatchObject({ method: 'PUT', url: '/rest/proveedores/a%2Fb' })
  expect(listener.requests[0]!.headers['webhook-signature']).toMatch(/^v1,/)
})

test('send from a script', async ({ world }) => {
  await writeFile(join(world.folder, 'compra-88213.json'), '{"id":88213}')
  await world.listener(() => ({ status: 200 }))
  const [first, again] = [await shell(world, block('script', world)), await shell(world, block('script', world))]
  expect(first).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/^encolado como \w{26}\n$/) })
  expect(again.stdout).toBe(first.stdout)
  await world.setEnv({ REST_HOOKS_REDIS_PORT: '1' })
  const down = await shell(world, block('script', world))
  expect(down).toMatchObject({ code: 4, stdout: '' })
  expect(down.stderr).toContain('se volverá a intentar')
})

test('send from cron', async ({ world }) => {
  await world.set('listener todos', { url: 'http://127.0.0.1:1' })
  const lines = block('cron', world).trim().split('\n')
  const [, command] = /^(?:\S+\s+){5}\S+\s+(.*)$/.exec(lines.at(-1)!)!
  // An unescaped % ends a command of crontab(5).
  expect(command).not.toContain('%')
  const run = await shell(world, [...lines.slice(0, -1).map((line) => `export ${line}`), command].join('\n'), '/')
  expect(run).toMatchObject({ code: 0, stdout: '', stderr: '' })
  expect(await world.redis.llen(world.keys.inbox)).toBe(1)
})

test('many at once', async ({ world }) => {
  await world.set('listener todos', { url: 'http://127.0.0.1:1' })
  await writeFile(join(world.folder, 'novedades.jsonl'), '{"evento":"a","datos":1}\n{"evento":"b","datos":2}\n')
  const run = await shell(world, block('lote', world))
  expect(run).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/^\w{26}\n\w{26}\n$/) })
})

const php = peer('php', '/usr/share/doc/php-redis')
describe.skipIf(php.missing)(`PHP${php.note}`, () => {
  test('enqueues through phpredis', async ({ world }) => {
    const listener = await world.listener(() => ({ status: 200 }))
    await writeFile(join(world.folder, 'receta.php'), block('php', world))
    const run = await runProgram('php', [join(world.folder, 'receta.php')])
    expect(run).toEqual({ code: 0, stdout: '', stderr: '' })
    await world.worker()
    const [request] = await listener.received(1)
    expect(request!.headers['x-resthooks-evento']).toBe('proveedor.alta')
    expect(JSON.parse(request!.body.toString())).toEqual({ id: 7, razon_social: 'Núñez S.A.' })
  })
})

const redisCli = peer('redis-cli')
describe.skipIf(redisCli.missing)(`redis-cli${redisCli.note}`, () => {
  test('enqueues', async ({ world }) => {
    const listener = await world.listener(() => ({ status: 200 }))
    expect(await shell(world, block('redis-cli', world))).toMatchObject({ code: 0, stderr: '' })
    await world.worker()
    const [request] = await listener.received(1)
    expect(request!.body.toString()).toBe('{"id":7}')
  })
})

test('the systemd unit starts a worker, reloads it and gives it more than drenaje to end', async ({ world }) => {
  const unit = new Map([...block('systemd', world).matchAll(/^(\w+)=(.*)$/gm)].map(([, key, value]) => [key!, value!]))
  expect(Number(unit.get('TimeoutStopSec'))).toBeGreaterThan(30)
  await world.createSchema()
  const listener = await world.listener(() => ({ status: 200 }))
  const script = join(world.folder, 'unidad.sh')
  await writeFile(
    script,
    `#!/bin/sh
export '${unit.get('Environment')}'
${unit.get('ExecStart')} & MAINPID=$!
trap 'kill -TERM $MAINPID' TERM
trap '${unit.get('ExecReload')}' HUP
while kill -0 $MAINPID 2>/dev/null; do wait $MAINPID; code=$?; done
exit $code
`,
  )
  await chmod(script, 0o755)
  const worker = spawnProgram(script, [], {})
  try {
    await world.settled(await world.send('x', { n: 1 }), { start: false })
    await world.set('listener escucha1', { ruta: 'nueva' })
    worker.kill('SIGHUP')
    await worker.logged(/recarg/i)
    await until(async () => {
      await world.settled(await world.send('x', { n: 2 }), { start: false })
      return listener.requests.at(-1)?.url === '/nueva'
    })
  } finally {
    worker.kill('SIGTERM')
  }
  expect(await worker.waitExit()).toEqual({ code: 0, signal: null })
})
