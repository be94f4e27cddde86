/**
 * `send` alone, as one file that V8 runs from its code cache (`bin/fast.cjs`): shell scripts call it in loops, and loading the
 * whole program took longer than sending.
 */
import { main, positionOfCommand } from './cli.ts'
import { wroteAtOnce } from './commands/print.ts'

/** Where the time to start is nothing beside what follows: the whole program does these. */
const LONG = /^--(?:lote|esperar)/

/** Runs `send`. @returns false, having done nothing, when the command line is for the whole program */
export function start(words: readonly string[]): boolean {
  if (words[positionOfCommand(words)] !== 'send' || words.some((word) => LONG.test(word))) return false
  void main(words, { send: async () => (await import('./commands/send.ts')).send }).then(() => {
    // Not waiting for Redis to say goodbye, nor for V8 to tidy up. What a stream may still hold has to leave first.
    if (wroteAtOnce() && process.exitCode === undefined) process.exit()
  })
  return true
}
