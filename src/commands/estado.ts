/** `estado`: how full the queue is, who works, what is stuck. */
import type { Command } from 'commander'
import type { Config } from '../config/config.ts'
import { ResthooksError, Unavailable } from '../errors.ts'
import type { Depths } from '../queue/depths.ts'
import { mistypedText } from '../queue/redis.ts'
import type { WorkerInfo } from '../queue/workers.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'

interface Options {
  readonly vigilar?: boolean
  readonly json?: boolean
}

interface Estado extends Omit<Depths, 'listeners'> {
  readonly resthooks_activo: boolean
  /** `ok`, or why it could not be asked. */
  readonly postgres: string
  /** Messages of the last days that no listener got; null: the audit could not be asked. */
  readonly sin_listener: number | null
  /** Rows that Postgres refused, and events that this version did not understand; null: the audit could not be asked. */
  readonly auditoria_rechazada: number | null
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
      if (options.vigilar) return watch(context, options)
      const { state, trouble } = await read(context)
      await show(state, options)
      // What Redis tells is worth seeing without Postgres; that one is away is no success all the same.
      if (trouble) throw new ResthooksError(trouble.code, 'no se pudo consultar a Postgres: falta lo que sólo él sabe.')
    })
}

/** Until Ctrl-C; an outage is said, and waited out. */
async function watch(context: Context, options: Options): Promise<never> {
  for (;;) {
    try {
      const { state } = await read(context)
      if (!options.json && print.isInteractive()) print.stdout().write('\u001b[H\u001b[2J')
      await show(state, options)
    } catch (error) {
      const trouble = await context.explain(error)
      if (!(trouble instanceof Unavailable)) throw error
      print.note(`${trouble.message} Se sigue intentando.`)
      await context.disconnect()
    }
    await new Promise((resolve) => setTimeout(resolve, REFRESH_MS))
  }
}

/** @returns what there is to show, and what kept Postgres from being asked */
async function read(context: Context): Promise<{ state: Estado; trouble: ResthooksError | null }> {
  const config = await context.config()
  const queue = await context.queue()
  const { readDepths } = await import('../queue/depths.ts')
  const { isAlive, readWorkers } = await import('../queue/workers.ts')
  const [depths, workers, audit] = await Promise.all([
    readDepths(queue, config.listeners.keys()),
    readWorkers(queue),
    readAudit(context),
  ])
  const lanes = depths.listeners.map((lane) => ({ ...lane, configurado: isConfigured(config, lane.listener) }))
  const state = {
    resthooks_activo: config.active,
    postgres: audit.trouble?.message ?? 'ok',
    sin_listener: audit.unheard,
    auditoria_rechazada: audit.rejected,
    ...depths,
    // One that was taken out of the file is shown for as long as it holds something.
    listeners: lanes.filter((lane) => lane.configurado || config.listeners.has(lane.listener) || holds(lane)),
    workers: workers.map((worker) => ({
      ...worker,
      vivo: isAlive(worker, depths.fecha.getTime()),
      desde: new Date(worker.desde),
      visto: new Date(worker.visto),
    })),
  }
  return { state, trouble: audit.trouble }
}

function holds({ en_cola, en_curso, reintentos, fallidas }: Depths['listeners'][number]): boolean {
  return en_cola + en_curso + reintentos + fallidas > 0
}

const UNHEARD_DAYS = 7
const AUDIT_PATIENCE_MS = 3_000
const NOT_KNOWN = 'no se sabe sin Postgres'

interface AuditState {
  /** Messages of the last days that no listener got; null where the audit did not answer. */
  readonly unheard: number | null
  readonly rejected: number | null
  readonly trouble: ResthooksError | null
}

async function readAudit(context: Context): Promise<AuditState> {
  const since = new Date(Date.now() - UNHEARD_DAYS * 86_400_000)
  const late = new Promise<never>((_, reject) => {
    const error = new Unavailable(`Postgres no respondió en ${AUDIT_PATIENCE_MS / 1000} s: vea «resthooks verificar».`)
    setTimeout(reject, AUDIT_PATIENCE_MS, error).unref()
  })
  const asked = context.audit().then((audit) => Promise.all([audit.unheardCount(since), audit.rejectedCount()]))
  try {
    const [unheard, rejected] = await Promise.race([asked, late])
    return { unheard, rejected, trouble: null }
  } catch (error) {
    if (!(error instanceof ResthooksError)) throw error
    return { unheard: null, rejected: null, trouble: error }
  }
}

function rejectedText(count: number | null): string {
  if (count === null) return NOT_KNOWN
  return count === 0 ? '0' : `${count}: están, enteras y con su motivo, en la tabla auditoria_rechazada`
}

function unheardText(count: number | null): string {
  if (count === null) return NOT_KNOWN
  if (count === 0) return '0'
  return `${count} en ${UNHEARD_DAYS} días: véalos con «resthooks auditoria --sin-listener»`
}

function isConfigured(config: Config, name: string): boolean {
  return config.listeners.get(name)?.active === true
}

async function show(state: Estado, { json }: Options): Promise<void> {
  if (json) return print.json(state)
  const alive = state.workers.filter(({ vivo }) => vivo)
  print.line(`resthooks_activo     ${state.resthooks_activo ? '1' : '0: no se encola ni se entrega nada'}`)
  print.line(`entrada              ${state.entrada}${ageText(state)}`)
  print.line(`en despacho          ${state.en_despacho}`)
  print.line(`demoradas            ${state.demoradas}`)
  print.line(
    `entrada inválida     ${state.entrada_invalida}${state.entrada_invalida > 0 ? ': el motivo, con «resthooks verificar»' : ''}`,
  )
  print.line(`auditoría pendiente  ${state.auditoria_pendiente}`)
  print.line(`auditoría rechazada  ${rejectedText(state.auditoria_rechazada)}`)
  print.line(`sin listener         ${unheardText(state.sin_listener)}`)
  print.line(`Postgres             ${state.postgres}`)
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
      pausado: untilText(lane.pausado),
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

/** An end of a pause in the zone of all other instants; its other words stay. */
function untilText(pause: string): string {
  const until = new Date(pause)
  return /^\d{4}-.*Z$/.test(pause) && !Number.isNaN(until.getTime()) ? `hasta ${print.localTime(until)}` : pause
}

function ageText({ entrada, mas_antigua_ms }: Estado): string {
  if (entrada === 0) return ''
  if (mas_antigua_ms === null) return ' (la más antigua no dice desde cuándo: no trae «creado»)'
  return ` (la más antigua, hace ${print.duration(mas_antigua_ms)})`
}

function callbackText({ en_cola, en_curso, reintentos, fallidas }: Depths['callbacks']): string {
  return `${en_cola} en cola, ${en_curso} en curso, ${reintentos} en reintento, ${fallidas} fallidos`
}
