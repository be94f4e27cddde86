/** Redis that stops, dies, hangs, forgets its scripts, is full, or loses the audit's group. */
import { until } from '../../support/until.ts'
import { type Arena, LEASE_MS } from '../arena.ts'
import { type Fault, sleep } from './fault.ts'

/** All workers at once lose sight of what they have in flight: it may be made twice. */
function noteOutage(arena: Arena): void {
  arena.noteCrash(arena.workers.length)
}

/** With `everysec` a killed server may have answered for what it had not written yet; with `always` never. */
const SURE = { redisArgs: ['--appendfsync', 'always'] }

export const redisFaults: readonly Fault[] = [
  {
    name: 'redis: reinicio con AOF',
    mixable: true,
    inflict: async (arena) => {
      await sleep(arena.dice.between(300, 1200))
      noteOutage(arena)
      await arena.redis.kill('SIGTERM')
      await sleep(arena.dice.between(200, 3000))
      await arena.redis.start()
      noteOutage(arena)
      arena.healed()
    },
  },
  {
    name: 'redis: kill -9 repetido',
    short: true,
    mixable: true,
    arena: SURE,
    traffic: { over: 6000 },
    inflict: async (arena) => {
      for (let i = 0; i < 4; i++) {
        await sleep(arena.dice.between(200, 1200))
        noteOutage(arena)
        await arena.redis.kill('SIGKILL')
        await sleep(arena.dice.between(0, 800))
        await arena.redis.start()
        noteOutage(arena)
      }
      arena.healed()
    },
  },
  {
    name: 'redis: abajo más que el arriendo, y kill -9 de un worker',
    mixable: true,
    arena: SURE,
    inflict: async (arena) => {
      await sleep(arena.dice.between(300, 1000))
      noteOutage(arena)
      await arena.redis.kill('SIGKILL')
      await sleep(1000)
      await arena.killHard([await arena.anyWorker()])
      arena.start()
      await sleep(LEASE_MS)
      await arena.redis.start()
      noteOutage(arena)
      arena.healed()
    },
  },
  {
    name: 'redis: SIGTERM a los workers mientras no está',
    mixable: true,
    arena: SURE,
    inflict: async (arena) => {
      await sleep(arena.dice.between(300, 1000))
      noteOutage(arena)
      await arena.redis.kill('SIGKILL')
      await sleep(300)
      // drenaje (5 s), the last settle and the last audit each have their patience: it must end, with exit code 0.
      await arena.stop([...arena.workers], 30_000)
      arena.start(2)
      await sleep(500)
      await arena.redis.start()
      noteOutage(arena)
      arena.healed()
    },
  },
  {
    name: 'redis: SIGSTOP más largo que el arriendo',
    mixable: true,
    inflict: async (arena) => {
      await sleep(arena.dice.between(300, 1200))
      noteOutage(arena)
      arena.redis.process.kill('SIGSTOP')
      await sleep(LEASE_MS + 1500)
      arena.redis.process.kill('SIGCONT')
      noteOutage(arena)
      arena.healed()
    },
  },
  {
    name: 'redis: SIGSTOP más largo que la espera de una respuesta',
    inflict: async (arena) => {
      await sleep(arena.dice.between(300, 1200))
      noteOutage(arena)
      arena.redis.process.kill('SIGSTOP')
      await sleep(17_000)
      arena.redis.process.kill('SIGCONT')
      noteOutage(arena)
      arena.healed()
    },
  },
  {
    name: 'redis: CLIENT PAUSE',
    mixable: true,
    inflict: async (arena) => {
      for (let i = 0; i < 3; i++) {
        await sleep(arena.dice.between(200, 800))
        noteOutage(arena)
        await arena.client.call(
          'CLIENT',
          'PAUSE',
          String(arena.dice.between(500, 3500)),
          arena.dice.pick(['ALL', 'WRITE']),
        )
        noteOutage(arena)
      }
      arena.healed()
    },
  },
  {
    name: 'redis: SCRIPT FLUSH en bucle',
    mixable: true,
    inflict: async (arena) => {
      for (let i = 0; i < 60; i++) {
        await arena.client.script('FLUSH')
        await sleep(50)
      }
    },
  },
  {
    name: 'redis: CLIENT KILL en bucle',
    mixable: true,
    inflict: async (arena) => {
      for (let i = 0; i < 20; i++) {
        noteOutage(arena)
        await arena.client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        await arena.client.call('CLIENT', 'KILL', 'TYPE', 'pubsub', 'SKIPME', 'yes')
        await sleep(arena.dice.between(50, 250))
      }
      arena.healed()
    },
  },
  {
    name: 'redis: memoria llena (noeviction)',
    traffic: { messages: 300, over: 3000 },
    inflict: async (arena) => {
      await sleep(500)
      // Less than what it holds already: every write that needs memory is refused from now on.
      await arena.client.config('SET', 'maxmemory', '1')
      noteOutage(arena)
      const refused = await arena.cli(['send', 'pedido.alta', '{}'])
      if (refused.code !== 4) throw new Error(`send with a full Redis exited ${refused.code}, not 4: ${refused.stderr}`)
      await sleep(1500)
      // The workers still drain all that was taken, and the audit with it.
      const waiting = async () => {
        const { entrada, ...rest } = await arena.depths()
        return entrada === 0 && Object.values(rest).every((depth) => depth === 0)
      }
      await until(waiting, { timeout: 40_000, every: 100, what: 'a full Redis to be drained by the workers' }).catch(
        async (error) => {
          throw new Error(`${error.message}: ${JSON.stringify(await arena.depths())}`)
        },
      )
      await arena.client.config('SET', 'maxmemory', '0')
      arena.healed()
    },
  },
  {
    name: 'redis: memoria llena y el dueño de la auditoría muerto',
    traffic: { messages: 300, over: 3000 },
    patience: 90_000,
    inflict: async (arena) => {
      // Rows are read by their worker and cannot be written; then it is killed, and Redis is full.
      await arena.postgres.kill('SIGKILL')
      await sleep(2500)
      await arena.client.config('SET', 'maxmemory', '1')
      noteOutage(arena)
      await arena.killHard([...arena.workers])
      arena.start(2)
      await arena.postgres.start()
      const drained = async () => (await arena.client.xlen(arena.keys.audit)) === 0
      await until(drained, {
        timeout: 60_000,
        every: 200,
        what: 'the audit of a dead worker to be freed in a full Redis',
      })
      await arena.client.config('SET', 'maxmemory', '0')
      arena.healed()
    },
  },
  {
    name: 'redis: grupo del flujo borrado',
    mixable: true,
    inflict: async (arena) => {
      for (let i = 0; i < 8; i++) {
        await arena.client.xgroup('DESTROY', arena.keys.audit, 'postgres')
        await sleep(arena.dice.between(100, 400))
      }
      // A stream that is read again from its beginning: rows come twice, and are written once.
    },
  },
  {
    name: 'redis: no acepta escrituras (NOREPLICAS)',
    inflict: async (arena) => {
      await sleep(arena.dice.between(300, 1000))
      noteOutage(arena)
      // A condition that no replica fulfils: reads work, writes are refused, nothing is lost.
      await arena.client.config('SET', 'min-replicas-to-write', '1')
      await sleep(2500)
      const refused = await arena.cli(['send', 'pedido.alta', '{}'])
      if (refused.code !== 4)
        throw new Error(`send to a server without writes exited ${refused.code}: ${refused.stderr}`)
      await arena.client.config('SET', 'min-replicas-to-write', '0')
      noteOutage(arena)
      arena.healed()
    },
  },
]
