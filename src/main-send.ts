/**
 * `send` alone, as one file that V8 runs from its code cache (`bin/fast.cjs`): shell scripts call it in loops, and loading the
 * whole program took longer than sending.
 */
import { main, positionOfCommand } from './cli.ts'

/** Runs `send`. @returns false, having done nothing, when the command line names another command */
export function start(words: readonly string[]): boolean {
  if (words[positionOfCommand(words)] !== 'send') return false
  void main(words, { send: async () => (await import('./commands/send.ts')).send })
  return true
}
