/** `--una-vez`: when a worker has nothing left to do. */
import type { ClaimLoop } from './claim-loop.ts'
import type { Claimer } from './claimer.ts'
import type { DispatchLoop } from './dispatch-loop.ts'
import { sleep } from './waiting.ts'

const LOOK_MS = 5

export interface QuietParts {
  readonly dispatch: DispatchLoop
  readonly claim: ClaimLoop
  readonly claimer: Claimer
  /** Deliveries under way, or on their way back to Redis. */
  busy(): boolean
  /** Nothing more is to be waited for. */
  over(): boolean
  /** Wakes both loops. */
  lookEverywhere(): void
}

/**
 * Until nothing is in the inbox, nothing due in any queue that may be worked, and nothing runs. Twice without a find, since
 * the first look may have begun before the last outcome came in.
 */
export async function untilQuiet({ dispatch, claim, claimer, ...parts }: QuietParts): Promise<void> {
  const limited = () =>
    [...claimer.lanes.values()].some(({ spec, left, nextAt }) => spec.rateLimit && left > 0 && nextAt !== null)
  while (!parts.over()) {
    await sleep(LOOK_MS)
    if (parts.busy()) continue
    if (dispatch.emptyPasses >= 2 && claim.emptyPasses >= 2 && !limited()) return
    parts.lookEverywhere()
  }
}
