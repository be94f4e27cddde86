/**
 * `send --esperar`: waits for the outcome of every delivery, as the audit tells it.
 *
 * The messages are in by then. Whatever keeps the outcome from being known (Postgres away, the time that ran out) is exit 1 and
 * says so: exit 4 means that nothing happened, and a script that then repeats would send twice.
 */
import type { AuditReader } from '../audit/queries.ts'
import { OperationFailed, ResthooksError, Unavailable } from '../errors.ts'
import { isUnfinished } from '../recovery/selection.ts'
import type { Context } from './context.ts'

const LOOK_EVERY_MS = 100

/** What is known of the messages so far. */
interface Known {
  /** Whose outcome is not known yet: not looked at any more once it is. */
  open: string[]
  /** Sentences about what did not succeed, by message; looked at anew as long as the message is open. */
  readonly failures: Map<string, readonly string[]>
  /** What the open ones wait for, as it was seen last. */
  readonly waiting: Map<string, readonly string[]>
}

/**
 * Returns when every message had a delivery, and all succeeded. A failure does not end it: the others are waited for.
 * @param patience ms
 * @throws OperationFailed when one failed or was given up, none was to be made, or the outcome is not known in time
 */
export async function awaitOutcomes(context: Context, ids: readonly string[], patience: number): Promise<void> {
  const audit = await context.audit()
  const end = Date.now() + patience
  const known: Known = { open: [...ids], failures: new Map(), waiting: new Map() }
  for (;;) {
    let trouble: ResthooksError | null = null
    try {
      known.open = await look(audit, known)
    } catch (error) {
      if (!(error instanceof ResthooksError)) throw error
      trouble = error
    }
    if (known.open.length === 0) break
    // Postgres may be back in time; what only a person can change will not.
    if (Date.now() > end || (trouble !== null && !(trouble instanceof Unavailable)))
      throw await unknown(context, known, trouble)
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS))
  }
  const failures = [...known.failures.values()].flat()
  if (failures.length > 0)
    throw new OperationFailed(`${failures.join('\n')}\nDetalle: resthooks ver ${failures[0]!.split(' ')[0]}`)
}

/** Looks at the open messages, and returns those that still are. */
async function look(audit: AuditReader, { open, failures, waiting }: Known): Promise<string[]> {
  const still: string[] = []
  for (const id of open) {
    const found = await audit.message(id)
    const expected = found?.message?.listeners ?? null
    const deliveries = found?.deliveries ?? []
    const one = ({ listener, estado, motivo }: (typeof deliveries)[number]) =>
      `${id} → ${listener}: ${estado}${motivo ? ` (${motivo})` : ''}`
    const unfinished = deliveries.filter(({ estado }) => isUnfinished({ state: estado }))
    if (expected === null || deliveries.length < expected || unfinished.length > 0) still.push(id)
    waiting.set(id, unfinished.map(one))
    const failed = deliveries.filter(({ estado }) => estado === 'fallida' || estado === 'descartada').map(one)
    if (expected === 0) failed.push(`${id} → ningún listener recibe «${found?.message?.evento}»: no se entregó a nadie`)
    failures.set(id, failed)
  }
  return still
}

/** Of the deliveries that are still open: of a long batch the first ones tell enough. */
const MOST_WAITING = 20

/** @param trouble why the audit could not be asked; null: it was, and the time ran out */
async function unknown(context: Context, { open, failures, waiting }: Known, trouble: ResthooksError | null) {
  const [first, ...more] = open
  const which = more.length === 0 ? `el mensaje ${first} está encolado` : `${open.length} mensajes están encolados`
  const why = trouble?.message ?? 'sigue sin resultado final y se agotó el plazo.'
  const redis = await redisOutage(context)
  const then = redis === null ? 'La entrega continúa' : `${redis.message}. La entrega sigue cuando Redis vuelva`
  const told = `${which}: no lo envíe otra vez. No se sabe cómo terminó: ${why} ${then}. Véalo después con: resthooks ver ${first}`
  const still = open.flatMap((id) => waiting.get(id) ?? [])
  const rest = still.length - MOST_WAITING
  return new OperationFailed(
    [
      ...[...failures.values()].flat(),
      ...still.slice(0, MOST_WAITING),
      ...(rest > 0 ? [`… y ${rest} entregas más sin terminar`] : []),
      told,
    ].join('\n'),
    { cause: trouble },
  )
}

/** Asked with a connection of its own: ours may have been cut when Redis was away, and it be back. */
async function redisOutage(context: Context): Promise<ResthooksError | null> {
  const { connectOnce } = await import('../queue/redis.ts')
  try {
    const redis = await connectOnce((await context.config()).redis)
    redis.disconnect()
    return null
  } catch (error) {
    if (error instanceof ResthooksError) return error
    throw error
  }
}
