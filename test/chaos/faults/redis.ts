/** Redis that stops, dies, hangs, forgets its scripts, is full, or loses the audit's group. */
import { until } from '../../support/until.ts'
import { type Arena, LEASE_MS } from '../arena.ts'
import { type Fault, sleep } from './fault.ts'

/** All workers at once lose sight of what they have in flight: it may be made twice. */
function noteOutage(arena: Arena): void {
  arena.noteCrash(arena.workers.length)
}

/** Redis is stopped by a signal, and is back after what happens meanwhile; frozen ones go on, the others start again. */
async function without(arena: Arena, signal: NodeJS.Signals, meanwhile: () => Promise<unknown>): Promise<void> {
  noteOutage(arena)
  const frozen = signal === 'SIGSTOP'
  if (frozen) arena.redis.process.kill(signal)
  else await arena.redis.kill(signal)
  await meanwhile()
  if (frozen) arena.redis.process.kill('SIGCONT')
  else await arena.redis.start()
  noteOutage(arena)
}

/** With `everysec` a killed server may have answered for what it had not written yet; with `always` never. */
const SURE = { redisArgs: ['--appendfsync', 'always'] }

/** Keys of a listener that may come to be of another type than the scripts expect: a person's slip in redis-cli. */
const LANE_KEYS = ['queue', 'inFlight', 'deliveries', 'retries', 'failed', 'breaker'] as const

export const redisFaults: readonly Fault[] = [
  {
    name: 'redis: un cortafuegos olvida las conexiones',
    arena: { through: 'redis' },
    inflict: async (arena) => {
      for (let i = 0; i < 2; i++) {
        await sleep(arena.dice.between(300, 900))
        noteOutage(arena)
        arena.proxy.swallow()
        const before = arena.wire.requests.length
        const goesOn = async () => {
          if ((await arena.depths()).entrada === 0) await arena.traffic.foreign(`tras-olvido${i}-${Date.now()}`, 5, 0)
          return arena.wire.requests.length > before + 5
        }
        await until(goesOn, { timeout: 40_000, every: 500, what: 'deliveries over new connections' })
        noteOutage(arena)
      }
      arena.healed()
    },
  },
  {
    name: 'redis: respuestas que se pierden en el camino',
    arena: { through: 'redis', ini: { workers: { arriendo: `${LEASE_MS}ms` } } },
    patience: 90_000,
    inflict: async (arena) => {
      for (let i = 0; i < 4; i++) {
        await sleep(arena.dice.between(100, 500))
        // What a claim answers carries the messages; the script has run, its answer comes never.
        noteOutage(arena)
        const lost = arena.proxy.cutOnAnswer(/"evento"/)
        await Promise.race([lost, sleep(3000)])
        noteOutage(arena)
      }
      arena.healed()
    },
  },
  {
    name: 'redis: claves de un listener con otro tipo',
    patience: 90_000,
    inflict: async (arena) => {
      const lane = arena.keys.lane('lento')
      for (const kind of LANE_KEYS) {
        const key = lane[kind]
        // What lay there goes with the slip; put back, it is as if it had only been out of sight.
        const aside = `${key}-aparte`
        const had = (await arena.client.exists(key)) === 1
        const slip = arena.client.multi()
        if (had) slip.rename(key, aside)
        await slip.set(key, 'x').exec()
        const before = arena.wire.requests.filter(({ listener }) => listener === 'rapido').length
        await arena.traffic.foreign(`tipo-${kind}`, 5, 0)
        const others = () => arena.wire.requests.filter(({ listener }) => listener === 'rapido').length >= before + 5
        await until(others, { timeout: 20_000, every: 50, what: `deliveries of others while ${kind} is mistyped` })
        const repair = arena.client.multi().del(key)
        if (had) repair.rename(aside, key)
        await repair.exec()
        // A lease that was hidden may have run out.
        noteOutage(arena)
        await sleep(300)
      }
    },
  },
  {
    name: 'redis: reinicio con AOF',
    mixable: true,
    inflict: async (arena) => {
      await sleep(arena.dice.between(300, 1200))
      await without(arena, 'SIGTERM', () => sleep(arena.dice.between(200, 3000)))
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
        await without(arena, 'SIGKILL', () => sleep(arena.dice.between(0, 800)))
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
      await without(arena, 'SIGKILL', async () => {
        await sleep(1000)
        await arena.killHard([await arena.anyWorker()])
        arena.start()
        await sleep(LEASE_MS)
      })
      arena.healed()
    },
  },
  {
    name: 'redis: SIGTERM a los workers mientras no está',
    mixable: true,
    arena: SURE,
    inflict: async (arena) => {
      await sleep(arena.dice.between(300, 1000))
      await without(arena, 'SIGKILL', async () => {
        await sleep(300)
        // drenaje (5 s), the last settle and the last audit each have their patience: it must end, with exit code 0.
        await arena.stop([...arena.workers], 30_000)
        arena.start(2)
        await sleep(500)
      })
      arena.healed()
    },
  },
  {
    name: 'redis: SIGSTOP más largo que el arriendo',
    mixable: true,
    inflict: async (arena) => {
      await sleep(arena.dice.between(300, 1200))
      await without(arena, 'SIGSTOP', () => sleep(LEASE_MS + 1500))
      arena.healed()
    },
  },
  {
    name: 'redis: SIGSTOP más largo que la espera de una respuesta',
    inflict: async (arena) => {
      await sleep(arena.dice.between(300, 1200))
      await without(arena, 'SIGSTOP', () => sleep(17_000))
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
    name: 'redis: tramos del flujo borrados',
    mixable: true,
    inflict: async (arena) => {
      for (let i = 0; i < 8; i++) {
        await arena.client.del(arena.keys.auditStretches)
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
