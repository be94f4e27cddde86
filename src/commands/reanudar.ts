/** `reanudar`: releases what `pausar`, or a 410, holds. */
import type { Command } from 'commander'
import type { Context } from './context.ts'
import { addPauseOptions, heldDeliveries, type PauseOptions, sparedBy, tellPause } from './pausar.ts'
import * as print from './print.ts'
import { selectListeners } from './select.ts'

export function reanudar(program: Command, context: Context): void {
  addPauseOptions(
    program
      .command('reanudar')
      .description(
        'suelta las entregas retenidas por «pausar» o por una respuesta 410; tras un 410 pasa una sola primero, a prueba',
      )
      .argument('[listeners...]', 'nombres de listeners')
      .option('--todos', 'todos los configurados; los pausados sin fin y los de un 410 quedan como están'),
  ).action(async (names: string[], options: PauseOptions) => {
    // All of them are not known where some could not be read.
    const { listeners } = await (options.todos ? context.config() : context.configToLook())
    const selected = selectListeners(listeners, names, options.todos === true)
    const queue = await context.queue()
    const { resume } = await import('../queue/pauses.ts')
    const waiting = await heldDeliveries(context, selected)
    const spare = sparedBy(options)
    const kept = (held: Parameters<typeof spare>[0]) => spare(held) === true
    const held = await resume(queue, selected, kept)
    const rows = selected.map((listener) => {
      const before = held.get(listener) ?? null
      const isKept = before !== null && kept(before)
      return {
        listener,
        estaba_pausado: before !== null,
        motivo: before?.reason ?? null,
        por: before?.by ?? null,
        desde: before?.since ?? null,
        hasta: before?.until ?? null,
        reanudado: before !== null && !isKept,
        a_prueba: before?.reason === '410' && !isKept,
        suelta: before === null || isKept ? 0 : (waiting.get(listener) ?? 0),
      }
    })
    const released = rows.filter(({ reanudado }) => reanudado).map(({ listener }) => listener)
    await tellPause(context, released, waiting)
    const shown = rows.map((row) => ({
      listener: row.listener,
      estaba: wasText(row),
      desde: row.desde ?? '',
      ahora: row.reanudado
        ? row.a_prueba
          ? 'a prueba: pasa una primero'
          : 'reanudado'
        : row.estaba_pausado
          ? 'sigue pausado'
          : '',
      suelta: row.suelta,
    }))
    if (options.json) print.json(rows)
    else await print.table(shown, ['listener', 'estaba', 'desde', 'ahora', 'suelta'])
    const left = rows
      .filter(({ estaba_pausado, reanudado }) => estaba_pausado && !reanudado)
      .map(({ listener }) => listener)
    if (left.length > 0)
      print.note(
        `Siguen pausados: ${left.join(', ')}. Para reanudarlos, nómbrelos, o vea --tambien-sin-fin y --tambien-410.`,
      )
  })
}

function wasText({
  estaba_pausado,
  motivo,
  por,
}: {
  estaba_pausado: boolean
  motivo: string | null
  por: string | null
}) {
  if (!estaba_pausado) return 'no estaba pausado'
  return motivo === '410' ? 'pausado por un 410' : `pausado${por === null ? '' : ` por ${por}`}`
}
