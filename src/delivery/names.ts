/** Which addresses a host's name has, now or a moment ago. */
import { type LookupAddress, lookup } from 'node:dns'
import { isIP } from 'node:net'
import type { Millis } from '../model/message.ts'

/** Long enough for a burst of new sockets, short enough to follow a name that moves. */
const KEPT: Millis = 10_000
/** How old addresses may be that stand in for a DNS that does not answer. */
const KEPT_IN_SILENCE: Millis = 3_600_000
/** How long the DNS is waited for when there are such. */
const PATIENCE: Millis = 500
/** A look-up that takes longer counts as one that did not answer. */
const SLOW: Millis = 1000
const MAX_NAMES = 1000
const THREADS = Number(process.env.UV_THREADPOOL_SIZE) || 4

type Addresses = readonly LookupAddress[]

interface Known {
  readonly addresses: Addresses
  readonly at: number
  /** Until then they are given without asking. */
  until: number
}

/**
 * Host names to addresses, through the system's resolver (so /etc/hosts and nsswitch count), kept for some seconds.
 *
 * `getaddrinfo` runs on libuv's pool of threads and cannot be called off: names whose DNS does not answer would take all
 * of them, for 10 seconds and more, and every other listener would wait behind. So there is one look-up a name at a time,
 * some threads are never used for look-ups, names that did not answer the last time share few of them (`bin/resthooks`
 * asks for more than Node's four), and where the DNS is silent the last good addresses serve for an hour.
 */
export class Names {
  readonly #lookup: (host: string) => Promise<Addresses>
  readonly #atOnce: number
  readonly #silentAtOnce: number
  readonly #known = new Map<string, Known>()
  readonly #running = new Map<string, Promise<Addresses>>()
  /** Whose last look-up got no answer, or a late one. */
  readonly #silent = new Set<string>()
  #busy = 0
  #busyWithSilent = 0
  readonly #waiting: { readonly silent: boolean; readonly start: () => void }[] = []

  /** @param threads of the pool that look-ups run on */
  constructor(lookup: (host: string) => Promise<Addresses> = systemLookup, threads = THREADS) {
    this.#lookup = lookup
    this.#atOnce = Math.max(1, threads - 2)
    this.#silentAtOnce = Math.max(1, Math.floor(this.#atOnce / 4))
  }

  /** Every address of a host, in the resolver's order; an address literal is its own. @throws the resolver's error */
  async resolve(host: string): Promise<Addresses> {
    const family = isIP(host)
    if (family !== 0) return [{ address: host, family }]
    const known = this.#known.get(host)
    if (known !== undefined && Date.now() < known.until) return known.addresses
    let asked = this.#running.get(host)
    if (asked === undefined) {
      asked = this.#ask(host)
      this.#running.set(host, asked)
    }
    if (known === undefined || Date.now() - known.at > KEPT_IN_SILENCE) return asked
    return this.#askedOr(known, asked)
  }

  /** To be called when connecting failed: the name may have moved. */
  forget(host: string): void {
    const known = this.#known.get(host)
    if (known !== undefined) known.until = 0
  }

  /** The answer; or what is known, where none comes: a name that the DNS says not to exist is no such case. */
  async #askedOr(known: Known, asked: Promise<Addresses>): Promise<Addresses> {
    let timer: NodeJS.Timeout | undefined
    const patience = new Promise<null>((done) => {
      timer = setTimeout(done, PATIENCE, null)
    })
    const answer = await Promise.race([asked, patience]).catch((error) => {
      if (isSilence(error)) return null
      throw error
    })
    clearTimeout(timer)
    if (answer !== null) return answer
    known.until = Date.now() + KEPT
    return known.addresses
  }

  async #ask(host: string): Promise<Addresses> {
    const silent = this.#silent.has(host)
    if (this.#mayStart(silent)) this.#take(silent)
    else await new Promise<void>((start) => this.#waiting.push({ silent, start }))
    const started = Date.now()
    try {
      const addresses = await this.#lookup(host)
      this.#heard(host, Date.now() - started > SLOW)
      if (this.#known.size >= MAX_NAMES) this.#known.clear()
      this.#known.set(host, { addresses, at: Date.now(), until: Date.now() + KEPT })
      return addresses
    } catch (error) {
      this.#heard(host, isSilence(error))
      if (!isSilence(error)) this.#known.delete(host)
      throw error
    } finally {
      this.#running.delete(host)
      this.#busy--
      if (silent) this.#busyWithSilent--
      this.#startWaiting()
    }
  }

  #mayStart(silent: boolean): boolean {
    return this.#busy < this.#atOnce && (!silent || this.#busyWithSilent < this.#silentAtOnce)
  }

  #take(silent: boolean): void {
    this.#busy++
    if (silent) this.#busyWithSilent++
  }

  /** One ended, so one may start: the first for which there is room. */
  #startWaiting(): void {
    const at = this.#waiting.findIndex(({ silent }) => this.#mayStart(silent))
    if (at < 0) return
    const [next] = this.#waiting.splice(at, 1)
    this.#take(next!.silent)
    next!.start()
  }

  #heard(host: string, silent: boolean): void {
    if (!silent) this.#silent.delete(host)
    else if (this.#silent.size < MAX_NAMES) this.#silent.add(host)
  }
}

/** No answer, as opposed to the answer that there is no such name. */
function isSilence(error: unknown): boolean {
  return !/^(ENOTFOUND|ENODATA)$/.test((error as NodeJS.ErrnoException).code ?? '')
}

function systemLookup(host: string): Promise<Addresses> {
  return new Promise((done, failed) => {
    lookup(host, { all: true, verbatim: true }, (error, addresses) =>
      error === null ? done(addresses) : failed(error),
    )
  })
}

/** Those of this process. */
export const names = new Names()
