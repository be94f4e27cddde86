/** `reenviar`: deliveries that failed, were given up, or never were, back to the queue. */
import type { Command } from 'commander'
import { OperationFailed, UsageError } from '../errors.ts'
import type { Selection } from '../recovery/selection.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'
import {
  addFilterOptions,
  type ChooseOptions,
  chooseDeliveries,
  parseFilters,
  parseLimit,
  requireListener,
  showTally,
} from './select.ts'

interface Options extends ChooseOptions {
  readonly faltantes?: boolean
  readonly sinListener?: boolean
}

export function reenviar(program: Command, context: Context): void {
  addFilterOptions(
    program
      .command('reenviar')
      .description(
        'devuelve entregas a la cola desde la auditoría: los intentos siguen numerándose y los reintentos empiezan de nuevo',
      )
      .argument(
        '[ids...]',
        'mensajes: sus entregas fallidas y descartadas; los que nadie recibió, a quienes hoy los reciben',
      )
      .option('--fallidas', 'las entregas fallidas que cumplan los filtros')
      .option('--faltantes', 'los mensajes que --listener quiere y nunca recibió')
      .option('--sin-listener', 'los mensajes que ningún listener recibió, a los que hoy los reciben'),
  )
    .option('--simulacro', 'muestra qué se reenviaría, sin hacerlo (la auditoría en espera se escribe igual)')
    .option('--json', 'un documento JSON')
    .addHelpText(
      'after',
      '\nLo que ya fue exitoso sólo se reenvía con --estado exitosa. Lo que todavía espera en la cola no se toca.',
    )
    .action(async (ids: string[], options: Options) => {
      const selection = await selectionOf(ids, options, context)
      const limit = parseLimit(options, Number.POSITIVE_INFINITY)
      const maintenance = await context.maintenance(options.simulacro === true)
      const { resend } = await import('../recovery/resend.ts')
      const tally = await resend(maintenance, selection, limit)
      await showTally(tally, 'reenviadas', options)
      if (selection.kind === 'unheard' && tally.total === 0) print.note(STILL_UNHEARD)
      if (tally.problemCount > 0) throw new OperationFailed(`No se reenviaron: ${tally.problemCount}.`)
    })
}

const STILL_UNHEARD =
  'Ningún listener de resthooks.ini recibe los eventos de esos mensajes (se ven con: resthooks auditoria --sin-listener).'

async function selectionOf(ids: readonly string[], options: Options, context: Context): Promise<Selection> {
  const configured = async () => (await context.config()).listeners
  if (options.sinListener) {
    if (options.fallidas || options.estado || options.faltantes) {
      throw new UsageError('--sin-listener no se combina con --fallidas, --estado ni --faltantes.')
    }
    if (ids.length > 0) throw new UsageError('--sin-listener no lleva ID: «reenviar ID» ya los incluye.')
    return { kind: 'unheard', listeners: [...(await configured()).values()], filters: parseFilters(options) }
  }
  if (!options.faltantes) {
    const chosen = chooseDeliveries(ids, options, ['fallida', 'descartada', 'exitosa'], ['fallida', 'descartada'])
    return chosen.kind === 'ids' && !options.estado && !options.fallidas
      ? { ...chosen, listeners: [...(await configured()).values()] }
      : chosen
  }
  if (options.fallidas || options.estado) throw new UsageError('--faltantes no se combina con --fallidas ni --estado.')
  if (ids.length > 0) throw new UsageError('--faltantes no lleva ID; para un mensaje use --mensaje.')
  if (options.listener === undefined) throw new UsageError('--faltantes necesita --listener NOMBRE.')
  const listener = requireListener(await configured(), options.listener)
  return { kind: 'missed', listener, filters: parseFilters(options) }
}
