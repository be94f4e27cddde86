/**
 * One HTTP request on one socket, under the deadline of its attempt: what was sent, what came back, how long each phase took, and
 * the beginning of the answer's body.
 *
 * With `sockets.ts` the only place that knows undici. undici may put a request on a second socket by itself; here the
 * second start is refused, so that one exchange is at most one request that a server could have seen.
 */

import type { Transform } from 'node:stream'
import * as zlib from 'node:zlib'
import type { Dispatcher } from 'undici'
import type { Bytes } from '../model/message.ts'
import { round } from './connect.ts'
import type { Deadline, Interruptible } from './deadline.ts'
import type { Slot } from './sockets.ts'
import { isConnectionLoss, networkTrouble, type Stage, Trouble, type TroubleReport } from './trouble.ts'

interface WireRequest {
  readonly method: string
  readonly target: string
  readonly headers: string[]
  readonly body: Buffer
}

type ResponseHeaders = Readonly<Record<string, string | string[] | undefined>>

export interface Exchanged {
  /** ms since epoch. */
  readonly startedAt: number
  readonly durationMs: number
  readonly phases: Readonly<Record<string, number>>
  readonly ip: string | null
  readonly status: number | null
  readonly headers: ResponseHeaders | null
  readonly body: Buffer | null
  readonly truncated: boolean
  readonly trouble: TroubleReport | null
  /** A reused socket was dropped before any byte of an answer: the server never took the request up. */
  readonly lostOnReuse: boolean
}

/** Never rejects. The slot is marked unusable where its socket may still be busy with this request. */
export function exchange(slot: Slot, request: WireRequest, max: Bytes, deadline: Deadline): Promise<Exchanged> {
  return new Promise((resolve) => new Exchange(slot, request, max, deadline, resolve).start())
}

class Exchange implements Dispatcher.DispatchHandler, Interruptible {
  readonly #slot: Slot
  readonly #request: WireRequest
  readonly #max: Bytes
  readonly #deadline: Deadline
  readonly #resolve: (result: Exchanged) => void
  readonly #startedAt = Date.now()
  readonly #started = performance.now()
  #begun = false
  #settled = false
  #reused = false
  #sentAt = 0
  #firstByteAt = 0
  #status: number | null = null
  #headers: ResponseHeaders | null = null
  #chunks: Buffer[] = []
  #received = 0
  #kept = 0

  constructor(slot: Slot, request: WireRequest, max: Bytes, deadline: Deadline, resolve: (result: Exchanged) => void) {
    this.#slot = slot
    this.#request = request
    this.#max = max
    this.#deadline = deadline
    this.#resolve = resolve
  }

  start(): void {
    const { method, target, headers, body } = this.#request
    if (this.#deadline.ended !== null) {
      this.#fail(this.#deadline.ended, 'connect')
      return
    }
    this.#deadline.atWork = this
    try {
      this.#slot.client.dispatch({ path: target, method, headers, body: body.length === 0 ? null : body }, this)
    } catch (error) {
      this.#fail(error, 'request')
    }
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.#settled || this.#begun) {
      controller.abort(new Trouble('conexion', 'el pedido no se repite por su cuenta'))
      return
    }
    this.#begun = true
    this.#reused = this.#slot.takeForRequest()
    this.#sentAt = performance.now()
  }

  onResponseStarted(): void {
    if (this.#firstByteAt === 0) this.#firstByteAt = performance.now()
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: ResponseHeaders): void {
    if (status < 200) return
    this.#status = status
    this.#headers = headers
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#received += chunk.length
    const room = this.#rawLimit() - this.#kept
    if (room > 0) {
      // Copied out: undici's chunk is a view of a buffer many times its size.
      this.#chunks.push(Buffer.from(room < chunk.length ? chunk.subarray(0, room) : chunk))
      this.#kept += Math.min(room, chunk.length)
    }
    if (this.#received <= this.#rawLimit()) return
    // Reading a small remainder costs less than a new connection; a large one is left unread.
    const announced = Number(this.#headers?.['content-length'] ?? Number.NaN)
    const rest = Number.isNaN(announced) ? this.#received - this.#rawLimit() : announced - this.#rawLimit()
    if (rest > SLACK) {
      this.#finish(null)
      this.#slot.discard()
    }
  }

  onResponseEnd(): void {
    this.#finish(null)
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#fail(error, this.#firstByteAt > 0 ? 'response' : this.#begun ? 'request' : this.#slot.progress.stage)
  }

  #encoding(): string | undefined {
    const value = this.#headers?.['content-encoding']
    return typeof value === 'string' ? value : value?.join(',')
  }

  #rawLimit(): Bytes {
    return this.#encoding() === undefined ? this.#max : this.#max + SLACK
  }

  /** The time is up or the worker lost its lease. */
  interrupt(trouble: Trouble): void {
    if (this.#settled) return
    const stage = !this.#begun ? this.#slot.progress.stage : this.#firstByteAt > 0 ? 'response' : 'request'
    this.#fail(new Trouble(trouble.error, `${trouble.message} ${WHILE[stage]}`), stage)
    this.#slot.discard()
  }

  #fail(error: unknown, stage: Stage): void {
    const lost = this.#reused && this.#firstByteAt === 0 && isConnectionLoss(error)
    // An answer that broke off beyond what is kept anyway is whole for us.
    if (this.#status !== null && (this.#received > this.#rawLimit() || HAS_NO_BODY.has(this.#status)))
      this.#finish(null)
    else if (this.#status === null && (error as NodeJS.ErrnoException).code === LENGTH_MISMATCH)
      this.#finish({ error: 'respuesta', detail: BROKEN_HEAD })
    else this.#finish(networkTrouble(error, stage), lost)
  }

  #finish(trouble: TroubleReport | null, lostOnReuse = false): void {
    if (this.#settled) return
    this.#settled = true
    this.#deadline.atWork = null
    if (this.#slot.hasUnsent) this.#slot.discard()
    const ended = performance.now()
    const { progress } = this.#slot
    const durationMs = round(ended - this.#started)
    const phases: Record<string, number> = this.#reused ? {} : { ...progress.phases }
    if (this.#firstByteAt > 0) phases.primer_byte = round(this.#firstByteAt - this.#sentAt)
    phases.total = durationMs
    const settle = (body: Buffer | null, truncated: boolean) =>
      this.#resolve({
        startedAt: this.#startedAt,
        durationMs,
        phases,
        ip: progress.ip,
        status: this.#status,
        headers: this.#headers,
        body,
        truncated,
        trouble,
        lostOnReuse,
      })
    if (this.#status === null) {
      settle(null, false)
      return
    }
    const raw = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks, this.#kept)
    const whole = trouble === null && this.#received === this.#kept
    const kept = keepBody(raw, whole, this.#encoding(), this.#max)
    if (kept instanceof Promise) kept.then(({ body, truncated }) => settle(body, truncated))
    else settle(kept.body, kept.truncated)
  }
}

/** RFC 9110 §6.4.1: neither a body that comes all the same nor one that is announced takes the answer back. */
const HAS_NO_BODY: ReadonlySet<number> = new Set([204, 205, 304])

/** undici's word for whatever it cannot read after a Content-Length, its repetition (RFC 9110 §8.6) above all. */
const LENGTH_MISMATCH = 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH'
const BROKEN_HEAD =
  'las cabeceras de la respuesta no son HTTP válido: Content-Length repetida, o mal escrita otra cabecera'

const WHILE: Readonly<Record<Stage, string>> = {
  dns: 'mientras se resolvía el nombre',
  connect: 'mientras se conectaba',
  tls: 'mientras se negociaba TLS',
  request: 'sin que llegara una respuesta',
  response: 'sin que la respuesta terminara',
}

/** Packed data can be a little larger than what it holds; and as much of a remainder is read to save the socket. */
const SLACK: Bytes = 65_536

interface KeptBody {
  readonly body: Buffer
  readonly truncated: boolean
}

/**
 * Keeps the beginning of an answer's body, decompressed. What is kept raw is limited first and decompressed afterwards with a
 * limit on the output, so that neither 1 GB of answer nor 1 GB packed into 1 MB is ever in memory.
 * @param raw      the beginning of the body as it came
 * @param complete whether that was all
 * @param encoding the `Content-Encoding` header
 * @param max      kept at most
 */
function keepBody(
  raw: Buffer,
  complete: boolean,
  encoding: string | undefined,
  max: Bytes,
): KeptBody | Promise<KeptBody> {
  const decoders = decodersFor(encoding)
  if (decoders === null || decoders.length === 0) return cut(raw, complete, max)
  return decode(raw, complete, decoders, max)
}

function cut(raw: Buffer, complete: boolean, max: Bytes): KeptBody {
  return raw.length > max ? { body: raw.subarray(0, max), truncated: true } : { body: raw, truncated: !complete }
}

type Decoder = () => Transform

/** Outermost coding last in the header, so first to be undone. Null when one of them is unknown: kept as it came. */
function decodersFor(encoding: string | undefined): Decoder[] | null {
  if (encoding === undefined) return []
  const decoders: Decoder[] = []
  for (const name of encoding
    .toLowerCase()
    .split(',')
    .map((part) => part.trim())) {
    if (name === '' || name === 'identity') continue
    const decoder = DECODERS[name]
    if (decoder === undefined) return null
    decoders.unshift(decoder)
  }
  // Each layer multiplies the possible growth; nobody sends three.
  return decoders.length > 2 ? null : decoders
}

/** A body cut off in the middle still decodes as far as it goes. */
const PARTIAL = { flush: zlib.constants.Z_SYNC_FLUSH, finishFlush: zlib.constants.Z_SYNC_FLUSH }
const gunzip: Decoder = () => zlib.createGunzip(PARTIAL)
const DECODERS: Record<string, Decoder | undefined> = {
  gzip: gunzip,
  'x-gzip': gunzip,
  deflate: () => zlib.createInflate(PARTIAL),
  br: () =>
    zlib.createBrotliDecompress({
      flush: zlib.constants.BROTLI_OPERATION_FLUSH,
      finishFlush: zlib.constants.BROTLI_OPERATION_FLUSH,
    }),
  ...zstd(),
}

/** Node 22.15 has zstd, Node 20 does not. */
function zstd(): Record<string, Decoder> {
  const create = (zlib as unknown as { createZstdDecompress?: () => Transform }).createZstdDecompress
  return create === undefined ? {} : { zstd: () => create() }
}

function decode(raw: Buffer, complete: boolean, decoders: readonly Decoder[], max: Bytes): Promise<KeptBody> {
  return new Promise((resolve) => {
    const streams = decoders.map((decoder, index) => {
      // `deflate` is zlib by the standard (RFC 9110 §8.4.1.2) and bare deflate by some servers.
      const bare = index === 0 && decoder === DECODERS.deflate && ((raw[0] ?? 0) & 0x0f) !== 8
      return bare ? zlib.createInflateRaw(PARTIAL) : decoder()
    })
    const kept: Buffer[] = []
    let size = 0
    let settled = false
    const finish = (result: KeptBody) => {
      if (settled) return
      settled = true
      for (const stream of streams) stream.destroy()
      resolve(result)
    }
    const sofar = (truncated: boolean) => finish({ body: Buffer.concat(kept, Math.min(size, max)), truncated })
    streams.forEach((stream, index) => {
      // Not what its header says: what was understood, or else the bytes as they came.
      stream.on('error', () => (size === 0 ? finish(cut(raw, complete, max)) : sofar(true)))
      const next = streams[index + 1]
      if (next !== undefined) stream.pipe(next)
    })
    const last = streams.at(-1)!
    last.on('data', (chunk: Buffer) => {
      kept.push(chunk)
      size += chunk.length
      if (size > max) sofar(true)
    })
    last.on('end', () => sofar(!complete))
    streams[0]!.end(raw)
  })
}
