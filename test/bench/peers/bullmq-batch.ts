/** Reads a file with a message a line and adds them all to a BullMQ queue, a thousand in one call, as its guide says. */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { Queue } from 'bullmq'
import { configuration } from '../program.ts'
import { JOB_OPTIONS } from './bullmq.ts'

export interface BullmqBatchConfiguration {
  readonly redis: { readonly host: string; readonly port: number }
  readonly queue: string
  readonly file: string
}

const AT_ONCE = 1_000

const { redis, queue: name, file } = configuration<BullmqBatchConfiguration>()
const queue = new Queue(name, { connection: redis, defaultJobOptions: JOB_OPTIONS })
let batch: { name: string; data: unknown }[] = []
for await (const line of createInterface({ input: createReadStream(file) })) {
  const { evento, datos } = JSON.parse(line)
  batch.push({ name: evento, data: datos })
  if (batch.length === AT_ONCE) {
    await queue.addBulk(batch)
    batch = []
  }
}
if (batch.length > 0) await queue.addBulk(batch)
await queue.close()
