/** `descartar`: gives failed or waiting deliveries up. */
import type { Command } from 'commander'
import { OperationFailed } from '../errors.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'
import { addFilterOptions, type ChooseOptions, chooseDeliveries, parseLimit, showTally } from './select.ts'

const STATES = ['pendiente', 'reintentando', 'fallida'] as const

export function descartar(program: Command, context: Context): void {
  addFilterOptions(
    program
      .command('descartar')
      .description('abandona entregas fallidas o en espera; queda en la auditoría como «descartada»')
      .argument('[ids...]', 'mensajes: sus entregas fallidas y en espera; los que esperan su --demora, enteros')
      .option('--fallidas', 'las entregas fallidas que cumplan los filtros'),
  )
    .option('--simulacro', 'muestra qué se descartaría, sin hacerlo (la auditoría en espera se escribe igual)')
    .option('--json', 'un documento JSON')
    .addHelpText('after', '\nLas que esperan: --estado pendiente,reintentando. Se deshace con «resthooks reenviar».')
    .action(async (ids: string[], options: ChooseOptions) => {
      const selection = chooseDeliveries(ids, options, STATES, STATES)
      const limit = parseLimit(options, Number.POSITIVE_INFINITY)
      const maintenance = await context.maintenance(options.simulacro === true)
      const { discard } = await import('../recovery/discard.ts')
      const { tally, running } = await discard(maintenance, selection, limit)
      await showTally(tally, 'descartadas', options, { en_curso: running })
      if (running > 0) print.note(`${running} tenían un pedido en curso, que puede llegar igual a su listener.`)
      if (tally.problemCount > 0) throw new OperationFailed(`No se descartaron: ${tally.problemCount}.`)
    })
}
