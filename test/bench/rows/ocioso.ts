/** What a worker costs that has nothing to do. */
import { setTimeout as pause } from 'node:timers/promises'
import { bullmqContender, oneListener, ownContender } from '../contenders.ts'
import { drain } from '../drain.ts'
import { addJobs, jobsOf } from '../peers/bullmq.ts'
import { hasProc, readProcess } from '../processes.ts'
import type { Contender, Readings, Row } from '../row.ts'
import type { Bench } from '../scene.ts'

const OWN = 'resthooks'
/** Deliveries before it falls idle: connections are open and the code was used. */
const WORK = 300
/** Until timers and garbage of the work are gone: V8 goes on collecting, a few times, for most of a minute. */
const SETTLE_MS = 45_000
/** How long it is watched, at least: several polls and heartbeats. */
const LEAST_WINDOW_MS = 6_000

export const ocioso: Row = {
  name: 'ocioso',
  title: 'Un worker sin nada que hacer (un proceso)',
  lines: [
    { key: 'cpu', label: 'CPU, de un núcleo', unit: 'percent' },
    { key: 'wakeUps', label: 'despertares por segundo', unit: 'count' },
    { key: 'commands', label: 'comandos por segundo en Redis, con los de sus scripts', unit: 'count' },
    { key: 'rss', label: 'memoria residente', unit: 'MB' },
  ],
  goals: () => [
    { kind: 'at most', line: 'cpu', who: OWN, value: 0.5 },
    { kind: 'at most', line: 'rss', who: OWN, value: 82 },
  ],
  contenders: async (bench) => {
    if (!hasProc) throw new Error('La fila «ocioso» lee /proc: hace falta Linux')
    return [await own(bench), await bullmq(bench)]
  },
}

function own(bench: Bench): Promise<Contender> {
  return ownContender(bench, { who: OWN, listeners: oneListener(bench) }, async (installation, pid) => {
    await installation.stage(WORK)
    await drain(bench, {
      count: WORK,
      pid,
      go: () => installation.release(),
      audited: () => installation.attempts(),
    })
    return watch(bench, pid)
  })
}

function bullmq(bench: Bench): Promise<Contender> {
  const setting = { who: 'BullMQ + undici, un INSERT por trabajo', name: 'ocioso', mode: 'one by one' } as const
  return bullmqContender(bench, setting, async ({ queue, worker, audited }) => {
    await addJobs(queue, jobsOf(WORK, bench.nginx.url))
    await drain(bench, { count: WORK, pid: worker.pid, go: () => worker.ask('go'), audited })
    return watch(bench, worker.pid)
  })
}

async function watch({ client, options }: Bench, pid: number): Promise<Readings> {
  const commandsSoFar = async () => Number(/total_commands_processed:(\d+)/.exec(await client.info('stats'))?.[1])
  await pause(SETTLE_MS)
  const commandsBefore = await commandsSoFar()
  const before = readProcess(pid)
  const begun = performance.now()
  await pause(Math.max(LEAST_WINDOW_MS, options.seconds * 1000))
  const after = readProcess(pid)
  const seconds = (performance.now() - begun) / 1000
  // The first question counts itself before it answers only when it is over: one of the two is in between.
  const commands = (await commandsSoFar()) - commandsBefore - 1
  return {
    cpu: (after.cpuMs - before.cpuMs) / 10 / seconds,
    wakeUps: (after.wakeUps - before.wakeUps) / seconds,
    commands: commands / seconds,
    rss: after.rss / 2 ** 20,
  }
}
