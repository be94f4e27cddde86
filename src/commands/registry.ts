/** Every command, loaded only when it is the one that runs. Apart from `main.ts`, so that tests can compare it with what is written. */
import type { Commands } from '../cli.ts'

export const COMMANDS: Commands = {
  iniciar: async () => (await import('./iniciar.ts')).iniciar,
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
  verificar: async () => (await import('./verificar.ts')).verificar,
  reenviar: async () => (await import('./reenviar.ts')).reenviar,
  descartar: async () => (await import('./descartar.ts')).descartar,
  salud: async () => (await import('./salud.ts')).salud,
  entradas: async () => (await import('./entradas.ts')).entradas,
  purgar: async () => (await import('./purgar.ts')).purgar,
  panel: async () => (await import('./panel.ts')).panel,
  completar: async () => (await import('./completar.ts')).completar,
  ayuda: async () => (await import('./ayuda.ts')).ayuda,
  recuperar: async () => (await import('./recuperar.ts')).recuperar,
}
