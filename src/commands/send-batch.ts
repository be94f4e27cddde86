/**
 * `send --lote`: one message a line. A bad line is told with its number and enqueues nothing of itself; the rest goes on.
 *
 * Lines are read, enqueued and answered in blocks of what has come, so a file of any length needs the memory of two.
 */
import { createInterface, type Interface } from 'node:readline'
import type { Config } from '../config/config.ts'
import { OperationFailed, Unavailable, UsageError } from '../errors.ts'
import { newId } from '../id.ts'
import { jsonProblem } from '../model/json.ts'
import type { Message, Millis } from '../model/message.ts'
import { takeTrace, traceProblem } from '../model/trace.ts'
import { type Entry, EnvelopeError, readEntry } from '../queue/entry.ts'
import { decodeEntry, ENVELOPE_KEYS } from '../queue/envelope.ts'
import { encodeEnvelope } from '../queue/envelope-write.ts'
import type { Queue } from '../queue/queue.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'
import { Audience } from './send-audience.ts'
import {
  dueAfter,
  durationOption,
  enqueueTrouble,
  isInactive,
  mustBeJson,
  notJson,
  originOf,
  requestProblems,
  type SendOptions,
  standardInput,
  tracedHeaders,
  unreadableInput,
  whyTooLarge,
} from './send-message.ts'

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

  const ids: string[] = []
  const batch = new Batch(
    context,
    await context.queue(),
    config,
    new LineReader(config, event, tracedHeaders({}, options)),
    (id) => {
      if (patience !== null) ids.push(id)
    },
  )
  if ((await batch.run(standardInput())) === 'interrupted') return
  await new Audience(config).tellUnserved(await context.queue())
  if (patience !== null) {
    const { awaitOutcomes } = await import('./await-outcomes.ts')
    await awaitOutcomes(context, ids, patience)
  }
  if (batch.bad > 0) throw new OperationFailed(`${batch.bad} de ${batch.handled} líneas no se encolaron; las demás sí`)
}

/**
 * What has come is enqueued as soon as the block before it is in, and its ids are printed then: `tail -f … | send --lote` works,
 * and so do 200,000 lines from a file. Whatever ends it early (a signal, Redis, a reader of the ids that is gone) leaves
 * printed what was enqueued, and says how many that are.
 */
class Batch {
  readonly #context: Context
  readonly #queue: Queue
  readonly #config: Config
  readonly #reader: LineReader
  readonly #onEnqueued: (id: string) => void
  /** Lines that were enqueued or told as bad. */
  handled = 0
  bad = 0
  #enqueued = 0
  #read = 0
  #blank = 0
  #block: (Line | null)[] = []
  #bytes = 0
  #scheduled = false
  /** The blocks, one after the other. */
  #sending: Promise<void> = Promise.resolve()
  #lines: Interface | undefined
  #stopped = false

  constructor(context: Context, queue: Queue, config: Config, reader: LineReader, onEnqueued: (id: string) => void) {
    this.#context = context
    this.#queue = queue
    this.#config = config
    this.#reader = reader
    this.#onEnqueued = onEnqueued
  }

  /**
   * Sends every line, up to the end of the input or a signal.
   * @throws OperationFailed when the ids cannot be printed or the input not read any more, Unavailable when Redis is gone
   */
  async run(input: NodeJS.ReadStream): Promise<'done' | 'interrupted'> {
    let signal: NodeJS.Signals | undefined
    const interrupt = (name: NodeJS.Signals) => {
      signal = name
      this.#stop()
    }
    // Once: a second one ends the process at once.
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, interrupt)
    let lost: NodeJS.ErrnoException | undefined
    print.whenOutputIsLost((error) => {
      lost = error
      this.#stop()
    })
    // The lines know nothing of it: to them it is an end.
    let broken: Error | undefined
    input.once('error', (error) => {
      broken = error
      this.#stop()
    })
    // Latin-1 keeps every byte; whether they are UTF-8 is the envelope's to judge.
    this.#lines = createInterface({ input: input.setEncoding('latin1'), crlfDelay: Number.POSITIVE_INFINITY })
    try {
      for await (const text of this.#lines) {
        if (this.#stopped) break
        this.#take(text)
        if (this.#block.length >= BLOCK_LINES || this.#bytes >= BLOCK_BYTES) {
          // One block is on its way to Redis while the next one is read.
          const before = this.#sending
          this.#flush()
          await before
        } else if (!this.#scheduled) {
          // When all lines that came with this one are read.
          this.#scheduled = true
          setImmediate(() => {
            this.#scheduled = false
            this.#flush()
          })
        }
      }
      if (!this.#stopped) this.#flush()
      await this.#sending
    } finally {
      input.destroy()
      for (const name of ['SIGINT', 'SIGTERM'] as const) process.off(name, interrupt)
    }
    if (signal !== undefined) {
      print.note(`resthooks: interrumpido: ${this.#tally()}`)
      process.exitCode = signal === 'SIGINT' ? 130 : 143
      return 'interrupted'
    }
    if (broken !== undefined)
      throw new OperationFailed(`${unreadableInput(broken)}: ${this.#tally()}`, { cause: broken })
    if (lost !== undefined) throw new OperationFailed(`${print.lostOutput(lost)}: ${this.#tally()}`)
    return 'done'
  }

  /** A blank line is one only when another follows: files often end with one. */
  #take(text: string): void {
    this.#read += 1
    if (text.trim() === '') {
      this.#blank += 1
      return
    }
    for (; this.#blank > 0; this.#blank--) this.#refuse(this.#read - this.#blank, 'está vacía')
    const tooLarge = whyTooLarge(text.length, this.#config)
    if (tooLarge !== null) {
      this.#refuse(this.#read, tooLarge)
      return
    }
    try {
      this.#block.push(this.#reader.read(Buffer.from(text, 'latin1')))
      this.#bytes += text.length
    } catch (error) {
      if (!(error instanceof EnvelopeError)) throw error
      this.#refuse(this.#read, error.message)
    }
  }

  #refuse(number: number, why: string): void {
    this.bad += 1
    this.#block.push(null)
    print.note(`resthooks: línea ${number}: ${why}`)
  }

  #flush(): void {
    this.#sending = this.#sending.then(() => this.#send())
    // It is awaited at the end; whoever only waits for more lines has to be woken.
    this.#sending.catch(() => this.#stop())
  }

  async #send(): Promise<void> {
    if (this.#stopped || this.#block.length === 0) return
    const block = this.#block
    this.#block = []
    this.#bytes = 0
    const sent: (string | null)[] = []
    try {
      await enqueueBlock(this.#queue, block, sent)
    } catch (error) {
      await this.#print(sent)
      const [first, last] = [this.handled + 1, this.handled + block.length - sent.length]
      const doubt =
        `Las líneas ${first} a ${last} pudieron haber quedado encoladas, sin que se imprima su id: si las repite pueden llegar dos ` +
        'veces. Con "clave" en cada línea se repiten sin ese riesgo'
      const trouble = await enqueueTrouble(this.#context, error, doubt)
      if (!(trouble instanceof Unavailable)) throw trouble
      throw new Unavailable(`${trouble.message}. ${this.#tally()}`, { cause: error })
    }
    await this.#print(sent)
  }

  async #print(sent: readonly (string | null)[]): Promise<void> {
    this.handled += sent.length
    for (const id of sent) {
      if (id === null) continue
      this.#enqueued += 1
      this.#onEnqueued(id)
    }
    if (sent.length > 0) await write(sent.map((id) => `${id ?? ''}\n`).join(''))
  }

  #stop(): void {
    this.#stopped = true
    this.#lines?.close()
  }

  #tally(): string {
    if (this.#enqueued === 0) return 'no se encoló ningún mensaje'
    return `se encolaron ${this.#enqueued} mensajes, los de las líneas 1 a ${this.handled}; los siguientes no`
  }
}

/**
 * Lines without a key go together; a key wants a step of its own, in the order of the lines.
 * @param sent filled with what is in, in the order of the lines, also when it fails half-way; null for a bad line
 */
async function enqueueBlock(queue: Queue, block: readonly (Line | null)[], sent: (string | null)[]): Promise<void> {
  const now = block.some((line) => line !== null && line.delay !== null) ? await queue.now() : 0
  let plain: string[] = []
  let ids: (string | null)[] = []
  const pushPlain = async () => {
    await queue.enqueue(plain)
    sent.push(...ids)
    plain = []
    ids = []
  }
  for (const line of block) {
    if (line === null) {
      ids.push(null)
      continue
    }
    const { message, delay, json } = line
    const { id, key } = message
    const envelope = encodeEnvelope(delay === null ? message : { ...message, notBefore: dueAfter(now, delay) }, json)
    if (key) {
      await pushPlain()
      sent.push(await queue.enqueueOnce(key, id, envelope))
    } else {
      plain.push(envelope)
      ids.push(id)
    }
  }
  await pushPlain()
}

class LineReader {
  readonly #config: Config
  readonly #audience: Audience
  readonly #event: string | undefined
  /** Of lines that name none. */
  readonly #trace: Readonly<Record<string, string>>
  readonly #origin = originOf()

  constructor(config: Config, event: string | undefined, trace: Readonly<Record<string, string>>) {
    this.#config = config
    this.#audience = new Audience(config)
    this.#event = event
    this.#trace = trace
  }

  /** @throws EnvelopeError, in Spanish, when the line cannot be sent as it is */
  read(given: Buffer): Line {
    const entry = this.#withEvent(readEntry(given))
    const { message, delay } = decodeEntry(entry, newId, new Date())
    const { onlyListener } = message
    const unknown = this.#audience.unknownListener(onlyListener)
    if (unknown !== null) throw new EnvelopeError(unknown)
    const { path, method, headers, contentType } = message
    if (path !== null || method !== null || contentType !== 'application/json' || Object.keys(headers).length > 0) {
      const problems = requestProblems(message, this.#config.listeners.values())
      if (problems.length > 0) throw new EnvelopeError(problems.join('; '))
    }
    const json = entry.datos !== null
    if (!json && message.body.length > 0 && mustBeJson(contentType)) checkLineJson(message.body)
    this.#audience.tell(message.event, onlyListener)
    return {
      message: { ...message, headers: this.#traced(headers), origin: message.origin ?? this.#origin },
      delay,
      json,
    }
  }

  #traced(headers: Message['headers']): Message['headers'] {
    const { parent, state } = takeTrace(headers)
    if (parent === null) return { ...headers, ...this.#trace }
    const problem = traceProblem(parent, state)
    if (problem !== null) throw new EnvelopeError(problem)
    return headers
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

/** Waits where the reader of our stdout is slower than we are; a reader that is gone is `whenOutputIsLost`'s. */
function write(text: string): Promise<void> {
  return new Promise((resolve) => {
    print.stdout().write(text, () => resolve())
  })
}
