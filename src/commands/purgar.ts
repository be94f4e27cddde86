/** `purgar`: drops audit data older than a date. */
import type { Command } from 'commander'
import type { Purged } from '../audit/purge.ts'
import type { Config } from '../config/config.ts'
import { UsageError } from '../errors.ts'
import { parseInstant } from '../model/instant.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'

interface Options {
  readonly antesDe?: string
  readonly simulacro?: boolean
  readonly json?: boolean
}

export function purgar(program: Command, context: Context): void {
  program
    .command('purgar')
    .description(
      'borra de la auditoría lo anterior a una fecha: meses enteros donde puede, el resto de a partes. Lo que no terminó se conserva.',
    )
    .option('--antes-de <cuándo>', 'una fecha o cuánto hace (90d); si no, lo que dice [auditoria] retencion')
    .option('--simulacro', 'muestra cuánto se borraría, sin borrar')
    .option('--json', 'un documento JSON')
    .action(async (options: Options) => {
      const config = await context.config()
      const before = limitOf(config, options.antesDe)
      const simulate = options.simulacro === true
      const queue = await context.queue()
      const [{ purge }, { forgetOldFailures, notePurge }] = await Promise.all([
        import('../audit/purge.ts'),
        import('../queue/purge.ts'),
      ])
      const purged = await purge(config.audit, config, { before, simulate })
      const fallidas = await forgetOldFailures(queue, config.listeners.keys(), before, simulate)
      if (options.json) print.json({ simulacro: simulate, antes_de: before, ...purged, fallidas_en_redis: fallidas })
      else await show(purged, fallidas, before, simulate)
      if (!simulate) await notePurge(queue)
    })
}

/** @throws UsageError when neither the command line nor the configuration says a date */
function limitOf({ audit }: Config, text: string | undefined): Date {
  if (text === undefined) {
    if (audit.retention > 0) return new Date(Date.now() - audit.retention)
    throw new UsageError('[auditoria] retencion es 0 (se conserva todo): indique --antes-de.')
  }
  const before = parseInstant(text, '--antes-de', 'start')
  if (before.getTime() > Date.now()) throw new UsageError(`--antes-de: «${text}» está en el futuro.`)
  print.note(`Antes de ${print.localTime(before)}.`)
  return before
}

async function show(purged: Purged, fallidas: number, before: Date, simulate: boolean): Promise<void> {
  print.line(`${simulate ? 'Se borraría' : 'Se borró'} lo anterior a ${print.localTime(before)}:`)
  const { particiones, ...tables } = purged
  const rows = Object.entries(tables).map(([tabla, filas]) => ({ tabla, filas }))
  await print.table([...rows, { tabla: 'fallidas (en Redis)', filas: fallidas }], ['tabla', 'filas'])
  if (particiones.length > 0) print.line(`Meses enteros: ${particiones.join(', ')}`)
}
