/** Plays one fault from its beginning to its balance. */
import type { PostgresServer } from '../support/postgres-server.ts'
import { until } from '../support/until.ts'
import { Arena } from './arena.ts'
import type { Fault } from './faults/fault.ts'
import { balance, type Figures } from './ledger.ts'
import type { Program } from './program.ts'
import type { Dice } from './random.ts'
import { Traffic } from './traffic.ts'

export interface Stage {
  readonly program: Program
  readonly postgres: PostgresServer
  readonly dice: Dice
  /** Messages and durations are multiplied by this. */
  readonly scale: number
  /** Called when the fault and its traffic are over, and what is left is to wait until everything has come to rest. */
  onRest?(): void
}

const MESSAGES = 500
const OVER_MS = 4000

export async function play(fault: Fault, stage: Stage): Promise<Figures> {
  const arena = new Arena(
    stage.program,
    stage.postgres,
    stage.dice,
    typeof fault.arena === 'function' ? await fault.arena() : (fault.arena ?? {}),
  )
  try {
    await arena.build()
    await arena.up(arena.start(fault.workers ?? 2))
    const traffic = new Traffic(arena)
    arena.traffic = traffic
    const plan = { messages: MESSAGES, over: OVER_MS, ...fault.traffic }
    const flowing = traffic.run({ messages: Math.round(plan.messages * stage.scale), over: plan.over })
    flowing.catch(() => {})
    if (plan.messages > 0 && !fault.startsLate)
      await until(() => arena.wire.requests.length > 0, { timeout: 20_000, what: 'the first delivery' })
    await fault.inflict(arena)
    await flowing
    stage.onRest?.()
    await arena.quiet(fault.patience)
    const extra = (await fault.verify?.(arena)) ?? []
    await arena.stop()
    const figures = await balance(arena, traffic, fault.rules)
    const violations = [...figures.violations, ...extra]
    return { ...figures, notes: arena.notes, violations, logs: violations.length > 0 ? logsOf(arena) : '' }
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${arena.notes.join('; ')}\n${logsOf(arena)}`, { cause: error })
  } finally {
    // A fault that broke in the middle leaves nothing to those that come after it.
    if (!stage.postgres.running()) await stage.postgres.start()
    await arena.tearDown()
    await fault.end?.()
  }
}

/** The ends of the workers' logs. */
function logsOf(arena: Arena): string {
  return arena.history.map(({ output, child }) => `— worker ${child.pid}\n${output.slice(-2500)}`).join('\n')
}
