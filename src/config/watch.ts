/**
 * Notices that a file of the configuration changed, appeared or went away, and reads it anew once it is at rest, so that the
 * worker reloads (INTERFACE §3).
 *
 * It asks the disk every so often instead of subscribing to it: editors and deployments replace files by renaming, mounts
 * over the network tell nothing, and a certificate may be a chain of links.
 */
import { type Stats, statSync } from 'node:fs'
import type { Millis } from '../model/message.ts'
import type { Config } from './config.ts'
import type { LoadOptions } from './files.ts'
import { configPaths, searchPlaces } from './load.ts'

interface WatchOptions {
  /** Between looks. */
  readonly every?: Millis
  /** A file that changed must then stay as it is for so long before it is read: whoever writes it may be in the middle. */
  readonly rest?: Millis
}

/** What was read after a change, and why it was read. */
export type Reread = { readonly why: string } & (
  | { readonly config: Config }
  /** Not to be put in force. */
  | { readonly error: Error }
)

const CHANGED = 'cambió un archivo'
/** After this long without rest it is said, once. */
const RESTLESS_MS: Millis = 30_000

export class ConfigWatcher {
  readonly #options: LoadOptions
  readonly #load: () => Config
  readonly #read: (reread: Reread) => void
  readonly #rest: Millis
  readonly #timer: NodeJS.Timeout
  /** What each path looked like when the configuration was last read. */
  #seen: ReadonlyMap<string, string>
  #resting: NodeJS.Timeout | undefined

  /**
   * Starts at once; its timers keep no process alive.
   * @param config  what is in force
   * @param options those that it was loaded with: a file that was not there may appear in any of their places
   * @param load    reads the configuration, or throws why it is not to be put in force
   * @param read    called once for each change, whatever it was, when the files are at rest; must not throw
   */
  constructor(
    config: Config,
    options: LoadOptions,
    load: () => Config,
    read: (reread: Reread) => void,
    { every = 2000, rest = 1000 }: WatchOptions = {},
  ) {
    this.#options = options
    this.#load = load
    this.#read = read
    this.#rest = rest
    const { ini, env } = searchPlaces(options)
    this.#seen = look([...ini, ...env, ...config.files.watched])
    this.#timer = setInterval(() => this.#compare(), every)
    this.#timer.unref()
  }

  /** Reads the files without waiting for a change (SIGHUP), but never in the middle of one. */
  readNow(why: string): void {
    this.#awaitRest(why, Math.min(this.#rest, 100), this.#look(), Date.now())
  }

  close(): void {
    clearInterval(this.#timer)
    clearTimeout(this.#resting)
  }

  #compare(): void {
    if (this.#resting !== undefined) return
    const now = look(this.#seen.keys())
    if (!same(this.#seen, now)) this.#awaitRest(CHANGED, this.#rest, this.#look(), Date.now())
  }

  /** Even when the new configuration is wrong, what would make it right must be seen when it comes. */
  #look(): ReadonlyMap<string, string> {
    return look(configPaths(this.#options))
  }

  #awaitRest(why: string, rest: Millis, before: ReadonlyMap<string, string>, since: number): void {
    clearTimeout(this.#resting)
    this.#resting = setTimeout(() => {
      this.#resting = undefined
      const reread = same(before, this.#look()) ? this.#reread(why) : null
      const now = this.#look()
      // What changed while it was read may have been read in halves.
      if (reread !== null && same(before, now)) {
        this.#seen = now
        this.#read(reread)
        return
      }
      const restless = Date.now() - since > RESTLESS_MS
      if (restless)
        this.#read({ why, error: new Error('los archivos no dejan de cambiar: se leen cuando estén quietos.') })
      this.#awaitRest(why, rest, now, restless ? Number.POSITIVE_INFINITY : since)
    }, rest)
    this.#resting.unref()
  }

  #reread(why: string): Reread {
    try {
      return { why, config: this.#load() }
    } catch (error) {
      return { why, error: error as Error }
    }
  }
}

function same(before: ReadonlyMap<string, string>, now: ReadonlyMap<string, string>): boolean {
  return before.size === now.size && [...now].every(([path, mark]) => before.get(path) === mark)
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
