/**
 * Every code block of the README and of docs/ is run, or shown to be what is run elsewhere. A block is named by the comment above
 * it (`<!-- prueba: NAME -->`); only paths, ports and names of the examples are replaced by those of the test.
 */

import { existsSync } from 'node:fs'
import { chmod, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe } from 'vitest'
import { parse } from 'yaml'
import { COMMANDS } from '../../src/commands/registry.ts'
import { BIN, runProgram, spawnProgram } from '../support/cli.ts'
import { freePort } from '../support/ports.ts'
import { peer } from '../support/programs.ts'
import { until } from '../support/until.ts'
import { expect, sharedWorldTest, test, type World } from '../support/world.ts'
import { blocks, blockText, pages, RECIPES, readme, repeated } from './readme-blocks.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** The block as a user of this test's world would have typed it. */
function block(name: string, world: World): string {
  return replaced(blockText(name), world)
}

function replaced(text: string, world: World): string {
  const { host, port } = world.redis.options
  return text
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

/** Those with a test of their own below. */
const TESTED_HERE = ['configurar', 'las tres órdenes', 'un listener', 'script', 'cron', 'lote', 'php', 'redis-cli']

/** Those that the last tests of this file run one after the other, in one world. */
const RUN_IN_TURN = [
  'enviar',
  'anda todo',
  'qué pasó',
  'pausa',
  'reenviar',
  'entradas',
  'listener nuevo',
  'purgar',
  'recuperar',
  'actualizar la base',
  'pasar lo que quedó',
  'permisos',
  'traza',
]

/** Commands inside other programs' files. */
const MONITORING = ['salud', 'nagios', 'zabbix', 'cron que avisa']

const TESTED_ELSEWHERE = [
  // The demo and CI.
  'estas dos órdenes',
  // package.test.ts
  ...['instalar', 'preparar send'],
  // supervisord.test.ts
  ...['supervisord', 'reiniciar supervisord'],
  // packaging.test.ts
  ...['servidores', 'el programa', 'la configuración', 'los workers', 'el primer mensaje', 'node en /usr/local', 'tar'],
  ...['sin ser administrador', 'supervisord propio'],
  'instalar el paquete nuevo',
  // test/contrib and test/worker
  ...['reglas de prometheus', 'opentelemetry'],
  // panel/proxy.test.ts, and panel/access.test.ts
  ...['página con nginx', 'página con apache', 'abrir la página'],
  // redis-users.test.ts
  'usuario de redis',
  // recipes.test.ts
  ...RECIPES,
]

const ofLanguage = (language: string) => [...blocks].filter(([, block]) => block.language === language)
const queries = ofLanguage('sql').map(([name]) => name)
/** Sections of resthooks.ini that must load as they stand. */
const sections = ofLanguage('ini')
  .map(([name]) => name)
  .filter((name) => ![...TESTED_HERE, ...RECIPES].includes(name as never))

test('no block is without a test', () => {
  const bare = pages.flatMap(({ path, text }) =>
    text.split('\n').flatMap((line, n, lines) => {
      const opens = /^ *```/.test(line) && lines.slice(0, n).filter((each) => /^ *```/.test(each)).length % 2 === 0
      return opens && !/<!-- (prueba|pantalla): /.test(lines[n - 1]!) ? [`${path}:${n + 1}`] : []
    }),
  )
  expect({ bare, repeated }).toEqual({ bare: [], repeated: [] })
  const tested = [
    ...TESTED_HERE,
    'prometheus',
    'chequeo de un contenedor',
    ...MONITORING,
    ...RUN_IN_TURN,
    ...TESTED_ELSEWHERE,
    'respaldo de postgres',
    ...queries,
    ...sections,
  ]
  expect([...blocks.keys()].toSorted()).toEqual(tested.toSorted())
})

test('every link of the manual leads somewhere', () => {
  const anchors = new Map(
    pages.map(({ path, text }) => [
      path,
      new Set([...text.matchAll(/^#+ (.*)$/gm)].map(([, title]) => anchorOf(title!))),
    ]),
  )
  const broken = pages.flatMap(({ path, text }) =>
    [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target]) => {
      if (/^https?:/.test(target!)) return []
      const [file = '', anchor] = target!.split('#')
      const there = file === '' ? path : posix.join(posix.dirname(path), file)
      const known = existsSync(join(root, there)) && (anchor === undefined || anchors.get(there)?.has(anchor))
      return known ? [] : [`${path}: ${target}`]
    }),
  )
  expect(broken).toEqual([])
})

/** As GitHub makes it of a heading. */
function anchorOf(title: string): string {
  return title
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(' ', '-')
}

test('what is copied from contrib/ is what is there', async () => {
  const [scrape, image] = ['prometheus/prometheus.yml', 'Containerfile'].map((name) =>
    readFile(join(root, 'contrib', name), 'utf8'),
  )
  expect(parse(await scrape!)).toMatchObject(parse(blockText('prometheus')))
  const [check] = /CMD \[.*\]/.exec(blockText('chequeo de un contenedor'))!
  expect(await image).toContain(check)
})

test('the README is short', () => {
  expect(readme.split('\n').length).toBeLessThan(250)
})

test('the table of commands is that of the program', () => {
  const [table] = /\| orden \| qué hace \|[\s\S]*?\n\n/.exec(readme)!
  const named = [...table.matchAll(/^\| `([a-z-]+)`/gm)].map(([, name]) => name)
  expect(named.toSorted()).toEqual(Object.keys(COMMANDS).toSorted())
})

test('the first block is what CI and the demo test run, the installation names the version that is packed', async () => {
  const { scripts, version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  expect(blockText('estas dos órdenes')).toBe('npm run demo\nnpm test\n')
  expect(scripts.demo).toContain('test/demo/run.mjs')
  expect(await readFile(join(root, '.ci/run'), 'utf8')).toContain('npm test')
  expect(blockText('instalar')).toContain(`./resthooks-${version}.tgz`)
  for (const { path, text } of pages) {
    const named = [...text.matchAll(/resthooks[-_](\d+\.\d+\.\d+)/g)].map(([, each]) => each)
    expect(new Set([...named, version]), path).toEqual(new Set([version]))
  }
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
  const text = await readFile(join(root, 'contrib/resthooks.service'), 'utf8')
  const unit = new Map([...text.matchAll(/^(\w+)=(.*)$/gm)].map(([, key, value]) => [key!, value!]))
  expect(Number(unit.get('TimeoutStopSec'))).toBeGreaterThan(30)
  await world.createSchema()
  const listener = await world.listener(() => ({ status: 200 }))
  const script = join(world.folder, 'unidad.sh')
  await writeFile(
    script,
    `#!/bin/sh
${Object.entries(world.environment)
  .map(([name, value]) => `export ${name}='${value}'`)
  .join('\n')}
${unit.get('ExecStart')!.replace('/usr/bin/resthooks', `${process.execPath} ${BIN}`)} & MAINPID=$!
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

const pgDump = peer('pg_dump')
const manual = sharedWorldTest()

manual('the manual’s commands, one after the other', async ({ world }) => {
  const listener = await world.listener(() => ({ status: 200 }), { nombre: 'proveedores' })
  await writeFile(
    join(world.folder, 'lo-que-quedo.jsonl'),
    '{"evento":"proveedor.alta","datos":{"id":7},"clave":"vieja-1"}\n',
  )
  await world.worker()
  const exported = Object.entries(world.environment).map(([name, value]) => `export ${name}='${value}'`)
  for (const name of redisCli.missing ? RUN_IN_TURN.slice(1) : RUN_IN_TURN) {
    const run = await shell(world, ['set -e', ...exported, block(name, world)].join('\n'))
    // `verificar` finds something in most test machines, which that block foresees.
    expect(run, `${name}: ${run.stderr}`).toMatchObject({ code: 0 })
    if (name === 'qué pasó') expect(run.stdout).toMatch(/entregada[\s\S]*webhook-id[\s\S]*exitosa/)
    if (name === 'anda todo') expect(wordsOf(run.stdout)).toEqual(expect.arrayContaining(fixedWords('estado')))
    if (name === 'qué pasó') expect(wordsOf(run.stdout)).toEqual(expect.arrayContaining(fixedWords('ver')))
    if (name === 'reenviar') expect(run.stdout).not.toBe('')
  }
  await until(() => listener.requests.some(({ body }) => body.toString() === '{"id":7}'))
})

const wordsOf = (text: string) => text.match(/\p{L}[\p{L}/]*/gu) ?? []

/** Headings of a screen of the README, which come from a run: they must be those of the program. */
function fixedWords(screen: string): string[] {
  const [, text] = new RegExp(`<!-- pantalla: ${screen} -->\n\`\`\`\n([\\s\\S]*?)\`\`\``).exec(readme)!
  const headings = text!
    .split('\n')
    .filter((line) => /^ *(intentos\/min|con error|worker|listener +estado|enviado|Historia)\b/.test(line.trimStart()))
  expect(headings.length).toBeGreaterThan(1)
  return headings.flatMap((line) => wordsOf(line.replace(/(Redis|Postgres|Cola|enviado|Historia) .*/, '$1')))
}

manual('what monitoring systems call', async ({ world }) => {
  const port = await freePort()
  await world.set('workers', { metricas: `127.0.0.1:${port}` })
  await world.listener(() => ({ status: 200 }), { nombre: 'monitoreado', eventos: 'nada' })
  await world.worker()
  await until(async () => (await world.cli(['salud'])).code === 0)
  const run = async (text: string, codes: readonly number[]) => {
    const result = await shell(world, text.replaceAll('/usr/local/bin/resthooks', BIN))
    expect(codes, `${text}: ${result.stdout}${result.stderr}`).toContain(result.code)
    return result.stdout
  }
  const exported = Object.entries(world.environment).map(([name, value]) => `export ${name}='${value}'`)
  const health = blockText('salud').replace('10.0.0.5:9464', `127.0.0.1:${port}`)
  // Nobody has the page open here.
  expect(health).toMatch(/resthooks salud --panel .*\n$/)
  await run([...exported, 'set -e', health.replace(/resthooks salud --panel .*\n$/, '')].join('\n'), [0])

  const project = (text: string, [instancia, proyecto]: readonly [string, string]) =>
    `export TOBA_INSTALACION_DIR='${world.folder}'; ${text.replace(instancia, world.instancia).replace(proyecto, world.proyecto)}`
  const [, nagios] = /command_line +(.*)/.exec(blockText('nagios'))!
  expect(await run(project(nagios!, ['$ARG1$', '$ARG2$']), [0, 1, 2])).toMatch(/^RESTHOOKS (OK|WARNING|CRITICAL)\b/)
  const zabbix = [...blockText('zabbix').matchAll(/UserParameter=[^,]*,(.*)/g)].map(([, each]) => each!)
  expect(JSON.parse(await run(project(zabbix[0]!, ['$1', '$2']), [0]))).toHaveProperty('esperan')
  expect(await run(project(zabbix[1]!, ['$1', '$2']), [0])).toMatch(/^RESTHOOKS /)
  const [, cron] = /^(?:\S+\s+){5}\S+\s+(.*)$/.exec(blockText('cron que avisa').trim())!
  expect(cron).not.toContain('%')
  await run([...exported, cron!.replace('/var/tmp', world.folder)].join('\n'), [0])
})

manual.skipIf(pgDump.missing)(`pg_dump of the schema${pgDump.note}`, async ({ world, skip }) => {
  const { host, port, user, pass, database } = world.sql.options
  const text = block('respaldo de postgres', world)
    .replace('--schema=resthooks', `--schema=${world.schema}`)
    .replace('/var/backups', world.folder)
    .replace(/ resthooks$/m, ` ${database}`)
  const login = `export PGHOST=${[host].flat()[0]} PGPORT=${[port].flat()[0]} PGUSER=${user} PGPASSWORD='${pass}'`
  const run = await shell(world, `${login}\n${text}`)
  // An older pg_dump refuses a newer server.
  skip(/version mismatch/.test(run.stderr), 'pg_dump is older than the server of the tests')
  expect(run, run.stderr).toMatchObject({ code: 0 })
})

manual.for(queries)('%s', async (name, { world }) => {
  const id = await world.send('proveedor.alta', { id: 7 })
  await world.settled(id)
  const sql = await world.sql.reserve()
  try {
    await sql`BEGIN`
    await sql`SELECT set_config('search_path', ${world.schema}, true)`
    if (/ayer/.test(name)) {
      await sql`UPDATE intento SET inicio = inicio - interval '1 day' WHERE mensaje_id = ${id}`
      await sql`UPDATE resumen_hora SET hora = hora - interval '1 day'`
    }
    const rows = await sql.unsafe(blockText(name).replaceAll('01ARZ3NDEKTSV4RRFFQ69G5FAV', id))
    if (/ayer|un mensaje/.test(name)) expect(rows.length).toBeGreaterThan(0)
    expect(rows.columns.length).toBeGreaterThan(1)
  } finally {
    await sql`ROLLBACK`
    sql.release()
  }
})

manual('sections of resthooks.ini load as they stand', async ({ world }) => {
  const folder = join(world.folder, 'secciones')
  const client = join(folder, 'rest/diaguita/cliente.ini')
  await mkdir(dirname(client), { recursive: true })
  await writeFile(client, blockText('cliente.ini de toba'))
  for (const name of sections) {
    await writeFile(join(folder, 'resthooks.ini'), block(name, world))
    const run = await world.cli(['verificar', '--configuracion', '--config', join(folder, 'resthooks.ini')])
    expect(run, `${name}: ${run.stdout}`).toMatchObject({ code: 0 })
  }
})
