/** Every command, loaded only when it is the one that runs. */
import type { Command } from 'commander'
import type { Context } from './context.ts'

export type Definition = (program: Command, context: Context) => void

export const COMMANDS: Readonly<Record<string, () => Promise<Definition>>> = {
  'crear-base': async () => (await import('./crear-base.ts')).crearBase,
  'iniciar-workers': async () => (await import('./iniciar-workers.ts')).iniciarWorkers,
  send: async () => (await import('./send.ts')).send,
  estado: async () => (await import('./estado.ts')).estado,
  auditoria: async () => (await import('./auditoria.ts')).auditoria,
  ver: async () => (await import('./ver.ts')).ver,
  pausar: async () => (await import('./pausar.ts')).pausar,
  probar: async () => (await import('./probar.ts')).probar,
  simular: async () => (await import('./simular.ts')).simular,
  reanudar: async () => (await import('./reanudar.ts')).reanudar,
}

/** toba's own spelling: `proyecto crear_base_resthooks`. */
export const TOBA_COMMANDS: Readonly<Record<string, string>> = {
  crear_base_resthooks: 'crear-base',
  crear_base: 'crear-base',
  iniciar_workers: 'iniciar-workers',
}
