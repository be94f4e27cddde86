/**
 * What happens while somebody looks: one stream a page, all fed by one poll of this server, which rests while nobody looks.
 *
 * `inicio` tells those who look at the start how things are; `nuevas` tells those who look at a list how many deliveries that
 * their search would find have come since, without moving what they read.
 */
import type { Context } from 'hono'
import { type SSEStreamingApi, streamSSE } from 'hono/streaming'
import { type ChangeFeed, type DeliveryFilters, type DeliveryListing, matchesFilters } from '../audit/queries.ts'
import type { Millis } from '../model/message.ts'
import type { Viewer } from './access.ts'
import { refuse } from './guard.ts'
import { home } from './home.ts'
import { readSearch } from './search.ts'
import { type Sources, whoIsAway } from './sources.ts'

/** Between two polls. */
const EVERY: Millis = 2_000
/** A session that was ended is noticed after this; and a proxy sees that the stream lives. */
const CHECKED: Millis = 15_000
const MOST = 100
const MOST_COUNTED = 1_000

interface Watcher {
  readonly stream: SSEStreamingApi
  /** Null: looks at the start. */
  readonly filters: DeliveryFilters | null
  readonly from: number
  /** New deliveries that its search finds, each once. */
  readonly seen: Set<string>
  told: number
  /** It reads slower than it is told: it is told less. */
  busy: boolean
}

export class Live {
  readonly #sources: Sources
  readonly #version: string
  readonly #watchers = new Set<Watcher>()
  #feed: ChangeFeed | null = null
  #timer: NodeJS.Timeout | undefined
  #polling: Promise<void> = Promise.resolve()
  readonly #note: (text: string) => void

  /** @param note told to whoever runs the page: bugs */
  constructor(sources: Sources, version: string, note: (text: string) => void) {
    this.#sources = sources
    this.#version = version
    this.#note = note
  }

  stream(c: Context, viewer: () => Promise<Viewer | null>): Response {
    if (this.#watchers.size >= MOST) return refuse(c, 503, `Ya hay ${MOST} páginas mirando en vivo.`)
    const q = c.req.query('q')
    const filters = q === undefined ? null : readSearch(q, [...this.#sources.config.listeners.keys()]).filters
    // nginx would keep what it has for later.
    c.header('x-accel-buffering', 'no')
    const answer = streamSSE(c, async (stream) => {
      const watcher: Watcher = { stream, filters, from: Date.now(), seen: new Set(), told: 0, busy: false }
      this.#add(watcher)
      await new Promise<void>((resolve) => {
        const look = async () => {
          // While Redis is away nobody is sent away.
          if ((await viewer().catch(() => true)) === null) resolve()
          // Of a stream that is gone its end is told.
          else await stream.write(': \n\n').catch(() => {})
        }
        const timer = setInterval(() => void look(), CHECKED)
        timer.unref()
        stream.onAbort(() => {
          clearInterval(timer)
          resolve()
        })
      })
      this.#remove(watcher)
    })
    answer.headers.set('cache-control', 'no-store')
    return answer
  }

  #add(watcher: Watcher): void {
    this.#watchers.add(watcher)
    if (this.#watchers.size === 1) this.#schedule(0)
  }

  #remove(watcher: Watcher): void {
    this.#watchers.delete(watcher)
    if (this.#watchers.size > 0) return
    clearTimeout(this.#timer)
    // Whoever comes next wants to know of what is new from then on.
    this.#feed = null
  }

  async #poll(): Promise<void> {
    const all = [...this.#watchers]
    const [atStart, atList] = [
      all.filter(({ filters }) => filters === null),
      all.filter(({ filters }) => filters !== null),
    ]
    await Promise.all([
      atStart.length > 0 ? this.#tellHome(atStart) : null,
      atList.length > 0 ? this.#tellNew(atList) : null,
    ])
    if (this.#watchers.size > 0) this.#schedule(EVERY)
  }

  #schedule(delay: Millis): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      // One at a time, however many come and go.
      this.#polling = this.#polling
        .then(() => this.#poll())
        .catch((error: Error) => this.#note(`error interno, por favor infórmelo: ${error.stack}`))
    }, delay)
    this.#timer.unref()
  }

  async #tellHome(watchers: readonly Watcher[]): Promise<void> {
    try {
      const state = await home(this.#sources, this.#version)
      for (const watcher of watchers) tell(watcher, 'inicio', state)
    } catch (error) {
      const known = this.#sources.explain(error)
      if (known === null) throw error
      for (const watcher of watchers) tell(watcher, 'corte', { ...whoIsAway(known) })
    }
  }

  async #tellNew(watchers: readonly Watcher[]): Promise<void> {
    try {
      this.#feed ??= await this.#sources.audit.changes({})
      const changed = await this.#feed.next()
      for (const watcher of watchers) {
        const { seen } = watcher
        for (const row of changed) {
          if (seen.size < MOST_COUNTED && isNew(row, watcher)) seen.add(`${row.mensaje_id} ${row.listener}`)
        }
        if (seen.size > watcher.told && tell(watcher, 'nuevas', { cantidad: seen.size })) watcher.told = seen.size
      }
    } catch (error) {
      if (this.#sources.explain(error) === null) throw error
      // Begun anew when it answers; whoever asks something is told.
      this.#feed = null
    }
  }
}

/** False: it has not read what it was told before. */
function tell(watcher: Watcher, event: string, data: object): boolean {
  if (watcher.busy) return false
  watcher.busy = true
  // A stream that is gone is taken out where it ends.
  watcher.stream
    .writeSSE({ event, data: JSON.stringify(data) })
    .catch(() => {})
    .finally(() => {
      watcher.busy = false
    })
  return true
}

function isNew(row: DeliveryListing, { filters, from }: Watcher): boolean {
  return row.creado.getTime() >= from && matchesFilters(row, filters!)
}
