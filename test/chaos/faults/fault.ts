/** What a fault is: something done to an arena while messages flow through it. */
import type { Arena, ArenaOptions } from '../arena.ts'
import type { Rules } from '../ledger.ts'
import type { TrafficPlan } from '../traffic.ts'

export interface Fault {
  /** As the table shows it. */
  readonly name: string
  /** Also in the one-minute form. */
  readonly short?: boolean
  /** It rests for many seconds after its traffic: the one-minute form goes on with the next fault meanwhile. */
  readonly restsLong?: boolean
  /** May be mixed at random with others. */
  readonly mixable?: boolean
  readonly arena?: ArenaOptions | (() => Promise<ArenaOptions>)
  readonly traffic?: Partial<TrafficPlan>
  /** Workers that run from the start; 2 unless told. */
  readonly workers?: number
  readonly rules?: Rules
  /** ms that everything may take to come to rest afterwards. */
  readonly patience?: number
  /** It starts the workers itself: nobody waits for a first delivery before it. */
  readonly startsLate?: boolean
  /** Called when messages flow; returns when the fault is over and everything runs again. */
  inflict(arena: Arena): Promise<void>
  /** Further checks when all is quiet: what must not be, in words. */
  verify?(arena: Arena): Promise<readonly string[]>
  /** Ends what it started beside the arena. */
  end?(): Promise<void>
}

export { setTimeout as sleep } from 'node:timers/promises'
