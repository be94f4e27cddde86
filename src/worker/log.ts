/**
 * The daemon's log: one JSON object a line for programs, short readable lines on a terminal. Never a secret: known ones are
 * replaced in every line, and of an error only its text is told, not what hangs on it (a command with its arguments).
 */
import pino from 'pino'
import { type Secrets, visible } from '../model/secrets.ts'

export type Logger = pino.Logger

/** @param stream stdout, unless a test looks at it */
export function createLog(
  bindings: Readonly<Record<string, unknown>>,
  secrets: Secrets,
  stream: NodeJS.WriteStream = process.stdout,
): Logger {
  const options: pino.LoggerOptions = {
    base: bindings,
    level: process.env.RESTHOOKS_LOG_LEVEL ?? 'info',
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
