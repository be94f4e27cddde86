/**
 * A listener's sockets: one slot each, reused while the server keeps it open, the warmest first.
 *
 * Each slot is an undici client of its own rather than a place in a pool: so it is known on which socket a request went,
 * whether that was new, and what opening it took. Slots are made as they are asked for; how many requests run at once is
 * the worker's decision, and those beyond `kept` are closed after use.
 */
import { Client } from 'undici'
import { type Dialing, type Endpoint, endpointOf, newProgress, openSocket, type Progress } from './connect.ts'
import { Trouble } from './trouble.ts'

export class Slot {
  readonly client: Client
  progress: Progress = newProgress()
  /** Requests on the current socket. */
  #requests = 0
  #discarded = false
  readonly #closing = new AbortController()

  constructor(origin: string, endpoint: Endpoint, dialing: Dialing) {
    this.client = new Client(origin, {
      pipelining: 1,
      // The deadline of the attempt is the only clock: undici's are coarse and start anew with every byte.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: 4000,
      maxHeaderSize: 65_536,
      connect: (_options, callback) => {
        const progress = newProgress()
        this.progress = progress
        this.#requests = 0
        openSocket(endpoint, dialing, progress, this.#closing.signal).then(
          (socket) => callback(null, socket),
          (error) => callback(asConnectError(error), null),
        )
      },
    })
    // Every failure reaches its request; nobody else listens.
    this.client.on('connectionError', () => {})
  }

  /** Notes one more request on the current socket. @returns whether it carried one before */
  takeForRequest(): boolean {
    return this.#requests++ > 0
  }

  get usable(): boolean {
    return !this.#discarded
  }

  /** Closes the socket, whatever it is doing. */
  discard(): void {
    if (this.#discarded) return
    this.#discarded = true
    this.#closing.abort(new Trouble('interrumpido', 'la conexión se abandonó'))
    this.client.destroy().catch(() => {})
  }
}

/** undici tries again by itself, without end, on errors with two of its own codes: none of them may come from here. */
function asConnectError(error: unknown): Error {
  const code = (error as NodeJS.ErrnoException | null)?.code
  if (error instanceof Error && code !== 'UND_ERR_INFO' && code !== 'UND_ERR_SOCKET') return error
  return new Error('connecting failed', { cause: error })
}

export class Sockets {
  readonly #origin: string
  readonly #endpoint: Endpoint
  readonly #dialing: Dialing
  readonly #kept: number
  readonly #idle: Slot[] = []
  #busy = 0
  #closed = false
  #drained: (() => void) | null = null

  constructor(origin: string, dialing: Dialing, kept: number) {
    this.#origin = origin
    this.#endpoint = endpointOf(origin)
    this.#dialing = dialing
    this.#kept = kept
  }

  take(): Slot {
    this.#busy++
    return this.#idle.pop() ?? this.#make()
  }

  /** In place of `slot`, one that has no socket yet. */
  fresh(slot: Slot): Slot {
    slot.discard()
    return this.#make()
  }

  giveBack(slot: Slot): void {
    this.#busy--
    if (!slot.usable) {
      // Nothing to keep.
    } else if (this.#closed || this.#idle.length >= this.#kept) slot.discard()
    else this.#idle.push(slot)
    if (this.#busy === 0) this.#drained?.()
  }

  /** Closes the idle ones now and resolves when the busy ones have ended. */
  async close(): Promise<void> {
    this.#closed = true
    for (const slot of this.#idle.splice(0)) slot.discard()
    if (this.#busy > 0) {
      await new Promise<void>((resolve) => {
        this.#drained = resolve
      })
    }
  }

  #make(): Slot {
    return new Slot(this.#origin, this.#endpoint, this.#dialing)
  }
}
