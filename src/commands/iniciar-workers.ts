/** `iniciar-workers`: the daemon, usually under supervisord or systemd. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { LOG_LEVELS, type LogLevel } from '../config/config.ts'
import { EXIT_CODES, ResthooksError } from '../errors.ts'
import { Secrets } from '../model/secrets.ts'
import type { Context } from './context.ts'
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
    .option('--concurrencia <n>', 'pedidos HTTP a la vez por proceso (en lugar de [workers] concurrencia)', positive)
    .option('--procesos <n>', 'cantidad de procesos (en lugar de [workers] procesos)', positive)
    .addOption(
      new Option('--nivel <nivel>', 'lo que se escribe (en lugar de [workers] nivel)').choices([...LOG_LEVELS]),
    )
    .action(async (options: Options) => {
      try {
        await run(context, options)
      } catch (error) {
        // Whoever reads the log of a daemon reads every line of it the same way, also the one that says why there are no more.
        if (process.stdout.isTTY) throw error
        process.exitCode = await tell(context, error)
      }
    })
}

async function run(context: Context, { unaVez, concurrencia, procesos, nivel }: Options): Promise<void> {
  const { loadWorkerConfig } = await import('../config/load.ts')
  const { workers, secrets } = loadWorkerConfig(context.options)
  withhold(secrets)
  const processes = procesos ?? workers.processes
  if (processes > 1 && !unaVez) {
    const { superviseProcesses } = await import('../worker/processes.ts')
    return superviseProcesses(processes, nivel ?? workers.level)
  }
  const { runWorkerProcess } = await import('../worker/process.ts')
  await runWorkerProcess({
    place: context.options,
    once: unaVez === true,
    over: { ...(concurrencia ? { concurrency: concurrencia } : {}), ...(nivel ? { level: nivel } : {}) },
  })
}

/** @returns the exit code */
async function tell(context: Context, error: unknown): Promise<number> {
  const [{ createLog }, { hostname }] = await Promise.all([import('../worker/log.ts'), import('node:os')])
  const log = createLog({ host: hostname(), pid: process.pid }, new Secrets(), 'info')
  const explained = error instanceof ResthooksError ? error : await context.explain(error)
  if (explained === null) log.error({ err: error }, 'error interno, por favor infórmelo')
  else log.error({ codigo: explained.exitCode }, explained.message)
  return explained?.exitCode ?? EXIT_CODES.FALLO
}

function positive(text: string): number {
  const number = Number(text)
  if (!Number.isInteger(number) || number < 1 || number > 10_000)
    throw new InvalidArgumentError('se espera un entero entre 1 y 10000')
  return number
}
