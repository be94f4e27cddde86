/** A worker as a process: its signals, the reload of its configuration, its end. */
import { hostname } from 'node:os'
import type { Config } from '../config/config.ts'
import type { LoadOptions } from '../config/files.ts'
import { loadWorkerConfig } from '../config/load.ts'
import { ConfigWatcher, type Reread } from '../config/watch.ts'
import { loadTracing } from '../delivery/tracing.ts'
import { LAUNCH_FOLDER } from '../folders.ts'
import { count } from '../model/words.ts'
import { adoptProcess, createLog } from './log.ts'
import { ALIVE, IS_ALIVE, RELOADED, WORKING } from './supervisor.ts'
import { Systemd } from './systemd.ts'
import { Worker } from './worker.ts'

/** Credentials are refused with every try: the files are read again less often than that. */
const REFUSED_EVERY_MS = 2_000

interface ProcessOptions {
  /** Where the configuration is; it is read again at every reload. */
  readonly files: LoadOptions
  readonly once: boolean
  /** `--concurrencia`, `--nivel`: over what the file says. */
  readonly over: Partial<Pick<Config['workers'], 'concurrency' | 'level'>>
}

const REFUSED = 'la configuración nueva no se puede usar: sigue en vigor la anterior'

/** Runs one worker until SIGTERM or SIGINT (a second one ends it at once), or with `once` until nothing is due. */
export async function runWorkerProcess({ files: named, once, over }: ProcessOptions): Promise<void> {
  // What is written relative to the launch folder stays so when that folder is deleted.
  const files = { ...named, ...(LAUNCH_FOLDER === null ? {} : { cwd: LAUNCH_FOLDER }) }
  const config = withOptions(loadWorkerConfig(files), over)
  const log = createLog(
    { host: hostname(), pid: process.pid, proyecto: `${config.instancia}:${config.proyecto}` },
    config.secrets,
    config.workers.level,
  )
  const letGo = adoptProcess(log)
  for (const warning of config.warnings) log.warn({}, warning)
  await loadTracing()
  const systemd = Systemd.from(process.env, log)
  let refusedAt = Number.NEGATIVE_INFINITY
  const worker = new Worker({
    config,
    version: __VERSION__,
    log,
    once,
    refused: () => {
      if (performance.now() - refusedAt < REFUSED_EVERY_MS) return
      refusedAt = performance.now()
      try {
        // What changed nothing is not told.
        if (worker.connectsOtherwise(load())) watcher?.readNow('el acceso fue rechazado')
      } catch {
        // A file that cannot be used is the watcher's to tell.
      }
    },
  })

  let signals = 0
  const stop = (signal: NodeJS.Signals) => {
    signals += 1
    if (signals > 1) process.exit(signal === 'SIGINT' ? 130 : 143)
    log.info({ senal: signal }, 'se recibió una señal: se termina lo que está en curso')
    systemd?.stopping()
    worker.stop()
  }
  const tell = (message: string) => process.send?.(message, undefined, undefined, () => {})
  const status = () => `entrega a ${count(worker.config.listeners.size, 'listener', 'listeners')}`
  const reload = (reread: Reread) => {
    putInForce(reread)
    systemd?.ready(status())
    tell(RELOADED)
  }
  const putInForce = (reread: Reread) => {
    if ('error' in reread) {
      log.error({ motivo: reread.why, detalle: reread.error.message }, REFUSED)
      worker.refuse(reread.error.message)
      return
    }
    for (const warning of reread.config.warnings) log.warn({}, warning)
    log.level = reread.config.workers.level
    log.info({ motivo: reread.why }, 'se recarga la configuración')
    worker.reload(reread.config)
  }
  const orphaned = () => {
    log.error({}, 'terminó el proceso que lo inició: se termina lo que está en curso')
    worker.stop()
  }
  const load = () => withOptions(loadWorkerConfig(files, worker.config), over)
  const watcher = once ? null : new ConfigWatcher(config, files, load, reload)
  const hangup = () => {
    systemd?.reloading()
    watcher?.readNow('SIGHUP')
  }
  const asked = (message: unknown) => {
    if (message === IS_ALIVE && worker.isAlive()) tell(ALIVE)
  }
  process.on('SIGTERM', stop).on('SIGINT', stop).on('SIGHUP', hangup).on('disconnect', orphaned)
  if (process.send) process.on('message', asked)
  // It may have ended before anybody listened.
  if (process.send && !process.connected) orphaned()
  try {
    await worker.run(() => {
      systemd?.ready(status())
      systemd?.watch(() => worker.isAlive())
      tell(WORKING)
    })
  } finally {
    watcher?.close()
    letGo()
    process.off('SIGTERM', stop).off('SIGINT', stop).off('SIGHUP', hangup).off('disconnect', orphaned)
    process.off('message', asked)
  }
}

function withOptions(config: Config, over: ProcessOptions['over']): Config {
  return { ...config, workers: { ...config.workers, ...over } }
}
