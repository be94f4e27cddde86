/**
 * The main job on every Node that is claimed: create the schema, send (twice: from a code cache that another Node made beside
 * its own, and from its own), deliver, look. `RESTHOOKS_PRUEBAS_NODOS` names the programs, separated by `:`.
 */
import { execFileSync } from 'node:child_process'
import { cp, mkdtemp, readdir, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe } from 'vitest'
import { BIN, runProgram } from '../support/cli.ts'
import { expect, test } from '../support/world.ts'

const nodes = (process.env.RESTHOOKS_PRUEBAS_NODOS ?? '').split(':').filter(Boolean)
const note =
  nodes.length > 0 ? '' : ' (se omite: ponga en RESTHOOKS_PRUEBAS_NODOS las rutas de los node, separadas por «:»)'

/** A copy of the program, whose caches are this file's alone, with that of the Node that runs the tests. */
let place: string

beforeAll(async () => {
  if (nodes.length === 0) return
  place = await mkdtemp(join(tmpdir(), 'resthooks-nodos-'))
  const root = dirname(dirname(BIN))
  for (const name of ['bin', 'dist', 'sql', 'src', 'package.json'])
    await cp(join(root, name), join(place, name), { recursive: true })
  await symlink(join(root, 'node_modules'), join(place, 'node_modules'))
})

afterAll(async () => {
  if (nodes.length > 0) await rm(place, { recursive: true, force: true })
})

describe.skipIf(nodes.length === 0)(`on each Node${note}`, () => {
  test.for(nodes.length > 0 ? nodes : ['ninguno'])('%s', async (node, { world }) => {
    const run = (...args: string[]) =>
      runProgram(node, [join(place, 'bin/resthooks'), ...args], { env: world.environment, cwd: world.folder })
    const version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim()
    const listener = await world.listener(() => ({ status: 200 }))
    expect(await run('crear-base')).toMatchObject({ code: 0, stderr: '' })
    const sent = []
    for (let n = 1; n <= 3; n++)
      sent.push(await run('send', 'x', `{"n":${n}}`, '--clave', `k${n}`, '--cabecera', `X-N: ${n}`))
    for (const each of sent)
      expect(each).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/^\w{26}\n$/) })
    expect((await readdir(join(place, 'dist'))).filter((name) => name.endsWith('.cache')).join()).toContain(
      `.${version}-`,
    )
    expect(await run('send', 'x')).toMatchObject({ code: 0 })
    expect(await run('send', 'x', 'no es JSON')).toMatchObject({ code: 2 })
    expect(await run('iniciar-workers', '--una-vez')).toMatchObject({ code: 0 })
    expect(listener.requests).toHaveLength(4)
    expect(await world.audit(sent[0]!.stdout.trim())).toMatchObject([{ estado: 'exitosa' }])
    expect(await run('ver', sent[0]!.stdout.trim())).toMatchObject({ code: 0, stderr: '' })
    expect(await run('estado')).toMatchObject({ code: 0 })
    expect(await run('auditoria')).toMatchObject({ code: 0 })
    expect(await run('--help')).toMatchObject({ code: 0 })
  })
})
