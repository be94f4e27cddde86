/** Workers that die, are told to stop all the time, or freeze. */
import { LEASE_MS } from '../arena.ts'
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
]
