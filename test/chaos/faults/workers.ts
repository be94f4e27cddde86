/** Workers that die, are told to stop all the time, freeze, lose their parent, or are of two releases. */
import { readFile } from 'node:fs/promises'
import { until } from '../../support/until.ts'
import { LEASE_MS } from '../arena.ts'
import { releaseBefore } from '../program.ts'
import { type Fault, sleep } from './fault.ts'

export const workerFaults: readonly Fault[] = [
  {
    name: 'workers: kill -9 de uno',
    mixable: true,
    inflict: async (arena) => {
      await sleep(arena.dice.between(300, 900))
      await arena.killHard([await arena.anyWorker()])
      arena.start()
    },
  },
  {
    name: 'workers: kill -9 de todos, repetido',
    short: true,
    // What the last ones had read of the audit is taken over once they count as dead.
    restsLong: true,
    mixable: true,
    workers: 3,
    traffic: { over: 8000, messages: 700 },
    // Whoever is in flight at three of the kills in a row counts as what kills its worker.
    rules: { mayGiveUp: 8 },
    inflict: async (arena) => {
      for (let i = 0; i < 4; i++) {
        await sleep(arena.dice.between(100, 1800))
        const count = arena.workers.length
        await arena.killHard([...arena.workers])
        arena.start(count)
      }
    },
  },
  {
    name: 'workers: kill -9 al arrancar',
    mixable: true,
    workers: 4,
    traffic: { over: 6000 },
    rules: { mayGiveUp: 8 },
    inflict: async (arena) => {
      for (let i = 0; i < 8; i++) {
        await sleep(arena.dice.between(50, 700))
        await arena.killHard([await arena.anyWorker()])
        arena.start()
      }
    },
  },
  {
    name: 'workers: tormenta de SIGTERM',
    mixable: true,
    workers: 3,
    traffic: { over: 6000 },
    inflict: async (arena) => {
      for (let i = 0; i < 5; i++) {
        await sleep(arena.dice.between(100, 900))
        const victims = i % 2 === 0 ? [await arena.anyWorker()] : [...arena.workers]
        await arena.stop(victims)
        arena.start(victims.length)
      }
    },
  },
  {
    name: 'workers: SIGSTOP más largo que el arriendo',
    mixable: true,
    workers: 2,
    traffic: { over: 5000 },
    inflict: async (arena) => {
      await sleep(arena.dice.between(400, 1200))
      const frozen = await arena.anyWorker()
      arena.noteCrash(1)
      frozen.kill('SIGSTOP')
      await sleep(LEASE_MS + 2000 + arena.dice.between(0, 1000))
      frozen.kill('SIGCONT')
      // What it had in flight is made by the other one; its own late outcome is a second request, audited.
      arena.noteCrash(1)
    },
  },
  {
    name: 'workers: SIGSTOP de todos, kill -9 de uno dormido',
    mixable: true,
    workers: 3,
    traffic: { over: 5000 },
    inflict: async (arena) => {
      await sleep(arena.dice.between(400, 1200))
      const [dead, ...frozen] = [...arena.workers]
      arena.noteCrash(arena.workers.length)
      for (const worker of arena.workers) worker.kill('SIGSTOP')
      await sleep(LEASE_MS + 1500)
      await arena.killHard(dead ? [dead] : [])
      for (const worker of frozen) worker.kill('SIGCONT')
      arena.noteCrash(frozen.length)
      arena.start()
    },
  },
  {
    name: 'workers: kill -9 del padre con procesos = 2',
    workers: 0,
    startsLate: true,
    arena: { ini: { workers: { procesos: '2' } } },
    inflict: async (arena) => {
      for (let i = 0; i < 2; i++) {
        const [parent] = arena.start()
        const children = async () => childrenOf(parent!.child.pid!)
        await until(async () => (await children()).length === 2, { what: 'two processes' })
        await until(() => arena.wire.requests.length > 20 * (i + 1), { timeout: 30_000, what: 'deliveries' })
        const orphans = await children()
        await arena.killHard([parent!])
        await until(() => orphans.every((pid) => !isAlive(pid)), {
          timeout: 20_000,
          what: 'the end of the processes without a parent',
        })
      }
      arena.start()
    },
  },
  {
    name: 'versiones: 0.1.0 y ésta a la vez, con muertes de ambas',
    workers: 1,
    traffic: { over: 8000, messages: 700 },
    rules: { mayGiveUp: 8 },
    inflict: async (arena) => {
      const old = await releaseBefore()
      for (let i = 0; i < 3; i++) {
        await arena.up(arena.start(1, {}, old))
        await sleep(arena.dice.between(300, 900))
        await arena.killHard([await arena.anyWorker()])
        while (arena.workers.length < 2) arena.start(1, {}, arena.dice.pick([old, arena.program]))
      }
      // What this version tells the audit waits for this version: 0.1.0 would throw it away, so it lies where 0.1.0 does not look.
      arena.start()
    },
  },
]

async function childrenOf(pid: number): Promise<number[]> {
  const listed = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '')
  return listed.split(' ').filter(Boolean).map(Number)
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
