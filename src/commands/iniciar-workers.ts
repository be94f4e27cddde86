/** `iniciar-workers`: the daemon, usually under supervisord or systemd. */
import { type Command, InvalidArgumentError } from 'commander'
import type { Context } from './context.ts'
import { withhold } from './print.ts'

interface Options {
  readonly unaVez?: boolean
  readonly concurrencia?: number
  readonly procesos?: number
}

export function iniciarWorkers(program: Command, context: Context): void {
  program
    .command('iniciar-workers')
    .description('entrega los mensajes: el demonio, para supervisord o systemd')
    .option('--una-vez', 'trabaja hasta que no quede nada por hacer ahora, y termina')
    .option('--concurrencia <n>', 'pedidos HTTP a la vez por proceso (en lugar de [workers] concurrencia)', positive)
    .option('--procesos <n>', 'cantidad de procesos (en lugar de [workers] procesos)', positive)
    .action(async ({ unaVez, concurrencia, procesos }: Options) => {
      const { loadWorkerConfig } = await import('../config/load.ts')
      const { workers, secrets } = loadWorkerConfig(context.options)
      withhold(secrets)
      const processes = procesos ?? workers.processes
      if (processes > 1 && !unaVez) {
        const { superviseProcesses } = await import('../worker/processes.ts')
        await superviseProcesses(processes)
        return
      }
      const { runWorkerProcess } = await import('../worker/process.ts')
      await runWorkerProcess({
        place: context.options,
        once: unaVez === true,
        ...(concurrencia ? { concurrency: concurrencia } : {}),
      })
    })
}

function positive(text: string): number {
  const number = Number(text)
  if (!Number.isInteger(number) || number < 1 || number > 10_000)
    throw new InvalidArgumentError('se espera un entero entre 1 y 10000')
  return number
}
