/** Every fault, in the order in which they are played. */
import type { Fault } from './fault.ts'
import { postgresFaults } from './postgres.ts'
import { redisFaults } from './redis.ts'
import { workerFaults } from './workers.ts'

export const allFaults: readonly Fault[] = [...workerFaults, ...redisFaults, ...postgresFaults]
