/** `send`, the whole process: once, as a script or a PHP program waits for it, and `--lote` with a file. */
import { execFile } from 'node:child_process'
import { stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Installation } from '../installation.ts'
import { body, envelope } from '../payload.ts'
import { openQueue } from '../peers/bullmq.ts'
import type { BullmqBatchConfiguration } from '../peers/bullmq-batch.ts'
import { type Command, timeOf, timesOf, together } from '../processes.ts'
import { peerFile } from '../program.ts'
import type { Contender, Row } from '../row.ts'
import type { Bench } from '../scene.ts'

const OWN = 'resthooks send'
const NODE = 'límite: node -e 0'
/** Turns of a round; a process takes tens of ms. */
const TURNS = 10

export const send: Row = {
  name: 'send',
  title: '«send» una vez, el proceso entero, cuerpo de 1 KB',
  lines: [{ key: 'ms', label: 'duración', unit: 'ms' }],
  goals: () => [{ kind: 'ratio', line: 'ms', who: OWN, to: NODE, most: 1.5 }],
  contenders: async (bench) => {
    const installation = await Installation.create(bench, {
      'listener uno': { url: `${bench.nginx.url}/uno` },
    })
    const { host, port } = bench.redis
    const text = body(1)
    const commands: readonly (Command & { who: string; role: 'own' | 'peer' | 'limit' })[] = [
      {
        who: OWN,
        role: 'own',
        program: process.execPath,
        args: [bench.program, 'send', 'compra.alta', text],
        env: installation.environment,
      },
      {
        who: 'ioredis + commander',
        role: 'peer',
        program: process.execPath,
        args: [peerFile('plain-send'), 'send', 'compra.alta', text, '--host', host, '--port', String(port)],
      },
      { who: NODE, role: 'limit', program: process.execPath, args: ['-e', '0'] },
      {
        who: 'límite: redis-cli lpush',
        role: 'limit',
        program: 'redis-cli',
        args: ['-h', host, '-p', String(port), 'lpush', 'banco', text],
      },
    ]
    await bench.fresh()
    const measures = together(commands.length, () => timesOf(commands, TURNS))
    return commands.map(({ who, role }, i) => ({
      who,
      role,
      measure: async () => ({ ms: await measures[i]!() }),
      ...(role === 'own'
        ? {
            end: async () => {
              const enqueued = await bench.client.llen(installation.keys.inbox)
              await installation.end()
              if (enqueued === 0 || enqueued % TURNS !== 0) throw new Error(`send enqueued ${enqueued} messages`)
            },
          }
        : {}),
    }))
  },
}

const OWN_BATCH = 'resthooks send --lote'
const QUEUE = 'lote'

export const lote: Row = {
  name: 'lote',
  title: 'Mensajes encolados desde un archivo, 1 KB por mensaje, el proceso entero',
  lines: [{ key: 'rate', label: 'mensajes', unit: 'per second' }],
  goals: () => [{ kind: 'ratio', line: 'rate', who: OWN_BATCH, to: { peers: 'highest' }, least: 3 }],
  contenders: async (bench) => {
    const file = join(bench.folder, 'lote.jsonl')
    await writeLines(file, bench.options.batchLines)
    return [await own(bench, file), bullmq(bench, file), redisBenchmark(bench)]
  },
}

async function writeLines(file: string, count: number): Promise<void> {
  const lines = Array.from({ length: count }, (_, number) => `{"evento":"compra.alta","datos":${body(number)}}\n`)
  await writeFile(file, lines.join(''))
}

async function own(bench: Bench, file: string): Promise<Contender> {
  const installation = await Installation.create(bench, { 'listener uno': { url: `${bench.nginx.url}/uno` } })
  const output = join(bench.folder, 'ids.txt')
  return {
    who: OWN_BATCH,
    role: 'own',
    measure: async () => {
      await bench.fresh()
      const ms = await timeOf({
        program: process.execPath,
        args: [bench.program, 'send', '--lote'],
        env: installation.environment,
        input: file,
        output,
      })
      await expectCount(bench, await bench.client.llen(installation.keys.inbox))
      // One id of 26 letters and an end of line for each.
      await expectCount(bench, (await stat(output)).size / 27)
      return { rate: (bench.options.batchLines * 1000) / ms }
    },
    end: () => installation.end(),
  }
}

function bullmq(bench: Bench, file: string): Contender {
  const configuration: BullmqBatchConfiguration = {
    redis: { host: bench.redis.host, port: bench.redis.port },
    queue: QUEUE,
    file,
  }
  return {
    who: 'BullMQ addBulk',
    role: 'peer',
    measure: async () => {
      await bench.fresh()
      const ms = await timeOf({
        program: process.execPath,
        args: [peerFile('bullmq-batch'), JSON.stringify(configuration)],
        env: { NODE_ENV: 'production' },
      })
      const queue = openQueue(bench, QUEUE)
      await expectCount(bench, await queue.getWaitingCount())
      await queue.close()
      return { rate: (bench.options.batchLines * 1000) / ms }
    },
  }
}

function redisBenchmark(bench: Bench): Contender {
  const { host, port } = bench.redis
  const size = envelope('compra.alta', body(1)).length
  const how = ['-c', '10', '-P', '100', '-n', String(bench.options.batchLines), '-d', String(size)]
  return {
    who: 'límite: redis-benchmark LPUSH, de a 100',
    role: 'limit',
    measure: async () => {
      await bench.fresh()
      const args = ['-h', host, '-p', String(port), ...how, '-t', 'lpush', '--csv']
      const { stdout } = await promisify(execFile)('redis-benchmark', args)
      const rate = Number(/^"LPUSH","([\d.]+)"/m.exec(stdout)?.[1])
      await expectCount(bench, await bench.client.llen('mylist'))
      return { rate }
    },
  }
}

async function expectCount({ options }: Bench, count: number): Promise<void> {
  if (count !== options.batchLines) throw new Error(`${options.batchLines} were to be enqueued, ${count} are`)
}
