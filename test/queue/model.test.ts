/** Random sequences of operations on the real scripts and on the model: after each, both hold the same. */
import fc from 'fast-check'
import { expect } from 'vitest'
import { stampEnvelope } from '../../src/queue/envelope.ts'
import { type DispatchItem, dispatch, take } from '../../src/queue/inbox.ts'
import { QueueAdmin } from '../../src/queue/maintenance.ts'
import { pause, resume } from '../../src/queue/pauses.ts'
import { type Claimed, FIELD_END, type LaneSpec, Queue } from '../../src/queue/queue.ts'
import { scriptsOf } from '../../src/queue/scripts.ts'
import { settle, type Verdict } from '../../src/queue/settle.ts'
import { Model, type ModelEntry } from './model.ts'
import { envelopeOf, expireLeases, keysLeft, laneOf, settlementOf, test } from './scene.ts'

const LANES = ['libre', 'otro', 'estricto'] as const
type LaneName = (typeof LANES)[number]

type Operation =
  | { readonly kind: 'enqueue'; readonly id: number; readonly targets: readonly LaneName[] }
  /** Demoras that run are over, or their messages given up. */
  | { readonly kind: 'wait' }
  | { readonly kind: 'cancel'; readonly id: number }
  | { readonly kind: 'discard' | 'hurry' | 'again' | 'recover'; readonly lane: LaneName; readonly id: number }
  /** One that is killed dies after so many script calls. */
  | { readonly kind: 'dispatch'; readonly inSteps: boolean; readonly slots: number; readonly calls: number | null }
  | { readonly kind: 'claim'; readonly lanes: readonly LaneName[]; readonly n: number; readonly lenient: boolean }
  | { readonly kind: 'settle'; readonly outcomes: readonly { readonly pick: number; readonly verdict: Verdict }[] }
  | { readonly kind: 'begin' | 'renew' | 'release'; readonly pick: number }
  | { readonly kind: 'sift'; readonly lane: LaneName; readonly ids: readonly number[] }
  /** A walk through the list that was cut short: its first ones stand in the front. */
  | { readonly kind: 'cut'; readonly lane: LaneName; readonly n: number }
  | { readonly kind: 'expire' | 'due' | 'pause' | 'resume'; readonly lane: LaneName }

const lane = fc.constantFrom(...LANES)
const pick = fc.nat(1000)
const verdict = fc.constantFrom<Verdict>('ok', 'ok', 'retry', 'retry', 'failed', 'requeue', 'gone')
const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('enqueue' as const), id: fc.nat(12), targets: fc.subarray([...LANES]) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('dispatch' as const),
      inSteps: fc.boolean(),
      slots: fc.nat(3),
      calls: fc.option(fc.nat(5)),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('claim' as const),
      lanes: fc.subarray([...LANES], { minLength: 1 }),
      n: fc.integer({ min: 1, max: 5 }),
      lenient: fc.boolean(),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('settle' as const),
      outcomes: fc.array(fc.record({ pick, verdict }), { minLength: 1, maxLength: 6 }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constantFrom('begin' as const, 'renew' as const, 'release' as const), pick }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('wait' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('cancel' as const), id: fc.nat(12) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'discard' as const,
        'hurry' as const,
        'again' as const,
        'again' as const,
        'recover' as const,
      ),
      lane,
      id: fc.nat(12),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('sift' as const), lane, ids: fc.uniqueArray(fc.nat(12)) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('cut' as const), lane, n: fc.integer({ min: 1, max: 4 }) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'expire' as const,
        'expire' as const,
        'due' as const,
        'due' as const,
        'pause' as const,
        'resume' as const,
        'resume' as const,
      ),
      lane,
    }),
  },
)

/** One message a call, and one with several listeners handed out to one a call. */
const IN_STEPS = { step: 1, fanOut: 1 }

/** Its bytes, in the inbox. */
function rawOf({ id, demora }: Pick<ModelEntry, 'id' | 'demora'>): string {
  const raw = envelopeOf(id)
  return demora === 'waited' ? String(stampEnvelope(Buffer.from(raw), id, 1, new Date(0))) : raw
}

/** The same queue for a dispatcher that is gone after some script calls. */
function dyingAfter(queue: Queue, calls: number): Queue {
  const { redis } = queue
  const { dispatch: script } = scriptsOf(redis)
  let left = calls
  const dying = Object.create(redis, {
    resthooks_dispatchBuffer: {
      value: async (...args: Parameters<typeof script>) => {
        if (left-- <= 0) throw new Error('killed')
        return script(...args)
      },
    },
  })
  const [, instancia = '', proyecto = ''] = /{(.*):(.*)}/.exec(queue.keys.inbox) ?? []
  return new Queue(dying, instancia, proyecto)
}

interface Grip {
  readonly lane: LaneName
  readonly id: string
  readonly fence: number
  readonly claim: number
  readonly number: number
}

class Player {
  readonly model = new Model(LANES.map((name) => ({ name, strict: name === 'estricto' })))
  readonly #queue: Queue
  readonly #specs: Readonly<Record<LaneName, LaneSpec>>
  /** Everything that any worker ever claimed: an old grip is a worker that was taken for dead. */
  readonly #grips: Grip[] = []
  /** Where each message goes is the configuration's to say, so the same one always goes the same way. */
  readonly #targets = new Map<string, readonly LaneName[]>()

  constructor(queue: Queue) {
    this.#queue = queue
    this.#specs = { libre: laneOf('libre'), otro: laneOf('otro'), estricto: laneOf('estricto', { strict: true }) }
  }

  async play(operation: Operation): Promise<void> {
    const { model } = this
    const queue = this.#queue
    switch (operation.kind) {
      case 'enqueue': {
        const id = `m${operation.id}`
        const targets = this.#targets.get(id) ?? operation.targets
        this.#targets.set(id, targets)
        const entry = { id, targets, demora: operation.id >= 9 ? 'waits' : 'none' } as const
        model.inbox.push(entry)
        await queue.enqueue([rawOf(entry)])
        return
      }
      case 'wait': {
        for (const waiting of model.delayed.values()) waiting.isOver = true
        const ids = [...model.delayed.keys()]
        for (const [i, id] of ids.entries()) await queue.redis.zadd(queue.keys.delayed, 'XX', i + 1, id)
        return
      }
      case 'cancel': {
        const id = `m${operation.id}`
        const given = await this.#administered((admin) => admin.cancel(id, 1, this.#targets.get(id) ?? [], ''))
        expect(given).toBe(model.cancel(id))
        return
      }
      case 'discard': {
        const item = {
          id: `m${operation.id}`,
          listener: operation.lane,
          number: 0,
          version: 0,
          kind: 'waiting' as const,
        }
        const result = await this.#administered((admin) => admin.discard([item], ''))
        expect(result).toEqual([model.discard(operation.lane, item.id)])
        return
      }
      case 'hurry': {
        const item = { id: `m${operation.id}`, listener: operation.lane }
        const result = await this.#administered((admin) => admin.hurry([item], ''))
        expect(result).toEqual([model.hurry(operation.lane, item.id)])
        return
      }
      case 'again': {
        const { lane: listener } = operation
        const id = `m${operation.id}`
        const of = model.lanes.get(listener)!
        if (!of.failed.has(id) || model.isHeld(listener, id)) return
        const item = { kind: 'again', listener, made: 0, number: 3, version: 1, reason: '' } as const
        const envelope = Buffer.from(envelopeOf(id))
        const restored = { id, envelope, others: 0, items: [item] }
        const result = await this.#administered((admin) => admin.restore([restored]))
        expect(result).toEqual([[model.again(listener, id, 3)]])
        return
      }
      case 'recover': {
        // What Redis holds is not put back a second time, whatever the audit says.
        const { lane: listener } = operation
        const id = `m${operation.id}`
        const of = model.lanes.get(listener)!
        if (!of.deliveries.has(id)) return
        const item = { kind: 'lost', listener, made: 0, number: 0, version: 0, dueAt: null } as const
        const others = model.left.get(id)! - 1
        const envelope = Buffer.from(envelopeOf(id))
        const result = await this.#administered((admin) => admin.restore([{ id, envelope, others, items: [item] }]))
        expect(result).toEqual([['held']])
        return
      }
      case 'dispatch': {
        const { inSteps, calls } = operation
        const { taken, items } = await this.#taken()
        if (taken.fence === 0) return
        if (taken.envelopes.length > 0)
          expect(await dispatch(queue, { ...taken, fence: taken.fence - 1 }, items)).toBeNull()
        // A worker takes no slots for an order that is strict.
        const slots = new Map(
          LANES.filter((name) => name !== 'estricto').map((name) => [name as string, operation.slots]),
        )
        const begun: Claimed[] = []
        const straight = {
          slots: new Map([...slots].map(([name, n]) => [name, { n, hasBreaker: false }])),
          lease: 60_000,
          until: taken.now + 60_000,
          stepped: (claims: readonly Claimed[]) => void begun.push(...claims),
        }
        const dispatcher = calls === null ? queue : dyingAfter(queue, calls)
        const done = dispatch(dispatcher, taken, items, straight, inSteps ? IN_STEPS : undefined)
        const expected = model.dispatch(slots, inSteps, calls ?? undefined)
        if (expected.died) {
          await expect(done).rejects.toThrow('killed')
          await queue.redis.hset(queue.keys.dispatchLease, 'until', 0, 'takes', 0)
        } else expect(await done).toMatchObject({ duplicates: expected.duplicates, refused: 0 })
        expect(begun.map(({ lane: name, id }) => [name, id])).toEqual(
          expected.begun.map(({ lane: name, id }) => [name, id]),
        )
        begun.forEach((claimed, i) => {
          this.#gripped(claimed, expected.begun[i]!.claim)
        })
        return
      }
      case 'claim': {
        const expected = model.claim(operation.lanes, operation.n, operation.lenient)
        const wants = operation.lanes.map((name) => ({ lane: this.#specs[name], n: operation.n }))
        const { lanes } = await queue.claim(wants, 60_000, 1e6, undefined, operation.lenient)
        for (const [i, { items, failed }] of lanes.entries()) {
          expect(failed).toBe(expected.lanes[i]!.failed)
          expect(items.map(({ id }) => id)).toEqual(expected.lanes[i]!.ids)
          for (const claimed of items) this.#gripped(claimed, expected.claim)
        }
        return
      }
      case 'settle': {
        if (this.#grips.length === 0) return
        const outcomes = operation.outcomes.map(({ pick: at, verdict: each }) => ({
          grip: this.#grip(at)!,
          verdict: each,
        }))
        const applied = outcomes.map(({ grip, verdict: each }) =>
          model.settle(grip.lane, grip.id, grip.claim, grip.number + 1, each),
        )
        const settlements = outcomes.map(({ grip, verdict: each }) =>
          settlementOf(this.#specs[grip.lane], grip, each, { delay: 3_600_000 }),
        )
        expect(await settle(queue, settlements)).toEqual(applied)
        return
      }
      case 'begin': {
        const grip = this.#grip(operation.pick)
        if (grip) expect(await queue.begin(grip.fence)).toBe(model.begin(grip.claim))
        return
      }
      case 'renew': {
        const grip = this.#grip(operation.pick)
        if (!grip) return
        const renewed = model.renew(grip.lane, grip.id, grip.claim)
        expect(await queue.renew([grip], 60_000)).toEqual(renewed ? [] : [grip])
        return
      }
      case 'release': {
        const grip = this.#grip(operation.pick)
        if (!grip) return
        // A worker gives back all that one claim brought.
        const together = this.#grips.filter(({ lane: name, fence }) => name === grip.lane && fence === grip.fence)
        model.release(
          grip.lane,
          together.map(({ id }) => id),
          grip.claim,
        )
        await queue.release(together)
        return
      }
      case 'sift': {
        const ids = operation.ids.map((id) => `m${id}`)
        const wanted = new Map(
          ids.map((id) => [id, { id, listener: operation.lane, number: 0, version: 0, kind: 'waiting' as const }]),
        )
        const found = await this.#administered((admin) => admin.sift(operation.lane, wanted, ''))
        expect(found).toEqual(new Set(model.sift(operation.lane, ids)))
        return
      }
      case 'cut': {
        const { queue: list, front } = queue.lane(operation.lane)
        if ((await queue.redis.exists(front)) === 1) return
        for (let n = 0; n < operation.n; n++) await queue.redis.lmove(list, front, 'LEFT', 'RIGHT')
        return
      }
      case 'expire':
        model.expire(operation.lane)
        await expireLeases(queue, operation.lane)
        return
      case 'due': {
        model.makeDue(operation.lane)
        const { retries } = queue.lane(operation.lane)
        for (const id of await queue.redis.zrange(retries, '0', '-1')) await queue.redis.zadd(retries, 1, id)
        return
      }
      case 'pause':
        model.pause(operation.lane, true)
        await pause(queue, [operation.lane], null)
        return
      case 'resume':
        model.pause(operation.lane, false)
        await resume(queue, [operation.lane])
        return
    }
  }

  async #administered<T>(work: (admin: QueueAdmin) => Promise<T>): Promise<T> {
    const { redis, keys } = this.#queue
    await redis.set(keys.maintenance, 'prueba')
    const done = await work(new QueueAdmin(this.#queue, { value: 'prueba', release: async () => {} }))
    await redis.del(keys.maintenance)
    return done
  }

  #gripped({ lane: name, id, fence, number, raw }: Claimed, claim: number): void {
    expect([envelopeOf(id), rawOf({ id, demora: 'waited' })]).toContain(String(raw))
    this.#grips.push({ lane: name as LaneName, id, fence, claim, number })
  }

  async #taken() {
    const { model } = this
    model.take()
    const taken = await take(this.#queue)
    expect(taken.envelopes.map(String)).toEqual(model.batch.map(rawOf))
    expect(taken.fence > 0).toBe(model.batch.length + model.fanOut.length > 0)
    const items: DispatchItem[] = model.batch.map((entry) => {
      const { id, targets, demora } = entry
      if (demora !== 'waits') return { kind: 'dispatch', id, event: '{}', listeners: targets }
      const envelope = Buffer.from(rawOf({ id, demora: 'waited' }))
      return { kind: 'wait', id, event: '{}', dueAt: taken.now + 3_600_000, envelope }
    })
    return { taken, items }
  }

  async compare(): Promise<void> {
    const { model } = this
    const { redis, keys } = this.#queue
    for (const [name, expected] of model.lanes) {
      const of = this.#queue.lane(name)
      const [queue, inFlight, retries, failed, deliveries] = await Promise.all([
        Promise.all([of.front, of.queue].map((list) => redis.lrange(list, 0, -1))).then((lists) => lists.flat()),
        redis.zrange(of.inFlight, '0', '-1'),
        redis.zrange(of.retries, '0', '-1'),
        redis.zrange(of.failed, '0', '-1'),
        redis.hgetall(of.deliveries),
      ])
      expect(queue, `queue of ${name}`).toEqual(expected.queue)
      expect(new Set(inFlight), `in flight of ${name}`).toEqual(new Set(expected.inFlight.keys()))
      expect(new Set(retries), `retries of ${name}`).toEqual(new Set(expected.retries.keys()))
      expect(new Set(failed), `failed of ${name}`).toEqual(expected.failed)
      const held = Object.fromEntries(
        Object.entries(deliveries).map(([id, text]) => {
          // The fence alone where all the rest is 0.
          const [made, number, expiries, version, fence] = (text.includes(':') ? text : `0:0:0:0:${text}`)
            .split(':')
            .map(Number)
          // A version is Redis's time: the model knows only whether there was a change.
          return [id, { made, number, expiries, version: Math.min(version!, 1), held: fence! > 0 }]
        }),
      )
      const wanted = Object.fromEntries(
        [...expected.deliveries].map(([id, { claim, begun: _, ...state }]) => [id, { ...state, held: claim !== null }]),
      )
      expect(held, `deliveries of ${name}`).toEqual(wanted)
    }
    const inbox = (await redis.lrange(keys.inbox, 0, -1)).reverse()
    expect(inbox, 'inbox').toEqual(model.inbox.map(rawOf))
    const parts = (await redis.lrange(keys.fanOut, 0, -1)).map((part) => part.split(FIELD_END))
    expect(parts, 'handed out').toEqual(model.fanOut.map(({ id, target }) => [id, target]))
    expect(await redis.xlen(keys.audit)).toBe(model.audited)
    const bodies = (await keysLeft(this.#queue)).filter((key) => key.startsWith(keys.messagePrefix))
    expect(new Set(bodies.map((key) => key.slice(keys.messagePrefix.length)))).toEqual(
      new Set([...model.left.keys(), ...model.delayed.keys()]),
    )
    const remaining = Object.entries(await redis.hgetall(keys.remaining)).map(([id, count]) => [id, Number(count)])
    for (const [id, count] of remaining) expect(model.left.get(String(id)), `remaining of ${id}`).toBe(count)
    // Bodies and deliveries belong together: none without the other.
    expect([...model.left.values()].reduce((sum, count) => sum + count, 0)).toBe(model.unfinished)
  }

  /** Settles everything there is, whatever the state it was left in. */
  async finish(): Promise<void> {
    // The first one may hand out what a crash left behind.
    for (let i = 0; i < 4; i++) {
      await this.play({ kind: 'wait' })
      await this.play({ kind: 'dispatch', inSteps: false, slots: 0, calls: null })
    }
    for (const name of LANES) await this.play({ kind: 'resume', lane: name })
    for (let round = 0; this.model.unfinished > 0; round++) {
      if (round > 500) throw new Error('the queue does not come to an end')
      for (const name of LANES) {
        await this.play({ kind: 'expire', lane: name })
        await this.play({ kind: 'due', lane: name })
        const before = this.#grips.length
        await this.play({ kind: 'claim', lanes: [name], n: 5, lenient: false })
        const outcomes = this.#grips.slice(before).map((_, i) => ({ pick: before + i, verdict: 'ok' as const }))
        await this.play({ kind: 'settle', outcomes })
      }
    }
  }

  #grip(at: number): Grip | undefined {
    return this.#grips.length === 0 ? undefined : this.#grips[at % this.#grips.length]
  }
}

/** Seldom thrown, both. A copy of a message that goes out in parts is the last of its batch, as the message itself. */
const COPY_IN_PARTS: Operation[] = [
  { kind: 'enqueue', id: 4, targets: ['otro', 'estricto'] },
  { kind: 'dispatch', inSteps: false, slots: 0, calls: null },
  { kind: 'enqueue', id: 4, targets: [] },
  { kind: 'enqueue', id: 0, targets: [] },
  { kind: 'dispatch', inSteps: true, slots: 0, calls: null },
]
/** Two wait for a listener that has answered 410. */
const TRIAL_AFTER_410: Operation[] = [
  { kind: 'enqueue', id: 8, targets: ['otro'] },
  { kind: 'dispatch', inSteps: false, slots: 0, calls: null },
  { kind: 'enqueue', id: 0, targets: ['otro'] },
  { kind: 'claim', lanes: ['otro', 'estricto'], n: 1, lenient: false },
  { kind: 'enqueue', id: 8, targets: [] },
  { kind: 'settle', outcomes: [{ pick: 0, verdict: 'gone' }] },
]

test('whatever workers do to it, the queue does what the model does, and comes to an end with nothing left', async ({
  queue,
}) => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 1, maxLength: 60 }), async (operations) => {
      const left = await keysLeft(queue)
      if (left.length > 0) await queue.redis.unlink(left)
      const player = new Player(queue)
      for (const each of operations) {
        await player.play(each)
        await player.compare()
      }
      await player.finish()
      await player.compare()
      const stay = /:(listeners|valla|sin_comenzar|eventos|(fallidas|corte):\w+)$/
      expect((await keysLeft(queue)).filter((key) => !stay.test(key))).toEqual([])
    }),
    { numRuns: Number(process.env.RESTHOOKS_PRUEBAS_SECUENCIAS ?? 60), examples: [[TRIAL_AFTER_410], [COPY_IN_PARTS]] },
  )
}, 120_000)
