/** The work of a listener's lane: one attempt over HTTP, judged by the listener's strategy. */
import type { AttemptRecord } from '../audit/event.ts'
import type { ListenerConfig } from '../config/config.ts'
import type { AttemptResult, Deliverer } from '../delivery/attempt.ts'
import type { StopSignal } from '../delivery/deadline.ts'
import { decide, type Outcome } from '../delivery/outcome.ts'
import { callbackJob } from '../model/callback-job.ts'
import type { Message, Millis } from '../model/message.ts'
import { writeAttempt } from '../queue/audit-format.ts'
import { decodeEnvelope } from '../queue/envelope.ts'
import type { Claimed, LaneSpec } from '../queue/queue.ts'
import type { Settlement, Verdict } from '../queue/settle.ts'
import type { WorkerContext } from './context.ts'
import { type Executor, notUnderstood, waitForDescriptors } from './lane.ts'

export class DeliveryExecutor implements Executor {
  readonly spec: LaneSpec
  readonly #listener: ListenerConfig
  readonly #deliverer: Deliverer
  readonly #context: WorkerContext

  constructor(listener: ListenerConfig, deliverer: Deliverer, context: WorkerContext) {
    this.#listener = listener
    this.spec = laneSpecOf(listener)
    this.#deliverer = deliverer
    this.#context = context
  }

  async execute(claimed: Claimed, signal: StopSignal): Promise<Settlement> {
    const startedAt = performance.now()
    const number = claimed.number + 1
    // The audit's times are Redis's: this machine's clock may say something else.
    const toRedisTime = this.#context.now() - Date.now()
    let message: Message
    let result: AttemptResult
    try {
      const read =
        claimed.message ?? decodeEnvelope(claimed.raw, () => claimed.id, new Date(this.#context.now())).message
      // A version before this one rounded ids that are long numbers: what it dispatched keeps the id that it got.
      message = read.id === claimed.id ? read : { ...read, id: claimed.id }
    } catch (error) {
      return notUnderstood(this.spec, claimed, error as Error, this.#context.log)
    }
    try {
      result = await this.#deliverer.attempt(message, number, signal)
    } catch (error) {
      // A fault of ours: the delivery must not hang, and must not be tried in a hot loop either.
      this.#context.log.error(
        { err: error, id: claimed.id, listener: this.#listener.name },
        'error interno al entregar',
      )
      result = {
        requests: [],
        outcome: {
          kind: 'retry',
          reason: `error interno: ${this.#context.config().secrets.hide((error as Error).message)}`,
          retryAfter: null,
        },
      }
    }
    if (result.outcome.kind === 'unable') {
      await waitForDescriptors(this.#context.descriptors, result.outcome.reason, signal)
    } else this.#context.descriptors.worked()
    const settlement = this.#settlement(claimed, number, message, result, signal.aborted, toRedisTime)
    this.#context.metrics()?.attempted(this.#listener.name, {
      verdict: settlement.verdict,
      duration: performance.now() - startedAt,
      last: result.requests.at(-1),
      age: this.#context.now() - bornAt(message),
      certificateEndsAt: this.#deliverer.certificateEndsAt,
    })
    return settlement
  }

  close(): Promise<void> {
    return this.#deliverer.close()
  }

  #settlement(
    claimed: Claimed,
    number: number,
    message: Message,
    { requests: all, outcome }: AttemptResult,
    interrupted: boolean,
    toRedisTime: Millis,
  ): Settlement {
    const { verdict, delay, reason } =
      outcome.kind === 'unable' || (interrupted && outcome.kind === 'retry')
        ? { verdict: 'requeue' as const, delay: 0, reason: outcome.reason }
        : this.#verdict(claimed, message, outcome)
    // What was not even tried is no attempt: it has no row, and takes no number where it stands alone.
    const requests = all.filter(({ error }) => error !== 'recursos')
    const counted = outcome.kind !== 'unable' || requests.length > 0
    const attemptMs = requests.reduce((sum, { durationMs }) => sum + durationMs, 0)
    const events = requests.map((request, i) => ({
      type: 'a' as const,
      json: writeAttempt(request, {
        messageId: claimed.id,
        event: message.event,
        listener: this.#listener.name,
        number,
        result: i < requests.length - 1 ? 'reintento' : RESULTS[verdict],
        worker: this.#context.worker,
        attemptMs: i < requests.length - 1 ? null : attemptMs,
        keepResponse: this.#listener.auditResponse,
        toRedisTime,
      }),
    }))
    const spec =
      verdict === 'ok'
        ? this.#listener.onSuccess
        : verdict === 'failed' || verdict === 'gone'
          ? this.#listener.onFailure
          : null
    const last = requests.at(-1)
    if (counted && !interrupted) this.#context.sightings.saw(this.#listener.name, outcome, last)
    return {
      lane: this.spec,
      id: claimed.id,
      fence: claimed.fence,
      verdict,
      number: counted ? number : claimed.number,
      delay,
      reason,
      health: interrupted || outcome.kind === 'unable' ? null : outcome.kind === 'retry' ? 'ko' : 'ok',
      callback: spec
        ? callbackJob.forOutcome({
            id: claimed.id,
            message,
            listener: this.#listener.name,
            attempts: number,
            reason,
            succeeded: verdict === 'ok',
            last,
          })
        : null,
      message: null,
      events,
    }
  }

  #verdict(claimed: Claimed, message: Message, outcome: Outcome): { verdict: Verdict; delay: number; reason: string } {
    const now = this.#context.now()
    const decision = decide(
      outcome,
      claimed.made + 1,
      this.#listener.strategy,
      bornAt(message),
      now,
      Math.random,
      claimed.number + 1,
    )
    switch (decision.kind) {
      case 'done':
        return { verdict: 'ok', delay: 0, reason: '' }
      case 'retry':
        return { verdict: 'retry', delay: decision.delay, reason: outcome.kind === 'success' ? '' : outcome.reason }
      case 'failed':
        return {
          verdict: outcome.kind === 'failure' && outcome.gone ? 'gone' : 'failed',
          delay: 0,
          reason: decision.reason,
        }
    }
  }
}

/** A message that was held back on purpose starts to age when it is due. */
function bornAt({ createdAt, notBefore }: Message): number {
  return Math.max(createdAt.getTime(), notBefore?.getTime() ?? 0)
}

const RESULTS: Readonly<Record<Verdict, AttemptRecord['result']>> = {
  ok: 'exito',
  retry: 'reintento',
  requeue: 'reintento',
  failed: 'fallo',
  gone: 'fallo',
  wait: 'reintento',
}

function laneSpecOf(listener: ListenerConfig): LaneSpec {
  return {
    name: listener.name,
    concurrency: listener.concurrency,
    strict: listener.order === 'estricto',
    rateLimit: listener.rateLimit,
    breaker: listener.breaker,
    failureJob: listener.onFailure ? callbackJob.forLostDelivery(listener.name) : null,
  }
}
