/** supervisord.conf.example, under Debian's supervisord: only its paths and its user are replaced. */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe } from 'vitest'
import { BIN, cleanEnvironment, runProgram } from '../support/cli.ts'
import { closedGate } from '../support/gate.ts'
import { peer } from '../support/programs.ts'
import { until } from '../support/until.ts'
import { expect, test, type World } from '../support/world.ts'

const supervisord = peer('supervisord')
const example = fileURLToPath(new URL('../../supervisord.conf.example', import.meta.url))

describe.skipIf(supervisord.missing)(`supervisord${supervisord.note}`, () => {
  test('starts it, restarts a killed one, stops it cleanly in time, and takes changes', async ({ world }) => {
    const gate = closedGate()
    const listener = await world.listener(async (_, n) => {
      if (n === 3) await gate.opened
      return { status: 200 }
    })
    await world.createSchema()
    await using supervisor = await startSupervisor(world, await exampleFor(world))
    await supervisor.running('resthooks')
    await world.settled(await world.send('x', { n: 1 }), { start: false })

    const pid = Number(await supervisor.ctl('pid', 'resthooks'))
    process.kill(pid, 'SIGKILL')
    await until(async () => {
      const now = Number(await supervisor.ctl('pid', 'resthooks'))
      return now > 0 && now !== pid
    })
    await supervisor.running('resthooks')
    await world.settled(await world.send('x', { n: 2 }), { start: false })

    const inTheMiddle = await world.send('x', { n: 3 })
    await listener.received(3)
    const stopped = supervisor.ctl('stop', 'resthooks')
    await until(async () => (await readFile(join(world.folder, 'resthooks.log'), 'utf8')).includes('SIGTERM'))
    gate.open()
    expect(await stopped).toContain('resthooks: stopped')
    expect(await world.audit(inTheMiddle)).toMatchObject([{ estado: 'exitosa', intentos: [{ http_estado: 200 }] }])
    expect(listener.requests).toHaveLength(3)
    expect(await supervisor.log()).toMatch(/stopped: resthooks \(exit status 0\)/)

    const two = 'numprocs=2\nprocess_name=%(program_name)s_%(process_num)02d\n'
    await supervisor.rewrite((text) => `${text}\n${two}`)
    expect(await supervisor.ctl('reread')).toContain('resthooks: changed')
    expect(await supervisor.ctl('update')).toContain('resthooks: updated process group')
    await supervisor.running('resthooks:resthooks_00')
    await supervisor.running('resthooks:resthooks_01')
    await world.settled(await world.send('x', { n: 4 }), { start: false })
  }, 90_000)
})

test('the example waits longer than the default drenaje before it kills', async () => {
  const text = await readFile(example, 'utf8')
  expect(Number(/^stopwaitsecs=(\d+)/m.exec(text)?.[1])).toBeGreaterThan(30)
})

/** The example, with this machine's paths. Fails when a path that it replaces is not there any more. */
async function exampleFor(world: World): Promise<string> {
  let text = await readFile(example, 'utf8')
  const replace = (pattern: string | RegExp, by: string) => {
    const replaced = text.replace(pattern, by)
    if (replaced === text) throw new Error(`supervisord.conf.example has no ${pattern}`)
    text = replaced
  }
  replace('/usr/local/bin/resthooks', `${process.execPath} ${BIN}`)
  replace('-i produccion -p pilaga', `-i ${world.instancia} -p ${world.proyecto}`)
  replace('directory=/opt/siu/instalacion', `directory=${world.folder}`)
  replace('user=www-data\n', '')
  replace('/opt/siu/instalacion', world.folder)
  replace('/var/log/supervisor/resthooks.log', join(world.folder, 'resthooks.log'))
  return text
}

async function startSupervisor(world: World, program: string) {
  const config = join(world.folder, 'supervisord.conf')
  const log = join(world.folder, 'supervisord.log')
  const socket = join(world.folder, 'supervisor.sock')
  const own = `[supervisord]
nodaemon=true
logfile=${log}
pidfile=${join(world.folder, 'supervisord.pid')}
childlogdir=${world.folder}
[unix_http_server]
file=${socket}
[supervisorctl]
serverurl=unix://${socket}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
`
  await writeFile(config, `${own}\n${program}`)
  const child: ChildProcess = spawn('supervisord', ['-n', '-c', config], { env: cleanEnvironment(), stdio: 'ignore' })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  const ctl = async (...args: string[]) => (await runProgram('supervisorctl', ['-c', config, ...args])).stdout
  return {
    ctl,
    log: () => readFile(log, 'utf8'),
    running: (name: string) =>
      until(async () => /RUNNING/.test(await ctl('status', name)), { what: `${name} RUNNING` }),
    rewrite: async (change: (text: string) => string) => {
      program = change(program)
      await writeFile(config, `${own}\n${program}`)
    },
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGTERM')
      await ended
    },
  }
}
