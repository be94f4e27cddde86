/**
 * The work of the callback lane: `on_success` and `on_failure`, durable like a delivery (leased, retried by the default
 * strategy, audited) and apart from them, so that a callback that hangs delays nobody.
 */
import type { CallbackRecord } from '../audit/event.ts'
import type { CallbackSpec } from '../config/config.ts'
import type { StopSignal } from '../delivery/deadline.ts'
import { decide } from '../delivery/outcome.ts'
import { type CallbackJob, callbackJob } from '../model/callback-job.ts'
import { writeRecord } from '../queue/audit-format.ts'
import { encodeEnvelope } from '../queue/envelope-write.ts'
import { CALLBACK_LANE, callbackName } from '../queue/keys.ts'
import type { Claimed, LaneSpec } from '../queue/queue.ts'
import type { Settlement, Verdict } from '../queue/settle.ts'
import type { WorkerContext } from './context.ts'
import { type Executor, notUnderstood, waitForDescriptors } from './lane.ts'

/** Callbacks at once in one process; of one listener half of them. */
const AT_ONCE = 20
/** `evento:` callbacks that may follow from one message: what goes on longer is a loop. */
const MAX_DEPTH = 8

const CALLBACK_SPEC: LaneSpec = {
  name: CALLBACK_LANE,
  concurrency: AT_ONCE,
  strict: false,
  rateLimit: null,
  breaker: null,
  failureJob: null,
}

interface Result {
  readonly ok: boolean
  readonly detail: string | null
  readonly final: boolean
  /** It could not even be tried, for want of descriptors or processes. */
  readonly unable?: boolean
  /** An envelope that goes to the inbox together with this outcome. */
  readonly message?: string
}

export class CallbackExecutor implements Executor {
  readonly spec = CALLBACK_SPEC
  readonly #context: WorkerContext

  constructor(context: WorkerContext) {
    this.#context = context
  }

  async execute(claimed: Claimed, signal: StopSignal): Promise<Settlement> {
    const config = this.#context.config()
    const attempt = claimed.number + 1
    let job: CallbackJob
    let target = ''
    let result: Result
    try {
      job = callbackJob.read(claimed.raw)
    } catch (error) {
      return notUnderstood(CALLBACK_SPEC, claimed, error as Error, this.#context.log)
    }
    try {
      const listener = config.listeners.get(job.listener)
      const spec = (job.tipo === 'on_success' ? listener?.onSuccess : listener?.onFailure) ?? null
      target = spec?.shown ?? ''
      result = spec
        ? await this.#run(spec, claimed, job, signal)
        : {
            ok: false,
            final: true,
            detail: `el listener "${job.listener}" ya no tiene ${job.tipo} en la configuración`,
          }
    } catch (error) {
      result = { ok: false, final: false, detail: (error as Error).message }
    }
    if (result.unable) await waitForDescriptors(this.#context.descriptors, result.detail ?? '', signal)
    const interrupted = result.unable || (signal.aborted && !result.ok)
    const outcome = result.ok
      ? ({ kind: 'success' } as const)
      : result.final
        ? ({ kind: 'failure', reason: result.detail ?? '', gone: false } as const)
        : ({ kind: 'retry', reason: result.detail ?? '', retryAfter: null } as const)
    const now = this.#context.now()
    const decision = decide(outcome, claimed.made + 1, config.defaultStrategy, firstAt(job, now), now, Math.random)
    const verdict: Verdict = interrupted ? 'requeue' : decision.kind === 'done' ? 'ok' : decision.kind
    const said = decision.kind === 'failed' ? decision.reason : result.detail
    const record: CallbackRecord = {
      id: callbackName(claimed.id),
      messageId: job.mensaje,
      listener: job.listener,
      type: job.tipo,
      target,
      attempt,
      result: verdict === 'ok' ? 'exito' : verdict === 'failed' ? 'fallo' : 'reintento',
      detail: said === null ? null : config.secrets.hide(said),
    }
    if (verdict === 'failed') {
      this.#context.log.error(
        { id: record.messageId, listener: record.listener, destino: target, motivo: record.detail },
        'un callback falló definitivamente',
      )
    }
    if (verdict === 'retry') {
      const told = { id: record.messageId, listener: record.listener, destino: target, intento: attempt }
      // The first time to everybody: the rest of its failures are the same trouble.
      this.#context.log[claimed.made === 0 ? 'warn' : 'debug'](
        { ...told, motivo: record.detail },
        'un callback falló: se reintenta',
      )
    }
    return {
      lane: CALLBACK_SPEC,
      id: claimed.id,
      fence: claimed.fence,
      verdict,
      number: attempt,
      delay: decision.kind === 'retry' ? decision.delay : 0,
      reason: record.detail ?? '',
      health: null,
      callback: null,
      message: result.message ?? null,
      events: [{ type: 'c', json: writeRecord(record) }],
    }
  }

  async close(): Promise<void> {}

  async #run(spec: CallbackSpec, claimed: Claimed, job: CallbackJob, signal: StopSignal): Promise<Result> {
    const { instancia, proyecto } = this.#context.config()
    if (spec.kind === 'event') return eventResult(spec.event, callbackName(claimed.id), job, this.#context.now())
    const { runCallback } = await import('../delivery/callback.ts')
    const told = {
      id: callbackName(claimed.id),
      json: claimed.raw,
      variables: callbackJob.variables(job, instancia, proyecto),
    }
    const result = await runCallback(spec, told, { version: this.#context.version, signal })
    return result.ok ? { ok: true, detail: result.detail, final: false } : result
  }
}

/** The message of an `evento:` callback. It is sent with the callback's own outcome: once, whatever dies in between. */
function eventResult(event: string, callbackId: string, job: CallbackJob, now: number): Result {
  if (job.profundidad >= MAX_DEPTH) {
    return {
      ok: false,
      final: true,
      detail: `${MAX_DEPTH} eventos encadenados por callbacks: es un ciclo; revise on_success y on_failure`,
    }
  }
  const id = callbackJob.eventMessageId(callbackId)
  const message = encodeEnvelope({
    id,
    event,
    body: Buffer.from(JSON.stringify(job)),
    contentType: 'application/json',
    method: null,
    path: null,
    headers: {},
    createdAt: job.fecha ? new Date(job.fecha) : new Date(now),
    key: null,
    origin: `callback ${job.tipo} de ${job.listener}`,
    onlyListener: null,
    notBefore: null,
    depth: job.profundidad + 1,
  })
  return { ok: true, detail: `mensaje ${id}`, final: false, message }
}

/** Callbacks age from the outcome that they tell of. */
function firstAt(job: CallbackJob, now: number): number {
  const time = job.fecha ? Date.parse(job.fecha) : Number.NaN
  return Number.isFinite(time) ? time : now
}
