/**
 * `estado` alone, as one file that V8 runs from its code cache (`bin/fast.cjs`): monitors ask it every minute, and loading fifty
 * parts of the program took longer than asking Redis and Postgres.
 */
import { main, positionOfCommand } from './cli.ts'

/** Runs `estado`. @returns false, having done nothing, when the command line is another one's */
export function start(words: readonly string[]): boolean {
  if (words[positionOfCommand(words)] !== 'estado') return false
  void main(words, { estado: async () => (await import('./commands/estado.ts')).estado })
  return true
}
