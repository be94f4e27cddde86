/**
 * The sum of the parts: what a delivery costs at least, made of what nobody who delivers and audits can leave out.
 *
 * One after the other: a bare undici request, the commands that Redis has to carry out for a message that is queued, leased,
 * settled and audited (in pipelines of hundreds, no script), and COPY of the rows that the audit keeps. Of the last two only what
 * the servers spend is counted.
 */

import { bareContender } from '../contenders.ts'
import { allCpu, type CpuParts, cpuEach, cpuSoFar } from '../drain.ts'
import { body, envelope } from '../payload.ts'
import type { Program } from '../program.ts'
import type { Contender } from '../row.ts'
import type { Bench } from '../scene.ts'
import { auditCopy } from './postgres.ts'

/** Deliveries in one pipeline. */
const PIPELINE = 500
/** Bytes of the event that tells the audit of an attempt. */
const ATTEMPT_BYTES = 700

export async function sumOfParts(bench: Bench, who: string): Promise<Contender> {
  const { messages } = bench.options
  const copy = await auditCopy(bench, messages)
  return bareContender(
    bench,
    who,
    async (program) => {
      await program.ask('post', messages)
      const http = await costOf(bench, program, messages, () => program.ask('post', messages))
      const redis = await costOf(bench, null, messages, () => bareCommands(bench, messages))
      await copy.prepare()
      const rows = await costOf(bench, null, messages, () => copy.run())
      const parts = Object.keys(http) as (keyof CpuParts)[]
      const cpu = Object.fromEntries(
        parts.map((part) => [part, http[part] + redis[part] + rows[part]]),
      ) as unknown as CpuParts
      return { allCpu: allCpu(cpu), ...cpu }
    },
    () => copy.end(),
  )
}

/** @param program whose CPU counts too; null: the servers' alone, for a client can be as cheap as one likes */
async function costOf(
  bench: Bench,
  program: Program | null,
  count: number,
  work: () => Promise<unknown>,
): Promise<CpuParts> {
  const before = await cpuSoFar(bench, program?.pid ?? process.pid)
  await work()
  const spent = cpuEach(before, await cpuSoFar(bench, program?.pid ?? process.pid), count)
  return program ? spent : { ...spent, main: 0, helpers: 0, later: 0 }
}

/** What is not counted: the LPUSH of whoever sends. */
async function bareCommands({ client }: Bench, count: number): Promise<void> {
  const attempt = 'x'.repeat(ATTEMPT_BYTES)
  const stored = envelope('compra.alta', body(1))
  for (let done = 0; done < count; done += PIPELINE) {
    const ids = Array.from({ length: Math.min(PIPELINE, count - done) }, (_, i) => `${done + i}`)
    const begin = client.pipeline()
    const leases = ids.flatMap((id) => [1, id])
    begin.zadd('partes:en_curso', ...leases)
    for (const id of ids) {
      begin.set(`partes:mensaje:${id}`, stored)
      begin.xadd('partes:auditoria', '*', 'e', stored)
    }
    await begin.exec()
    const end = client.pipeline()
    end.zrem('partes:en_curso', ...ids)
    end.del(...ids.map((id) => `partes:mensaje:${id}`))
    for (const _ of ids) end.xadd('partes:auditoria', '*', 'e', attempt)
    await end.exec()
    const read = await client.xrange('partes:auditoria', '-', '+', 'COUNT', 2 * PIPELINE)
    const [time, sequence] = read.at(-1)![0].split('-')
    await client.xtrim('partes:auditoria', 'MINID', `${time}-${Number(sequence) + 1}`)
  }
}
