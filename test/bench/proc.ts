/** What the kernel knows of a running process (Linux): CPU time, wake-ups, memory. */
import { readdirSync, readFileSync } from 'node:fs'

/** ms in one tick of /proc/PID/stat: USER_HZ is 100 on every architecture that Node runs on. */
const TICK_MS = 10

export const hasProc = process.platform === 'linux'

/** CPU time of a process and all its descendants so far, in ms (resolution 10 ms); also of children that ended. */
export function cpuOfTree(pid: number): number {
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
  return stats.filter((stat) => family.has(stat.pid)).reduce((sum, { ticks }) => sum + ticks * TICK_MS, 0)
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
