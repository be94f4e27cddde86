/** Exit codes 0 to 4, each with a message that says what happened, where, and what to do (INTERFACE §3). */

import { once } from 'node:events'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { COMMANDS } from '../../src/commands/registry.ts'
import { BIN, runCli, runProgram } from '../support/cli.ts'
import { freePort } from '../support/ports.ts'
import { startRedis } from '../support/redis-server.ts'
import { expect, test, type World } from '../support/world.ts'

test('0: done', async ({ world }) => {
  expect(await world.cli(['--help'])).toMatchObject({ code: 0, stderr: '' })
  const help = await world.cli(['probar', '--help'])
  expect(help).toMatchObject({ code: 0, stdout: expect.not.stringMatching(/default|Usage|Options/) })
  expect(await world.cli(['--version'])).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^\d+\.\d+\.\d+( \([0-9a-f]{7,}(-dirty)?\))?\n$/),
  })
  expect(await world.cli(['crear-base'])).toMatchObject({ code: 0 })
  expect(await world.cli(['crear-base'])).toMatchObject({ code: 0 })
  expect(await world.cli(['send', 'x', '{}'])).toMatchObject({ code: 0 })
})

test('1: an id that nobody knows', async ({ world }) => {
  await world.createSchema()
  const run = await world.cli(['ver', '01ARZ3NDEKTSV4RRFFQ69G5FAV'])
  expect(run).toMatchObject({ code: 1, stdout: '' })
  expect(run.stderr).toContain('01ARZ3NDEKTSV4RRFFQ69G5FAV')
})

test.for([
  ['a command that does not exist', ['enviarr', 'x']],
  ['an option that does not exist', ['send', 'x', '{}', '--urgente']],
  ['no event', ['send']],
  ['data that is not JSON', ['send', 'x', '{no es json}']],
  ['a duration that is none', ['send', 'x', '{}', '--demora', 'mañana']],
  ['a delay beyond any date', ['send', 'x', '{}', '--demora', '8000000000000']],
  ['a method that is none', ['send', 'x', '{}', '--metodo', 'POSTT']],
  ['a header without a colon', ['send', 'x', '{}', '--cabecera', 'X-Sola']],
  ['a file that is not there', ['send', 'x', '@no-existe.json']],
  ['a folder as a file', ['send', 'x', '@.']],
  ['data that ends too early', ['send', 'x', '{"a":']],
  ["toba's spelling of what is none", ['proyecto', 'iniciar_worker']],
  ['a value that is not among the choices', ['iniciar-workers', '--nivel', 'alto']],
  ['a project that cannot be one', ['estado', '-p', 'pilagá']],
  ['an instance that cannot be one', ['iniciar', '--si', '-i', '../otra']],
  ['more processes than the file may ask for', ['iniciar-workers', '--procesos', '257']],
] as const)('2: %s', async ([, args], { world }) => {
  const run = await world.cli(args)
  expect(run).toMatchObject({ code: 2, stdout: '' })
  expect(run.stderr.trim()).not.toBe('')
  expect(run.stderr).not.toMatch(/^ {4}at |Unexpected|Expected|Allowed|no such file|ENOENT|EISDIR|illegal/m)
  expect(await world.redis.llen(world.keys.inbox)).toBe(0)
})

test('3: every error of the configuration at once, each with its place', async ({ world }) => {
  await world.set('workers', { concurrencia: 'muchas' })
  await world.set('listener a', { url: 'http://127.0.0.1:1', evento: 'x' })
  await world.set('listener b', { eventos: 'x' })
  const run = await world.cli(['reenviar', '--fallidas'])
  expect(run).toMatchObject({ code: 3, stdout: '' })
  for (const part of ['resthooks.ini', 'concurrencia', 'muchas', 'eventos', 'listener a', 'listener b']) {
    expect(run.stderr).toContain(part)
  }
})

test('3: a project of the environment that cannot be one', async ({ world }) => {
  const run = await world.cli(['estado'], { env: { TOBA_PROYECTO: 'pilagá' } })
  expect(run).toMatchObject({ code: 3, stdout: '' })
  expect(run.stderr).toContain('$TOBA_PROYECTO: se encontró «pilagá»')
})

test('3: a named file that is not there', async ({ world }) => {
  const run = await world.cli(['send', 'x', '{}', '--config', '/no/existe.ini'])
  expect(run.code).toBe(3)
  expect(run.stderr).toContain('/no/existe.ini')
})

test('3: a wrong Postgres password, without printing it', async ({ world }) => {
  await world.setEnv({ REST_HOOKS_DB_PASSWORD: 'equivocada-99' })
  const run = await world.cli(['crear-base'])
  expect(run.code).toBe(3)
  expect(run.stderr).not.toContain('equivocada-99')
})

test('3: a worker with which nobody would check certificates', async ({ world }) => {
  await world.set('listener a', { url: 'http://127.0.0.1:1' })
  const run = await world.cli(['iniciar-workers', '--una-vez'], { env: { NODE_TLS_REJECT_UNAUTHORIZED: '0' } })
  // In the daemon's log.
  expect(run).toMatchObject({ code: 3, stdout: expect.stringMatching(/NODE_TLS_REJECT_UNAUTHORIZED: es 0.*ca_cert/) })
})

test('4: no Redis', async ({ world }) => {
  const port = await freePort()
  await world.setEnv({ REST_HOOKS_REDIS_PORT: String(port) })
  const run = await world.cli(['send', 'x', '{}'])
  expect(run).toMatchObject({ code: 4, stdout: '' })
  expect(run.stderr).toContain(`127.0.0.1:${port}`)
})

test('4: without any configuration, and without a Redis at its default: where the files were looked for', async () => {
  const env = { REST_HOOKS_REDIS_PORT: String(await freePort()), TOBA_INSTALACION_DIR: '/no/existe' }
  const run = await runCli(['estado'], { env, cwd: '/' })
  expect(run.code).toBe(4)
  expect(run.stderr).toContain('/no/existe/i__produccion/p__resthooks/resthooks.ini')
})

test('4: no Postgres', async ({ world }) => {
  const port = await freePort()
  await world.setEnv({ REST_HOOKS_DB_PORT: String(port) })
  const run = await world.cli(['crear-base'])
  expect(run).toMatchObject({ code: 4, stdout: '' })
  expect(run.stderr).toContain(String(port))
})

/**
 * Each command, and its exit code without Redis, with a replica of Redis, without Postgres; null: it asks nothing of that one.
 */
const OUTAGES: readonly (readonly [readonly string[], number | null, number | null, number | null])[] = [
  [['send', 'x', '{}'], 4, 4, null],
  [['send', 'x', '{}', '--clave', 'k'], 4, 4, null],
  [['send', 'x', '{}', '--demora', '10m'], 4, 4, null],
  [['send', '--lote'], 4, 4, null],
  [['estado'], 4, 0, 4],
  [['verificar'], 4, 1, 4],
  // These are patient before they give up: side by side.
  [['iniciar-workers', '--una-vez'], 4, 4, null],
  [['iniciar-workers', '--una-vez'], null, null, 4],
  [['auditoria'], null, null, 4],
  [['auditoria', '--seguir'], null, null, 4],
  [['ver', '01ARZ3NDEKTSV4RRFFQ69G5FAV'], 4, 1, 4],
  [['pausar', 'a'], 4, 4, null],
  [['reanudar', 'a'], 4, 4, null],
  [['reenviar', '--fallidas'], 4, 4, 4],
  [['descartar', '--fallidas'], 4, 4, 4],
  [['entradas'], 4, 0, 4],
  [['completar', 'bash'], null, null, null],
  [['ayuda'], null, null, null],
  [['recuperar'], 4, 4, 4],
  // What it did in Postgres it tells; that it was done, no replica takes.
  [['purgar', '--antes-de', '90d'], 4, 4, 4],
  [['crear-base'], null, null, 4],
  // The page itself waits for both.
  [['panel', '--cerrar-sesiones'], 4, 0, null],
  [['probar', 'a'], null, null, null],
  [['simular', 'a'], null, null, null],
  [['salud'], null, null, null],
  // What `verificar` finds at its end is told by that one.
  [['iniciar', '--si'], null, null, null],
]

/** Commands that are shown what is no Redis at all: a wrong configuration. */
const PROTOCOL = ['estado', 'verificar', 'pausar', 'recuperar']

test('every command without Redis, with a replica, with what is none, and without Postgres: a code and a sentence, once', async ({
  world,
}) => {
  expect(new Set(OUTAGES.map(([[command]]) => command))).toEqual(new Set(Object.keys(COMMANDS)))
  await world.createSchema()
  const replica = await startRedis(['--replicaof', '127.0.0.1', '1'])
  const web = createServer((_, response) => response.end('x')).listen(0, '127.0.0.1')
  await once(web, 'listening')
  await world.set('listener a', { url: `http://127.0.0.1:${(web.address() as AddressInfo).port}` })
  // A worker has something to write.
  await world.push({ evento: 'x', datos: 1 })
  try {
    const redisAt = (port: number) => ({ REST_HOOKS_REDIS_PORT: String(port) })
    const noPostgres = { REST_HOOKS_DB_PORT: String(await freePort()) }
    const [nowhere, noRedis] = [redisAt(await freePort()), redisAt((web.address() as AddressInfo).port)]
    const wrong: unknown[] = []
    const run = async ([args, alone, replicated, unaudited]: (typeof OUTAGES)[number]) => {
      const cases: [string, Record<string, string>, (number | null)[]][] = [
        ['no Redis', nowhere, [alone]],
        ['a replica', redisAt(replica.port), [replicated]],
        // Where it hangs up before the question: as good as none.
        ['a web server for Redis', noRedis, PROTOCOL.includes(args[0]!) ? [3, 4] : [null]],
        ['no Postgres', noPostgres, [unaudited]],
      ]
      for (const [outage, env, expected] of cases) {
        if (expected[0] === null) continue
        const { code, stdout, stderr } = await world.cli(args, { env, input: '{"evento":"x"}\n' })
        const told = args[0] === 'iniciar-workers' ? stdout : stderr
        const lines = `${stdout}${stderr}`.split('\n').map((line) => line.replace(/^resthooks: /, ''))
        // The cause itself, with its address, however hurried the end was.
        const named = outage === 'a replica' || `${stdout}${stderr}`.includes(Object.values(env)[0]!)
        const isTold = /\p{L}{3}/u.test(told) && named && !/error interno|^ {4}at |READONLY|ECONN/m.test(told)
        const twice = lines.filter(
          (line, n) => line.length > 20 && lines.some((other, m) => m > n && other.includes(line)),
        )
        if (!expected.includes(code) || (code !== 0 && !isTold) || twice.length > 0)
          wrong.push({ outage, args: args.join(' '), code, stdout, stderr, twice })
      }
    }
    await Promise.all(OUTAGES.map(run))
    expect(wrong).toEqual([])
  } finally {
    web.close()
    await replica.stop()
  }
})

/** As a shell runs it: with redirections, and with bytes that Node could not pass on. */
function shell(world: World, line: string, cwd = world.folder) {
  return runProgram('bash', ['-c', line], { cwd, env: { ...world.environment, R: `${process.execPath} ${BIN}` } })
}

test('2: arguments in ISO-8859-1, which Node would change: DATOS, the event, a key, a header, a path, of any command', async ({
  world,
}) => {
  const lines = [
    `$R send x "$(printf '{"n":"N\\372\\361ez"}')"`,
    `$R send "$(printf 'alta.N\\372\\361ez')" '{}'`,
    `$R send x '{}' --clave "$(printf '\\361')"`,
    `$R send x '{}' --cabecera "$(printf 'X-A: \\361')"`,
    `$R send x '{}' --ruta "$(printf 'a/\\361')"`,
    `$R send x '{}' --esperar --ruta "$(printf 'a/\\361')"`,
    // Beside a U+FFFD that is one.
    `$R send x "$(printf '{"n":"\\357\\277\\275 \\361"}')"`,
    `$R ver "$(printf '\\361')"`,
  ]
  for (const run of await Promise.all(lines.map((line) => shell(world, line)))) {
    expect(run).toMatchObject({ code: 2, stdout: '' })
    for (const way of ['UTF-8', '@archivo', '--tipo-contenido']) expect(run.stderr).toContain(way)
  }
  expect(await world.redis.llen(world.keys.inbox)).toBe(0)
})

test.for([
  ['stdin', ['send', 'x', '-'], 2, /no es texto UTF-8.*iconv.*--tipo-contenido/],
  [
    'stdin, with a type that says so',
    ['send', 'x', '-', '--tipo-contenido', 'application/json; charset=ISO-8859-1'],
    0,
    /^$/,
  ],
  ['a file', ['send', 'x', '@latin.json'], 2, /no es texto UTF-8.*iconv.*--tipo-contenido/],
  ['a file, with a type that is no JSON', ['send', 'x', '@latin.json', '--tipo-contenido', 'text/plain'], 0, /^$/],
  ['a line of --lote', ['send', 'x', '--lote'], 1, /línea 1: no es texto UTF-8.*iconv/],
] as const)(
  'ISO-8859-1 in %s: refused with the way out, or sent byte for byte',
  async ([, args, code, told], { world }) => {
    const bytes = Buffer.from('{"n":"Núñez"}', 'latin1')
    await world.set('listener x', { url: 'http://127.0.0.1:1' })
    await writeFile(join(world.folder, 'latin.json'), bytes)
    const run = await world.cli(args, { input: bytes })
    expect(run).toMatchObject({ code, stderr: expect.stringMatching(told) })
    const entries = await world.redis.lrange(world.keys.inbox, 0, -1)
    const bodies = entries.map((entry) => Buffer.from(JSON.parse(entry).cuerpo_base64, 'base64'))
    expect(bodies).toEqual(code === 0 ? [bytes] : [])
  },
)

test('2: a stdin that is closed or a folder is no empty one', async ({ world }) => {
  await world.set('listener x', { url: 'http://127.0.0.1:1' })
  const text = '--tipo-contenido text/plain -'
  const cases = ['--lote', text].flatMap((how): [line: string, code: number, told: RegExp][] => [
    [`$R send x ${how} < .`, 2, /entrada estándar.*carpeta/],
    [`$R send x ${how} <&-`, 2, /entrada estándar está cerrada/],
    [`$R send x ${how} < /dev/null`, 0, /^$/],
  ])
  const runs = await Promise.all(cases.map(([line]) => shell(world, line)))
  for (const [n, [line, code, told]] of cases.entries())
    expect(runs[n], line).toMatchObject({ code, stderr: expect.stringMatching(told) })
  expect(await world.redis.llen(world.keys.inbox)).toBe(1)
})

test('a U+FFFD that somebody typed is sent', async ({ world }) => {
  await world.set('listener x', { url: 'http://127.0.0.1:1' })
  expect(await world.cli(['send', 'x', '{"n":"\uFFFD"}'])).toMatchObject({ code: 0, stderr: '' })
  expect(JSON.parse((await world.redis.lindex(world.keys.inbox, 0))!).datos).toEqual({ n: '\uFFFD' })
})

test('a full disk and a closed pipe are ordinary: what was done is said', async ({ world }) => {
  await world.createSchema()
  const full = await shell(world, "$R send x '{}' > /dev/full")
  const { id } = JSON.parse((await world.redis.lindex(world.keys.inbox, 0))!)
  const [silent, help, state, usage, closed, unread] = await Promise.all(
    [
      "$R send x '{}' > /dev/full 2> /dev/full",
      '$R --help > /dev/full',
      '$R estado > /dev/full',
      '$R enviarr 2> /dev/full',
      'set -o pipefail; $R estado | true',
      "set -o pipefail; $R send x '{}' | true",
    ].map((line) => shell(world, line)),
  )
  expect(full).toMatchObject({ code: 1, stderr: expect.stringMatching(`disco.*se encoló.*${id}`) })
  expect(silent!.code).toBe(1)
  for (const run of [help, state]) expect(run).toMatchObject({ code: 1, stderr: expect.stringContaining('disco') })
  expect(usage!.code).toBe(2)
  expect(closed).toMatchObject({ code: 0, stderr: '' })
  // Whether the reader was gone before the id was written is chance; it is no failure either way.
  expect(unread!.code).toBe(0)
  expect(await world.redis.llen(world.keys.inbox)).toBe(3)
})

test('in a folder that was deleted under the shell the program works, and says where it looks', async ({ world }) => {
  await world.createSchema()
  const gone = 'mkdir ido; cd ido; rmdir ../ido;'
  const sent = await shell(world, `${gone} $R send x '{}'`)
  expect(sent).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\w{26}\n$/) })
  expect(sent.stderr).toContain('ya no existe')
  const file = await shell(world, `${gone} $R send x @datos.json`)
  expect(file).toMatchObject({ code: 2, stderr: expect.not.stringMatching(/uv_cwd|ENOENT/) })
  expect(await shell(world, `${gone} $R estado`)).toMatchObject({ code: 0 })
  expect(await shell(world, `${gone} $R --help`)).toMatchObject({ code: 0 })
  // One of the same name in its place.
  const again = await shell(world, `${gone} mkdir ../ido; echo '{}' > ../ido/datos.json; $R send x @datos.json`)
  expect(again).toMatchObject({ code: 0 })
})

test('the files are found from any folder, and the global options stand before or after the command', async ({
  world,
}) => {
  const env = { TOBA_INSTANCIA: '', TOBA_PROYECTO: '', TOBA_INSTALACION_DIR: '' }
  const place = ['--instalacion', world.folder, '-i', world.instancia, '-p', world.proyecto]
  const elsewhere = { env, cwd: '/' }
  expect(await world.cli([...place, 'send', 'x', '{}'], elsewhere)).toMatchObject({ code: 0 })
  expect(await world.cli(['send', 'x', '{}', ...place], elsewhere)).toMatchObject({ code: 0 })
  expect(await world.cli(['send', ...place, 'x', '{}'], elsewhere)).toMatchObject({ code: 0 })
  expect(await world.redis.llen(world.keys.inbox)).toBe(3)
})

test("toba's own spelling works", async ({ world }) => {
  const place = ['-i', world.instancia, '-p', world.proyecto]
  const made = await world.cli(['proyecto', 'crear_base_resthooks', ...place])
  expect(made).toMatchObject({ code: 0 })
  const listener = await world.listener(() => ({ status: 200 }))
  await world.send('x', { n: 1 })
  expect(await world.cli(['proyecto', 'iniciar_workers', ...place, '--una-vez'])).toMatchObject({ code: 0 })
  expect(listener.requests).toHaveLength(1)
})

test('a file in Latin-1, as toba ships them, is read', async ({ world }) => {
  await writeFile(world.ini, Buffer.from('; configuración\n[listener ñandú]\nurl = http://127.0.0.1:1\n', 'latin1'))
  expect(await world.cli(['send', 'x', '{}'])).toMatchObject({ code: 0 })
})

test('without any file the defaults hold and the environment is enough', async ({ world }) => {
  await rm(join(world.folder, `i__${world.instancia}`), { recursive: true })
  await rm(world.env)
  const { host, port } = world.redis.options
  const env = { REST_HOOKS_REDIS_HOST: String(host), REST_HOOKS_REDIS_PORT: String(port) }
  expect(await world.cli(['send', 'x', '{}'], { env })).toMatchObject({ code: 0 })
  expect(await world.redis.llen(world.keys.inbox)).toBe(1)
})

test('3: a worker without a resthooks.ini that has a listener takes nothing', async ({ world }) => {
  await world.createSchema()
  await world.push({ id: 'espera', evento: 'x', datos: {} })
  const ends = async (content: string | null, args: readonly string[], told: string) => {
    if (content === null) await rm(world.ini, { force: true })
    else await writeFile(world.ini, content)
    const run = await world.cli(['iniciar-workers', ...args])
    expect(run, `${content} ${args}`).toMatchObject({ code: 3 })
    // A daemon that is read by a program says everything as JSON.
    expect(JSON.parse(run.stdout).mensaje).toContain(told)
  }
  const once = ['--una-vez']
  await ends('', [], 'no define ningún [listener NOMBRE]')
  await ends('; sólo comentarios\n', once, 'no define ningún [listener NOMBRE]')
  await ends('resthooks_activo = 0\n[workers]\nconcurrencia = 5\n', ['--procesos', '2'], 'ningún [listener NOMBRE]')
  await ends(null, once, 'no hay resthooks.ini')
  await ends(null, ['--procesos=2'], world.ini)
  const other = join(dirname(world.ini), `../p__${world.proyecto}s`)
  await mkdir(other)
  await writeFile(join(other, 'resthooks.ini'), '')
  await ends(null, once, `¿Quiso decir «-p ${world.proyecto}s»?`)
  expect(await world.redis.llen(world.keys.inbox)).toBe(1)
})
