/** `descartar`: gives failed or waiting deliveries up. */
import type { Command } from 'commander'
import { OperationFailed } from '../errors.ts'
import { type ChooseOptions, chooseDeliveries, explainIds, showTally } from './choose-deliveries.ts'
import type { Context } from './context.ts'
import { addFilterOptions, parseLimit } from './delivery-filters.ts'
import * as print from './print.ts'

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
      const config = await context.config()
      const [queue, audit, backend] = [await context.queue(), await context.audit(), await context.auditBackend()]
      const [{ discard }, { drainAudit }] = await Promise.all([
        import('../recovery/discard.ts'),
        import('../recovery/maintenance.ts'),
      ])
      await drainAudit(queue, backend)
      const unknown =
        selection.kind === 'ids'
          ? await explainIds(audit, selection.ids, selection.filters, {
              delayed: null,
              ended: (states, wanted) =>
                states.every((state) => state === 'exitosa' || state === 'descartada')
                  ? `ya terminó: ${states.join(', ')}`
                  : `está ${states.join(', ')}, y se pidió --estado ${wanted.join(',')}: quite --estado, o indique ese`,
            })
          : []
      const scene = { config, queue, audit, backend, simulate: options.simulacro === true, note: print.note }
      const { tally, running } = await discard(scene, selection, limit)
      await showTally(tally, unknown, 'descartadas', options, { en_curso: running })
      if (running > 0) print.note(`${running} tenían un pedido en curso, que puede llegar igual a su listener.`)
      const failed = unknown.length + tally.problemCount
      if (failed > 0) throw new OperationFailed(`${failed} no se descartaron.`)
    })
}
