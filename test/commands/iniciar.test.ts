/** `iniciar`: what it writes works as it is, it asks what it was not told, shows no password and replaces nothing. */
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe } from 'vitest'
import { type Answers, starterFiles } from '../../src/commands/starter-files.ts'
import { runProgram } from '../support/cli.ts'
import { peer } from '../support/programs.ts'
import { converse } from '../support/terminal.ts'
import { expect, test, type World } from '../support/world.ts'

/** The world's servers as answers; its own files, which would be in the way, are gone. */
async function asAnswers(world: World) {
  const { host, port } = world.redis.options
  const { host: pgHost, port: pgPort, user, database } = world.sql.options
  const password = /REST_HOOKS_DB_PASSWORD="(.*)"/.exec(await readFile(world.env, 'utf8'))![1]!
  await Promise.all([rm(world.ini), rm(world.env)])
  return {
    redis: `${host}:${port}`,
    postgres: `${user}@${[pgHost].flat()[0]}:${[pgPort].flat()[0]}/${database}`,
    password,
    schema: { REST_HOOKS_DB_SCHEMA: world.schema },
  }
}

const NAMES = ['crear-base.sql', 'instalador.env', 'resthooks-proyecto.service', 'resthooks.ini']

test('options alone: both files, the SQL and the unit, which work as they are; a second time replaces nothing', async ({
  world,
}) => {
  const listener = await world.listener(() => ({ status: 200 }))
  const { redis, postgres, password, schema } = await asAnswers(world)
  const given = ['--redis', redis, '--postgres', postgres, '--listener', `${listener.url}/rest/`, '--eventos', 'a.*, b']
  const start = (...more: string[]) =>
    world.cli(['iniciar', '--si', ...given, '--servicio', 'systemd', ...more], {
      env: { REST_HOOKS_DB_PASSWORD: password, ...schema },
    })
  const first = await start()
  expect(first.code, first.stderr).toBe(0)
  const folder = dirname(world.ini)
  expect((await readdir(folder)).toSorted()).toEqual(NAMES)
  for (const name of NAMES) {
    expect(first.stdout).toContain(join(folder, name))
    // Of root, and of the group of the workers' user; or of one user alone.
    expect((await stat(join(folder, name))).mode & 0o777).toBe(process.geteuid?.() === 0 ? 0o640 : 0o600)
  }
  expect(first.stderr).toContain('resthooks crear-base -i')
  expect(first.stdout).toMatch(/esquema: no existe[\s\S]*\d error/)

  const before = await Promise.all(NAMES.map((name) => readFile(join(folder, name), 'utf8')))
  const again = await start()
  expect(again).toMatchObject({ code: 1, stdout: '' })
  expect(again.stderr).toContain('no reemplaza nada')
  await rm(join(folder, 'instalador.env'))
  expect(await start()).toMatchObject({ code: 1 })
  await expect(stat(join(folder, 'instalador.env'))).rejects.toThrow('ENOENT')
  await writeFile(join(folder, 'instalador.env'), before[1]!)
  expect(await Promise.all(NAMES.map((name) => readFile(join(folder, name), 'utf8')))).toEqual(before)

  const shown = await world.cli(['crear-base', '--mostrar-sql'])
  expect(before[0]!.endsWith(shown.stdout)).toBe(true)
  const connection = await world.sql.reserve()
  await connection.unsafe(before[0]!).finally(() => connection.release())
  const sent = await world.cli(['send', 'a.alta', '{"n":1}'])
  expect(sent).toMatchObject({ code: 0, stderr: '' })
  expect(await world.cli(['iniciar-workers', '--una-vez'])).toMatchObject({ code: 0 })
  expect(listener.requests[0]).toMatchObject({ url: '/rest/' })
  expect(await world.audit(sent.stdout.trim())).toMatchObject([{ estado: 'exitosa' }])
})

test.for([
  [['--redis', 'usuario:clave@servidor'], /--redis: la clave no va aquí/],
  [['--postgres', 'servidor/base'], /--postgres: se espera usuario@servidor/],
  [['--listener', 'ftp://servidor/'], /--listener: se acepta/],
  [['--listener', 'http://a/', '--servicio', 'cron'], /--servicio: se espera systemd, supervisord, ninguno/],
  [['--usuario', 'no-hay-tal-usuario'], /--usuario: el usuario «no-hay-tal-usuario» no existe/],
  [[], /falta --listener/],
] as const)('wrong usage writes nothing: %s', async ([words, message], { world }) => {
  const folder = join(world.folder, 'nueva')
  const run = await world.cli(['iniciar', '--si', '--carpeta', folder, ...words])
  expect(run).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(message) })
  await expect(stat(folder)).rejects.toThrow('ENOENT')
})

test.skipIf(!existsSync('/proc/self'))('a folder that cannot be made is told at once', async ({ world }) => {
  const words = ['iniciar', '--si', '--listener', 'http://a/', '--carpeta', '/proc/resthooks/nueva']
  expect(await world.cli(words)).toMatchObject({
    code: 1,
    stdout: '',
    stderr: expect.stringContaining('No se pudo escribir en /proc/resthooks/nueva: no existe.'),
  })
})

const script = peer('script')
describe.skipIf(script.missing)(`at a terminal${script.note}`, () => {
  test('asks five questions, a wrong answer again, and shows no password', async ({ world }) => {
    const { redis, postgres, schema } = await asAnswers(world)
    const folder = join(world.folder, 'con preguntas')
    const answers = [
      ['Redis [127.0.0.1:6379]: ', redis],
      ['su clave (vacía si no tiene): ', ''],
      ['Postgres, la base de auditoría [resthooks@127.0.0.1:5432/resthooks]: ', postgres],
      ['vacía si no tiene): ', `Contraseña'"$x`],
      ['URL del sistema que recibe los mensajes: ', ''],
      ['URL del sistema que recibe los mensajes: ', 'compras'],
      ['URL del sistema que recibe los mensajes: ', 'https://compras.example.edu.ar/rest/'],
      ['Qué eventos recibe (* son todos) [*]: ', ''],
      ['(systemd, supervisord, ninguno) [', 'supervisord'],
    ].map(([asked, answer]) => [asked!, `${answer}\r`] as const)
    const { code, shown, unasked } = await converse(['iniciar', '--carpeta', folder], answers, {
      env: { ...world.environment, ...schema },
    })
    expect(code, shown).toBe(0)
    expect(unasked).toEqual([])
    expect(shown).not.toContain('Contraseña')
    expect(shown).toContain(`--config '${join(folder, 'resthooks.ini')}'`)
    expect(shown).toContain('se acepta')
    expect(shown).toContain('hace falta una respuesta')
    expect(await readFile(join(folder, 'resthooks.ini'), 'utf8')).toContain('[listener compras]')
    const settings = await world.cli(['verificar', '--configuracion', '--todo', '--json'], {
      env: { RESTHOOKS_INI: join(folder, 'resthooks.ini') },
    })
    expect(settings, settings.stdout).toMatchObject({ code: 0 })
    expect(await readFile(join(folder, 'instalador.env'), 'utf8')).toContain(
      `REST_HOOKS_DB_PASSWORD="Contraseña'\\"\\$x"\n`,
    )
    const unit = await readFile(join(folder, 'resthooks-proyecto.conf'), 'utf8')
    expect(unit).toContain(`--config "${join(folder, 'resthooks.ini')}"`)
  })
})

const ANSWERS: Answers = {
  instancia: 'produccion',
  proyecto: 'pilaga',
  folder: '/opt/siu/instalacion/i__produccion/p__pilaga',
  installation: '/opt/siu/instalacion',
  where: [],
  redis: { host: '127.0.0.1', port: 6379, password: '' },
  postgres: { host: '127.0.0.1', port: 5432, password: '', username: 'u', database: 'd', schema: 's' },
  listener: { name: 'compras', url: 'https://compras.example.edu.ar/rest/', events: '*' },
  keeper: 'systemd',
  user: 'root',
  logs: '/var/log/supervisor',
  program: ['/bin/true'],
}

test('both units name the project, its installation and its user, and nothing of the example', () => {
  const unit = (keeper: Answers['keeper'], more: Partial<Answers> = {}) =>
    starterFiles({ ...ANSWERS, keeper, ...more }).at(-1)!
  expect(unit('ninguno').name).toBe('crear-base.sql')
  const { name, text } = unit('systemd')
  expect(name).toBe('resthooks-pilaga.service')
  expect(text).toContain('\nEnvironment="TOBA_INSTALACION_DIR=/opt/siu/instalacion"\n')
  expect(text).toContain('\nExecStart=/bin/true iniciar-workers -i produccion -p pilaga\n')
  expect(text).toContain('\nUser=root\n')
  expect(text).not.toMatch(/\/etc\/default|(reload|-u|edit) resthooks\b(?!-)/)
  const supervisord = unit('supervisord', { where: ['--config', '/a 100%/b.ini'], installation: null })
  expect(supervisord.name).toBe('resthooks-pilaga.conf')
  expect(supervisord.text).toContain('[program:resthooks-pilaga]\ncommand=/bin/true iniciar-workers -i produccion')
  expect(supervisord.text).toContain('--config "/a 100%%/b.ini"\n')
  expect(supervisord.text).toContain('\nstdout_logfile=/var/log/supervisor/resthooks-pilaga.log\n')
  expect(supervisord.text).not.toMatch(/^environment=|www-data|\/usr\/local\/bin/m)
  expect(unit('systemd', { proyecto: 'resthooks' }).name).toBe('resthooks.service')
})

const analyze = peer('systemd-analyze')
describe.skipIf(analyze.missing)(`systemd-analyze${analyze.note}`, () => {
  test('finds nothing wrong with the unit, and it is well shut in', async ({ world }) => {
    const folder = join(world.folder, 'unidad')
    await mkdir(folder)
    const { name, text } = starterFiles(ANSWERS).at(-1)!
    const file = join(folder, name)
    await writeFile(file, text)
    expect(await runProgram('systemd-analyze', ['verify', '--man=no', file])).toEqual({
      code: 0,
      stdout: '',
      stderr: '',
    })
    // 0 is a cage, 10 an open door; an ordinary service has 9.6.
    const security = await runProgram('systemd-analyze', ['security', '--offline=true', '--threshold=20', file])
    expect(security, security.stdout).toMatchObject({ code: 0 })
  })
})
