/** Several readers share an audit stream: whatever becomes of them, or of the stream, nothing leaves it unwritten. */
import fc from 'fast-check'
import { describe, expect, vi } from 'vitest'
import type { AuditBackend } from '../../src/audit/backend.ts'
import { AuditReader, auditReaders, RENEW_EVERY, type Stretch } from '../../src/queue/audit-stream.ts'
import type { Queue } from '../../src/queue/queue.ts'
import type { FromThread } from '../../src/worker/audit-thread.ts'
import { AuditWriter, type AuditWriterOptions } from '../../src/worker/audit-writer.ts'
import { until } from '../support/until.ts'
import { test } from './scene.ts'

const told = async (queue: Queue, names: string, stream = queue.keys.audit) => {
  for (const name of names) await queue.redis.xadd(stream, '*', 'n', name)
}
const left = async (queue: Queue, stream = queue.keys.audit) =>
  (await queue.redis.xrange(stream, '-', '+')).map(([, fields]) => fields[1]).join('')
const read = (stretch: Stretch | null) => stretch?.entries.map(({ fields }) => String(fields[1])).join('') ?? null
const noted = (queue: Queue) => queue.redis.hgetall(queue.keys.auditStretches)
/** Who does not leave a few entries to another. */
const readerOf = (queue: Queue, name: string) =>
  new AuditReader(queue, name, queue.keys.audit, queue.keys.auditStretches, 1)
const three = (queue: Queue) => ['uno', 'dos', 'tres'].map((name) => readerOf(queue, name)) as Three
type Three = [AuditReader, AuditReader, AuditReader]

/** The time of whoever holds a stretch is over. */
async function expire(queue: Queue): Promise<void> {
  for (const [last, note] of Object.entries(await noted(queue))) {
    await queue.redis.hset(queue.keys.auditStretches, last, note.replace(/\|\d+\|/, '|1|'))
  }
}

describe('readers of one stream', () => {
  test('write different stretches, and what was written leaves it from the oldest on', async ({ queue }) => {
    const [one, two, three_] = three(queue)
    expect(await one.take()).toBeNull()
    await told(queue, 'ab')
    const first = (await one.take())!
    expect(await two.take()).toBeNull()
    await told(queue, 'cd')
    const second = (await two.take())!
    await told(queue, 'ef')
    const third = (await three_.take())!
    expect([first, second, third].map(read)).toEqual(['ab', 'cd', 'ef'])
    await told(queue, 'g')
    await three_.acknowledge(third)
    expect(await left(queue)).toBe('abcdefg')
    await one.acknowledge(first)
    expect(await left(queue)).toBe('cdefg')
    await two.acknowledge(second)
    expect(await left(queue)).toBe('g')
    await one.acknowledge((await one.take())!)
    expect([await left(queue), await noted(queue)]).toEqual(['', {}])
  })

  test('take over what another did not write in time, whose late word then changes nothing', async ({ queue }) => {
    const [one, two] = three(queue)
    await told(queue, 'ab')
    const lost = (await one.take())!
    await one.renew(lost)
    expect([lost.inherited, await two.take()]).toEqual([false, null])
    await expire(queue)
    const taken = (await two.take())!
    expect([read(taken), taken.inherited]).toEqual(['ab', true])
    for (const late of [one.acknowledge(lost), one.renew(lost), one.giveBack(lost)]) await late
    expect([await left(queue), await one.take()]).toEqual(['ab', null])
    await two.acknowledge(taken)
    expect(await left(queue)).toBe('')
  })

  test('have at once what another gave back, and what they took themselves and do not know of', async ({ queue }) => {
    const [one, two] = three(queue)
    await told(queue, 'ab')
    await one.giveBack((await one.take())!)
    await told(queue, 'c')
    const taken = await two.take()
    expect([read(taken), taken!.inherited]).toEqual(['ab', false])
    // Its answer got lost, or its thread fell.
    expect(read(await readerOf(queue, 'dos').take())).toBe('ab')
    expect(read(await one.take())).toBe('c')
  })

  test.for([
    ['the newest: the rest is as if nobody had taken it', '', 1],
    ['followed by another: the rest is a stretch by itself', 'uv', 3],
  ] as const)('take of a stretch no more than they may hold: %s', async ([, more, notes], { queue }) => {
    const [one, two, three_] = three(queue)
    await told(queue, 'x')
    // From now on it knows that entries are small, and takes more of them than one that has seen none.
    await one.acknowledge((await one.take())!)
    const letters = Array.from({ length: 70 }, (_, i) => String.fromCharCode(0x100 + i)).join('')
    await told(queue, letters)
    expect(read(await one.take())).toBe(letters)
    const seen: (string | null)[] = []
    await told(queue, more)
    if (more) await readerOf(queue, 'detrás').take()
    await expire(queue)
    for (const reader of [two, three_]) {
      const stretch = (await reader.take())!
      if (reader === two) expect(Object.keys(await noted(queue))).toHaveLength(notes)
      seen.push(read(stretch))
      await reader.acknowledge(stretch)
    }
    // Eight, and then four times as many of what turned out to be small.
    expect(seen).toEqual([letters.slice(0, 40), letters.slice(40)])
    expect(await left(queue)).toBe(more)
  })

  test('leave less than a batch to one that is at work, as long as that is quick', async ({ queue }) => {
    const [one, two] = ['uno', 'dos'].map(
      (name) => new AuditReader(queue, name, queue.keys.audit, queue.keys.auditStretches, 4),
    ) as [AuditReader, AuditReader]
    await told(queue, 'ab')
    const first = (await one.take())!
    await told(queue, 'cdefg')
    expect(await two.take()).toBeNull()
    await told(queue, 'h')
    // With what is being written that may be two batches.
    const second = (await two.take())!
    expect(read(second)).toBe('cdefgh')
    await two.acknowledge(second)
    await told(queue, 'i')
    expect(await two.take()).toBeNull()
    const slow = Number((await noted(queue))[first.last]!.split('|')[1]) - 1_001
    await queue.redis.hset(queue.keys.auditStretches, first.last, `0-0|${slow}|uno`)
    expect(read(await two.take())).toBe('i')
  })

  test('pass over what somebody removed meanwhile', async ({ queue }) => {
    const [one, two, three_] = three(queue)
    await told(queue, 'ab')
    const gone = (await one.take())!
    await told(queue, 'cd')
    await two.take()
    await one.remove(gone.entries)
    await expire(queue)
    expect(read(await three_.take())).toBe('cd')
    await one.acknowledge(gone)
    expect(await left(queue)).toBe('cd')
  })
})

describe('nothing is removed unread', () => {
  const LOSSES: Record<string, (queue: Queue) => Promise<unknown>> = {
    'the notes are gone': ({ redis, keys }) => redis.del(keys.auditStretches),
    'the notes are of somebody else': ({ redis, keys }) => redis.hset(keys.auditStretches, '1-1', 'x'),
  }
  test.for(Object.keys(LOSSES))('%s', async (what, { queue }) => {
    const [one, two] = three(queue)
    await told(queue, 'ab')
    const before = (await one.take())!
    await LOSSES[what]!(queue)
    await one.acknowledge(before)
    await told(queue, 'c')
    expect(await left(queue)).toBe('abc')
    const all = (await two.take())!
    expect(read(all)).toBe('abc')
    await two.acknowledge(all)
    expect([await left(queue), await noted(queue)]).toEqual(['', {}])
  })

  test.for([true, false])(
    'the stream is gone, and its clock was set back; with its notes: %s',
    async (all, { queue }) => {
      const { redis, keys } = queue
      const [one, two, three_] = three(queue)
      await redis.xadd(keys.audit, '900-1', 'n', 'a')
      const before = (await one.take())!
      await redis.xadd(keys.audit, '900-2', 'n', 'b')
      const other = (await two.take())!
      await redis.del(keys.audit, ...(all ? [keys.auditStretches] : []))
      await redis.xadd(keys.audit, '5-1', 'n', 'c')
      await one.acknowledge(before)
      expect(await left(queue)).toBe('c')
      const stretch = (await three_.take())!
      expect(read(stretch)).toBe('c')
      await two.acknowledge(other)
      expect(await left(queue)).toBe('c')
      await three_.acknowledge(stretch)
      expect(await left(queue)).toBe('')
    },
  )

  test.for(['audit', 'auditStretches'] as const)(
    '%s is of another type: it is said, and nothing done',
    async (name, { queue }) => {
      const { redis, keys } = queue
      const [one] = three(queue)
      await told(queue, 'ab')
      const stretch = (await one.take())!
      await redis.rename(keys[name], `${keys[name]}_aparte`)
      await redis.set(keys[name], 'x')
      for (const asked of [() => one.take(), () => one.acknowledge(stretch), () => one.giveBack(stretch)]) {
        await expect(asked()).rejects.toThrow(`WRONGTYPE ${keys[name]} string`)
      }
      await redis.rename(`${keys[name]}_aparte`, keys[name])
      await one.acknowledge(stretch)
      expect(await left(queue)).toBe('')
    },
  )

  test('whatever its readers do, and in whatever order', async ({ queue }) => {
    const { redis, keys } = queue
    const step = fc.record({
      what: fc.constantFrom(
        'add',
        'add',
        'take',
        'take',
        'write',
        'write',
        'fail',
        'late',
        'expire',
        'forget',
        'restart',
      ),
      who: fc.integer({ min: 0, max: 2 }),
      many: fc.integer({ min: 1, max: 30 }),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        await redis.del(keys.audit, keys.auditStretches)
        const readers = three(queue)
        const held: (Stretch | null)[] = [null, null, null]
        const written = new Set<string>()
        const all: string[] = []
        const passed: [AuditReader, Stretch][] = []
        const write = async (who: number) => {
          const stretch = held[who]
          if (!stretch) return
          for (const { streamId } of stretch.entries) written.add(streamId)
          held[who] = null
          await readers[who]!.acknowledge(stretch)
          passed.push([readers[who]!, stretch])
        }
        for (const { what, who, many } of steps) {
          const reader = readers[who]!
          if (what === 'add') {
            const added = redis.pipeline()
            for (let i = 0; i < many; i++) added.xadd(keys.audit, '*', 'n', 'x')
            for (const [, id] of (await added.exec())!) all.push(String(id))
          }
          if (what === 'take' && !held[who]) held[who] = await reader.take()
          if (what === 'write') await write(who)
          if (what === 'fail' && held[who]) {
            await reader.giveBack(held[who])
            held[who] = null
          }
          if (what === 'late') for (const [by, stretch] of passed) await by.acknowledge(stretch)
          if (what === 'expire') await expire(queue)
          if (what === 'forget') await redis.del(keys.auditStretches)
          if (what === 'restart') {
            held[who] = null
            readers[who] = new AuditReader(queue, ['uno', 'dos', 'tres'][who]!)
          }
          const there = new Set((await redis.xrange(keys.audit, '-', '+')).map(([id]) => id))
          expect(all.filter((id) => !there.has(id) && !written.has(id))).toEqual([])
        }
        // Whoever is left writes all of it.
        await expire(queue)
        held.fill(null)
        while (held[0] === null) {
          held[0] = await readers[0].take()
          if (held[0] === null) break
          await write(0)
        }
        expect([await redis.xlen(keys.audit), await noted(queue)]).toEqual([0, {}])
        expect(written).toEqual(new Set(all))
      }),
      { numRuns: 40 },
    )
  })

  test('while 0.1.0 reads the same stream as a group', async ({ queue }) => {
    const { redis, keys } = queue
    const stream = keys.auditBefore
    const ours = auditReaders(queue, 'nuevo')[1]!
    await redis.xgroup('CREATE', stream, 'postgres', '0', 'MKSTREAM')
    const written = { ours: new Set<string>(), theirs: new Set<string>() }
    const group = async (from: string, dies: boolean) => {
      const args = ['GROUP', 'postgres', 'viejo', 'COUNT', 5, 'STREAMS', stream, from] as const
      const [, entries] =
        ((await redis.xreadgroup(...args)) as [string, [string, string[] | null][]][] | null)?.[0] ?? []
      if (!entries?.length || dies) return
      // What was removed meanwhile comes without its fields, and is only acknowledged.
      for (const [id, fields] of entries) if (fields) written.theirs.add(id)
      const ids = entries.map(([id]) => id)
      await redis.xack(stream, 'postgres', ...ids)
      await redis.xdel(stream, ...ids)
    }
    const all: string[] = []
    for (let turn = 0; turn < 40; turn++) {
      for (let i = 0; i < 7; i++) all.push((await redis.xadd(stream, '*', 'n', 'x'))!)
      const stretch = turn % 3 === 0 ? await ours.take() : null
      // Every seventh time it dies on what it has read, and some of that nobody asks it for again.
      await group('>', turn % 7 === 0)
      if (turn % 14 === 1) await group('0', false)
      if (!stretch) continue
      for (const { streamId } of stretch.entries) written.ours.add(streamId)
      await ours.acknowledge(stretch)
    }
    for (let stretch = await ours.take(); stretch; stretch = await ours.take()) {
      for (const { streamId } of stretch.entries) written.ours.add(streamId)
      await ours.acknowledge(stretch)
    }
    expect(all.filter((id) => !written.ours.has(id) && !written.theirs.has(id))).toEqual([])
    expect(Math.min(written.ours.size, written.theirs.size)).toBeGreaterThan(0)
    expect([await redis.xlen(stream), await redis.exists(keys.auditBeforeStretches)]).toEqual([0, 0])
  })
})

test('a stretch stays with its writer as long as the backend works on it, and is free once that failed', async ({
  queue,
}) => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  try {
    await told(queue, 'ab')
    let fail = (_: Error) => {}
    const writing = new Promise<void>((_, reject) => {
      fail = reject
    })
    const backend = { setAside: () => writing } as unknown as AuditBackend
    const writer = new AuditWriter([new AuditReader(queue, 'uno')], backend, {} as AuditWriterOptions)
    const drained = writer.drain(0)
    const held = async () => Number(Object.values(await noted(queue))[0]?.split('|')[1])
    await until(held)
    for (let time = 0; time < 2; time++) {
      await expire(queue)
      vi.advanceTimersByTime(RENEW_EVERY)
      await until(async () => (await held()) > Date.now())
    }
    fail(new Error('Postgres se fue'))
    await expect(drained).rejects.toThrow('Postgres se fue')
    expect(await held()).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
  } finally {
    vi.useRealTimers()
  }
})

test('a writer tells how much it took over, and not what it had itself or was given back', async ({ queue }) => {
  const [one] = three(queue)
  const taken: number[] = []
  const nothing = () => {}
  const tell = (message: FromThread) => message.kind === 'inherited' && taken.push(message.rows)
  const options = { log: { error: nothing }, outage: { worked: nothing }, tell } as unknown as AuditWriterOptions
  const backend = { setAside: async () => {} } as unknown as AuditBackend
  const writer = new AuditWriter([readerOf(queue, 'dos')], backend, options)
  await told(queue, 'ab')
  await one.giveBack((await one.take())!)
  await writer.drain(0)
  await told(queue, 'cde')
  await one.take()
  await expire(queue)
  await told(queue, 'fg')
  await writer.drain(0)
  expect([taken, await left(queue), await noted(queue)]).toEqual([[3], '', {}])
})
