/** A listener that keeps every request waiting until the test answers it: what is under way at one moment can be counted. */
import type { Reply, Script } from '../support/listener.ts'

export interface WaitingRoom {
  readonly script: Script
  /** Most requests that ever waited at the same time. */
  readonly peak: number
  /** Answers the longest waiting request. @throws when none waits */
  answer(status: number): void
  /** Answers whoever waits, and from now on everyone at once. */
  open(status: number): void
  /** Keeps them waiting again. */
  close(): void
}

export function waitingRoom(): WaitingRoom {
  const waiting: ((reply: Reply) => void)[] = []
  let always: number | null = null
  let peak = 0
  return {
    get peak() {
      return peak
    },
    script: () => {
      if (always !== null) return { status: always }
      return new Promise<Reply>((resolve) => {
        waiting.push(resolve)
        peak = Math.max(peak, waiting.length)
      })
    },
    answer: (status) => {
      const first = waiting.shift()
      if (!first) throw new Error('nobody waits for an answer')
      first({ status })
    },
    open: (status) => {
      always = status
      for (const reply of waiting.splice(0)) reply({ status })
    },
    close: () => {
      always = null
    },
  }
}
