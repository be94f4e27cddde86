/** Processes measured from outside: how long they take, and what the kernel knows of those that run (Linux). */
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
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

/** ms in one tick of /proc/PID/stat: USER_HZ is 100 on every architecture that Node runs on. */
const TICK_MS = 10

export const hasProc = process.platform === 'linux'

/** CPU time of a process and all its descendants so far, in ms (resolution 10 ms); also of children that ended. */
export function cpuOfTree(pid: number): number {
  return familyOf(pid).reduce((sum, { ticks }) => sum + ticks * TICK_MS, 0)
}

/** CPU of the threads of Node processes so far, in ms. */
export interface ThreadTimes {
  /** Where JavaScript runs. */
  readonly main: number
  /** V8's helpers (parallel collection, compiling), and what else Node starts before it runs a program. */
  readonly helpers: number
  /** Threads started later: worker threads and libuv's pool. */
  readonly later: number
}

/**
 * The threads of a Node process and of all its descendants. Node names them only from version 22 on, but always starts the
 * same ones first: main, delayed tasks, the pool of V8 (`--v8-pool-size`, 4), the one that waits for SIGUSR1.
 */
export function threadTimes(pid: number): ThreadTimes {
  const times = { main: 0, helpers: 0, later: 0 }
  for (const { pid: each } of familyOf(pid)) {
    const tasks = readdirSync(`/proc/${each}/task`).map(Number)
    tasks.sort((a, b) => a - b)
    for (const [index, task] of tasks.entries()) {
      const ms = Number(readFileSync(`/proc/${each}/task/${task}/schedstat`, 'utf8').split(' ')[0]) / 1e6
      times[index === 0 ? 'main' : index <= STARTED_BY_NODE ? 'helpers' : 'later'] += ms
    }
  }
  return times
}

const STARTED_BY_NODE = 6

/** A process and all its descendants that run. */
function familyOf(pid: number): { pid: number; ticks: number }[] {
  const stats = allStats()
  const family = new Set([pid])
  let grown = true
  while (grown) {
    grown = false
    for (const { pid: each, parent } of stats) {
      if (!family.has(each) && family.has(parent)) {
        family.add(each)
        grown = true
      }
    }
  }
  return stats.filter((stat) => family.has(stat.pid))
}

export interface ProcessReading {
  /** On a CPU so far, all threads, in ms (resolution ns). */
  readonly cpuMs: number
  /** Times that a thread gave the CPU up and was woken again, so far. */
  readonly wakeUps: number
  /** Resident memory now, bytes. */
  readonly rss: number
}

/** One process, exactly. */
export function readProcess(pid: number): ProcessReading {
  let cpuMs = 0
  let wakeUps = 0
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    cpuMs += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]) / 1e6
    wakeUps += field(readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8'), 'voluntary_ctxt_switches')
  }
  return { cpuMs, wakeUps, rss: field(readFileSync(`/proc/${pid}/status`, 'utf8'), 'VmRSS') * 1024 }
}

function field(status: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0)
}

function allStats(): { pid: number; parent: number; ticks: number }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        // The name of the program, in parentheses, may hold anything.
        const rest = readFileSync(`/proc/${name}/stat`, 'utf8')
          .replace(/^.*\) /s, '')
          .split(' ')
        const [parent, user, system, childUser, childSystem] = [1, 11, 12, 13, 14].map((at) => Number(rest[at]))
        return [{ pid: Number(name), parent: parent!, ticks: user! + system! + childUser! + childSystem! }]
      } catch {
        // It ended meanwhile.
        return []
      }
    })
}
