/** `salud`: asks a worker's or the page's health over HTTP, for hosts without curl and the checks of containers. */
import { get } from 'node:http'
import { get as getTls } from 'node:https'
import type { Command } from 'commander'
import type { Config } from '../config/config.ts'
import { ConfigError, OperationFailed, UsageError } from '../errors.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'

interface Options {
  readonly listo?: boolean
  readonly panel?: boolean
  readonly url?: string
  readonly json?: boolean
}

interface Health {
  readonly url: string
  readonly ok: boolean
  /** Nobody listens there. */
  readonly nadie: boolean
  /** What was answered, null: nothing that could be read. */
  readonly respuesta: Readonly<Record<string, unknown>> | null
  /** What is wrong, null: nothing. */
  readonly detalle: string | null
}

/** Longer than what is asked takes to give up on Redis and Postgres. */
const PATIENCE_MS = 5_000
const NO_WORKER = ': ¿hay un worker en marcha, con «metricas»?'
const NO_PAGE = ': ¿está en marcha «resthooks panel»?'
/** No health takes more. */
const MOST_BYTES = 65_536

export function salud(program: Command, context: Context): void {
  program
    .command('salud')
    .description('pregunta a los workers de este equipo (o a la página) si están bien: para chequeos de contenedores')
    .option('--listo', 'si pueden trabajar (/listo), y no sólo si viven (/salud)')
    .option('--panel', 'a la página, en [panel] direccion')
    .option('--url <url>', 'dónde preguntar, en lugar de lo que dicen [workers] metricas o [panel] direccion')
    .option('--json', 'un documento JSON con lo que contestó cada uno')
    .action(async (options: Options) => {
      const { url, panel } = options
      const found =
        url === undefined
          ? await askOwn(await context.configToLook(panel ? 'panel' : 'workers'), options)
          : [await ask(given(options))]
      if (options.json) print.json(found.map(({ nadie: _, ...each }) => each))
      else for (const { url, ok, detalle } of found) print.line(ok ? `bien: ${url}` : `mal: ${url}: ${detalle}`)
      const bad = found.filter(({ ok }) => !ok).length
      if (bad > 0) throw new OperationFailed(bad === 1 ? 'no está bien' : `${bad} de ${found.length} no están bien`)
    })
}

/** @throws ConfigError where nothing is published */
async function askOwn(config: Config, { listo, panel: page }: Options): Promise<Health[]> {
  const { workers, panel } = config
  if (page) {
    if (listo) throw new UsageError('--listo es de los workers: la página tiene sólo /salud')
    const found = await ask(`${placeOf(panel.address)}${panel.prefix}/salud`, NO_PAGE)
    return [isOfAnother(found, config) ? stranger(found, 'la página', config) : found]
  }
  const { metrics, processes } = workers
  if (metrics === null) {
    throw new ConfigError(
      'los workers no publican su salud: defina «metricas = 127.0.0.1:9464» en [workers], o indique --url',
    )
  }
  const { NEIGHBOUR_PORTS } = await import('../config/settings.ts')
  const askPorts = (first: number, end: number) =>
    Promise.all(
      Array.from({ length: Math.max(0, Math.min(end, 65_536) - first) }, (_, i) =>
        ask(`${placeOf({ ...metrics, port: first + i })}/${listo ? 'listo' : 'salud'}`, NO_WORKER),
      ),
    )
  // Each of the processes has taken the next free port; workers of other projects may have taken some before.
  const [first, end] = [metrics.port + processes, metrics.port + NEIGHBOUR_PORTS + 1]
  const found = await askPorts(metrics.port, first)
  const isElsewhere = (each: Health) => each.nadie || isOfAnother(each, config)
  if (!found.some(isElsewhere)) return found
  const others = (await askPorts(first, end)).filter((each) => isOwn(each, config))
  return found
    .map((each) => (isElsewhere(each) ? (others.shift() ?? each) : each))
    .map((each) => (isOfAnother(each, config) ? stranger(each, 'un worker', config) : each))
}

type Project = Pick<Config, 'instancia' | 'proyecto'>

/** A worker of the version before does not say whose it is. */
function isOfAnother({ respuesta }: Health, { instancia, proyecto }: Project): boolean {
  return (
    typeof respuesta?.proyecto === 'string' && (respuesta.proyecto !== proyecto || respuesta.instancia !== instancia)
  )
}

function isOwn({ respuesta }: Health, { instancia, proyecto }: Project): boolean {
  return respuesta?.proyecto === proyecto && respuesta.instancia === instancia
}

function stranger(found: Health, who: string, { instancia, proyecto }: Project): Health {
  const { respuesta } = found
  const whose = `${respuesta?.instancia}/${respuesta?.proyecto}`
  const missing = who === 'la página' ? NO_PAGE : NO_WORKER
  return { ...found, ok: false, detalle: `ahí contesta ${who} de ${whose}, y no de ${instancia}/${proyecto}${missing}` }
}

/** What listens on every address is asked at this machine's own. */
function placeOf({ host, port }: { readonly host: string; readonly port: number }): string {
  const own = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return `http://${own.includes(':') ? `[${own}]` : own}:${port}`
}

/** @throws UsageError when it is no address */
function given({ url, listo }: Options): string {
  const address = URL.canParse(url!) ? new URL(url!) : null
  if (!/^https?:$/.test(address?.protocol ?? '')) {
    throw new UsageError(`--url ${url}: se espera una dirección completa, por ejemplo http://127.0.0.1:9464/salud`)
  }
  if (address!.pathname === '/') address!.pathname = listo ? '/listo' : '/salud'
  return address!.href
}

/**
 * Never rejects.
 * @param missing what is probably not running where nobody listens
 */
function ask(url: string, missing = ''): Promise<Health> {
  return new Promise((resolve) => {
    const end = (respuesta: Health['respuesta'], detalle: string | null, nadie = false) =>
      resolve({ url, ok: detalle === null, nadie, respuesta, detalle })
    const asked = (url.startsWith('https:') ? getTls : get)(
      url,
      { signal: AbortSignal.timeout(PATIENCE_MS), agent: false },
      (answer) => {
        const chunks: Buffer[] = []
        let size = 0
        answer.on('data', (chunk: Buffer) => {
          size += chunk.length
          if (size > MOST_BYTES) answer.destroy(new Error('contestó más de lo que ocupa una salud'))
          else chunks.push(chunk)
        })
        answer.on('error', (error) => end(null, troubleOf(error, missing)))
        answer.on('end', () => {
          const told = parsed(Buffer.concat(chunks))
          const healthy = answer.statusCode === 200 && told?.estado === 'ok'
          end(told, healthy ? null : whyNot(told, answer.statusCode ?? 0))
        })
      },
    )
    asked.on('error', (error: NodeJS.ErrnoException) =>
      end(null, troubleOf(error, missing), error.code === 'ECONNREFUSED'),
    )
  })
}

function parsed(body: Buffer): Health['respuesta'] {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    return typeof value === 'object' && value !== null ? (value as Health['respuesta']) : null
  } catch {
    return null
  }
}

/** The parts that are not well, by their names. */
function whyNot(told: Health['respuesta'], status: number): string {
  const parts = Object.entries(told ?? {}).flatMap(([name, value]) => {
    const { ok, detalle } = (value ?? {}) as { ok?: unknown; detalle?: unknown }
    return ok === false ? [`${name}: ${detalle ?? 'mal'}`] : []
  })
  return parts.length > 0 ? parts.join('; ') : `contestó HTTP ${status}, que no es una salud de resthooks`
}

function troubleOf(error: NodeJS.ErrnoException, missing: string): string {
  if (error.name === 'AbortError' || error.name === 'TimeoutError') return `no contestó en ${PATIENCE_MS / 1000} s`
  if (error.code === 'ECONNREFUSED') return `nadie atiende ahí${missing}`
  return error.message
}
