/**
 * The daemon's log: one JSON object a line for programs, short readable lines on a terminal. Never a secret: known ones are
 * replaced in every line, and of an error only its text is told, not what hangs on it (a command with its arguments).
 */
import pino from 'pino'
import type { LogLevel } from '../config/config.ts'
import { type Secrets, visible } from '../model/secrets.ts'
import { CALLBACK_LANE } from '../queue/keys.ts'
import type { BreakerChange, Settlement } from '../queue/queue.ts'

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
  if (stream.isTTY) return pino(options, { write: (text: string) => stream.write(visible(readable(text))) })
  // A full disk under the log must not end the worker: the line is lost, the work goes on.
  const destination = pino.destination({ fd: 1, sync: true })
  destination.on('error', () => {})
  return pino(options, destination)
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
  const { pid: _pid, worker: _worker, ...told } = rest
  const details = Object.entries(told).map(
    ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  return `${new Date(String(time)).toLocaleTimeString('es-AR')} ${String(nivel).padEnd(5)} ${[mensaje, ...details].join('  ')}\n`
}
