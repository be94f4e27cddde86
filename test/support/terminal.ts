/** A conversation with the program at a terminal, which `script` makes. */
import { spawn } from 'node:child_process'
import { BIN, type CliOptions, cleanEnvironment } from './cli.ts'

/** What is waited for, and the keys that are pressed then. */
type Answer = readonly [asked: string, keys: string]

/**
 * @returns the exit code (128 + signal, as a shell has it), all that was shown, and the answers that nobody asked for
 */
export async function converse(
  args: readonly string[],
  answers: readonly Answer[],
  { env }: Pick<CliOptions, 'env'> = {},
): Promise<{ code: number | null; shown: string; unasked: readonly Answer[] }> {
  const command = [process.execPath, BIN, ...args].map((word) => `'${word}'`).join(' ')
  const child = spawn('script', ['-qec', command, '/dev/null'], { env: cleanEnvironment(env) })
  const left = [...answers]
  let shown = ''
  let from = 0
  child.stdout.on('data', (chunk) => {
    shown += chunk
    const [next] = left
    if (next === undefined || !shown.slice(from).includes(next[0])) return
    from = shown.length
    left.shift()
    child.stdin.write(next[1])
  })
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  return { code, shown, unasked: left }
}
