/** `estado`: what is wrong, since when, why, and what to do; then the figures. */
import type { Command } from 'commander'
import type { Answer } from '../checks/attention.ts'
import { ResthooksError, Unavailable } from '../errors.ts'
import type { Context } from './context.ts'
import type { ScreenLine } from './estado-screen.ts'
import * as print from './print.ts'

interface Options {
  readonly todos?: boolean
  readonly vigilar?: boolean
  readonly json?: boolean
}

const REFRESH_MS = 2_000

export function estado(program: Command, context: Context): void {
  program
    .command('estado')
    .description('qué anda mal, desde cuándo, por qué y qué hacer; después, ritmo, workers, Redis y Postgres')
    .option('--todos', 'también la tabla de todos los listeners')
    .option('--vigilar', 'se repite cada 2 segundos hasta Ctrl-C')
    .option('--json', 'un documento JSON')
    .action(async (options: Options) => {
      if (options.vigilar) return watch(context, options)
      const { attention, trouble } = await read(context)
      if (options.json) print.json(attention)
      else {
        const { screenOf } = await import('./estado-screen.ts')
        const lines = screenOf(attention, { width: print.width(), all: options.todos === true })
        for (const { mark, text, paint } of await painted(lines)) print.line(text, paint(mark))
      }
      // What Redis tells is worth seeing without Postgres; that one is away is no success all the same.
      if (trouble) throw new ResthooksError(trouble.code, 'no se pudo consultar a Postgres: falta lo que sólo él sabe.')
    })
}

async function read(context: Context): Promise<Answer> {
  const [{ readAttention }, config, queue] = await Promise.all([
    import('../checks/attention.ts'),
    context.config(),
    context.queue(),
  ])
  return readAttention({ config, queue, audit: () => context.audit(), version: __VERSION__ })
}

/** Until Ctrl-C; an outage is said, and waited out. */
async function watch(context: Context, options: Options): Promise<never> {
  const { screenOf } = await import('./estado-screen.ts')
  for (;;) {
    try {
      const { attention } = await read(context)
      if (options.json) print.json(attention)
      else {
        if (print.isInteractive()) print.stdout().write('\u001b[H\u001b[2J')
        const lines = screenOf(attention, { width: print.width(), all: options.todos === true })
        for (const { mark, text, paint } of await painted(lines)) print.line(text, paint(mark))
      }
    } catch (error) {
      const trouble = await context.explain(error)
      if (!(trouble instanceof Unavailable)) throw error
      print.note(`${trouble.message} Se sigue intentando.`)
      await context.disconnect()
    }
    await new Promise((resolve) => setTimeout(resolve, REFRESH_MS))
  }
}

type Painted = ScreenLine & { readonly paint: (text: string) => string }

async function painted(lines: readonly ScreenLine[]): Promise<Painted[]> {
  if (!print.isInteractive()) return lines.map((line) => ({ ...line, paint: String }))
  const { default: colors } = await import('picocolors')
  const tones = {
    mal: colors.red,
    atencion: colors.yellow,
    nota: colors.cyan,
    bien: colors.green,
    titulo: colors.bold,
    texto: String,
  }
  return lines.map((line) => ({ ...line, paint: tones[line.tone] }))
}
