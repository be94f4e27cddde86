/**
 * The senders: several processes at once, as users have them. The ledger's first column comes from here: every id whose
 * sending was acknowledged, and by whom.
 *
 * What was not acknowledged (exit 4, a connection cut before the answer) may be there or not, and is never sent again
 * under the same id.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { cleanEnvironment } from '../support/cli.ts'
import type { Arena } from './arena.ts'
import { atEnd } from './program.ts'

export interface Sent {
  readonly id: string
  readonly event: string
  /** sha1 of the body. */
  readonly body: string
  readonly sender: string
  /** Rises within one sender: its order. */
  readonly order: number
}

export interface TrafficPlan {
  /** Messages in all, about. */
  readonly messages: number
  /** ms over which they are spread. */
  readonly over: number
}

/** Of the messages; the rest is LPUSHed by the foreign programs. */
const BATCH_SHARE = 0.4
const BATCH_LINES = 40
const SINGLES = 6
const FOREIGN = 2

export class Traffic {
  readonly acknowledged: Sent[] = []
  /** Ids of foreign messages that were cut off before the answer. */
  readonly doubtful = new Set<string>()
  /** Commands that exited 4: what they say is checked by whoever made the fault. */
  readonly refusals: { readonly code: number | null; readonly stderr: string }[] = []
  readonly #arena: Arena
  #serial = 0
  #orders = new Map<string, number>()

  constructor(arena: Arena) {
    this.#arena = arena
  }

  /** Resolves when every sender is done. */
  async run({ messages, over }: TrafficPlan): Promise<void> {
    const batched = Math.round(messages * BATCH_SHARE)
    const batches = Math.max(2, Math.round(batched / BATCH_LINES))
    const singles = Math.min(SINGLES, Math.ceil(messages / 20))
    const foreign = Math.max(0, messages - batched - singles)
    const half = Math.ceil(batches / 2)
    await Promise.all([
      this.#batches('lote1', half, Math.round(batched / batches), over),
      this.#batches('lote2', batches - half, Math.round(batched / batches), over),
      this.#singles(singles, over),
      ...Array.from({ length: FOREIGN }, (_, i) => this.foreign(`ajeno${i + 1}`, Math.ceil(foreign / FOREIGN), over)),
    ])
  }

  /** Messages from a foreign program. */
  async foreign(sender: string, count: number, over: number): Promise<void> {
    const { keys, redis, options } = this.#arena
    const port = redis?.port ?? options.redis?.port()
    if (count === 0 || !port) return
    const script = fileURLToPath(new URL('foreign-sender.mjs', import.meta.url))
    const child = spawn(process.execPath, [script, String(port), keys.inbox], {
      env: cleanEnvironment(),
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const forget = atEnd(() => child.kill('SIGKILL'))
    const open = new Map<string, Sent>()
    createInterface({ input: child.stdout }).on('line', (line) => {
      const [word, id] = line.split(' ') as [string, string]
      if (word === 'ok') this.acknowledged.push(open.get(id)!)
      else this.doubtful.add(id)
    })
    const ended = exitOf(child)
    // A sender that was ended takes no more; what it had not told is nobody's.
    child.stdin.on('error', () => {})
    await paced(count, over, (i) => {
      const { event, body } = this.#next()
      const id = `${sender}-${i}`
      const sent = this.#sent(id, event, body, sender)
      open.set(id, sent)
      // Every other one leaves `datos` to be cut out of the entry byte for byte.
      const carried = i % 2 === 0 ? `"datos":${body}` : `"cuerpo":${JSON.stringify(body)}`
      child.stdin.write(`${id}\t{"v":1,"id":"${id}","evento":"${event}",${carried}}\n`)
    })
    child.stdin.end()
    await ended
    await forget()
  }

  async #batches(sender: string, count: number, lines: number, over: number): Promise<void> {
    await paced(count, over, async () => {
      const items = Array.from({ length: lines }, () => this.#next())
      const input = items.map(({ event, body }) => `{"evento":"${event}","datos":${body}}\n`).join('')
      const result = await this.#arena.cli(['send', '--lote'], input)
      const ids = result.stdout.split('\n').slice(0, -1)
      ids.forEach((id, i) => {
        this.acknowledged.push(this.#sent(id, items[i]!.event, items[i]!.body, sender))
      })
      this.#judge(result, ids.length, lines)
    })
  }

  async #singles(count: number, over: number): Promise<void> {
    await paced(count, over, async () => {
      const { event, body } = this.#next()
      const result = await this.#arena.cli(['send', event, body])
      const id = result.stdout.trim()
      if (id) this.acknowledged.push(this.#sent(id, event, body, 'suelto'))
      this.#judge(result, id ? 1 : 0, 1)
    })
  }

  #judge({ code, stderr }: { code: number | null; stderr: string }, got: number, wanted: number): void {
    if (code !== 0) this.refusals.push({ code, stderr })
    else if (got !== wanted) this.refusals.push({ code, stderr: `exit 0 with ${got} ids of ${wanted}: ${stderr}` })
  }

  #next(): { event: string; body: string } {
    const n = ++this.#serial
    const { events } = this.#arena.cast
    const padding = n % 50 === 0 ? 'ñ'.repeat(10_000) : 'x'.repeat(n % 100)
    // Numbers that a double cannot hold, a repeated key, an escape: all of it must arrive as it was sent.
    const body = `{"n":${n},"grande":123456789012345678${String(n).padStart(4, '0')},"a":1,"a":2,"e":"\\u00e9\\/","p":"${padding}"}`
    return { event: events[n % events.length]!, body }
  }

  #sent(id: string, event: string, body: string, sender: string): Sent {
    const order = (this.#orders.get(sender) ?? 0) + 1
    this.#orders.set(sender, order)
    return { id, event, body: createHash('sha1').update(body).digest('hex'), sender, order }
  }
}

/** Calls `step` `count` times, evenly over `ms`, one after the other where a step takes longer. */
async function paced(count: number, ms: number, step: (i: number) => unknown): Promise<void> {
  const start = Date.now()
  for (let i = 0; i < count; i++) {
    const ahead = start + (ms * i) / count - Date.now()
    if (ahead > 0) await new Promise((resolve) => setTimeout(resolve, ahead))
    await step(i)
  }
}

function exitOf(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => child.once('close', () => resolve()))
}
