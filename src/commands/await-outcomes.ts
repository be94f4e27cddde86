/**
 * `send --esperar`: waits for the outcome of every delivery, as the audit tells it.
 *
 * The messages are in by then. Whatever keeps the outcome from being known (Postgres away, the time that ran out) is exit 1 and
 * says so: exit 4 means that nothing happened, and a script that then repeats would send twice.
 */

import type { AuditQueries, DeliveryColumns } from '../audit/queries.ts'
import { overdue } from '../audit/trouble.ts'
import { toBeTyped } from '../checks/causes.ts'
import type { Waiting } from '../checks/waiting.ts'
import { OperationFailed, ResthooksError, Unavailable } from '../errors.ts'
import { typed } from '../model/typed.ts'
import { shellWord } from '../model/words.ts'
import type { Queue } from '../queue/queue.ts'
import { isUnfinished } from '../recovery/selection.ts'
import { atMost } from '../worker/waiting.ts'
import type { Context } from './context.ts'
import { note } from './print.ts'

const LOOK_EVERY_MS = 100
/** What a look may take that begins when the time is nearly over. */
const LAST_LOOK_MS = 1_000
/** What holds a delivery back is told then, once: nobody has to wait for the end of the time to hear of it. */
const TELL_AFTER_MS = 1_000

/** What is known of the messages so far. */
interface Known {
  /** Whose outcome is not known yet: not looked at any more once it is. */
  open: string[]
  /** Sentences about what did not succeed, by message; looked at anew as long as the message is open. */
  readonly failures: Map<string, readonly string[]>
  /** Deliveries of the open ones that have not ended, as they were seen last. */
  readonly waiting: Map<string, readonly DeliveryColumns[]>
}

/**
 * Returns when every message had a delivery, and all succeeded. A failure does not end it: the others are waited for.
 * @param patience ms
 * @throws OperationFailed when one failed or was given up, none was to be made, or the outcome is not known in time
 */
export async function awaitOutcomes(context: Context, ids: readonly string[], patience: number): Promise<void> {
  const [audit, config] = [await context.audit(), await context.config()]
  const end = Date.now() + patience
  const known: Known = { open: [...ids], failures: new Map(), waiting: new Map() }
  let tellAt = Date.now() + Math.min(TELL_AFTER_MS, patience / 2)
  for (;;) {
    let trouble: ResthooksError | null = null
    try {
      const left = Math.max(LAST_LOOK_MS, end - Date.now())
      known.open = await atMost(left, look(audit, known), () => Promise.reject(overdue(config.audit, left)))
    } catch (error) {
      if (!(error instanceof ResthooksError)) throw error
      trouble = error
    }
    if (known.open.length === 0) break
    // Postgres may be back in time; what only a person can change will not.
    if (Date.now() > end || (trouble !== null && !(trouble instanceof Unavailable)))
      throw await unknown(context, known, trouble)
    if (Date.now() > tellAt) {
      tellAt = Number.POSITIVE_INFINITY
      await tellHeld(context, known)
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS))
  }
  const failures = [...known.failures.values()].flat()
  if (failures.length > 0)
    throw new OperationFailed(
      `${failures.join('\n')}\nDetalle: ${typed(`ver ${shellWord(failures[0]!.split(' ')[0]!)}`)}`,
    )
}

async function tellHeld(context: Context, known: Known): Promise<void> {
  try {
    for (const { held, text } of await stillWaiting(context, known)) if (held) note(`resthooks: ${text}`)
  } catch (error) {
    // A Redis that is away is told at the end.
    if ((await context.explain(error)) === null) throw error
  }
}

/** Looks at the open messages, and returns those that still are. */
async function look(audit: AuditQueries, { open, failures, waiting }: Known): Promise<string[]> {
  const still: string[] = []
  for (const id of open) {
    const found = await audit.message(id)
    const expected = found?.message?.listeners ?? null
    const deliveries = found?.deliveries ?? []
    const one = ({ listener, estado, motivo }: (typeof deliveries)[number]) =>
      `${id} → ${listener}: ${estado}${motivo ? ` (${motivo})` : ''}`
    const unfinished = deliveries.filter(({ estado }) => isUnfinished({ state: estado }))
    if (expected === null || deliveries.length < expected || unfinished.length > 0) still.push(id)
    waiting.set(id, unfinished)
    const failed = deliveries.filter(({ estado }) => estado === 'fallida' || estado === 'descartada').map(one)
    if (expected === 0) failed.push(`${id} → ningún listener recibe «${found?.message?.evento}»: no se entregó a nadie`)
    failures.set(id, failed)
  }
  return still
}

/** Of the deliveries that are still open: of a long batch the first ones tell enough. */
const MOST_WAITING = 20

interface Still {
  readonly text: string
  /** It does not only wait for its turn: somebody can do something. */
  readonly held: boolean
}

/** A sentence for each delivery that is open, or message that has none yet, with the reason where Redis can be asked. */
async function stillWaiting(context: Context, { open, waiting }: Known, redis?: Queue): Promise<Still[]> {
  const config = await context.config()
  const { whyDeliveriesWait, whyMessageWaits } = await import('../checks/waiting.ts')
  const queue = redis ?? (await context.queue())
  const still: Still[] = []
  for (const id of open) {
    const deliveries = (waiting.get(id) ?? []).slice(0, MOST_WAITING - still.length)
    const why = await whyDeliveriesWait(
      queue,
      config,
      id,
      deliveries.map(({ listener }) => listener),
    )
    for (const { listener, estado, motivo } of deliveries) {
      const found = why.get(listener)
      const reasons = [motivo, found?.motivo].filter(Boolean).join('; ')
      still.push({ text: `${id} → ${listener}: ${estado} (${reasons})${helps(found)}`, held: found?.detenida === true })
    }
    const undispatched = deliveries.length === 0 ? await whyMessageWaits(queue, config, id) : null
    if (undispatched)
      still.push({ text: `${id}: ${undispatched.motivo}${helps(undispatched)}`, held: undispatched.detenida === true })
    if (still.length >= MOST_WAITING) break
  }
  return still
}

function helps(waiting: Waiting | undefined): string {
  return waiting?.que_hacer == null ? '' : ` → ${toBeTyped(waiting.que_hacer)}`
}

/** @param trouble why the audit could not be asked; null: it was, and the time ran out */
async function unknown(context: Context, known: Known, trouble: ResthooksError | null) {
  const { open, failures, waiting } = known
  const [first, ...more] = open
  const which = more.length === 0 ? `el mensaje ${first} está encolado` : `${open.length} mensajes están encolados`
  const why = trouble?.message ?? 'sigue sin resultado final y se agotó el plazo.'
  const { still, outage } = await askedAnew(context, known)
  const then = outage === null ? 'La entrega continúa' : `${outage.message}. La entrega sigue cuando Redis vuelva`
  const told = `${which}: no lo envíe otra vez. No se sabe cómo terminó: ${why} ${then}. Véalo después con: ${typed(`ver ${shellWord(first!)}`)}`
  const rest = open.flatMap((id) => waiting.get(id) ?? []).length - MOST_WAITING
  return new OperationFailed(
    [
      ...[...failures.values()].flat(),
      ...still.map(({ text }) => text),
      ...(rest > 0 ? [`… y ${rest} entregas más sin terminar`] : []),
      told,
    ].join('\n'),
    { cause: trouble },
  )
}

/** With a connection of its own: ours may have been cut when Redis was away, and it be back. */
async function askedAnew(context: Context, known: Known): Promise<{ still: Still[]; outage: ResthooksError | null }> {
  const { openQueue } = await import('../queue/queue.ts')
  try {
    const queue = await openQueue(await context.config())
    try {
      return { still: await stillWaiting(context, known, queue), outage: null }
    } finally {
      await queue.close()
    }
  } catch (error) {
    const outage = await context.explain(error)
    if (outage === null) throw error
    const still = known.open.flatMap((id) =>
      (known.waiting.get(id) ?? []).map(({ listener, estado }) => ({
        text: `${id} → ${listener}: ${estado}`,
        held: false,
      })),
    )
    return { still: still.slice(0, MOST_WAITING), outage }
  }
}
