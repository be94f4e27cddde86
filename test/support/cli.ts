/** Runs the built program as a user does: another process, its own environment, exit code and streams. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { until } from './until.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
export const BIN = join(ROOT, 'bin/resthooks')

/** Copies the build, so that another one does not change it under a run of minutes. @returns the path of its executable */
export async function copyProgram(folder: string): Promise<string> {
  for (const part of ['bin', 'dist', 'sql', 'package.json']) {
    await cp(join(ROOT, part), join(folder, part), { recursive: true })
  }
  return join(folder, 'bin/resthooks')
}

/** The release before this one, as it was shipped. @returns the path of its executable */
export function unpackReleaseBefore(folder: string): string {
  const archive = join(ROOT, 'test/fixtures/resthooks-0.1.0.tar.gz')
  execFileSync('tar', ['-xzf', archive, '-C', folder, '--strip-components=1'])
  return join(folder, 'bin/resthooks')
}

export interface CliOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Written to stdin, which is empty otherwise. */
  readonly input?: string | Buffer
  /** ms before it is killed and the run fails. */
  readonly timeout?: number
}

export interface CliResult {
  readonly stdout: string
  readonly stderr: string
  readonly code: number | null
}

/**
 * The environment of a bare login: nothing of the shell that runs the tests (`PG…`, `TOBA_…`) reaches the program.
 */
export function cleanEnvironment(env: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const { PATH = '', HOME = '/' } = process.env
  return { PATH, HOME, LANG: 'C.UTF-8', TZ: 'America/Argentina/Buenos_Aires', ...env }
}

/** Runs `resthooks` to its end. @throws when it does not end in time */
export function runCli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  return runProgram(process.execPath, [BIN, ...args], options)
}

/** Runs any program to its end, the same way. */
export function runProgram(
  program: string,
  args: readonly string[],
  { env, cwd, input = '', timeout = 60_000 }: CliOptions = {},
): Promise<CliResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: cleanEnvironment(env), cwd, stdio: 'pipe' })
    const out: Buffer[] = []
    const err: Buffer[] = []
    const result = (code: number | null) => ({
      stdout: String(Buffer.concat(out)),
      stderr: String(Buffer.concat(err)),
      code,
    })
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      reject(
        new Error(`${program} ${args.join(' ')} did not end within ${timeout} ms: ${JSON.stringify(result(null))}`),
      )
    }, timeout)
    child.stdout.on('data', (chunk) => out.push(chunk))
    child.stderr.on('data', (chunk) => err.push(chunk))
    child.once('error', reject)
    child.once('close', (code) => {
      clearTimeout(timer)
      resolve(result(code))
    })
    // A program that ends without reading its input closes the pipe: its exit code tells the story, not EPIPE.
    child.stdin.on('error', () => {})
    child.stdin.end(input)
  })
}

export interface Worker {
  readonly child: ChildProcess
  /** Every JSON line of its log so far. */
  readonly log: readonly Readonly<Record<string, unknown>>[]
  /** Both streams as text, for messages of failing tests. */
  readonly output: string
  /** Waits for a log line that contains `text`, and returns it. */
  logged(text: string | RegExp): Promise<Readonly<Record<string, unknown>>>
  kill(signal?: NodeJS.Signals): void
  /** Waits for its end. */
  waitExit(timeout?: number): Promise<{ code: number | null; signal: NodeJS.Signals | null }>
}

/** Starts `resthooks iniciar-workers` and leaves it running; whoever starts it ends it. */
export function spawnWorker(args: readonly string[] = [], options: CliOptions = {}): Worker {
  return spawnProgram(process.execPath, [BIN, 'iniciar-workers', ...args], options)
}

/** A run of the tests that is interrupted must not leave workers behind that wait for its servers. */
const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})
// Vitest's own process is gone.
process.once('disconnect', () => process.exit(1))

/** Starts any program that runs a worker. */
export function spawnProgram(program: string, args: readonly string[], { env, cwd }: CliOptions = {}): Worker {
  const child = spawn(program, args, { env: cleanEnvironment(env), cwd, stdio: ['ignore', 'pipe', 'pipe'] })
  running.add(child)
  const log: Record<string, unknown>[] = []
  const lines: string[] = []
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      lines.push(line)
      const entry = parsed(line)
      if (entry) log.push(entry)
    })
  }
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once('close', (code, signal) => {
      running.delete(child)
      resolve({ code, signal })
    })
  })
  return {
    child,
    log,
    get output() {
      return lines.join('\n')
    },
    logged: (text) =>
      until(() => log.find((entry) => matches(JSON.stringify(entry), text)), {
        timeout: 45_000,
        what: `log line with ${text} in ${JSON.stringify(lines.slice(-10))}`,
      }),
    kill: (signal = 'SIGTERM') => void child.kill(signal),
    waitExit: (timeout = 15_000) => {
      const late = new Promise<never>((_, reject) => {
        const fail = () =>
          reject(new Error(`the worker did not end within ${timeout} ms:\n${lines.slice(-20).join('\n')}`))
        setTimeout(fail, timeout).unref()
      })
      return Promise.race([ended, late])
    },
  }
}

function parsed(line: string): Record<string, unknown> | null {
  try {
    const value = JSON.parse(line)
    return typeof value === 'object' ? value : null
  } catch {
    return null
  }
}

function matches(line: string, text: string | RegExp): boolean {
  return typeof text === 'string' ? line.includes(text) : text.test(line)
}
