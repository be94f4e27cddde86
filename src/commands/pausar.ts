/** `pausar`: holds a listener's queued and new deliveries. */
import type { Command } from 'commander'
import { parseInstant, rangeText } from '../model/instant.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'
import { selectListeners } from './select.ts'

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
    .option('--todos', 'todos los configurados; los que tienen una pausa más larga (o un 410) quedan como están')
    .option('--hasta <cuándo>', 'se reanudan solos: dentro de (10m, 2h), o a las 08:30, mañana, 24/11/2026, ISO 8601')
    .option('--json', 'un documento JSON')
    .action(async (names: string[], options: Options) => {
      const { listeners } = await context.config()
      const selected = selectListeners(listeners, names, options.todos === true)
      const queue = await context.queue()
      const { pause } = await import('../queue/pauses.ts')
      const until = options.hasta === undefined ? null : parseInstant(options.hasta, '--hasta', 'future')
      if (until !== null) print.note(`${rangeText(undefined, until)}.`)
      // What somebody, or a 410, holds for longer was held for a reason: `--todos` does not know it, a name does.
      const left = await pause(queue, selected, until, options.todos === true ? 'longest' : 'this')
      const rows = selected.map((listener) => ({
        listener,
        hasta: left.has(listener) ? left.get(listener)!.until : until,
        motivo: left.get(listener)?.reason ?? 'manual',
        cambiada: !left.has(listener),
      }))
      if (options.json) print.json(rows)
      else {
        const shown = rows.map(({ listener, hasta, motivo, cambiada }) => ({
          listener,
          pausado: cambiada ? 'sí' : `ya lo estaba${motivo === '410' ? ' (410)' : ''}`,
          hasta: hasta ?? 'que se reanude',
        }))
        await print.table(shown, ['listener', 'pausado', 'hasta'])
      }
      if (left.size > 0) {
        print.note(
          `Siguen con la pausa que tenían, más larga: ${[...left.keys()].join(', ')}. Para cambiarla, nómbrelos.`,
        )
      }
    })
}
