/**
 * Notices that a file of the configuration changed, appeared or went away, so that the worker reloads (INTERFACE §3).
 *
 * It asks the disk every so often instead of subscribing to it: editors and deployments replace files by renaming, mounts
 * over the network tell nothing, and a certificate may be a chain of links.
 */
import { type Stats, statSync } from 'node:fs'
import type { Millis } from '../message.ts'
import type { Config } from './config.ts'
import { configPaths, type LoadOptions, searchPlaces } from './load.ts'

export interface WatchOptions {
  /** Between looks. */
  readonly every?: Millis
}

export class ConfigWatcher {
  readonly #options: LoadOptions
  readonly #changed: () => void
  readonly #timer: NodeJS.Timeout
  /** What each path looked like the last time. */
  #seen: ReadonlyMap<string, string>

  /**
   * Starts at once; its timer keeps no process alive.
   * @param config  what is in force
   * @param options those that it was loaded with: a file that was not there may appear in any of their places
   * @param changed called once after each look that found a change, whatever the change was; must not throw
   */
  constructor(config: Config, options: LoadOptions, changed: () => void, { every = 2000 }: WatchOptions = {}) {
    this.#options = options
    this.#changed = changed
    const { ini, env } = searchPlaces(options)
    this.#seen = look([...ini, ...env, ...config.files.watched])
    this.#timer = setInterval(() => this.#compare(), every)
    this.#timer.unref()
  }

  /** After a reload for another reason (SIGHUP): what the files look like now is no change any more. */
  follow(config: Config): void {
    this.#seen = look([...this.#seen.keys(), ...config.files.watched])
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #compare(): void {
    const now = look(this.#seen.keys())
    if ([...now].every(([path, mark]) => this.#seen.get(path) === mark)) return
    // Even when the new configuration is wrong, what would make it right must be seen when it comes.
    this.#seen = look(configPaths(this.#options))
    this.#changed()
  }
}

function look(paths: Iterable<string>): ReadonlyMap<string, string> {
  return new Map([...paths].map((path) => [path, fingerprint(path)]))
}

/** Changes whenever the file does; a replaced file has another inode even with the same size within one clock tick. */
function fingerprint(path: string): string {
  let stat: Stats | undefined
  try {
    stat = statSync(path, { throwIfNoEntry: false })
  } catch (error) {
    return `? ${(error as NodeJS.ErrnoException).code}`
  }
  return stat ? `${stat.ino} ${stat.size} ${stat.mtimeMs} ${stat.mode}` : 'missing'
}
