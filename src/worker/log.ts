/**
 * The daemon's log: one JSON object a line for programs, short readable lines on a terminal. Never a secret: callers log
 * names, ids and messages of our own errors.
 */
import pino from 'pino'

export type Logger = pino.Logger

/** @param stream stdout, unless a test looks at it */
export function createLog(
  bindings: Readonly<Record<string, unknown>>,
  stream: NodeJS.WriteStream = process.stdout,
): Logger {
  const options: pino.LoggerOptions = {
    base: bindings,
    level: process.env.RESTHOOKS_LOG_LEVEL ?? 'info',
    timestamp: pino.stdTimeFunctions.isoTime,
    messageKey: 'mensaje',
    formatters: { level: (label) => ({ nivel: label }) },
    serializers: { err: pino.stdSerializers.err },
  }
  if (stream.isTTY) return pino(options, { write: (text: string) => stream.write(readable(text)) })
  // A full disk under the log must not end the worker: the line is lost, the work goes on.
  const destination = pino.destination({ fd: 1, sync: true })
  destination.on('error', () => {})
  return pino(options, destination)
}

function readable(text: string): string {
  const { nivel, time, mensaje, ...rest } = JSON.parse(text) as Record<string, unknown>
  const { pid: _pid, worker: _worker, ...told } = rest
  const details = Object.entries(told).map(
    ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  return `${new Date(String(time)).toLocaleTimeString('es-AR')} ${String(nivel).padEnd(5)} ${[mensaje, ...details].join('  ')}\n`
}
