/** Every fault, in the order in which they are played; at the end several at once, which the dice draw. */
import type { Arena } from '../arena.ts'
import { type Fault, sleep } from './fault.ts'
import { listenerFaults } from './listeners.ts'
import { poisonFaults } from './poison.ts'
import { postgresFaults } from './postgres.ts'
import { recoveryFaults } from './recovery.ts'
import { redisFaults } from './redis.ts'
import { sentinelFaults } from './sentinel.ts'
import { workerFaults } from './workers.ts'

/** Of the mixed ones; the same seed draws the same ones. */
const AT_ONCE = 3

const alone: readonly Fault[] = [
  ...workerFaults,
  ...redisFaults,
  ...sentinelFaults,
  ...postgresFaults,
  ...listenerFaults,
  ...poisonFaults,
  ...recoveryFaults,
]
const pool = alone.filter(({ mixable }) => mixable)

export const allFaults: readonly Fault[] = [
  ...alone,
  mixedFault(pool, 'mezcla al azar', 1, true),
  mixedFault(pool, 'mezcla al azar, larga', 5, false),
]

/** @param pool those that can stand others beside them */
function mixedFault(pool: readonly Fault[], name: string, rounds: number, short: boolean): Fault {
  return {
    name,
    short,
    workers: 3,
    arena: { redisArgs: ['--appendfsync', 'always'] },
    traffic: { messages: 300 + 150 * rounds, over: 4000 + 4000 * rounds },
    rules: { mayGiveUp: 15 },
    patience: 120_000,
    inflict: async (arena: Arena) => {
      for (let round = 0; round < rounds; round++) {
        const drawn: Fault[] = []
        while (drawn.length < AT_ONCE) {
          const fault = arena.dice.pick(pool)
          // Two that stop and start the same server would wait for each other.
          const family = fault.name.split(':')[0]
          if (!drawn.some((other) => other.name.split(':')[0] === family)) drawn.push(fault)
        }
        arena.notes.push(drawn.map(({ name: each }) => each).join(' + '))
        // All of them to their end, also where one breaks: nobody may go on in an arena that is being taken down.
        const ends = await Promise.allSettled(drawn.map((fault) => fault.inflict(arena)))
        for (const end of ends) if (end.status === 'rejected') throw end.reason
        await sleep(arena.dice.between(0, 800))
        while (arena.workers.length < 2) arena.start()
      }
      arena.healedAt = null
    },
  }
}
