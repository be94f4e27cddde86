/** What the shell and the reader of the help get: completion, the manual, examples, help that fits. */
import { readFileSync } from 'node:fs'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe } from 'vitest'
import { complete } from '../../src/commands/completion.ts'
import { EXAMPLES } from '../../src/commands/examples.ts'
import type { ProgramInfo } from '../../src/commands/manual.ts'
import { COMMANDS } from '../../src/commands/registry.ts'
import { BIN, runCli, runProgram } from '../support/cli.ts'
import { peer } from '../support/programs.ts'
import { expect, test } from '../support/world.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const program = () => JSON.parse(readFileSync(`${root}dist/ayuda.json`, 'utf8')) as ProgramInfo

describe('what may follow', () => {
  const names = () => ({
    listeners: ['compras', 'contable', 'mapuche'],
    events: ['compra.alta', 'compra.baja', 'pago.*'],
    instances: ['desarrollo', 'produccion'],
    projects: ['pilaga'],
  })
  test.each<[string[], readonly string[] | 'files' | 'folders']>([
    [['re'], ['recuperar', 'reanudar', 'reenviar']],
    [['ver', '--ev'], ['--evidencia']],
    [
      ['ver', 'ID', '--evidencia', 'co'],
      ['compras', 'contable'],
    ],
    [['ver', 'ID', '--evidencia=m'], ['--evidencia=mapuche']],
    // As bash takes it apart.
    [['ver', 'ID', '--evidencia', '=', 'm'], ['mapuche']],
    [
      ['ver', 'ID', '--evidencia', '='],
      ['compras', 'contable', 'mapuche'],
    ],
    [['pausar', 'compras', 'm'], ['mapuche']],
    [['-p', 'pilaga', 'probar', 'm'], ['mapuche']],
    [['probar', '-p', 'pi'], ['pilaga']],
    [
      ['-i', ''],
      ['desarrollo', 'produccion'],
    ],
    [
      ['send', 'compra.'],
      ['compra.alta', 'compra.baja'],
    ],
    [['send', 'p'], []],
    [['auditoria', '--evento', 'p'], ['pago.*']],
    [['auditoria', '--estado', 'fallida,de'], ['fallida,descartada']],
    [['send', 'x', '--conf'], ['--config']],
    [['send', '--config', ''], 'files'],
    [['send', '--instalacion', ''], 'folders'],
    [
      ['completar', ''],
      ['bash', 'zsh', 'fish'],
    ],
    [
      ['ayuda', 'ver'],
      ['ver', 'verificar'],
    ],
    [['ver', 'ID', 'x'], []],
    [['nada', 'de'], ['descartar']],
  ])('%j', (words, expected) => {
    const found = complete(words, program(), names)
    const values = typeof found === 'string' ? found : found.map(({ value }) => value)
    expect(typeof values === 'string' ? values : [...values].sort()).toEqual(
      typeof expected === 'string' ? expected : [...expected].sort(),
    )
  })
})

test('bash completes commands, options, listeners and events, from the files alone', async ({ world }) => {
  await world.set('listener compras', { url: 'http://127.0.0.1:1', eventos: 'compra.alta, pago.*' })
  await world.set('listener contable', { url: 'http://127.0.0.1:1' })
  const script = (await runCli(['completar', 'bash'])).stdout
  // Redis and Postgres that are not there are not missed; files that are broken neither.
  const env = { ...world.environment, REST_HOOKS_REDIS_PORT: '1', REST_HOOKS_DB_PORT: '1', R: BIN }
  const lines = [
    ['pau'],
    ['pausar', 'co'],
    ['send', 'c'],
    ['ver', 'x', '--cu'],
    ['send', '--config', world.ini.slice(0, -2)],
  ]
  const typed = lines.map((words) => {
    const quoted = ['resthooks', ...words].map((word) => `'${word}'`).join(' ')
    return `COMP_WORDS=(${quoted}) COMP_CWORD=${words.length}; _resthooks "$R"; echo "\${COMPREPLY[*]}"`
  })
  const run = await runProgram(
    'bash',
    ['--norc', '-c', `compopt() { :; }\n${script}\n${typed.join('\n')}\ncomplete -p resthooks`],
    { env },
  )
  expect(run).toMatchObject({ code: 0, stderr: '' })
  expect(run.stdout.trim().split('\n')).toEqual([
    'pausar',
    'compras contable',
    'compra.alta',
    '--cuerpo',
    world.ini,
    'complete -F _resthooks resthooks',
  ])
})

const asked = {
  zsh: [
    '-fc',
    'compdef() { :; }; _describe() { print -l $values; }; source $S; words=($R pausar co); CURRENT=3; _resthooks',
  ],
  fish: ['-Nc', 'source $S; complete -C "resthooks pausar co" | string replace \\t :'],
}
const shells = (['zsh', 'fish'] as const).map((name) => ({ name, ...peer(name) }))
test.for(shells)('$name completes too', async ({ name: shell, missing, note }, { skip, world }) => {
  skip(missing, note)
  for (const name of ['compras', 'contable']) await world.set(`listener ${name}`, { url: 'http://127.0.0.1:1' })
  const [script, bin] = [join(world.folder, 'completar'), join(world.folder, 'bin')]
  await writeFile(script, (await runCli(['completar', shell])).stdout)
  await mkdir(bin)
  await symlink(BIN, join(bin, 'resthooks'))
  const env = {
    ...world.environment,
    S: script,
    R: join(bin, 'resthooks'),
    PATH: `${bin}:${process.env.PATH}`,
    HOME: world.folder,
  }
  const stdout = 'compras:listener\ncontable:listener\n'
  expect(await runProgram(shell, asked[shell], { env })).toEqual({ code: 0, stdout, stderr: '' })
})

test('every command has examples, whose options exist', () => {
  const { comandos, generales } = program()
  expect(comandos.map(({ nombre }) => nombre).sort()).toEqual(Object.keys(COMMANDS).sort())
  const wrong: string[] = []
  for (const { nombre, opciones } of comandos) {
    const known = [...opciones, ...generales].flatMap(({ nombres }) => nombres)
    const lines = EXAMPLES[nombre] ?? []
    if (lines.length === 0) wrong.push(`${nombre}: none`)
    for (const [line] of lines) {
      const [, name, rest = ''] = /resthooks ([\w-]+)(.*?)(?:[|<>]|$)/.exec(line) ?? []
      if (name !== nombre) wrong.push(line)
      for (const [option] of rest.matchAll(/(?<= )--?[a-z][\w-]*/g))
        if (!known.includes(option)) wrong.push(`${line}: ${option}`)
    }
  }
  expect(wrong).toEqual([])
})

test('the help fits sixty columns, and ayuda, help and --help say the same', async () => {
  const env = { COLUMNS: '60' }
  const runs = await Promise.all(
    [[], ...Object.keys(COMMANDS).map((name) => [name])].map((words) => runCli([...words, '--help'], { env })),
  )
  for (const { code, stdout } of runs) {
    expect(code).toBe(0)
    expect(stdout.split('\n').filter((line) => line.length > 60)).toEqual([])
  }
  const [plain, ...others] = await Promise.all(
    [
      ['ver', '--help'],
      ['ayuda', 'ver'],
      ['help', 'ver'],
    ].map((words) => runCli(words, { env })),
  )
  for (const other of others) expect(other).toEqual(plain)
  expect(plain!.stdout).toContain('Ejemplos:')
  for (const { stdout } of runs) expect(stdout.match(/^Ejemplos?:$/gm)?.length ?? 0).toBeLessThan(2)
  const wrong = { code: 2, stdout: '', stderr: expect.any(String) }
  expect(await runCli(['completar', 'fsh'])).toEqual({
    ...wrong,
    stderr: expect.stringContaining(
      'el valor «fsh» del argumento shell no es válido: se espera uno de: bash, zsh, fish',
    ),
  })
  expect(await runCli(['auditoria', '--contar'])).toEqual({
    ...wrong,
    stderr: expect.stringContaining('le falta su valor: uno de: listener, evento'),
  })
  expect(await runCli(['entradas', '--tipo', 'nada'])).toEqual({
    ...wrong,
    stderr: expect.stringContaining('el valor «nada» de la opción --tipo <tipo> no es válido: se espera uno de:'),
  })
  expect(await runCli(['ayuda', 'verr'])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('¿Quiso decir «ver»?'),
  })
})

const groff = peer('groff')
test.skipIf(groff.missing)(
  `the manual is one that man shows without a complaint, with every command and option${groff.note}`,
  async () => {
    const page = readFileSync(`${root}dist/man/resthooks.1`, 'utf8')
    const shown = await runProgram('groff', ['-man', '-Tutf8', '-Kutf8', '-ww', '-P-cbou'], { input: page })
    expect(shown).toMatchObject({ code: 0, stderr: '' })
    for (const { nombre, opciones } of program().comandos) {
      expect(shown.stdout).toContain(nombre)
      for (const { nombres } of opciones) expect(shown.stdout).toContain(nombres.at(-1))
    }
  },
)
