/** `recuperar`: rebuilds the queues in Redis from the audit, after Redis lost them. */
import type { Command } from 'commander'
import { OperationFailed } from '../errors.ts'
import type { Recovery } from '../recovery/recover.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'
import { noteProblems } from './select.ts'

interface Options {
  readonly simulacro?: boolean
  readonly json?: boolean
}

export function recuperar(program: Command, context: Context): void {
  program
    .command('recuperar')
    .description(
      'reconstruye en Redis, desde Postgres, las entregas sin terminar que Redis ya no tiene; lo que Redis tiene no se toca y ' +
        'lo terminado no se envía otra vez. Se puede usar con los workers en marcha y repetir.',
    )
    .option('--simulacro', 'muestra qué se recuperaría, sin hacerlo (la auditoría en espera se escribe igual)')
    .option('--json', 'un documento JSON')
    .addHelpText(
      'after',
      '\nVuelven al final de su cola, con sus intentos hechos. No vuelven las pausas (repita «resthooks pausar») ni los ' +
        'callbacks que esperaban.',
    )
    .action(async (options: Options) => {
      const simulate = options.simulacro === true
      const maintenance = await context.maintenance(simulate)
      const { recover } = await import('../recovery/recover.ts')
      const recovery = await recover(maintenance)
      if (options.json) print.json(document(recovery, simulate))
      else await show(recovery, simulate)
      if (Object.values(totals(recovery)).every((count) => count === 0)) await context.tellStray({ queue: true })
      if (recovery.problemCount > 0) {
        throw new OperationFailed(`${recovery.problemCount} entregas no se pueden reconstruir.`)
      }
    })
}

function totals({ listeners, delayed, accepted, recent, problemCount }: Recovery) {
  const all = [...listeners.values()]
  return {
    pendientes: all.reduce((sum, { pendientes }) => sum + pendientes, 0),
    reintentos: all.reduce((sum, { reintentos }) => sum + reintentos, 0),
    demoradas: delayed,
    ya_aceptadas: accepted,
    recientes: recent,
    no_recuperables: problemCount,
  }
}

function rows({ listeners }: Recovery) {
  return [...listeners].map(([listener, counts]) => ({ listener, ...counts }))
}

function document(recovery: Recovery, simulate: boolean) {
  return { simulacro: simulate, ...totals(recovery), listeners: rows(recovery), problemas: recovery.problems }
}

async function show(recovery: Recovery, simulate: boolean): Promise<void> {
  const { pendientes, reintentos, demoradas, ya_aceptadas } = totals(recovery)
  const done = simulate ? 'Se recuperarían' : 'Se recuperaron'
  if (pendientes + reintentos + demoradas + ya_aceptadas === 0) print.line('No falta nada en Redis.')
  else print.line(`${done} ${pendientes + reintentos} entregas y ${demoradas} mensajes demorados.`)
  if (ya_aceptadas > 0) {
    const state = simulate ? 'quedarían como exitosas' : 'quedaron como exitosas'
    print.line(`${ya_aceptadas} entregas ya las había aceptado su listener: ${state}, sin enviarlas otra vez.`)
  }
  if (recovery.listeners.size > 0) await print.table(rows(recovery), ['listener', 'pendientes', 'reintentos'])
  noteProblems(recovery, '\nNo se pueden reconstruir:')
}
