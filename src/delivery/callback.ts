/**
 * Runs one `on_success` or `on_failure`: a program or a POST. `evento:` is the worker's own.
 *
 * A callback is other people's code: it may hang, flood its output, fork, or leave children that hold our pipes. It is
 * given its time, its 4 KB, and no secret of ours.
 */
import type { CallbackTarget } from '../config/config.ts'
import type { Millis } from '../model/message.ts'
import { runProgram } from './program.ts'
import type { StopSignal } from './stop-signal.ts'

/** How long a callback may take. */
export const CALLBACK_LIMIT: Millis = 30_000

export interface CallbackInput {
  /** Becomes `webhook-id`. */
  readonly id: string
  /** The outcome, for stdin or as the body. */
  readonly json: Buffer | string
  /** `RESTHOOKS_*`; other names are not passed on. */
  readonly variables: Readonly<Record<string, string>>
}

export type CallbackOutcome =
  | { readonly ok: true; readonly detail: string | null }
  /** `final`: to try again is useless. `unable`: it was not even tried, this process or machine has no means left. */
  | { readonly ok: false; readonly detail: string; readonly final: boolean; readonly unable?: boolean }

/**
 * Never throws for what the target does.
 * @param about.signal ends it early: the whole process group, or the request
 * @param about.limit  for tests
 */
export async function runCallback(
  spec: Exclude<CallbackTarget, { kind: 'event' }>,
  input: CallbackInput,
  about: { readonly version: string; readonly signal: StopSignal; readonly limit?: Millis },
): Promise<CallbackOutcome> {
  const limit = about.limit ?? CALLBACK_LIMIT
  if (spec.kind === 'exec') return runProgram(spec.argv, input, about.signal, limit)
  const { post } = await import('./post.ts')
  return post(spec.url, input, about.version, about.signal, limit)
}
