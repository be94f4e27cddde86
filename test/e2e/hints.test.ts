/** A command that is shown as what helps goes to the same project as the one that showed it. */
import { describe } from 'vitest'
import { aimed, keepInHints, typed } from '../../src/model/typed.ts'
import { BIN, runProgram, spawnWorker } from '../support/cli.ts'
import { expect, test, type World } from '../support/world.ts'

/** A world whose project is known by options alone. */
function byOptions(world: World) {
  const env = { ...world.environment, TOBA_INSTANCIA: '', TOBA_PROYECTO: '' }
  const options = ['-i', world.instancia, '-p', world.proyecto]
  return { env, options, run: (...words: string[]) => world.cli([...words, ...options], { env }) }
}

test('send --esperar, ver and estado: what they show works as it is copied', async ({ world }) => {
  const { env, options, run } = byOptions(world)
  await world.listener(() => ({ status: 422 }), { nombre: 'compras' })
  await world.worker()
  const { stderr } = await run('send', 'compra.alta', '{}', '--esperar')
  const [hint = ''] = /resthooks ver .*/.exec(stderr) ?? []
  expect(hint).toContain(`resthooks ver ${options.join(' ')} `)
  const copied = (text: string) =>
    runProgram('sh', ['-c', text.replace('resthooks', `'${process.execPath}' '${BIN}'`)], { cwd: world.folder, env })
  const seen = await copied(hint)
  expect(seen, seen.stderr).toMatchObject({ code: 0 })
  const [again = ''] = /resthooks reenviar [^│]*--listener compras/.exec(seen.stdout.replace(/\s+/g, ' ')) ?? []
  const sent = await copied(again)
  expect(sent, `${seen.stdout}${sent.stderr}`).toMatchObject({ code: 0 })
})

test('estado and verificar: a worker that is missing is started for the project that was looked at', async ({
  world,
}) => {
  await world.createSchema()
  const { options, run } = byOptions(world)
  const flat = async (...words: string[]) => (await run(...words)).stdout.replace(/\s+/g, ' ')
  const start = `iniciar-workers ${options.join(' ')}`
  expect(await flat('estado')).toContain(start)
  expect(await flat('verificar')).toContain(`resthooks ${start}`)
  // For programs it is what it was.
  const { problemas } = JSON.parse((await run('estado', '--json')).stdout)
  expect(problemas).toContainEqual(expect.objectContaining({ que_hacer: 'iniciar-workers' }))
  // Where the environment says it, the next command knows it too.
  expect((await world.cli(['verificar'])).stdout).toContain('resthooks iniciar-workers, o ')
})

test('a worker without its schema names the one that is to be made', async ({ world }) => {
  await world.listener(() => ({ status: 200 }))
  const { env, options } = byOptions(world)
  const worker = spawnWorker(options, { env, cwd: world.folder })
  try {
    await worker.logged('«resthooks crear-base')
    expect(worker.output).toContain(`«resthooks crear-base ${options.join(' ')}»`)
  } finally {
    worker.kill('SIGKILL')
    await worker.waitExit()
  }
})

describe('what is kept', () => {
  test.each([
    [{}, {}, ''],
    [{ instancia: 'produccion', proyecto: 'resthooks' }, {}, ''],
    [{ proyecto: 'pilaga' }, {}, ' -p pilaga'],
    [{ instancia: 'produccion' }, { TOBA_INSTANCIA: 'prueba' }, ' -i produccion'],
    [{ instancia: 'prueba', proyecto: 'pilaga' }, { TOBA_INSTANCIA: 'prueba', TOBA_PROYECTO: 'pilaga' }, ''],
    [{ config: 'mi carpeta/a.ini', env: 'b.env' }, {}, " --config 'mi carpeta/a.ini' --env b.env"],
    [{ instalacion: '/opt/siu' }, { TOBA_INSTALACION_DIR: '/opt/siu/' }, ' --instalacion /opt/siu'],
  ])('%j with %j: «%s»', (options, environment, kept) => {
    keepInHints(options, environment)
    try {
      expect(typed('ver ID --todo')).toBe(`resthooks ver${kept} ID --todo`)
      expect(aimed('iniciar-workers, o mirar su registro')).toBe(`iniciar-workers${kept}, o mirar su registro`)
    } finally {
      keepInHints({}, {})
    }
  })
})
