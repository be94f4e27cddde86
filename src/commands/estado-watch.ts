/**
 * `estado --vigilar`: the screen again and again in its place, until Ctrl-C; an outage is said above what was known last, and
 * waited out. Apart, as only `--vigilar` loads it.
 */
import type { Attention } from '../checks/attention.ts'
import type { AuditView } from '../checks/without-redis.ts'
import { ended, type ResthooksError, Unavailable } from '../errors.ts'
import { shortTime } from '../model/words.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'

const REFRESH_MS = 2_000

interface View {
  /** @throws whatever Redis answers */
  readonly read: () => Promise<Attention>
  /** What is known without Redis; null: nothing. */
  readonly readWithout: (trouble: ResthooksError) => Promise<AuditView | null>
  /** Lines that passed the cleaner, painted. */
  readonly draw: (seen: Attention | AuditView) => readonly string[]
  /** For a program: a line each time, one below the other. */
  readonly stream: boolean
}

export async function watch(context: Context, { read, readWithout, draw, stream }: View): Promise<never> {
  const place = print.isInteractive() && !stream ? new Place() : null
  let last: { readonly attention: Attention | AuditView } | null = null
  let awaySince: Date | null = null
  const show = (why: string | null) => {
    const lines = last ? draw(last.attention) : []
    const from = last && `Lo que sigue es de las ${shortTime(last.attention.fecha)}.`
    place?.draw(why === null ? lines : [print.oneLine([why, from].filter(Boolean).join(' ')), ...lines])
  }
  let shown: string | null = null
  process.stdout.on('resize', () => {
    place?.clear()
    show(shown)
  })
  for (;;) {
    try {
      last = { attention: await read() }
      awaySince = null
      shown = null
      if (place === null) print.lines(stream ? draw(last.attention) : [...draw(last.attention), ''])
    } catch (error) {
      const trouble = await context.explain(error)
      if (!(trouble instanceof Unavailable)) throw error
      awaySince ??= new Date()
      shown = `${ended(trouble.message)} Se sigue intentando, desde las ${shortTime(awaySince)}.`
      if (place === null) print.note(shown)
      // What was whole is worth more than what is new: it says from when it is.
      if (!stream && (last === null || last.attention.redis === null)) {
        const view = await readWithout(trouble)
        last = view && { attention: view }
        if (view && place === null) print.lines([...draw(view), ''])
      }
      await context.disconnect()
    }
    show(shown)
    await new Promise((resolve) => setTimeout(resolve, REFRESH_MS))
  }
}

/** The lines of a terminal that are written over: from the first one, upwards no further than the terminal shows. */
class Place {
  #drawn = 0

  constructor() {
    const hideCursor = '\u001b[?25l'
    const showCursor = '\u001b[?25h'
    print.stdout().write(hideCursor)
    process.once('exit', () => process.stdout.write(showCursor))
    process.once('SIGINT', () => process.exit(130))
    process.once('SIGTERM', () => process.exit(143))
  }

  draw(lines: readonly string[]): void {
    const rows = Math.max(3, (process.stdout.rows ?? 24) - 1)
    const fitting =
      lines.length <= rows ? lines : [...lines.slice(0, rows - 1), ` … ${lines.length - rows + 1} líneas más`]
    const up = this.#drawn > 0 ? `\u001b[${this.#drawn}A` : ''
    // Each line over the one that stood there, and what is left of longer screens cleared: nothing is ever blank in between.
    print.stdout().write(`${up}\r${fitting.map((line) => `${line}\u001b[K\n`).join('')}\u001b[J`)
    this.#drawn = fitting.length
  }

  clear(): void {
    this.#drawn = 0
    print.stdout().write('\u001b[2J\u001b[H')
  }
}
