/** `pausar`: holds a listener's queued and new deliveries. */
import type { Command } from 'commander'
import { UsageError } from '../errors.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'
import { selectListeners } from './select-listeners.ts'

interface Options {
  readonly todos?: boolean
  readonly hasta?: string
  readonly json?: boolean
}

export function pausar(program: Command, context: Context): void {
  program
    .command('pausar')
    .description('retiene las entregas de un listener, las que esperan y las nuevas')
    .argument('[listeners...]', 'nombres de listeners')
    .option('--todos', 'todos los listeners configurados')
    .option('--hasta <cuándo>', 'se reanudan solos: una duración (10m, 2h) o una fecha ISO 8601')
    .option('--json', 'un documento JSON')
    .action(async (names: string[], options: Options) => {
      const { listeners } = await context.config()
      const selected = selectListeners(listeners, names, options.todos === true)
      const queue = await context.queue()
      const { pause } = await import('../queue/pauses.ts')
      const until = options.hasta ? await instant(options.hasta) : null
      const rows = selected.map((listener) => ({ listener, hasta: until }))
      await pause(queue, selected, until)
      if (options.json) print.json(rows)
      else
        await print.table(
          rows.map(({ listener, hasta }) => ({ listener, pausado: 'sí', hasta: hasta ?? 'que se reanude' })),
          ['listener', 'pausado', 'hasta'],
        )
    })
}

async function instant(text: string): Promise<Date> {
  const { parseDuration } = await import('../config/quantities.ts')
  const duration = parseDuration(text)
  const date = duration === null ? new Date(text) : new Date(Date.now() + duration)
  if (Number.isNaN(date.getTime()))
    throw new UsageError(`--hasta ${text}: no es una duración (10m, 2h) ni una fecha ISO 8601`)
  if (date.getTime() <= Date.now()) throw new UsageError(`--hasta ${text}: ya pasó`)
  return date
}
