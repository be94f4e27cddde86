/** A progress bar on stderr, where a person looks at it: for what reads or changes much. Apart, as it is the one place that draws. */
import type { SingleBar } from 'cli-progress'
import type { OnProgress } from '../audit/queries.ts'

interface Progress {
  readonly tell: OnProgress
  /** Takes it from the screen. */
  end(): void
}

/** Nothing is drawn before something is told of it. */
export async function progressOf(what: string): Promise<Progress> {
  if (process.stderr.isTTY !== true || process.env.NO_COLOR) return { tell: () => {}, end: () => {} }
  const { default: cliProgress } = await import('cli-progress')
  let bar: SingleBar | undefined
  return {
    tell: (done, total) => {
      if (!bar) {
        const format = `${what} {bar} {percentage} %`
        bar = new cliProgress.SingleBar(
          { format, stream: process.stderr, clearOnComplete: true, hideCursor: true, barsize: 30 },
          cliProgress.Presets.shades_classic,
        )
        bar.start(total, 0)
      }
      bar.setTotal(total)
      bar.update(Math.min(done, total))
    },
    end: () => bar?.stop(),
  }
}

/** While `work` runs. */
export async function withProgress<T>(what: string, work: (tell: OnProgress) => Promise<T>): Promise<T> {
  const progress = await progressOf(what)
  try {
    return await work(progress.tell)
  } finally {
    progress.end()
  }
}
