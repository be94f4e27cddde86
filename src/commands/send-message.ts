/**
 * What goes into a message and is checked before anybody gets it: DATOS, headers, delay. The same for `send`, a line of
 * `send --lote` and `probar`.
 */
import { fstatSync, readFileSync, statSync } from 'node:fs'
import type { Command } from 'commander'
import type { Config, ListenerConfig } from '../config/config.ts'
import { authHeader } from '../config/listener.ts'
import { OperationFailed, systemReason, Unavailable, UsageError } from '../errors.ts'
import { authorName, currentAuthor } from '../model/author.ts'
import { checkHeader, checkMessageHeaders, checkMethod, checkPath, isJsonType } from '../model/http.ts'
import type { Bytes, Millis } from '../model/message.ts'
import { takeTrace, traceProblem, withTrace } from '../model/trace.ts'
import { mayHaveHappened } from '../queue/redis.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'

/** What a command line says of the request. */
export interface RequestOptions {
  readonly ruta?: string
  readonly metodo?: string
  readonly cabecera: readonly string[]
  readonly tipoContenido?: string
}

export function addRequestOptions(command: Command): Command {
  return command
    .option('--ruta <ruta>', 'ruta del pedido, en lugar de la del listener')
    .option('--metodo <método>', 'método HTTP, en lugar del del listener')
    .option(
      '--cabecera <"K: V">',
      'cabecera del pedido (se puede repetir)',
      (text: string, all: string[]) => [...all, text],
      [],
    )
    .option('--tipo-contenido <tipo>', 'tipo de DATOS, si no es JSON')
}

export interface SendOptions extends RequestOptions {
  readonly traceparent?: string
  readonly tracestate?: string
  readonly clave?: string
  readonly demora?: string
  readonly listener?: string
  readonly lote?: boolean
  readonly esperar?: string
}

/** @throws UsageError when a named file, or stdin, cannot be read */
export async function readBody(data: string | undefined): Promise<{ body: Buffer; given: boolean }> {
  if (data === undefined) return { body: Buffer.alloc(0), given: false }
  if (data === '-') return { body: await readAll(standardInput()), given: true }
  if (data.startsWith('@')) {
    const file = data.slice(1)
    try {
      return { body: readFileSync(file), given: true }
    } catch (error) {
      throw new UsageError(`no se puede leer DATOS de ${file}: ${systemReason(error) ?? error}`, { cause: error })
    }
  }
  return { body: Buffer.from(data, 'utf8'), given: true }
}

async function readAll(stream: NodeJS.ReadableStream): Promise<Buffer> {
  const chunks: Buffer[] = []
  try {
    for await (const chunk of stream) chunks.push(Buffer.from(chunk))
  } catch (error) {
    throw new OperationFailed(`${unreadableInput(error)}: no se encoló nada`, { cause: error })
  }
  return Buffer.concat(chunks)
}

/** @throws UsageError where stdin is closed or a folder, which read like an empty one */
export function standardInput(): NodeJS.ReadStream {
  if (fstatSync(0).isDirectory()) throw new UsageError(unreadableInput({ code: 'EISDIR' }))
  if (isClosedInput())
    throw new UsageError('la entrada estándar está cerrada: no hay de dónde leer. Vacía a propósito es: < /dev/null')
  return process.stdin
}

/** Node puts /dev/null in the place of a closed one, open for writing too, which a shell's `< /dev/null` is not. */
function isClosedInput(): boolean {
  const nothing = statSync('/dev/null', { throwIfNoEntry: false })
  if (nothing === undefined || fstatSync(0).rdev !== nothing.rdev) return false
  try {
    const flags = /^flags:\s*([0-7]+)/m.exec(readFileSync('/proc/self/fdinfo/0', 'utf8'))?.[1] ?? '0'
    return (Number.parseInt(flags, 8) & 3) === 2
  } catch {
    // A system without /proc does not tell.
    return false
  }
}

export function unreadableInput(error: unknown): string {
  return `no se puede leer la entrada estándar: ${systemReason(error) ?? error}`
}

/** Whether DATOS of this type have to be JSON. One that names another encoding than JSON's own is bytes, and the sender's business. */
export function mustBeJson(contentType: string): boolean {
  return isJsonType(contentType) && !/;\s*charset\s*=\s*"?(?!utf-?8\b)/i.test(contentType)
}

/** @throws UsageError when the bytes are not one JSON document in UTF-8 */
export async function requireJson(body: Buffer): Promise<void> {
  try {
    JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body))
  } catch (error) {
    const { jsonProblem } = await import('../model/json.ts')
    throw new UsageError(notJson('DATOS', jsonProblem(body), '--tipo-contenido'), { cause: error })
  }
}

/** @param otherwise where it can be said that it is something else */
export function notJson(what: string, problem: string, otherwise: string): string {
  return `${what} no es JSON: ${problem}. Si es otra cosa, indique ${otherwise} (por ejemplo text/plain)`
}

/** @throws UsageError naming the `--cabecera` that has no name */
export function headersOf(given: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const text of given) {
    const colon = text.indexOf(':')
    if (colon < 1) throw new UsageError(`--cabecera ${JSON.stringify(text)}: se espera 'Nombre: valor'`)
    headers[text.slice(0, colon).trim()] = text.slice(colon + 1).trim()
  }
  return headers
}

/**
 * The headers with the trace that the message belongs to: of its own headers, of the options, or else of the environment, where
 * whoever runs this program may leave it without knowing of it.
 * @throws UsageError where what was asked for is not valid
 */
export function tracedHeaders(
  given: Readonly<Record<string, string>>,
  { traceparent, tracestate }: Pick<SendOptions, 'traceparent' | 'tracestate'>,
): Readonly<Record<string, string>> {
  const { parent, state } = takeTrace(given)
  const asked = traceparent ?? parent
  if (asked === null) {
    if (tracestate !== undefined) throw new UsageError('--tracestate sin --traceparent no dice nada')
    return inheritedTrace(given)
  }
  const with_ = tracestate ?? state
  const problem = traceProblem(asked, with_)
  if (problem !== null)
    throw new UsageError(`${traceparent === undefined ? '--cabecera' : '--traceparent'}: ${problem}`)
  return withTrace(given, asked, with_)
}

function inheritedTrace(given: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const { TRACEPARENT: parent, TRACESTATE: state = null } = process.env
  if (parent === undefined || parent === '') return given
  const problem = traceProblem(parent, state)
  if (problem === null) return withTrace(given, parent, state)
  print.note(`resthooks: aviso: se envía sin la traza de $TRACEPARENT: ${problem}`)
  return given
}

interface RequestWishes {
  readonly path: string | null
  readonly method: string | null
  readonly headers: Readonly<Record<string, string>>
  readonly contentType: string
}

/**
 * What a message may not say about its request, told at `send` and not at the delivery.
 * @returns one Spanish sentence a problem, none when all is well
 */
export function requestProblems(wishes: RequestWishes, listeners: Iterable<ListenerConfig>): string[] {
  const { headers: own } = takeTrace(wishes.headers)
  const authHeaders = [...listeners].map(({ auth }) => authHeader(auth))
  const problems = [
    wishes.path === null ? null : checkPath(wishes.path),
    wishes.method === null ? null : checkMethod(wishes.method),
    wishes.contentType === '' ? null : checkHeader('Content-Type', wishes.contentType),
    ...[null, ...authHeaders].map((header) => checkMessageHeaders(own, header)),
  ].filter((problem): problem is string => problem !== null)
  return [...new Set(problems)]
}

/** With `resthooks_activo = 0` nothing is enqueued; the caller is told and goes on. */
export function isInactive(config: Config): boolean {
  if (config.active) return false
  print.note('resthooks: resthooks_activo = 0: no se encoló nada')
  return true
}

/** Who sends, where and with what, for the audit. */
export function originOf(): string {
  return `${authorName(currentAuthor())} resthooks send`
}

/**
 * When a message with a delay is due. @param now Redis's clock, which decides (this machine's may be wrong), in whole ms:
 * hence the one more
 */
export function dueAfter(now: number, delay: Millis): Date {
  return new Date(now + 1 + delay)
}

/** @throws UsageError when the text is not a duration, or one beyond ten years */
export async function durationOption(option: string, text: string): Promise<number> {
  const { parseDelay } = await import('../model/quantities.ts')
  const duration = parseDelay(text)
  if (duration === null) {
    throw new UsageError(`${option} ${text}: no es una duración (500ms, 5s, 10m, 2h, hasta 3650d)`)
  }
  return duration
}

/**
 * Why a message is not taken for its size, or null.
 * @param size of the message with its data, as it is enqueued
 */
export function whyTooLarge(size: Bytes, { workers }: Config): string | null {
  if (size <= workers.maxMessage) return null
  const text = (bytes: Bytes) =>
    bytes < 1024 ** 2 ? `${Math.ceil(bytes / 1024)}k` : `${Math.ceil(bytes / 1024 ** 2)}M`
  const limit = `más que max_mensaje (${text(workers.maxMessage)}) de [workers]`
  return `pesa ${text(size)}, ${limit}: envíe dónde está el contenido en lugar del contenido, o amplíe max_mensaje`
}

/** Why nothing was enqueued, or @param doubt what to know where it may have been. */
export async function enqueueTrouble(context: Context, error: unknown, doubt: string): Promise<unknown> {
  const trouble = await context.explain(error)
  if (!(trouble instanceof Unavailable) || !mayHaveHappened(error)) return trouble ?? error
  return new Unavailable(`${trouble.message}. ${doubt}`, { cause: error })
}
