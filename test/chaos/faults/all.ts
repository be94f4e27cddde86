/** Every fault, in the order in which they are played. */
import type { Fault } from './fault.ts'
import { listenerFaults } from './listeners.ts'
import { mixedFault } from './mixed.ts'
import { poisonFaults } from './poison.ts'
import { postgresFaults } from './postgres.ts'
import { recoveryFaults } from './recovery.ts'
import { redisFaults } from './redis.ts'
import { sentinelFaults } from './sentinel.ts'
import { workerFaults } from './workers.ts'

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
