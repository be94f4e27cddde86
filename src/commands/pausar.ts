/** `pausar`: holds a listener's queued and new deliveries. */
import type { Command } from 'commander'
import { parseInstant, rangeText } from '../model/instant.ts'
import type { Pause } from '../queue/pauses.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'
import { selectListeners } from './select.ts'

export interface PauseOptions {
  readonly todos?: boolean
  readonly tambienSinFin?: boolean
  /** commander's name for `--tambien-410`. */
  readonly tambien410?: boolean
  readonly json?: boolean
}

interface Options extends PauseOptions {
  readonly hasta?: string
}

export function pausar(program: Command, context: Context): void {
  addPauseOptions(
    program
      .command('pausar')
      .description('retiene las entregas de un listener, las que esperan y las nuevas; nada se pierde')
      .argument('[listeners...]', 'nombres de listeners')
      .option(
        '--todos',
        'todos los configurados; las pausas que duran más, las sin fin y las de un 410 quedan como están',
      )
      .option(
        '--hasta <cuándo>',
        'se reanudan solos: dentro de (10m, 2h), o a las 08:30, mañana, 24/11/2026, ISO 8601',
      ),
  ).action(async (names: string[], options: Options) => {
    // All of them are not known where some could not be read.
    const { listeners } = await (options.todos ? context.config() : context.configToLook())
    const selected = selectListeners(listeners, names, options.todos === true)
    const until = options.hasta === undefined ? null : parseInstant(options.hasta, '--hasta', 'future')
    if (until !== null) print.note(`${rangeText(undefined, until)}.`)
    const queue = await context.queue()
    const { lasts, pause, pauses } = await import('../queue/pauses.ts')
    // What somebody, or a 410, holds for longer was held for a reason: `--todos` does not know it, a name does.
    const spare = sparedBy(options)
    const left = await pause(
      queue,
      selected,
      until,
      (held) => spare(held) ?? (options.todos === true && lasts(held, until)),
    )
    const waiting = await heldDeliveries(context, selected)
    await tellPause(
      context,
      selected.filter((name) => !left.has(name)),
      waiting,
    )
    const now = await pauses(queue)
    const rows = selected.map((listener) => {
      const held = now.get(listener)
      const about = { motivo: held?.reason ?? 'manual', por: held?.by ?? null, desde: held?.since ?? null }
      return {
        listener,
        hasta: held?.until ?? null,
        ...about,
        cambiada: !left.has(listener),
        retiene: waiting.get(listener) ?? 0,
      }
    })
    const shown = rows.map(({ listener, hasta, motivo, por, cambiada, retiene }) => ({
      listener,
      pausado: cambiada ? 'sí' : `ya lo estaba${motivo === '410' ? ' (410)' : ''}`,
      por: por ?? '',
      hasta: hasta ?? 'sin fin',
      retiene,
    }))
    if (options.json) print.json(rows)
    else await print.table(shown, ['listener', 'pausado', 'por', 'hasta', 'retiene'])
    if (left.size > 0)
      print.note(
        `Quedaron como estaban: ${[...left.keys()].join(', ')}. Para cambiarlos, nómbrelos, o vea --tambien-sin-fin y --tambien-410.`,
      )
  })
}

/** The same for `reanudar`. */
export function addPauseOptions(command: Command): Command {
  return command
    .option('--tambien-sin-fin', 'con --todos: también los pausados sin fin')
    .option('--tambien-410', 'con --todos: también los que respondieron 410')
    .option('--json', 'un documento JSON')
}

/** Which pauses `--todos` leaves as they are, or not, whatever else; undefined: it does not say. */
export function sparedBy({ todos, tambienSinFin, tambien410 }: PauseOptions): (held: Pause) => boolean | undefined {
  return ({ until, reason }) => {
    if (todos !== true) return false
    if (reason === '410') return tambien410 !== true
    return until === null ? tambienSinFin !== true : undefined
  }
}

/** How many deliveries of each wait, those of a retry included. */
export async function heldDeliveries(context: Context, listeners: readonly string[]): Promise<Map<string, number>> {
  const { readDepths } = await import('../queue/depths.ts')
  const { listeners: lanes } = await readDepths(await context.queue(), listeners)
  return new Map(lanes.map(({ listener, en_cola, reintentos }) => [listener, en_cola + reintentos]))
}

/** Into the audit: who did it, to which ones, and how many deliveries that touches. */
export async function tellPause(context: Context, listeners: readonly string[], waiting: ReadonlyMap<string, number>) {
  if (listeners.length === 0) return
  const { tellAction } = await import('../queue/maintenance.ts')
  const count = listeners.reduce((sum, name) => sum + (waiting.get(name) ?? 0), 0)
  await tellAction(await context.queue(), await context.action(`listeners: ${listeners.join(', ')}`, count))
}
