/** `reenviar`: deliveries that failed, were given up, or never were, back to the queue; those that wait for a retry, at once. */

import type { Command } from 'commander'
import { UsageError } from '../errors.ts'
import { typed } from '../model/typed.ts'
import type { Selection } from '../recovery/selection.ts'
import { addChooseOptions, type ChooseOptions, chooseDeliveries, type Deed, doToChosen } from './chosen.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'
import { parseFilters, requireKnown, requireListener } from './select.ts'

interface Options extends ChooseOptions {
  readonly ahora?: boolean
  readonly faltantes?: boolean
  readonly sinListener?: boolean
}

export function reenviar(program: Command, context: Context): void {
  addChooseOptions(
    program
      .command('reenviar')
      .description(
        'devuelve entregas a la cola desde la auditoría: los intentos siguen numerándose y los reintentos empiezan de nuevo',
      )
      .argument(
        '[ids...]',
        'mensajes: sus entregas fallidas y descartadas; los que nadie recibió, a quienes hoy los reciben',
      )
      .option('--fallidas', 'las que terminaron sin éxito, fallidas y descartadas, y cumplan los filtros')
      .option('--ahora', 'las que esperan un reintento, sin esperarlo: sus reintentos siguen donde estaban')
      .option('--faltantes', 'los mensajes que --listener quiere y nunca recibió')
      .option('--sin-listener', 'los mensajes que ningún listener recibió, a los que hoy los reciben'),
    'reenvía',
  )
    .addHelpText(
      'after',
      '\nSólo las fallidas: --estado fallida. Lo que ya fue exitoso sólo se reenvía con --estado exitosa. Lo que todavía espera en ' +
        'la cola no se toca. Si se corta, se repite: lo que ya se reenvió no se reenvía otra vez.',
    )
    .action(async (ids: string[], options: Options) => {
      const selection = await selectionOf(ids, options, context)
      if (selection.kind === 'ids' || selection.kind === 'filters') await requireKnown(context, selection.filters)
      const total = await doToChosen(context, selection, options, options.ahora ? HURRY : RESEND)
      if (selection.kind === 'unheard' && total === 0) print.note(stillUnheard())
    })
}

const RESEND: Deed = {
  purpose: 'resend',
  infinitive: 'reenviar',
  participle: 'reenviadas',
  run: async (maintenance, selection, run) => {
    const { resend } = await import('../recovery/resend.ts')
    return { tally: await resend(maintenance, selection, run) }
  },
}

const HURRY: Deed = {
  purpose: 'hurry',
  infinitive: 'adelantar',
  participle: 'adelantadas',
  run: async (maintenance, selection, run) => {
    const { hurry } = await import('../recovery/resend.ts')
    return { tally: await hurry(maintenance, selection, run) }
  },
}

const stillUnheard = () =>
  `Ningún listener de resthooks.ini recibe los eventos de esos mensajes (se ven con: ${typed('auditoria --sin-listener')}).`

async function selectionOf(ids: readonly string[], options: Options, context: Context): Promise<Selection> {
  const configured = async () => (await context.config()).listeners
  const others = ['fallidas', 'estado', 'ahora', 'faltantes', 'sinListener'] as const
  const alone = (name: (typeof others)[number], option: string) => {
    const other = others.find((each) => each !== name && options[each])
    if (other === undefined) return
    throw new UsageError(`${option} no se combina con --${other === 'sinListener' ? 'sin-listener' : other}.`)
  }
  if (options.sinListener) {
    alone('sinListener', '--sin-listener')
    if (ids.length > 0) throw new UsageError('--sin-listener no lleva ID: «reenviar ID» ya los incluye.')
    return { kind: 'unheard', listeners: [...(await configured()).values()], filters: parseFilters(options) }
  }
  if (options.faltantes) {
    alone('faltantes', '--faltantes')
    if (ids.length > 0) throw new UsageError('--faltantes no lleva ID; para un mensaje use --mensaje.')
    if (options.listener === undefined) throw new UsageError('--faltantes necesita --listener NOMBRE.')
    const listener = requireListener(await configured(), options.listener)
    return { kind: 'missed', listener, filters: parseFilters(options) }
  }
  if (options.ahora) {
    alone('ahora', '--ahora')
    const waiting = ['reintentando'] as const
    return chooseDeliveries(
      ids,
      { ...options, fallidas: true },
      { takes: waiting, byDefault: waiting, failed: waiting },
    )
  }
  const ended = ['fallida', 'descartada'] as const
  const chosen = chooseDeliveries(ids, options, { takes: [...ended, 'exitosa'], byDefault: ended, failed: ended })
  return chosen.kind === 'ids' && !options.estado && !options.fallidas
    ? { ...chosen, listeners: [...(await configured()).values()] }
    : chosen
}
