/** Redis memory of a message of 1 KB that waits, for one listener and for five. */
import { until } from '../../support/until.ts'
import { Installation } from '../installation.ts'
import { BODY_BYTES } from '../payload.ts'
import { addJobs, jobsOf, openQueue } from '../peers/bullmq.ts'
import type { Contender, Row } from '../row.ts'
import type { Bench } from '../scene.ts'

const OWN = 'resthooks'
const FAN_OUT = 5
/** Messages for each second of the options: enough that the rest of Redis does not show. */
const MESSAGES_A_SECOND = 2_500

export const memoria: Row = {
  name: 'memoria',
  title: 'Memoria de Redis por mensaje en espera, cuerpo de 1 KB',
  lines: [
    { key: 'one', label: 'un listener', unit: 'bytes' },
    { key: 'five', label: 'cinco listeners', unit: 'bytes' },
    { key: 'extra', label: 'cada listener de más', unit: 'bytes' },
  ],
  goals: () => [
    { kind: 'at most', line: 'one', who: OWN, value: 1449 },
    { kind: 'at most', line: 'extra', who: OWN, value: 150 },
  ],
  contenders: async (bench) => {
    const count = Math.round(MESSAGES_A_SECOND * bench.options.seconds)
    return [await own(bench, count), bullmq(bench, count), body()]
  },
}

async function own(bench: Bench, count: number): Promise<Contender> {
  const [one, five] = [await waiting(bench, 1), await waiting(bench, FAN_OUT)]
  return {
    who: OWN,
    role: 'own',
    measure: async () => extraOf(await one.bytes(count), await five.bytes(count)),
    end: async () => {
      await one.installation.end()
      await five.installation.end()
    },
  }
}

/** Messages that a worker dispatched to paused listeners, their audit written. */
async function waiting(bench: Bench, listeners: number) {
  const names = Array.from({ length: listeners }, (_, number) => `l${number}`)
  const sections = names.map((name) => [`listener ${name}`, { url: `${bench.nginx.url}/${name}` }])
  const installation = await Installation.create(bench, Object.fromEntries(sections))
  const { client } = bench
  return {
    installation,
    bytes: async (count: number) => {
      await bench.fresh()
      await installation.truncate()
      await installation.run(['pausar', '--todos'])
      const worker = await installation.startWorker()
      try {
        const before = await usedMemory(bench)
        await installation.stage(count)
        await installation.release()
        const queues = names.map((name) => installation.keys.lane(name).queue)
        await until(async () => (await Promise.all(queues.map((key) => client.llen(key)))).every((n) => n === count), {
          timeout: 60_000,
          what: `${count} messages in each queue`,
        })
        await installation.audited()
        return ((await usedMemory(bench)) - before) / count
      } finally {
        await installation.stopWorker(worker)
      }
    },
  }
}

function bullmq(bench: Bench, count: number): Contender {
  const bytes = async (fanOut: number) => {
    await bench.fresh()
    const queue = openQueue(bench, 'memoria')
    await queue.waitUntilReady()
    const before = await usedMemory(bench)
    for (let listener = 0; listener < fanOut; listener++) {
      await addJobs(queue, jobsOf(count, bench.nginx.url, `l${listener}`))
    }
    const used = (await usedMemory(bench)) - before
    await queue.close()
    return used / count
  }
  return {
    who: 'BullMQ, un trabajo por entrega',
    role: 'peer',
    measure: async () => extraOf(await bytes(1), await bytes(FAN_OUT)),
  }
}

function body(): Contender {
  return {
    who: 'límite: los bytes del cuerpo',
    role: 'limit',
    measure: async () => ({ one: BODY_BYTES, five: BODY_BYTES }),
  }
}

function extraOf(one: number, five: number) {
  return { one, five, extra: (five - one) / (FAN_OUT - 1) }
}

async function usedMemory({ client }: Bench): Promise<number> {
  const info = await client.info('memory')
  return Number(/used_memory:(\d+)/.exec(info)?.[1])
}
