/** `estado`: how full the queue is, who works, what is stuck. */
import type { Command } from 'commander'
import type { Config } from '../config/config.ts'
import { ConfigError, Unavailable } from '../errors.ts'
import type { Depths } from '../queue/depths.ts'
import { mistypedText } from '../queue/redis.ts'
import type { WorkerInfo } from '../worker/heartbeat.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'

interface Options {
  readonly vigilar?: boolean
  readonly json?: boolean
}

interface Estado extends Omit<Depths, 'listeners'> {
  readonly resthooks_activo: boolean
  /** Messages of the last days that no listener got; null: the audit could not be asked. */
  readonly sin_listener: number | null
  readonly workers: readonly WorkerRow[]
  readonly listeners: readonly (Depths['listeners'][number] & { readonly configurado: boolean })[]
}

type WorkerRow = Omit<WorkerInfo, 'desde' | 'visto'> & {
  readonly vivo: boolean
  readonly desde: Date
  readonly visto: Date
}

const REFRESH_MS = 2_000

export function estado(program: Command, context: Context): void {
  program
    .command('estado')
    .description('profundidad de las colas, reintentos, fallidas, auditoría pendiente, workers vivos y cortes')
    .option('--vigilar', 'se repite cada 2 segundos hasta Ctrl-C')
    .option('--json', 'un documento JSON')
    .action(async (options: Options) => {
      for (;;) {
        const state = await read(context)
        if (options.json) print.json(state)
        else {
          if (options.vigilar && print.isInteractive()) print.stdout().write('\u001b[H\u001b[2J')
          await show(state)
        }
        if (!options.vigilar) return
        await new Promise((resolve) => setTimeout(resolve, REFRESH_MS))
      }
    })
}

async function read(context: Context): Promise<Estado> {
  const config = await context.config()
  const queue = await context.queue()
  const { readDepths } = await import('../queue/depths.ts')
  const { readWorkers, DEAD_AFTER_MS } = await import('../worker/heartbeat.ts')
  const [depths, workers, unheard] = await Promise.all([
    readDepths(queue, config.listeners.keys()),
    readWorkers(queue),
    unheardCount(context),
  ])
  return {
    resthooks_activo: config.active,
    sin_listener: unheard,
    ...depths,
    listeners: depths.listeners.map((lane) => ({ ...lane, configurado: isConfigured(config, lane.listener) })),
    workers: workers.map((worker) => ({
      ...worker,
      vivo: depths.fecha.getTime() - worker.visto <= DEAD_AFTER_MS,
      desde: new Date(worker.desde),
      visto: new Date(worker.visto),
    })),
  }
}

const UNHEARD_DAYS = 7
const AUDIT_PATIENCE_MS = 3_000

/** Redis is what this command is about: an audit that is away is told by its backlog. */
async function unheardCount(context: Context): Promise<number | null> {
  const since = new Date(Date.now() - UNHEARD_DAYS * 86_400_000)
  const late = new Promise<null>((resolve) => setTimeout(resolve, AUDIT_PATIENCE_MS, null).unref())
  try {
    const audit = await context.audit()
    return await Promise.race([audit.unheardCount(since), late])
  } catch (error) {
    if (error instanceof Unavailable || error instanceof ConfigError) return null
    throw error
  }
}

function unheardText(count: number | null): string {
  if (count === null) return 'no se sabe: la auditoría no respondió (resthooks verificar)'
  if (count === 0) return '0'
  return `${count} en ${UNHEARD_DAYS} días: véalos con «resthooks auditoria --sin-listener»`
}

function isConfigured(config: Config, name: string): boolean {
  return config.listeners.get(name)?.active === true
}

async function show(state: Estado): Promise<void> {
  const age = state.mas_antigua_ms === null ? '' : ` (la más antigua, hace ${print.duration(state.mas_antigua_ms)})`
  const alive = state.workers.filter(({ vivo }) => vivo)
  print.line(`resthooks_activo     ${state.resthooks_activo ? '1' : '0: no se encola ni se entrega nada'}`)
  print.line(`entrada              ${state.entrada}${age}`)
  print.line(`en despacho          ${state.en_despacho}`)
  print.line(`demoradas            ${state.demoradas}`)
  print.line(`entrada inválida     ${state.entrada_invalida}`)
  print.line(`auditoría pendiente  ${state.auditoria_pendiente}`)
  print.line(`sin listener         ${unheardText(state.sin_listener)}`)
  print.line(`callbacks            ${callbackText(state.callbacks)}`)
  print.line(`workers vivos        ${alive.length}`)
  for (const { clave, tipo, debe_ser } of state.claves_rotas) {
    print.line(`NO SE PUEDE TRABAJAR  ${mistypedText({ message: `WRONGTYPE ${clave} ${tipo} ${debe_ser}` })}`)
  }
  if (alive.length > 0) {
    print.line()
    await print.table(alive, ['worker', 'host', 'pid', 'version', 'en_curso', 'desde'])
    const { checkLoaded } = await import('../checks/queue.ts')
    for (const { detalle, que_hacer } of checkLoaded(alive)) print.line(`AVISO  ${detalle}\n       → ${que_hacer}`)
  }
  if (state.listeners.length > 0) {
    print.line()
    const rows = state.listeners.map((lane) => ({
      ...lane,
      listener: lane.configurado ? lane.listener : `${lane.listener} (no está activo en resthooks.ini)`,
      mas_antigua: lane.mas_antigua_ms === null ? '' : print.duration(lane.mas_antigua_ms),
    }))
    await print.table(rows, [
      'listener',
      'en_cola',
      'en_curso',
      'reintentos',
      'proximo_reintento',
      'fallidas',
      'mas_antigua',
      'pausado',
      'corte',
    ])
  }
}

function callbackText({ en_cola, en_curso, reintentos, fallidas }: Depths['callbacks']): string {
  return `${en_cola} en cola, ${en_curso} en curso, ${reintentos} en reintento, ${fallidas} fallidos`
}
