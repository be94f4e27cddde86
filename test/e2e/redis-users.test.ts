/** A Redis that lets a user do little, or asks nobody who he is: what works, and what is said. */
import { runProgram } from '../support/cli.ts'
import { peer } from '../support/programs.ts'
import { startRedis } from '../support/redis-server.ts'
import { expect, test, type World } from '../support/world.ts'
import { blockText } from './readme-blocks.ts'

/** A user of this world alone, removed when the work is done. */
async function asUser({ redis, setEnv, instancia }: World, rules: readonly string[], work: () => Promise<void>) {
  const user = `usuario_${instancia}`
  await redis.call('ACL', 'SETUSER', user, 'reset', 'on', '>clave-larga', ...rules)
  await setEnv({ REST_HOOKS_REDIS_USERNAME: user, REST_HOOKS_REDIS_PASSWORD: 'clave-larga' })
  try {
    await work()
  } finally {
    await redis.call('ACL', 'DELUSER', user)
  }
}

const client = peer('redis-cli')
test.skipIf(client.missing)(
  `the user that the manual makes may do what all commands need${client.note}`,
  async ({ world }) => {
    const { host, port } = world.redis.options
    const text = blockText('usuario de redis')
      .replaceAll('produccion:pilaga', `${world.instancia}:${world.proyecto}`)
      .replace('127.0.0.1', String(host))
      .replace('6379', String(port))
      .replace('SETUSER pilaga', `SETUSER ${world.instancia}`)
    expect(await runProgram('sh', ['-c', text])).toMatchObject({ code: 0, stdout: 'OK\n' })
    try {
      await world.setEnv({
        REST_HOOKS_REDIS_USERNAME: world.instancia,
        REST_HOOKS_REDIS_PASSWORD: 'UNA-CLAVE-LARGA',
      })
      await world.listener((_request, n) => ({ status: n === 1 ? 422 : 200 }), { nombre: 'compras' })
      const id = await world.send('compra.alta', { n: 1 })
      await world.settled(id)
      for (const args of [
        ['estado', '--todos'],
        ['reenviar', id],
        ['pausar', 'compras'],
        ['reanudar', 'compras'],
        ['descartar', '--fallidas'],
        ['ver', id],
        ['entradas'],
        ['recuperar'],
        ['send', 'compra.alta', '{}', '--clave', 'k', '--esperar'],
      ]) {
        const { code, stderr } = await world.cli(args)
        expect({ code, stderr: stderr.match(/.*(?:NOPERM|no puede usar).*/g) }, args.join(' ')).toEqual({
          code: 0,
          stderr: null,
        })
      }
      expect((await world.cli(['verificar'])).stdout).not.toContain('no puede usar')
    } finally {
      await world.redis.call('ACL', 'DELUSER', world.instancia)
    }
  },
)

test('what the user of Redis may not do is said with the rule that allows it', async ({ world }) => {
  const keys = `~resthooks:{${world.instancia}:${world.proyecto}}:*`
  const channels = keys.replace('~', '&')
  const user = `usuario_${world.instancia}`
  const cases: [string, string[], string[], string[]][] = [
    ['a command', [keys, channels, '+@all', '-lpush'], ['send', 'x', '{}'], ['la orden LPUSH', '+lpush']],
    ['a key', ['~otro:*', channels, '+@all'], ['send', 'x', '{}'], ['esa clave (al hacer LPUSH)', `'${keys}'`]],
    ['a key of a script', ['~otro:*', channels, '+@all'], ['send', 'x', '{}', '--clave', 'k'], [`'${keys}'`]],
    [
      'a command of a script',
      [keys, channels, '+@all', '-get', '-set'],
      ['send', 'x', '{}', '--clave', 'k'],
      ['script'],
    ],
  ]
  for (const [what, rules, args, says] of cases) {
    await asUser(world, rules, async () => {
      const { code, stderr } = await world.cli(args)
      expect(code, what).toBe(3)
      for (const part of [`el usuario «${user}» no puede usar`, `ACL SETUSER ${user} `, 'docs/seguridad.md', ...says]) {
        expect(stderr, what).toContain(part)
      }
      expect(stderr, what).not.toMatch(/NOPERM|permission|executing/)
    })
  }
})

test('a password for a Redis that asks for none is not told in English by its client, and verificar tells it', async ({
  world,
}) => {
  await world.setEnv({ REST_HOOKS_REDIS_PASSWORD: 'sobra-una-clave' })
  expect(await world.cli(['send', 'x', '{}'])).toMatchObject({ code: 0, stderr: expect.not.stringContaining('WARN') })
  const { stdout, stderr } = await world.cli(['verificar'])
  expect(stdout.replace(/\s+/g, ' ')).toContain('y no pide ninguna: entra quien llegue a su puerto')
  expect(stderr).not.toContain('WARN')
  const worker = await world.worker(['--una-vez'])
  await worker.waitExit()
  expect(worker.output).not.toContain('WARN')
})

test('a Redis that asks for the password is not said to ask for none', async ({ world }) => {
  const redis = await startRedis(['--requirepass', 'una-clave-larga'])
  try {
    await world.setEnv({ REST_HOOKS_REDIS_PORT: String(redis.port), REST_HOOKS_REDIS_PASSWORD: 'una-clave-larga' })
    const { stdout } = await world.cli(['verificar', '--todo'])
    expect(stdout).toContain('maestro, 0 réplicas')
    expect(stdout).not.toContain('no pide ninguna')
  } finally {
    await redis.stop()
  }
})
