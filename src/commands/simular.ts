/** `simular`: when a listener's failing delivery is tried again, and when it is given up. */
import type { Command } from 'commander'
import { UsageError } from '../errors.ts'
import { parseInstant } from '../model/instant.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'
import { requireListener } from './select.ts'

interface SimularOptions {
  readonly desde?: string
  readonly limite: string
  readonly json?: boolean
}

const ENDS = {
  exhausted: 'después de ese intento no hay más reintentos',
  expired: 'el siguiente sería después del vencimiento',
  cut: 'hay más intentos que los mostrados (--limite)',
} as const

export function simular(program: Command, context: Context): void {
  program
    .command('simular')
    .description('muestra cuándo se reintenta una entrega que falla, y cuándo se abandona')
    .argument('<listener>', 'el de [listener NOMBRE]')
    .option('--desde <fecha>', 'cuándo se hace el primer intento (si no: ahora)')
    .option('--limite <n>', 'intentos que se muestran como máximo', '100')
    .option('--json', 'un documento JSON')
    .action(async (name: string, options: SimularOptions) => {
      const { inWords, schedule } = await import('../delivery/outcome.ts')
      const { listeners } = await context.configToLook(`listener ${name}`, 'reintentos', 'reintentos *')
      const { strategy } = requireListener(listeners, name)
      const limit = Number(options.limite)
      if (!Number.isInteger(limit) || limit < 1 || limit > 100_000)
        throw new UsageError(`--limite ${options.limite}: se espera un número de 1 a 100000`)
      const start = options.desde === undefined ? new Date() : parseInstant(options.desde, '--desde', 'start')
      const { attempts, end } = schedule(strategy, limit)
      const rows = attempts.map(({ attempt, delay, shortest, longest, elapsed }) => ({
        intento: attempt,
        espera_ms: delay,
        espera_minima_ms: shortest,
        espera_maxima_ms: longest,
        transcurrido_ms: elapsed,
        fecha: new Date(start.getTime() + elapsed),
      }))
      if (options.json) {
        const { kind, jitter, expiry } = strategy
        const strategyJson = { nombre: strategy.name, estrategia: kind, jitter, vencimiento_ms: expiry }
        print.json({ listener: name, reintentos: strategyJson, intentos: rows, fin: ENDS[end] })
        return
      }
      const shown = rows.map((row) => ({
        intento: row.intento,
        espera: row.intento === 1 ? '' : inWords(row.espera_ms),
        entre:
          row.espera_minima_ms === row.espera_maxima_ms
            ? ''
            : `${inWords(row.espera_minima_ms)} y ${inWords(row.espera_maxima_ms)}`,
        transcurrido: inWords(row.transcurrido_ms),
        fecha: row.fecha,
      }))
      await print.table(shown, ['intento', 'espera', 'entre', 'transcurrido', 'fecha'])
      const expiry = strategy.expiry === 0 ? 'los mensajes no vencen' : `vencimiento a los ${inWords(strategy.expiry)}`
      print.line(`${attempts.length} ${attempts.length === 1 ? 'intento' : 'intentos'}: ${ENDS[end]} (${expiry}).`)
      print.line('No cuenta lo que tarda cada pedido; un Retry-After del servidor sólo puede alargar una espera.')
    })
}
