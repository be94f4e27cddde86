/** `estado`: what is wrong, since when, why, and what to do; then the figures. */
import type { Command } from 'commander'
import type { Answer, Attention } from '../checks/attention.ts'
import type { AuditView } from '../checks/without-redis.ts'
import { ConfigError, ResthooksError, together, UsageError } from '../errors.ts'
import type { Context } from './context.ts'
import type { ScreenLine } from './estado-screen.ts'
import * as print from './print.ts'

interface Options {
  readonly todos?: boolean
  readonly vigilar?: boolean
  readonly json?: boolean
  readonly comprobar?: boolean
  readonly umbralEdad?: string
  readonly umbralFallidas?: string
  readonly umbralAuditoria?: string
}

export function estado(program: Command, context: Context): void {
  program
    .command('estado')
    .description('qué anda mal, desde cuándo, por qué y qué hacer; después, ritmo, workers, Redis y Postgres')
    .option('--todos', 'también la tabla de todos los listeners')
    .option('--vigilar', 'se repite cada 2 segundos en su lugar, hasta Ctrl-C')
    .option('--json', 'un documento JSON')
    .option(
      '--comprobar',
      'para monitoreo (Nagios, Icinga, Zabbix, cron): una línea con cifras, y termina con 0, 1, 2 o 3',
    )
    .option('--umbral-edad <aviso,crítico>', 'con --comprobar: edad de la entrega más antigua en cola (5m,15m)')
    .option('--umbral-fallidas <aviso,crítico>', 'con --comprobar: fallidas sin reenviar ni descartar (1,10)')
    .option('--umbral-auditoria <aviso,crítico>', 'con --comprobar: atraso de la auditoría en Postgres (10m,1h)')
    .addHelpText(
      'after',
      '\nCada umbral es un rango de Nagios. --comprobar termina con 0 (bien), 1 (atención), 2 (mal, o Redis no responde) o 3 ' +
        '(no se pudo saber). Sin --comprobar: 0, también si algo pide atención; 1 si la orden falló; 4 si Redis o Postgres no responden ' +
        'y 3 si la configuración está mal, con lo que se sepa.',
    )
    .action(async (options: Options) => {
      if (options.comprobar) return check(context, options)
      const unused = Object.keys(options).find((name) => name.startsWith('umbral'))
      if (unused !== undefined) throw new UsageError('los umbrales son de --comprobar')
      if (options.vigilar) {
        await context.configToLook()
        return watchIt(context, options)
      }
      // The workers go on with what was in force: what they do is worth seeing, and which line is wrong is told below it.
      const { broken } = await context.configAsItIs()
      const { seen, trouble, away } = await readEither(context)
      if (options.json) print.json(seen)
      else print.lines((await drawer())(seen, options))
      if (broken) throw broken
      // What one of them tells is worth seeing without the other; that one is away is no success all the same.
      if (trouble) throw new ResthooksError(trouble.code, `no se pudo consultar a ${away}: falta lo que sólo él sabe.`)
    })
}

interface Either {
  readonly seen: Attention | AuditView
  /** What kept `away` from being asked. */
  readonly trouble: ResthooksError | null
  readonly away: 'Redis' | 'Postgres'
}

/** A Redis that has not answered by then may be hung: the audit is asked beside it. */
const HEALTHY_MS = 1_000

async function readEither(context: Context): Promise<Either> {
  let alone: ReturnType<typeof readAlone> | undefined
  const askAlone = () => (alone ??= readAlone(context))
  const timer = setTimeout(() => void askAlone().catch(() => {}), HEALTHY_MS)
  try {
    await context.queue()
    clearTimeout(timer)
    const { attention, trouble } = await read(context)
    return { seen: attention, trouble, away: 'Postgres' }
  } catch (error) {
    const trouble = await context.explain(error)
    if (trouble === null) throw error
    const answer = await askAlone()
    if (answer.view) return { seen: answer.view(trouble), trouble, away: 'Redis' }
    throw together(trouble, answer.trouble)
  } finally {
    clearTimeout(timer)
  }
}

async function read(context: Context): Promise<Answer> {
  const [{ readAttention }, config, queue] = await Promise.all([
    import('../checks/attention.ts'),
    context.config(),
    context.queue(),
  ])
  return readAttention({ config, queue, audit: () => context.audit(), version: __VERSION__ })
}

/** What Postgres tells where Redis cannot be asked. */
async function readAlone(context: Context) {
  const [{ readAuditAlone }, config] = await Promise.all([import('../checks/without-redis.ts'), context.config()])
  return readAuditAlone({ config, audit: () => context.audit(), version: __VERSION__ })
}

async function watchIt(context: Context, options: Options): Promise<never> {
  const [{ watch }, draw] = await Promise.all([import('./estado-watch.ts'), drawer()])
  const asJson = (seen: Attention | AuditView) => [print.jsonText(seen)]
  return watch(context, {
    read: async () => (await read(context)).attention,
    readWithout: async (trouble) => {
      const answer = await readAlone(context)
      return answer.view?.(trouble) ?? null
    },
    draw: options.json ? asJson : (seen) => draw(seen, options),
    stream: options.json === true,
  })
}

/** Draws without waiting for anything. */
async function drawer(): Promise<(seen: Attention | AuditView, options: Options) => readonly string[]> {
  const { screenOf, screenWithoutRedis } = await import('./estado-screen.ts')
  const paint = await painter()
  return (seen, { todos }) => {
    const width = print.width()
    const lines = seen.redis === null ? screenWithoutRedis(seen, width) : screenOf(seen, { width, all: todos === true })
    return lines.map(({ tone, mark, text }) => `${paint(tone, mark)}${print.oneLine(text)}`)
  }
}

async function painter(): Promise<(tone: ScreenLine['tone'], text: string) => string> {
  if (!print.isInteractive()) return (_, text) => text
  const { default: colors } = await import('picocolors')
  const tones: Readonly<Record<ScreenLine['tone'], (text: string) => string>> = {
    mal: colors.red,
    atencion: colors.yellow,
    nota: colors.cyan,
    bien: colors.green,
    titulo: colors.bold,
    texto: String,
  }
  return (tone, text) => tones[tone](text)
}

/** A monitor reads the line and the code, whatever happens. */
async function check(context: Context, options: Options): Promise<void> {
  const { inTime, parseThreshold, pluginAnswer, pluginFailure } = await import('../checks/plugin.ts')
  const threshold = (text: string | undefined, option: string, unit: 'duration' | 'count') =>
    text === undefined ? null : parseThreshold(text, option, unit)
  let answer: ReturnType<typeof pluginFailure>
  try {
    const thresholds = {
      edad: threshold(options.umbralEdad, '--umbral-edad', 'duration'),
      fallidas: threshold(options.umbralFallidas, '--umbral-fallidas', 'count'),
      auditoria: threshold(options.umbralAuditoria, '--umbral-auditoria', 'duration'),
    }
    answer = pluginAnswer((await inTime(read(context))).attention, thresholds)
  } catch (error) {
    const trouble = await context.explain(error)
    if (trouble === null) throw error
    const unknown = trouble instanceof ConfigError || trouble instanceof UsageError
    answer = pluginFailure(unknown ? 3 : 2, trouble.message)
  }
  print.line(answer.line)
  process.exitCode = answer.code
}
