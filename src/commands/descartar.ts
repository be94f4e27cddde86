/** `descartar`: gives failed or waiting deliveries up. */
import type { Command } from 'commander'
import { addChooseOptions, type ChooseOptions, chooseDeliveries, type Deed, doToChosen } from './chosen.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'
import { requireKnown } from './select.ts'

const STATES = ['pendiente', 'reintentando', 'fallida'] as const

export function descartar(program: Command, context: Context): void {
  addChooseOptions(
    program
      .command('descartar')
      .description('abandona entregas fallidas o en espera; queda en la auditoría como «descartada», con quién lo hizo')
      .argument('[ids...]', 'mensajes: sus entregas fallidas y en espera; los que esperan su --demora, enteros')
      .option('--fallidas', 'las entregas fallidas que cumplan los filtros'),
    'descarta',
  )
    .addHelpText('after', '\nLas que esperan: --estado pendiente,reintentando. Se deshace con «resthooks reenviar».')
    .action(async (ids: string[], options: ChooseOptions) => {
      const selection = chooseDeliveries(ids, options, { takes: STATES, byDefault: STATES, failed: ['fallida'] })
      await requireKnown(context, selection.filters)
      await doToChosen(context, selection, options, DISCARD)
    })
}

const DISCARD: Deed = {
  purpose: 'discard',
  infinitive: 'descartar',
  participle: 'descartadas',
  run: async (maintenance, selection, run) => {
    const { discard } = await import('../recovery/discard.ts')
    const { tally, running } = await discard(maintenance, selection, run)
    if (running > 0) print.note(`${running} tenían un pedido en curso, que puede llegar igual a su listener.`)
    return { tally, extra: { en_curso: running } }
  },
}
