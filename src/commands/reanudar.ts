/** `reanudar`: releases what `pausar`, or a 410, holds. */
import type { Command } from 'commander'
import type { Context } from './context.ts'
import * as print from './print.ts'
import { selectListeners } from './select.ts'

interface Options {
  readonly todos?: boolean
  readonly json?: boolean
}

export function reanudar(program: Command, context: Context): void {
  program
    .command('reanudar')
    .description('suelta las entregas retenidas por «pausar» o por una respuesta 410')
    .argument('[listeners...]', 'nombres de listeners')
    .option('--todos', 'todos los listeners configurados')
    .option('--json', 'un documento JSON')
    .action(async (names: string[], options: Options) => {
      const { listeners } = await context.config()
      const selected = selectListeners(listeners, names, options.todos === true)
      const queue = await context.queue()
      const { resume } = await import('../queue/pauses.ts')
      const resumed = await resume(queue, selected)
      const rows = selected.map((listener) => ({ listener, estaba_pausado: resumed.has(listener) }))
      if (options.json) print.json(rows)
      else await print.table(rows, ['listener', 'estaba_pausado'])
    })
}
