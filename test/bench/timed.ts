/** Programs timed from their start to their end. */
import { spawn } from 'node:child_process'
import { type FileHandle, open } from 'node:fs/promises'
import { cleanEnvironment } from '../support/cli.ts'
import { median } from './row.ts'

export interface Command {
  readonly program: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** A file that is its stdin; nothing otherwise. */
  readonly input?: string
  /** A file that gets its stdout; thrown away otherwise. */
  readonly output?: string
}

/** Runs it once. @returns ms. @throws when it does not exit 0 */
export async function timeOf({ program, args, env, input, output }: Command): Promise<number> {
  const files: FileHandle[] = []
  const opened = async (path: string, flags: string) => {
    const file = await open(path, flags)
    files.push(file)
    return file.fd
  }
  try {
    const stdin = input ? await opened(input, 'r') : 'ignore'
    const stdout = output ? await opened(output, 'w') : 'ignore'
    const begun = performance.now()
    const child = spawn(program, args, { env: cleanEnvironment(env), stdio: [stdin, stdout, 'pipe'] })
    let complaint = ''
    child.stderr?.on('data', (data) => {
      complaint += data
    })
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject)
      child.once('exit', resolve)
    })
    const ms = performance.now() - begun
    if (code !== 0) throw new Error(`${program} ${args.join(' ')} exited ${code}: ${complaint}`)
    return ms
  } finally {
    for (const file of files) await file.close()
  }
}

/**
 * Times several commands taking turns, so that whatever else the machine does meets them all.
 * @returns the median of each, in ms, in the order of the commands
 */
export async function timesOf(commands: readonly Command[], times: number): Promise<number[]> {
  const taken: number[][] = commands.map(() => [])
  for (let turn = 0; turn < times; turn++) {
    for (let i = 0; i < commands.length; i++) {
      const at = (i + turn) % commands.length
      taken[at]!.push(await timeOf(commands[at]!))
    }
  }
  return taken.map(median)
}

/** For contenders that are measured together: the first one asked measures for all, once a round. */
export function together<T>(count: number, measure: () => Promise<readonly T[]>): (() => Promise<T>)[] {
  const rounds: Promise<readonly T[]>[] = []
  return Array.from({ length: count }, (_, index) => {
    let round = 0
    return async () => {
      rounds[round] ??= measure()
      const results = await rounds[round]!
      round += 1
      return results[index]!
    }
  })
}
