/**
 * `send --lote`: one message a line. A bad line is told with its number and enqueues nothing of itself; the rest goes on.
 *
 * Lines are read, enqueued and answered in blocks, so a file of any length needs the memory of two.
 */
import { createInterface } from 'node:readline'
import type { Config } from '../config/config.ts'
import { OperationFailed, UsageError } from '../errors.ts'
import { newId } from '../id.ts'
import type { Message, Millis } from '../message.ts'
import { decodeEntry, ENVELOPE_KEYS, type Entry, EnvelopeError, jsonProblem, readEntry } from '../queue/envelope.ts'
import { encodeEnvelope } from '../queue/envelope-write.ts'
import { redisTrouble } from '../queue/redis.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'
import { requestProblems } from './request-problems.ts'
import { dueAfter, durationOption, isInactive, originOf, type SendOptions } from './send.ts'
import { mustBeJson, notJson } from './send-body.ts'

const BLOCK_LINES = 500
const BLOCK_BYTES = 4 * 1024 * 1024
/** Those that only the program itself writes. */
const OWN_KEYS = new Set(['recibido', 'profundidad'])
const KNOWN_KEYS = new Set<string>(ENVELOPE_KEYS.filter((key) => !OWN_KEYS.has(key)))

interface Line {
  readonly message: Message
  /** Counted from when the block is enqueued; null where the line has none. */
  readonly delay: Millis | null
  /** The body is JSON, and that was seen. */
  readonly json: boolean
}

export async function sendBatch(
  context: Context,
  config: Config,
  event: string | undefined,
  data: string | undefined,
  options: SendOptions,
): Promise<void> {
  if (data !== undefined)
    throw new UsageError('con --lote los datos van en cada línea de la entrada estándar, no como argumento')
  for (const option of ['ruta', 'metodo', 'tipoContenido', 'clave', 'demora', 'listener'] as const) {
    if (options[option] !== undefined)
      throw new UsageError(`con --lote, --${option === 'tipoContenido' ? 'tipo-contenido' : option} va en cada línea`)
  }
  if (options.cabecera.length > 0) throw new UsageError('con --lote, las cabeceras van en cada línea, en "cabeceras"')
  const patience = options.esperar === undefined ? null : await durationOption('--esperar', options.esperar)
  if (isInactive(config)) return

  const queue = await context.queue()
  const reader = new LineReader(config, event)
  const ids: string[] = []
  let bad = 0
  let number = 0
  let block: (Line | null)[] = []
  let bytes = 0
  // One block is on its way to Redis while the next one is read.
  let sending: Promise<void> = Promise.resolve()
  const send = async (lines: readonly (Line | null)[]) => {
    const sent = await enqueueBlock(queue, lines).catch((error) => {
      throw redisTrouble(error, config.redis)
    })
    await write(sent.map((id) => `${id ?? ''}\n`).join(''))
    if (patience !== null) ids.push(...sent.filter((id) => id !== null))
  }
  const flush = async () => {
    await sending
    sending = send(block)
    // Awaited before the next block and at the end: a failure in between is not nobody's.
    sending.catch(() => {})
    block = []
    bytes = 0
  }
  for await (const text of createInterface({
    input: process.stdin.setEncoding('latin1'),
    crlfDelay: Number.POSITIVE_INFINITY,
  })) {
    number += 1
    try {
      // Latin-1 keeps every byte; whether they are UTF-8 is the envelope's to judge.
      const line = reader.read(Buffer.from(text, 'latin1'))
      block.push(line)
      bytes += text.length
    } catch (error) {
      if (!(error instanceof EnvelopeError)) throw error
      bad += 1
      block.push(null)
      print.note(`resthooks: línea ${number}: ${error.message}`)
    }
    if (block.length >= BLOCK_LINES || bytes >= BLOCK_BYTES) await flush()
  }
  await flush()
  await sending
  if (patience !== null) {
    const { awaitOutcomes } = await import('./await-outcomes.ts')
    await awaitOutcomes(context, ids, patience)
  }
  if (bad > 0) throw new OperationFailed(`${bad} de ${number} líneas no se encolaron; las demás sí`)
}

/** Lines without a key go together; a key wants a step of its own, in the order of the lines. */
async function enqueueBlock(
  queue: Awaited<ReturnType<Context['queue']>>,
  block: readonly (Line | null)[],
): Promise<(string | null)[]> {
  const now = block.some((line) => line !== null && line.delay !== null) ? await queue.now() : 0
  const sent: (string | null)[] = []
  let plain: string[] = []
  for (const line of block) {
    if (line === null) {
      sent.push(null)
      continue
    }
    const { message, delay, json } = line
    const { id, key } = message
    const envelope = encodeEnvelope(delay === null ? message : { ...message, notBefore: dueAfter(now, delay) }, json)
    if (key) {
      await queue.enqueue(plain)
      plain = []
      sent.push(await queue.enqueueOnce(key, id, envelope))
    } else {
      plain.push(envelope)
      sent.push(id)
    }
  }
  await queue.enqueue(plain)
  return sent
}

class LineReader {
  readonly #config: Config
  readonly #event: string | undefined
  readonly #origin = originOf()

  constructor(config: Config, event: string | undefined) {
    this.#config = config
    this.#event = event
  }

  /** @throws EnvelopeError, in Spanish, when the line cannot be sent as it is */
  read(given: Buffer): Line {
    const entry = this.#withEvent(readEntry(given))
    const { message, delay } = decodeEntry(entry, newId, new Date())
    const { onlyListener } = message
    if (onlyListener !== null && !this.#config.listeners.has(onlyListener)) {
      throw new EnvelopeError(`el listener «${onlyListener}» no está en resthooks.ini`)
    }
    const { path, method, headers, contentType } = message
    if (path !== null || method !== null || contentType !== 'application/json' || Object.keys(headers).length > 0) {
      const problems = requestProblems(message, this.#config.listeners.values())
      if (problems.length > 0) throw new EnvelopeError(problems.join('; '))
    }
    const json = entry.datos !== null
    if (!json && message.body.length > 0 && mustBeJson(contentType)) checkLineJson(message.body)
    return { message: { ...message, origin: message.origin ?? this.#origin }, delay, json }
  }

  /** Gives a line without `evento` the one of the command line; unknown keys are refused here, where somebody reads it. */
  #withEvent(entry: Entry): Entry {
    const unknown = Object.keys(entry.members).filter((key) => !KNOWN_KEYS.has(key))
    if (unknown.length > 0) {
      throw new EnvelopeError(`clave desconocida: ${unknown.join(', ')}; se aceptan: ${[...KNOWN_KEYS].join(', ')}`)
    }
    if (entry.members.evento !== undefined || this.#event === undefined) return entry
    return { ...entry, members: { ...entry.members, evento: this.#event } }
  }
}

function checkLineJson(body: Buffer): void {
  try {
    JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body))
  } catch {
    throw new EnvelopeError(notJson('el cuerpo', jsonProblem(body), '"tipo_contenido"'))
  }
}

/** Waits where the reader of our stdout is slower than we are. */
function write(text: string): Promise<void> {
  return new Promise((resolve) => {
    if (text === '' || print.stdout().write(text)) resolve()
    else print.stdout().once('drain', resolve)
  })
}
