/** What every part of a worker shares. */
import type { Config } from '../config/config.ts'
import type { LoadedConfig } from '../queue/workers.ts'
import type { Logger } from './log.ts'
import type { Metrics } from './metrics.ts'
import type { BrokenLanes, Outage } from './outage.ts'
import type { Sightings } from './sightings.ts'

export interface WorkerContext {
  /** `host:pid:random`: who made an attempt, and whose audit entries are whose. */
  readonly worker: string
  readonly version: string
  readonly log: Logger
  readonly redisOutage: Outage
  /** Files and sockets that may be open at once ran out. */
  readonly descriptors: Outage
  readonly brokenLanes: BrokenLanes
  /** The configuration in force now; a reload changes it. */
  config(): Config
  /** The same for others to see. */
  loaded(): LoadedConfig
  /** Requests and callbacks under way. */
  inFlight(): number
  /** The same by lane, the fullest first. */
  inFlightBy(): Readonly<Record<string, number>>
  /** What is seen of the listeners. */
  readonly sightings: Sightings
  /** Where attempts are counted; undefined: nobody asks. */
  metrics(): Metrics | undefined
  /** Redis's clock, ms since epoch, as far as it is known here. */
  now(): number
}
