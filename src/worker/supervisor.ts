/**
 * `procesos` > 1: this process starts that many workers, passes its signals on, and starts again whoever ends by itself.
 *
 * The workers hold a channel to this process and nothing else of it: when it is killed they see the channel end, and end too.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import type { LogLevel } from '../config/config.ts'
import { ConfigError } from '../errors.ts'
import { standInLaunchFolder } from '../folders.ts'
import { Secrets } from '../model/secrets.ts'
import { createLog } from './log.ts'
import { Systemd } from './systemd.ts'
import { Signal } from './waiting.ts'

const RESTART_MS = 1_000
const MAX_RESTART_MS = 30_000
/** Whoever lived this long starts again at once. */
const STEADY_MS = 60_000
const CONFIG_EXIT = 3

/** What a worker tells the process that started it: once it works, when it has read its files again, when it was asked and is well. */
export const WORKING = 'en marcha'
export const RELOADED = 'recargada'
export const ALIVE = 'vivo'
/** And what it is asked. */
export const IS_ALIVE = '¿vivo?'

interface Ended {
  readonly pid: number | undefined
  readonly code: number | null
  readonly signal: string | null
  /** Why it could not even be started. */
  readonly error: Error | null
}

/**
 * Runs until SIGTERM or SIGINT has ended every worker.
 * @throws ConfigError when the first workers found the configuration unusable: starting them again would change nothing.
 *   Later they are started again all the same, since the others go on with what they read when it was whole.
 */
export async function superviseProcesses(count: number, level: LogLevel): Promise<void> {
  const log = createLog({ pid: process.pid }, new Secrets(), level)
  const systemd = Systemd.from(process.env, log)
  const children = new Set<ChildProcess>()
  /** Of them, those that work. */
  const working = new Set<ChildProcess>()
  /** Who is still to read its files again. */
  const reloading = new Set<ChildProcess>()
  /** Who has not answered yet whether it is well. */
  const silent = new Set<ChildProcess>()
  const ends: Signal[] = []
  let stopping = false
  let worked = false
  let broken = false

  const heard = (child: ChildProcess, message: unknown) => {
    if (message === WORKING) {
      worked = true
      working.add(child)
      if (working.size === count) systemd?.ready(`${count} procesos en marcha`)
    } else if (message === ALIVE) silent.delete(child)
    else if (message === RELOADED) reloaded(child)
  }
  const reloaded = (child: ChildProcess) => {
    if (reloading.delete(child) && reloading.size === 0) systemd?.ready(`${working.size} procesos en marcha`)
  }
  const gone = (child: ChildProcess) => {
    for (const some of [children, working, silent]) some.delete(child)
    reloaded(child)
  }
  // One that hangs is not replaced here: systemd then starts all of them anew.
  systemd?.watch(() => {
    const answered = silent.size === 0
    for (const child of working) {
      silent.add(child)
      if (child.connected) child.send(IS_ALIVE, () => {})
    }
    return answered
  })
  const runOne = async (): Promise<Ended> => {
    try {
      standInLaunchFolder()
      const args = [...process.execArgv, process.argv[1]!, ...withOneProcess(process.argv.slice(2))]
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
      child.on('message', (message) => heard(child, message))
      children.add(child)
      return await ended(child).finally(() => gone(child))
    } catch (error) {
      // No memory or no descriptors for a process: it passes.
      return { code: null, signal: null, error: error as Error, pid: undefined }
    }
  }
  const keepOne = async (): Promise<void> => {
    const end = new Signal()
    ends.push(end)
    let delay = RESTART_MS
    while (!stopping) {
      const startedAt = performance.now()
      const { code, signal, error, pid } = await runOne()
      if (stopping) return
      if (code === CONFIG_EXIT && !worked) {
        broken = true
        stop('SIGTERM')
        return
      }
      const wait = performance.now() - startedAt > STEADY_MS ? RESTART_MS : delay
      delay = Math.min(wait * 2, MAX_RESTART_MS)
      log.error(
        { worker: pid ?? null, codigo: code, senal: signal, detalle: error?.message, espera_ms: wait },
        pid === undefined
          ? 'no se pudo iniciar un worker: se intenta otra vez'
          : 'un worker terminó por su cuenta: se inicia otro',
      )
      await end.wait(wait)
    }
  }
  const stop = (signal: NodeJS.Signals) => {
    if (!stopping) systemd?.stopping()
    stopping = true
    for (const child of children) child.kill(signal)
    for (const end of ends) end.notify()
  }
  const hangup = () => {
    systemd?.reloading()
    for (const child of working) reloading.add(child)
    for (const child of children) child.kill('SIGHUP')
    if (reloading.size === 0) systemd?.ready(`${working.size} procesos en marcha`)
  }
  process.on('SIGTERM', stop).on('SIGINT', stop).on('SIGHUP', hangup)
  try {
    await Promise.all(Array.from({ length: count }, keepOne))
  } finally {
    process.off('SIGTERM', stop).off('SIGINT', stop).off('SIGHUP', hangup)
  }
  if (broken) throw new ConfigError('un worker no pudo usar la configuración: vea su mensaje más arriba')
}

function ended(child: ChildProcess): Promise<Ended> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve({ pid: child.pid, code, signal, error: null }))
    // Also when a signal could not be sent: that one has not ended.
    child.on('error', (error) => {
      if (child.pid === undefined) resolve({ pid: undefined, code: null, signal: null, error })
    })
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
