/**
 * Keeps the beginning of an answer's body, decompressed, and no more than that.
 *
 * What is kept raw is limited first and decompressed afterwards with a limit on the output, so that neither 1 GB of
 * answer nor 1 GB packed into 1 MB is ever in memory.
 */
import type { Transform } from 'node:stream'
import * as zlib from 'node:zlib'
import type { Bytes } from '../model/message.ts'

/** Packed data can be a little larger than what it holds; and as much of a remainder is read to save the socket. */
export const SLACK: Bytes = 65_536

export interface KeptBody {
  readonly body: Buffer
  readonly truncated: boolean
}

/**
 * @param raw      the beginning of the body as it came
 * @param complete whether that was all
 * @param encoding the `Content-Encoding` header
 * @param max      kept at most
 */
export function keepBody(
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
