/** Ten listeners, of which one takes requests and never answers: the other nine must not notice. */
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { bullmqContender, ownContender } from '../contenders.ts'
import { drain, Pace } from '../drain.ts'
import { addJobs, jobOf } from '../peers/bullmq.ts'
import type { Contender, Row } from '../row.ts'
import type { Bench } from '../scene.ts'

const LISTENERS = 10
const DEAD = LISTENERS - 1
const TIMEOUT_MS = 1_000
const OWN = { well: 'resthooks, los nueve solos', dead: 'resthooks, con el décimo caído' }
const PEER = { well: 'BullMQ, los nueve solos', dead: 'BullMQ, con el décimo caído' }

export const caido: Row = {
  name: 'caido',
  title: `Entregas a nueve listeners sanos mientras el décimo no contesta (vence al segundo de espera)`,
  lines: [{ key: 'rate', label: 'entregas a los nueve', unit: 'per second' }],
  goals: () => [{ kind: 'ratio', line: 'rate', who: OWN.dead, to: OWN.well, least: 0.95 }],
  contenders: async (bench) => {
    const hole = await startBlackHole(bench)
    return [
      await own(bench, OWN.well, null),
      await own(bench, OWN.dead, hole),
      await bullmq(bench, PEER.well, null),
      await bullmq(bench, PEER.dead, hole),
    ]
  },
}

/** Accepts connections and says nothing. @returns its address */
async function startBlackHole(bench: Bench): Promise<string> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    socket.resume()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  bench.defer(async () => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** The listener of a message: each of the ten, or of the nine, in turn. */
function listenerOf(number: number, hole: string | null): number {
  return number % (hole === null ? DEAD : LISTENERS)
}

/** How many messages make `count` deliveries to the nine. */
function messagesFor(count: number, hole: string | null): number {
  return hole === null ? count : Math.round((count / DEAD) * LISTENERS)
}

function own(bench: Bench, who: string, hole: string | null): Promise<Contender> {
  const sections = Array.from({ length: hole === null ? DEAD : LISTENERS }, (_, number) => [
    `listener l${number}`,
    {
      url: number === DEAD ? hole! : `${bench.nginx.url}/l${number}`,
      eventos: `compra.${number}`,
      espera_total: `${TIMEOUT_MS}ms`,
      concurrencia: Math.ceil(bench.options.concurrency / LISTENERS),
    },
  ])
  const { sql } = bench
  const pace = new Pace(bench.options.seconds, DEAD)
  return ownContender(bench, { who, listeners: Object.fromEntries(sections) }, async (installation, pid) => {
    const delivered = async () => {
      const [row] =
        await sql`SELECT count(*)::int AS count FROM ${sql(installation.schema)}.intento WHERE resultado = 'exito'`
      return row!.count
    }
    const work = async (count: number) => {
      await installation.stage(messagesFor(count, hole), (number) => `compra.${listenerOf(number, hole)}`)
      return drain(bench, { count, pid, go: () => installation.release(), audited: delivered })
    }
    const { count, seconds } = await pace.measure(work)
    return { rate: count / seconds }
  })
}

function bullmq(bench: Bench, who: string, hole: string | null): Promise<Contender> {
  const name = `caido_${hole === null ? 'sin' : 'con'}`
  const pace = new Pace(bench.options.seconds, DEAD)
  const setting = { who, name, mode: 'batched', timeout: TIMEOUT_MS } as const
  return bullmqContender(bench, setting, async ({ queue, worker, audited }) => {
    const work = async (count: number) => {
      const jobs = Array.from({ length: messagesFor(count, hole) }, (_, number) => {
        const listener = listenerOf(number, hole)
        return jobOf(number, `l${listener}`, listener === DEAD ? hole! : bench.nginx.url)
      })
      await addJobs(queue, jobs)
      return drain(bench, { count, pid: worker.pid, go: () => worker.ask('go'), audited })
    }
    const { count, seconds } = await pace.measure(work, () => worker.ask('hold'))
    return { rate: count / seconds }
  })
}
