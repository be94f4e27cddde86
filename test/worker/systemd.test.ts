/** What systemd hears of a service of `Type=notify`: a socket as systemd has it, and its own systemd-notify. */
import { spawn } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe } from 'vitest'
import { findProgram, peer } from '../support/programs.ts'
import { until } from '../support/until.ts'
import { expect, test, type World } from '../support/world.ts'

/** Node has no such sockets. What systemd would also check, who the sender is, this one tells along. */
const RECEIVER = `
import json, socket, struct, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
s.bind(sys.argv[1])
print('ready', flush=True)
while True:
    text, extra, _, _ = s.recvmsg(65536, socket.CMSG_SPACE(12))
    print(json.dumps(text.decode().strip().split('\\n')), flush=True)
`

/** Every message so far, each as its lines. */
type Heard = () => readonly string[][]

async function receiver(world: World, use: (heard: Heard, env: Record<string, string>) => Promise<void>) {
  const socket = join(world.folder, 'notify')
  const script = join(world.folder, 'receiver.py')
  await writeFile(script, RECEIVER)
  const child = spawn(findProgram('python3')!, [script, socket], { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines: string[] = []
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line))
  // After each message systemd-notify asks whether it was read.
  const heard = () => lines.slice(1).flatMap((line) => (line.includes('BARRIER') ? [] : [JSON.parse(line)]))
  try {
    await until(() => lines[0] === 'ready')
    await use(heard, { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '900000' })
  } finally {
    child.kill('SIGKILL')
  }
}

const missing = [peer('python3'), peer('systemd-notify')].find((each) => each.missing)

describe.skipIf(missing)(`sd_notify${missing?.note ?? ''}`, () => {
  const count = (heard: Heard, line: string) => heard().filter((lines) => lines.includes(line)).length

  test('one process: ready once it works, alive, reloading until its files are read, stopping', async ({ world }) => {
    await receiver(world, async (heard, env) => {
      const worker = await world.worker([], { env: { ...world.environment, ...env } })
      const main = `MAINPID=${worker.child.pid}`
      await until(() => count(heard, 'WATCHDOG=1') > 1)
      expect(heard()[0]).toEqual(['READY=1', main, 'STATUS=entrega a 1 listener'])
      worker.kill('SIGHUP')
      await until(() => count(heard, 'READY=1') === 2)
      const told = heard().filter(([line]) => line !== 'WATCHDOG=1')
      expect(told.map(([line]) => line)).toEqual(['READY=1', 'RELOADING=1', 'READY=1'])
      expect(told[1]![1]).toMatch(/^MONOTONIC_USEC=\d+$/)
      worker.kill('SIGTERM')
      expect(await worker.waitExit()).toEqual({ code: 0, signal: null })
      await until(() => count(heard, 'STOPPING=1') === 1)
    })
  })

  test('several: ready when all of them work; one that hangs is enough for silence', async ({ world }) => {
    await receiver(world, async (heard, env) => {
      const worker = await world.worker(['--procesos', '2'], { env: { ...world.environment, ...env } })
      await until(() => count(heard, 'READY=1') === 1 && count(heard, 'WATCHDOG=1') > 1)
      expect(heard().find(([line]) => line === 'READY=1')).toEqual([
        'READY=1',
        `MAINPID=${worker.child.pid}`,
        'STATUS=2 procesos en marcha',
      ])
      worker.kill('SIGHUP')
      await until(() => count(heard, 'READY=1') === 2)
      expect(count(heard, 'RELOADING=1')).toBe(1)
      const pid = Number(worker.log.findLast(({ mensaje }) => mensaje === 'worker en marcha')!.pid)
      process.kill(pid, 'SIGSTOP')
      try {
        const before = count(heard, 'WATCHDOG=1')
        // Five times as long as from one sign of life to the next: one may be on its way, one not asked for yet.
        await new Promise((resolve) => setTimeout(resolve, 1_500))
        expect(count(heard, 'WATCHDOG=1')).toBeLessThanOrEqual(before + 2)
      } finally {
        process.kill(pid, 'SIGCONT')
      }
      const silent = count(heard, 'WATCHDOG=1')
      await until(() => count(heard, 'WATCHDOG=1') > silent)
      worker.kill('SIGTERM')
      expect((await worker.waitExit()).code).toBe(0)
      await until(() => count(heard, 'STOPPING=1') === 1)
    })
  })

  test('without that program the worker works, and says what is missing', async ({ world }) => {
    await receiver(world, async (_heard, env) => {
      const worker = await world.worker([], { env: { ...world.environment, ...env, PATH: '/nada' } })
      await worker.logged('no se pudo avisar a systemd con systemd-notify')
      worker.kill('SIGTERM')
      expect((await worker.waitExit()).code).toBe(0)
    })
  })
})
