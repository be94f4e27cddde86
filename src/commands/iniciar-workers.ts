/** `iniciar-workers`: the daemon, usually under supervisord or systemd. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { LogLevel } from '../config/config.ts'
import { LOG_LEVELS, WORKERS } from '../config/settings.ts'
import { Secrets } from '../model/secrets.ts'
import type { Context, Failure } from './context.ts'
import { withhold } from './print.ts'

interface Options {
  readonly unaVez?: boolean
  readonly concurrencia?: number
  readonly procesos?: number
  readonly nivel?: LogLevel
}

export function iniciarWorkers(program: Command, context: Context): void {
  program
    .command('iniciar-workers')
    .description('entrega los mensajes: el demonio, para supervisord o systemd')
    .option('--una-vez', 'trabaja hasta que no quede nada por hacer ahora, y termina')
    .option(
      '--concurrencia <n>',
      'pedidos HTTP a la vez por proceso (en lugar de [workers] concurrencia)',
      setting(WORKERS.concurrencia),
    )
    .option('--procesos <n>', 'cantidad de procesos (en lugar de [workers] procesos)', setting(WORKERS.procesos))
    .addOption(
      new Option('--nivel <nivel>', 'lo que se escribe (en lugar de [workers] nivel)').choices([...LOG_LEVELS]),
    )
    .action(async (options: Options) => {
      // Whoever reads the log of a daemon reads every line of it the same way, also the one that says why there are no more.
      if (!process.stdout.isTTY) context.tellFailure = logFailure
      await run(context, options)
    })
}

async function run(context: Context, { unaVez, concurrencia, procesos, nivel }: Options): Promise<void> {
  const { loadWorkerConfig } = await import('../config/load.ts')
  const { workers, secrets } = loadWorkerConfig(context.options)
  withhold(secrets)
  const processes = procesos ?? workers.processes
  if (processes > 1 && !unaVez) {
    const { superviseProcesses } = await import('../worker/supervisor.ts')
    return superviseProcesses(processes, nivel ?? workers.level)
  }
  const { runWorkerProcess } = await import('../worker/process.ts')
  await runWorkerProcess({
    files: context.options,
    once: unaVez === true,
    over: { ...(concurrencia ? { concurrency: concurrencia } : {}), ...(nivel ? { level: nivel } : {}) },
  })
}

async function logFailure({ exitCode, text, bug }: Failure): Promise<void> {
  const [{ createLog }, { hostname }] = await Promise.all([import('../worker/log.ts'), import('node:os')])
  const log = createLog({ host: hostname(), pid: process.pid }, new Secrets(), 'info')
  log.error(bug === undefined ? { codigo: exitCode } : { err: bug }, text)
}

/** As the setting of that name is read. */
function setting(row: typeof WORKERS.procesos | typeof WORKERS.concurrencia) {
  return (text: string): number => {
    const read = row.kind.read([text])
    if (!read.ok) throw new InvalidArgumentError(`se acepta ${row.kind.accepted}`)
    return read.value
  }
}
