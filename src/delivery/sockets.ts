/**
 * A listener's sockets: one slot each, reused while the server keeps it open, the one used last first.
 *
 * Each slot is an undici client of its own rather than a place in a pool: so it is known on which socket a request went,
 * whether that was new, and what opening it took. Slots are made as they are asked for; how many requests run at once is
 * the worker's decision, and those beyond `kept` are closed after use.
 */
import type { Socket } from 'node:net'
import Client from 'undici/lib/dispatcher/client.js'
import type { Bytes, Millis } from '../model/message.ts'
import { type Dialing, type Endpoint, endpointOf, newProgress, openSocket, type Progress } from './connect.ts'
import { Trouble } from './trouble.ts'

const MAX_HEADER: Bytes = 65_536
/** Of an interim answer: it is held until it is whole. */
const MAX_INTERIM: Bytes = 8192

export class Slot {
  readonly client: Client
  progress: Progress = newProgress()
  /** Requests on the current socket. */
  #requests = 0
  #discarded = false
  #socket: Socket | null = null
  readonly #interim = new InterimAnswers()
  readonly #closing = new AbortController()

  constructor(origin: string, endpoint: Endpoint, dialing: Dialing) {
    this.client = new Client(origin, {
      pipelining: 1,
      // The deadline of the attempt is the only clock: undici's are coarse and start anew with every byte.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: 4000,
      maxHeaderSize: MAX_HEADER,
      connect: (_options, callback) => {
        const progress = newProgress()
        this.progress = progress
        this.#requests = 0
        openSocket(endpoint, dialing, progress, this.#closing.signal).then(
          (socket) => {
            this.#socket = socket
            holdWriteErrors(socket)
            const read = socket.read.bind(socket)
            socket.read = (size) => (size === undefined ? this.#interim.passed(read()) : read(size))
            callback(null, socket)
          },
          (error) => callback(asConnectError(error), null),
        )
      },
    })
    // Every failure reaches its request; nobody else listens.
    this.client.on('connectionError', () => {})
  }

  /** Notes one more request on the current socket. @returns whether it carried one before */
  takeForRequest(): boolean {
    this.#interim.expected = true
    return this.#requests++ > 0
  }

  /** The answer came before the whole request was sent: what is left of it would stand before the next one. */
  get hasUnsent(): boolean {
    return this.#socket !== null && this.#socket.writableLength > 0
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

/** How long what has arrived may take to be read, once writing failed. */
const READ_FIRST: Millis = 1000

/**
 * Lets an answer be read that came before the whole request was sent: a server that refuses a large body answers, closes,
 * and the next write fails although the answer is here. Node destroys a socket at the first such failure, unread data and
 * all; so the failure waits for the reading side, which ends with the connection.
 */
function holdWriteErrors(socket: Socket): void {
  const held = (done: (error?: Error | null) => void) => (error?: Error | null) => {
    const { code } = (error ?? {}) as NodeJS.ErrnoException
    if (code !== 'EPIPE' && code !== 'ECONNRESET') return done(error)
    const timer = setTimeout(done, READ_FIRST, error)
    socket.once('close', () => clearTimeout(timer))
  }
  const [write, writev] = [socket._write.bind(socket), socket._writev!.bind(socket)]
  socket._write = (chunk, encoding, done) => write(chunk, encoding, held(done))
  socket._writev = (chunks, done) => writev(chunks, held(done))
}

/**
 * Takes `100 Continue` for what it is, an interim answer like 102 and 103, legal at any time (RFC 9110 §15.2): undici,
 * which reads those, takes a 100 for the end of the connection. It is given a 102 instead.
 */
class InterimAnswers {
  /** A request was made and its final answer has not begun. */
  expected = false
  #held: Buffer | null = null

  /** What undici may read of a chunk; the beginning of an interim head waits for its rest. */
  passed(chunk: Buffer | null): Buffer | null {
    if (!this.expected || chunk === null) return chunk
    const data = this.#held === null ? chunk : Buffer.concat([this.#held, chunk])
    this.#held = null
    for (let at = 0; at < data.length; ) {
      const begins = data.toString('latin1', at, at + 12)
      const isBegun = begins.length < 12 && 'HTTP/1.1 100'.startsWith(begins)
      if (!isBegun && !/^HTTP\/1\.1 1\d\d/.test(begins)) {
        this.expected = false
        return data
      }
      if (begins.endsWith(' 100')) data[at + 11] = 0x32
      const end = isBegun ? -1 : data.indexOf('\r\n\r\n', at)
      if (end < 0 && data.length - at < MAX_INTERIM) {
        this.#held = data.subarray(at)
        return at === 0 ? null : data.subarray(0, at)
      }
      at = end < 0 ? data.length : end + 4
    }
    return data
  }
}

/**
 * undici tries again by itself, without end, on errors with two of its own codes; and after a certificate of another name it counts
 * the request as running for good, so that the next one of this client waits for its deadline. None of them may come from here.
 */
const NOT_FOR_UNDICI = ['UND_ERR_INFO', 'UND_ERR_SOCKET', 'ERR_TLS_CERT_ALTNAME_INVALID']

/** The wrapper says nothing of its own: the cause is what is told. */
function asConnectError(error: unknown): Error {
  const code = (error as NodeJS.ErrnoException | null)?.code
  if (error instanceof Error && !NOT_FOR_UNDICI.includes(code ?? '')) return error
  return new Error('', { cause: error })
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
