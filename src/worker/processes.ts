/**
 * `procesos` > 1: this process starts that many workers, passes its signals on, and starts again whoever ends by itself.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { ConfigError } from '../errors.ts'
import { createLog } from './log.ts'
import { pause } from './timing.ts'

const RESTART_MS = 1_000
const MAX_RESTART_MS = 30_000
/** Whoever lived this long starts again at once. */
const STEADY_MS = 60_000
const CONFIG_EXIT = 3

/**
 * Runs until SIGTERM or SIGINT has ended every worker.
 * @throws ConfigError when a worker found its configuration unusable: starting it again would change nothing
 */
export async function superviseProcesses(count: number): Promise<void> {
  const log = createLog({ pid: process.pid })
  const children = new Set<ChildProcess>()
  let stopping = false
  let broken = false

  const keepOne = async (): Promise<void> => {
    let delay = RESTART_MS
    while (!stopping) {
      const startedAt = Date.now()
      const child = spawn(
        process.execPath,
        [...process.execArgv, process.argv[1]!, ...withOneProcess(process.argv.slice(2))],
        {
          stdio: ['ignore', 'inherit', 'inherit'],
        },
      )
      children.add(child)
      const { code, signal } = await ended(child)
      children.delete(child)
      if (stopping) return
      if (code === CONFIG_EXIT) {
        broken = true
        stop('SIGTERM')
        return
      }
      log.error({ worker: child.pid, codigo: code, senal: signal }, 'un worker terminó por su cuenta: se inicia otro')
      delay = Date.now() - startedAt > STEADY_MS ? RESTART_MS : Math.min(delay * 2, MAX_RESTART_MS)
      await pause(delay)
    }
  }
  const stop = (signal: NodeJS.Signals) => {
    stopping = true
    for (const child of children) child.kill(signal)
  }
  const hangup = () => {
    for (const child of children) child.kill('SIGHUP')
  }
  process.on('SIGTERM', stop).on('SIGINT', stop).on('SIGHUP', hangup)
  try {
    await Promise.all(Array.from({ length: count }, keepOne))
  } finally {
    process.off('SIGTERM', stop).off('SIGINT', stop).off('SIGHUP', hangup)
  }
  if (broken) throw new ConfigError('un worker no pudo usar la configuración: vea su mensaje más arriba')
}

function ended(child: ChildProcess): Promise<{ code: number | null; signal: string | null }> {
  return new Promise((resolve) => {
    child.once('error', () => resolve({ code: null, signal: null }))
    child.once('exit', (code, signal) => resolve({ code, signal }))
  })
}

/** The same command line for a child, with `--procesos 1`. */
function withOneProcess(args: readonly string[]): string[] {
  const kept: string[] = []
  for (let i = 0; i < args.length; i++) {
    if (args[i] === '--procesos') i += 1
    else if (!args[i]!.startsWith('--procesos=')) kept.push(args[i]!)
  }
  return [...kept, '--procesos', '1']
}
