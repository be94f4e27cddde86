/**
 * The daemon's log: one JSON object a line for programs, short readable lines on a terminal. Never a secret: known ones are
 * replaced in every line, and of an error only its text is told, not what hangs on it (a command with its arguments).
 */
import pino from 'pino'
import type { LogLevel } from '../config/config.ts'
import { type Secrets, visible } from '../model/secrets.ts'
import { shortTime } from '../model/words.ts'
import { CALLBACK_LANE } from '../queue/keys.ts'
import type { Pause } from '../queue/pauses.ts'
import type { BreakerChange, Settlement } from '../queue/settle.ts'

export type Logger = pino.Logger

/** @param stream stdout, unless a test looks at it */
export function createLog(
  bindings: Readonly<Record<string, unknown>>,
  secrets: Secrets,
  level: LogLevel = 'info',
  stream: NodeJS.WriteStream = process.stdout,
): Logger {
  const options: pino.LoggerOptions = {
    base: bindings,
    level,
    timestamp: pino.stdTimeFunctions.isoTime,
    messageKey: 'mensaje',
    formatters: { level: (label) => ({ nivel: label }) },
    serializers: { err: told },
    hooks: { streamWrite: (line) => secrets.hide(line) },
  }
  if (stream.isTTY) return pino(options, new Repeats((text) => stream.write(readable(text))))
  // A full disk under the log must not end the worker: the line is lost, the work goes on.
  const destination = pino.destination({ fd: 1, sync: true })
  destination.on('error', () => {})
  return pino(options, new Repeats((text) => destination.write(text)))
}

/** How long a line that comes again is only counted. */
const REPEATED_MS = 10_000
/** Different lines that are remembered. */
const REMEMBERED = 32

/** What was counted when the process ends is told too. */
const counting = new Set<Repeats>()

function tellCounted(): void {
  for (const repeats of counting) repeats.end()
}

/** A warning or error that differs from one of the last seconds in nothing but its time is counted, and told once more with its count. */
class Repeats {
  readonly #write: (text: string) => void
  readonly #seen = new Map<string, { count: number; last: string; readonly timer: NodeJS.Timeout }>()

  constructor(write: (text: string) => void) {
    this.#write = write
    if (counting.size === 0) process.once('exit', tellCounted)
    counting.add(this)
  }

  write(text: string): void {
    if (!/^\{"nivel":"(?:warn|error)"/.test(text)) {
      this.#write(text)
      return
    }
    const key = text.replace(/"time":"[^"]*",/, '')
    const known = this.#seen.get(key)
    if (known) {
      known.count += 1
      known.last = text
      return
    }
    this.#write(text)
    const oldest = this.#seen.size >= REMEMBERED ? this.#seen.keys().next().value : undefined
    if (oldest !== undefined) this.#end(oldest)
    const timer = setTimeout(() => this.#end(key), REPEATED_MS)
    this.#seen.set(key, { count: 0, last: text, timer: timer.unref() })
  }

  end(): void {
    for (const key of [...this.#seen.keys()]) this.#end(key)
  }

  #end(key: string): void {
    const { count, last, timer } = this.#seen.get(key)!
    clearTimeout(timer)
    this.#seen.delete(key)
    if (count > 0) this.#write(last.replace(/\}\n$/, `,"repetida":${count}}\n`))
  }
}

/** Node's own warnings, and what nobody caught, as lines of this log: whoever reads it reads JSON alone. */
export function adoptProcess(log: Logger): () => void {
  const warned = (warning: Error) => log.warn({ tipo: warning.name }, warning.message)
  const failed = (error: unknown) => {
    log.error({ err: error }, 'error interno, por favor infórmelo: el proceso termina')
    process.exit(1)
  }
  const before = process.listeners('warning')
  process.removeAllListeners('warning')
  process.on('warning', warned).on('uncaughtException', failed)
  return () => {
    process.off('warning', warned).off('uncaughtException', failed)
    for (const listener of before) process.on('warning', listener)
  }
}

/** What is said of an outcome that was applied: a final failure to everybody, the rest to whoever looks closely. */
export function logOutcome(log: Logger, { lane, id, verdict, number, delay, reason }: Settlement): void {
  // Callbacks are told by their executor, which knows whose they are.
  if (lane.name === CALLBACK_LANE) return
  const told = { id, listener: lane.name, intento: number }
  if (verdict === 'failed') log.error({ ...told, motivo: reason }, 'entrega fallida: no se reintenta')
  else if (verdict === 'gone') {
    const said = 'entrega fallida: el listener respondió 410, y queda pausado hasta «resthooks reanudar»'
    log.error({ ...told, motivo: reason }, said)
  } else if (!log.isLevelEnabled('debug')) return
  else if (verdict === 'ok') log.debug(told, 'entrega hecha')
  else if (verdict === 'retry') log.debug({ ...told, motivo: reason, espera_ms: delay }, 'entrega por reintentar')
  else log.debug({ ...told, motivo: reason }, 'entrega devuelta a la cola')
}

/** Somebody paused a listener, or let it go on; a 410 is told with the delivery that it ended. */
export function logPauses(log: Logger, before: ReadonlyMap<string, Pause>, now: ReadonlyMap<string, Pause>): void {
  for (const [listener, { until, by, reason }] of now) {
    const known = before.get(listener)
    if (reason === '410' || (known && known.by === by && known.until?.getTime() === until?.getTime())) continue
    log.warn({ listener, por: by, hasta: until }, 'listener pausado: sus entregas esperan')
  }
  for (const [listener, { by }] of before) {
    if (!now.has(listener)) log.info({ listener, pausado_por: by }, 'listener reanudado: se le entrega otra vez')
  }
}

/** One line when it opens and one when it closes, however many trials fail in between. */
export function logBreaker(log: Logger, listener: string, change: BreakerChange, cause: string): void {
  if (change === 'opened')
    log.warn(
      { listener, motivo: cause },
      'se abrió el corte: el listener falla demasiado, y se le entrega cuando salga bien una prueba',
    )
  else if (change === 'reopened') log.debug({ listener, motivo: cause }, 'la prueba falló: el corte sigue abierto')
  else log.info({ listener }, 'se cerró el corte: el listener responde otra vez')
}

interface Told {
  readonly type: string
  readonly code?: string
  readonly message: string
  readonly stack?: string
  readonly cause?: Told
}

function told(error: unknown, depth = 0): Told {
  if (!(error instanceof Error)) return { type: typeof error, message: String(error) }
  const { code } = error as NodeJS.ErrnoException
  return {
    type: error.constructor.name,
    ...(code !== undefined && { code: String(code) }),
    message: error.message,
    ...(error.stack !== undefined && { stack: error.stack }),
    ...(error.cause !== undefined && depth < 5 && { cause: told(error.cause, depth + 1) }),
  }
}

function readable(text: string): string {
  const { nivel, time, mensaje, ...rest } = JSON.parse(text) as Record<string, unknown>
  const { pid: _pid, worker: _worker, host: _host, proyecto: _proyecto, ...told } = rest
  const details = Object.entries(told).map(
    ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  const at = shortTime(new Date(String(time)))
  const line = visible([mensaje, ...details].join('  '))
  return `${at} ${String(nivel).padEnd(5)} ${line.replaceAll('\n', ' ')}\n`
}
