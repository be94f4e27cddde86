/** An executor whose attempts are counted and timed. */
import type { Verdict } from '../queue/queue.ts'
import type { Executor } from './lane.ts'

const OUTCOMES = {
  ok: 'exito',
  retry: 'reintento',
  failed: 'fallo',
  gone: 'fallo',
  requeue: 'interrumpido',
  wait: 'interrumpido',
} as const satisfies Record<Verdict, string>

export type ObservedOutcome = (typeof OUTCOMES)[Verdict]

/** @param tell called after each attempt with its outcome and its duration in seconds */
export function observed(executor: Executor, tell: (outcome: ObservedOutcome, seconds: number) => void): Executor {
  return {
    execute: async (claimed, signal) => {
      const startedAt = performance.now()
      const settlement = await executor.execute(claimed, signal)
      tell(OUTCOMES[settlement.verdict], (performance.now() - startedAt) / 1000)
      return settlement
    },
    close: () => executor.close(),
  }
}
